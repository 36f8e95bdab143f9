//! The multi-cluster DNS specification (KEP-1645, specification.md) and the RFCs below it, question
//! by question.

#![allow(clippy::unwrap_used, reason = "a test's helpers are test code")]

mod denials;
mod fixture;
mod records;
mod reverse;
