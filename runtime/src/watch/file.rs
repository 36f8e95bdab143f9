//! The last known state of a watch, in a file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::index::Key;

/// Grows when the file's own form changes; a file of another format is refused.
const FORMAT: u32 = 1;

/// A state with the newest resourceVersion in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Saved<T> {
    pub(super) newest: u64,
    pub(super) objects: BTreeMap<Key, Arc<T>>,
}

/// Where states are kept. Both calls block.
pub(super) trait Store<T>: Send + Sync {
    /// The state saved last, if any was.
    fn load(&self) -> Result<Option<Saved<T>>, LoadError>;
    /// Replaces it, wholly or not at all.
    fn save(&self, state: &Saved<T>) -> Result<(), SaveError>;
}

/// A state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It is no state file, or not a whole one.
    #[error("is corrupt")]
    Corrupt(#[source] serde_json::Error),
    /// It is of another version of the program, or of another watch.
    #[error("is of format {format} for {watch:?}")]
    Foreign {
        /// The format that it says it has.
        format: u32,
        /// The watch that it says it is of.
        watch: String,
    },
}

/// A state file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file cannot be written.
    #[error("cannot be written")]
    Write(#[source] io::Error),
    /// The state cannot be encoded.
    #[error("cannot be encoded")]
    Encode(#[source] serde_json::Error),
}

/// The store of the watch `name` in the directory `dir`.
pub(super) fn store<T>(dir: &Path, name: &'static str) -> Arc<dyn Store<T>>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Arc::new(StateFile {
        path: dir.join(format!("{name}.json")),
        name,
    })
}

struct StateFile {
    path: PathBuf,
    name: &'static str,
}

/// First, and read alone: what follows depends on it.
#[derive(Deserialize)]
struct Header {
    format: u32,
    watch: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<T> {
    newest_version: u64,
    objects: Vec<(String, String, T)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, T> {
    format: u32,
    watch: &'a str,
    newest_version: u64,
    objects: Vec<(&'a str, &'a str, &'a T)>,
}

// === impl LoadError ===

impl LoadError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(_) => "Unreadable",
            Self::Corrupt(_) => "Corrupt",
            Self::Foreign { .. } => "Foreign",
        }
    }
}

// === impl SaveError ===

impl SaveError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Write(_) => "Unwritable",
            Self::Encode(_) => "Unencodable",
        }
    }
}

// === impl StateFile ===

impl<T> Store<T> for StateFile
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    fn load(&self) -> Result<Option<Saved<T>>, LoadError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LoadError::Read(error)),
        };
        let Header { format, watch } = serde_json::from_slice(&text).map_err(LoadError::Corrupt)?;
        if format != FORMAT || watch != self.name {
            return Err(LoadError::Foreign { format, watch });
        }
        let read: Read<T> = serde_json::from_slice(&text).map_err(LoadError::Corrupt)?;
        let objects = read.objects.into_iter();
        let objects =
            objects.map(|(namespace, name, value)| (Key { namespace, name }, value.into()));
        Ok(Some(Saved {
            newest: read.newest_version,
            objects: objects.collect(),
        }))
    }

    fn save(&self, state: &Saved<T>) -> Result<(), SaveError> {
        let objects = state.objects.iter();
        let written = Written {
            format: FORMAT,
            watch: self.name,
            newest_version: state.newest,
            objects: objects
                .map(|(key, value)| (&*key.namespace, &*key.name, &**value))
                .collect(),
        };
        let temporary = self.path.with_extension("json.new");
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(SaveError::Write)?;
        }
        let mut file = BufWriter::new(File::create(&temporary).map_err(SaveError::Write)?);
        serde_json::to_writer(&mut file, &written).map_err(SaveError::Encode)?;
        file.flush().map_err(SaveError::Write)?;
        // A rename that outlives a power cut while the content does not would leave an empty file.
        file.get_ref().sync_data().map_err(SaveError::Write)?;
        fs::rename(&temporary, &self.path).map_err(SaveError::Write)
    }
}

#[cfg(test)]
mod tests;
