//! What holds for every Corefile, for the property tests, the fuzz target and the replay of its
//! corpus.

use std::net::IpAddr;

use tombolo_dns_corefile::{File, Surroundings, edit, parse};

/// Every variable is set, and every file is a small one.
struct World;

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| "9.9.9.9".to_owned())
    }

    fn files(&self, _from: &str, pattern: &str) -> Result<Vec<File>, String> {
        match pattern {
            "loop" => Ok(vec![File {
                path: "loop".to_owned(),
                text: "log\nimport loop\n".to_owned(),
            }]),
            "/etc/resolv.conf" => Ok(vec![File {
                path: pattern.to_owned(),
                text: "nameserver 192.0.2.1\n".to_owned(),
            }]),
            _ => Err("no such file".to_owned()),
        }
    }
}

/// Reads and edits, and panics if a rule is broken.
pub(crate) fn read(text: &str) {
    match parse("Corefile", text, &World) {
        Ok(config) => {
            for server in &config.servers {
                assert!(!server.keys.is_empty());
                assert!(!server.addresses().is_empty());
                for forward in &server.plugins.forward {
                    assert!(!forward.upstreams.is_empty() && !forward.from.is_empty());
                }
            }
        }
        Err(error) => {
            assert!(error.at.line >= 1 && error.at.column >= 1);
            if &*error.at.file == "Corefile" {
                let line = text.split('\n').nth(error.at.line - 1);
                let length = line.expect("the line is there").chars().count();
                // The byte order mark is no character of the first line.
                assert!(error.at.column <= length.max(1), "{error}");
            }
        }
    }
    let server = IpAddr::from([10, 96, 0, 53]);
    if let Ok(installed) = edit::install(text, "clusterset.local", server) {
        let again = edit::install(&installed, "clusterset.local", server);
        assert_eq!(again.as_ref(), Ok(&installed));
        assert!(edit::remove(&installed, "clusterset.local").is_ok());
    }
}
