//! `tombolo-gateway`.

use clap::Parser;
use tombolo_gateway::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    Args::parse().run()
}
