//! The string syntaxes that Kubernetes gives to names, keys and values.

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

/// Whether `s` is a DNS label in lower case (RFC 1123, at most 63 characters).
#[must_use]
pub fn is_dns_label(s: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    framed(s, LABEL_MAX, inner, |b| inner(b) || *b == b'-')
}

/// Whether `s` is a DNS name in lower case (RFC 1123, labels joined by dots, at most 253
/// characters).
#[must_use]
pub fn is_dns_subdomain(s: &str) -> bool {
    // Kubernetes bounds the whole, not each label.
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    s.len() <= SUBDOMAIN_MAX
        && s.split('.')
            .all(|part| framed(part, SUBDOMAIN_MAX, inner, |b| inner(b) || *b == b'-'))
}

/// Whether `s` is the key of a label or annotation: a name of at most 63 characters, which may
/// have a DNS name and a slash before it.
#[must_use]
pub fn is_qualified_name(s: &str) -> bool {
    let name = match s.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return false,
        None => s,
    };
    is_name(name)
}

/// Whether `s` is the value of a label: empty, or a name of at most 63 characters.
#[must_use]
pub fn is_label_value(s: &str) -> bool {
    s.is_empty() || is_name(s)
}

fn is_name(s: &str) -> bool {
    framed(s, LABEL_MAX, u8::is_ascii_alphanumeric, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
    })
}

/// Whether `s` has 1 to `max` bytes, of which the first and last are `edge` and all are `inner`.
fn framed(s: &str, max: usize, edge: impl Fn(&u8) -> bool, inner: impl Fn(&u8) -> bool) -> bool {
    let bytes = s.as_bytes();
    bytes.len() <= max
        && bytes.first().is_some_and(&edge)
        && bytes.last().is_some_and(&edge)
        && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels() {
        for good in ["a", "0", "a-b", "east-1", &"x".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "é",
            "a\0",
            &"x".repeat(64),
        ] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn qualified_names() {
        for good in ["app", "App_1.x", "example.com/app", "a/b"] {
            assert!(is_qualified_name(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "Example.com/a",
            "-a",
            "a b",
            "a..b/c",
        ] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
        assert!(is_qualified_name(&format!(
            "{}/{}",
            "p".repeat(253),
            "n".repeat(63)
        )));
        assert!(!is_qualified_name(&format!("{}/n", "p".repeat(254))));
        assert!(!is_qualified_name(&"n".repeat(64)));
    }

    #[test]
    fn label_values() {
        for good in ["", "a", "A.b_c-d", "1.2.3"] {
            assert!(is_label_value(good), "{good}");
        }
        for bad in ["-", "a ", "a/b", &"x".repeat(64)] {
            assert!(!is_label_value(bad), "{bad}");
        }
    }
}
