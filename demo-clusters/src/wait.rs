//! Waiting for what a cluster arrives at.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

const PAUSE: Duration = Duration::from_millis(250);

/// Calls `probe` until it succeeds.
///
/// # Errors
/// If it has not after `limit`: what was waited for, and why the last try failed.
pub async fn wait_until<T, F>(
    what: impl Display,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let begin = Instant::now();
    loop {
        let error = match probe().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if begin.elapsed() >= limit {
            return Err(anyhow!("waited {limit:?} for {what}; at last: {error:#}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
