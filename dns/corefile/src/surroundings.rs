//! What a Corefile refers to and does not hold.

/// A file that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, for errors and for imports relative to it.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Where variables and files come from.
pub trait Surroundings {
    /// The environment variable `name`; one that is not set is empty, as CoreDNS has it.
    fn variable(&self, name: &str) -> Option<String>;

    /// The files that match `pattern`, in the order of their names, relative to the folder of the
    /// file `from`. The pattern has at most one `*`; none may match it.
    ///
    /// # Errors
    /// In a few words, if a file without `*` is not there, or one cannot be read.
    fn files(&self, from: &str, pattern: &str) -> Result<Vec<File>, String>;
}

/// Nothing is around the Corefile: no variable is set, and there is no other file.
impl Surroundings for () {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn files(&self, _from: &str, pattern: &str) -> Result<Vec<File>, String> {
        Err(pattern.to_owned())
    }
}
