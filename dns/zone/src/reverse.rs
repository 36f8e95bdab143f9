//! Names of addresses: `in-addr.arpa` (RFC 1035, section 3.5) and `ip6.arpa` (RFC 3596, section 2.5).

use std::net::IpAddr;

use hickory_proto::rr::Name;

const ARPA: &[u8] = b"arpa";
const V4: &[u8] = b"in-addr";
const V6: &[u8] = b"ip6";

/// The address that `name` is the whole reverse name of.
pub(crate) fn address(name: &Name) -> Option<IpAddr> {
    let mut labels = name.iter().rev();
    let arpa = labels.next()?;
    if !arpa.eq_ignore_ascii_case(ARPA) {
        return None;
    }
    let family = labels.next()?;
    if family.eq_ignore_ascii_case(V4) {
        let mut octets = [0; 4];
        for octet in &mut octets {
            *octet = decimal(labels.next()?)?;
        }
        labels.next().is_none().then(|| octets.into())
    } else if family.eq_ignore_ascii_case(V6) {
        let mut octets = [0; 16];
        for octet in &mut octets {
            *octet = nibble(labels.next()?)? << 4 | nibble(labels.next()?)?;
        }
        labels.next().is_none().then(|| octets.into())
    } else {
        None
    }
}

/// As the one name of the number has it: without leading zeros.
fn decimal(label: &[u8]) -> Option<u8> {
    let number = str::from_utf8(label).ok()?.parse::<u8>().ok()?;
    (number.to_string().as_bytes() == label).then_some(number)
}

fn nibble(label: &[u8]) -> Option<u8> {
    let [digit] = label else { return None };
    let digit = char::from(*digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_of_addresses() {
        let v6 = format!("1.{}D.f.ip6.arpa.", "0.".repeat(29));
        for (name, expected) in [
            ("1.2.3.10.in-addr.arpa.", Some("10.3.2.1")),
            ("1.2.3.10.IN-ADDR.ARPA.", Some("10.3.2.1")),
            (v6.as_str(), Some("fd00::1")),
            ("2.3.10.in-addr.arpa.", None),
            ("0.1.2.3.10.in-addr.arpa.", None),
            ("01.2.3.10.in-addr.arpa.", None),
            ("256.2.3.10.in-addr.arpa.", None),
            ("x.2.3.10.in-addr.arpa.", None),
            ("0.0.d.f.ip6.arpa.", None),
            ("1.2.3.10.in-addr.example.", None),
            ("arpa.", None),
            (".", None),
        ] {
            let name = Name::from_ascii(name).unwrap();
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(address(&name), expected, "{name}");
        }
    }
}
