//! What every Tombolo program needs: flags, logs, admin server, leases, tasks, drain

pub mod admin;
pub mod args;
mod backoff;
pub mod client;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod lease;
pub mod limits;
pub mod log;
mod process;
pub mod readiness;
mod runtime;
pub mod tasks;
pub mod watch;

pub use self::{
    args::RuntimeArgs,
    runtime::{BuildError, Runtime},
};
