//! The name of the Service behind an import.

use data_encoding::BASE32HEX_NOPAD;
use sha2::{Digest, Sha256};

const HASH_CHARS: usize = 10;

/// Name of the derived Service of the import `namespace/name`, as the reference controllers of
/// `sigs.k8s.io/mcs-api` compute it: any tool that knows them finds ours.
#[must_use]
pub fn derived_service_name(namespace: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{namespace}/{name}"));
    let hash = BASE32HEX_NOPAD.encode(&digest).to_ascii_lowercase();
    format!("derived-{}", &hash[..HASH_CHARS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_name_that_the_reference_controllers_give() {
        // echo -n demo/hello | sha256sum | xxd -r -p | basenc --base32hex | head -c 10, lower case
        assert_eq!(derived_service_name("demo", "hello"), "derived-clkj3a8mu9");
    }

    #[test]
    fn tells_namespace_and_name_apart() {
        assert_ne!(
            derived_service_name("a", "b"),
            derived_service_name("b", "a")
        );
    }
}
