//! Limits that the kernel sets on a process.

use std::io;

/// How many files a process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit that the process was started with.
    pub before: u64,
    /// The limit now: the most that it may have without a privilege.
    pub now: u64,
}

/// Raises the limit on open files to the hard limit: each connection takes two, and the soft limit
/// is 1024 on many systems for the sake of programs that use `select`.
///
/// # Errors
/// If the kernel does not tell the limits or does not let them be raised.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let (before, hard) = rlimit::Resource::NOFILE.get()?;
    if before < hard {
        rlimit::Resource::NOFILE.set(hard, hard)?;
    }
    Ok(OpenFiles { before, now: hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_open_files().unwrap();

        assert_eq!(
            rlimit::Resource::NOFILE.get().unwrap(),
            (limit.now, limit.now)
        );
        assert!(limit.before <= limit.now);
    }
}
