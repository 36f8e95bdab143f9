//! See `tombolo_operator`.

use clap::Parser;
use tombolo_operator::args::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    Args::parse().run().await
}
