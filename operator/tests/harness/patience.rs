//! Waiting for what should come to pass.

use std::future::Future;
use std::time::Duration;

/// How long what should come to pass may take on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Polls until it is so.
///
/// # Panics
/// If it is not for very long.
pub(crate) async fn eventually<T, F, R>(what: &str, mut is_so: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, String>>,
{
    let began = tokio::time::Instant::now();
    loop {
        match is_so().await {
            Ok(value) => return value,
            Err(found) if began.elapsed() > PATIENCE => panic!("not so: {what}; found {found}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
