//! Corefiles, the configuration of CoreDNS: read into a [`Config`], and [edited](edit) without
//! touching what is not ours. Pure: what a Corefile imports and the variables that it names come
//! through [`Surroundings`].
//!
//! ```text
//! text ──lexer──► words ──parser──► blocks of directives ──plugins──► Config
//!                   │       └─ snippets, imports, variables
//!                   └──edit──► text with one block more, or less
//! ```
//!
//! Words, snippets and imports are as CoreDNS has them. What is not known is an [`Error`] that says
//! where it is and what would be known: a resolver that runs without what its Corefile says is
//! worse than one that does not start.

mod arguments;
mod config;
pub mod edit;
mod error;
mod key;
mod lexer;
mod parser;
pub mod plugins;
mod surroundings;
mod values;

pub use self::config::{Config, Server, parse};
pub use self::error::{Error, Position, Problem};
pub use self::key::{Key, Scheme};
pub use self::surroundings::{File, Surroundings};
