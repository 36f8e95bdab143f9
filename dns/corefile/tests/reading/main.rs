//! Corefiles as people write them, read.

#![allow(clippy::unwrap_used, reason = "a test's helpers are test code")]

mod errors;
mod plugins;
mod properties;
mod structure;
mod world;
