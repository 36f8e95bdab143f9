//! `tls CERTIFICATE KEY [CA]`.

use crate::arguments::Directive;
use crate::error::Error;

/// What is shown to clients of `tls://`, `quic://` and `https://`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Path of the certificates, PEM.
    pub certificate: String,
    /// Path of the key, PEM.
    pub key: String,
    /// Path of the certificates of those who vouch for clients; without it any client may ask.
    pub client_authority: Option<String>,
}

// === impl Tls ===

impl Tls {
    pub(super) fn new(directive: &Directive) -> Result<Self, Error> {
        directive.no_options()?;
        let mut arguments = directive.line.arguments();
        let certificate = arguments
            .required("the path of a certificate")?
            .text
            .clone();
        let key = arguments.required("the path of a key")?.text.clone();
        let client_authority = arguments.next().map(|word| word.text.clone());
        arguments.end()?;
        Ok(Self {
            certificate,
            key,
            client_authority,
        })
    }
}
