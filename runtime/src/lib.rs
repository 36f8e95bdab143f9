//! What every Tombolo program needs, so that each of them is only what it alone does.
//!
//! ```text
//!  flags ─► Runtime::build ─┬─► client ──► watches ──► indexes of the program
//!                           │       └────► leases ───► claims: who may write
//!                           ├─► readiness ◄── gates ◄── watches, the program
//!                           │       └─► admin server: /livez /readyz /metrics
//!                           └─► tasks ◄── everything that runs
//!  SIGTERM ─► Runtime::run ─► drain ─► kill ─► exit
//! ```
//!
//! What holds for every program that stands on it:
//! - It starts, and becomes ready if it has a saved state, without an API server. What it has heard
//!   stays true for it until it hears otherwise from a complete list ([`watch`]).
//! - A claim to a Lease ends for its holder before another may take it, whatever clocks say
//!   ([`lease`]).
//! - Every task is known, and ends in one of two steps ([`tasks`]). A program whose essential task
//!   has ended exits with an error rather than run on as half of itself.
//! - Time is tokio's, so tests may pause it.
//!
//! ```no_run
//! # use clap::Parser;
//! # use k8s_openapi::api::core::v1::Service;
//! # use tombolo_runtime::{Runtime, RuntimeArgs, watch::{Event, from_fn}};
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     runtime: RuntimeArgs,
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::build("gateway", Args::parse().runtime).await?;
//! let ports = |service: Service| Some(service.spec?.ports?.len());
//! let index = from_fn(|event: Event<'_, usize>| tracing::info!(?event));
//! let services = runtime.watches.all::<Service>("services").feed(ports, index);
//! runtime.tasks.spawn("greeting", async move {
//!     services.synced().await;
//!     tracing::info!("hello");
//! });
//! runtime.run().await?;
//! # Ok(())
//! # }
//! ```

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
