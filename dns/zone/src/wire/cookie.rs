//! DNS cookies (RFC 7873) of the form that all servers have (RFC 9018).

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

const CLIENT_OCTETS: usize = 8;
const SERVER_OCTETS: std::ops::RangeInclusive<usize> = 8..=32;
const VERSION: u8 = 1;

/// A server's half of a cookie.
pub type ServerCookie = [u8; 16];

/// Makes cookies. They are told to whoever asks for one and required of nobody: what an answer may
/// be is bounded, and pods find a server behind a Service, where replicas have other secrets.
#[derive(Clone)]
pub struct Cookies {
    secret: [u8; 16],
}

/// An option with a length that no cookie has; to be answered with FORMERR (RFC 7873, 5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie of {0} octets")]
pub struct InvalidCookie(usize);

// === impl Cookies ===

impl Cookies {
    /// Cookies that nobody makes who does not know `secret`.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// The server's half for a client at a time (RFC 9018, section 4).
    #[must_use]
    pub fn server(&self, client: [u8; 8], address: IpAddr, unix_seconds: u32) -> ServerCookie {
        let [a, b, c, d] = unix_seconds.to_be_bytes();
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&client);
        hasher.write(&head);
        match address.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        let mut cookie = [0; 16];
        cookie[..8].copy_from_slice(&head);
        cookie[8..].copy_from_slice(&hasher.finish().to_le_bytes());
        cookie
    }
}

/// The client's half in the data of a COOKIE option.
///
/// # Errors
/// If it is no cookie.
pub fn client_cookie(option: &[u8]) -> Result<[u8; 8], InvalidCookie> {
    let error = InvalidCookie(option.len());
    let (client, server) = option.split_at_checked(CLIENT_OCTETS).ok_or(error)?;
    if !server.is_empty() && !SERVER_OCTETS.contains(&server.len()) {
        return Err(error);
    }
    client.try_into().map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018, appendix A: the examples with their secret, times and addresses.
    #[test]
    fn rfc_9018_appendix_a() {
        let secret = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();
        let client = 0x2464_c4ab_cf10_c957_u64.to_be_bytes();
        let address = "198.51.100.100".parse().unwrap();

        let cookie = Cookies::new(secret).server(client, address, 1_559_731_985);

        assert_eq!(
            u128::from_be_bytes(cookie),
            0x0100_0000_5cf7_9f11_1f81_30c3_eee2_9480
        );

        let secret = 0x4455_36bc_d251_3298_075a_5d37_9663_c962_u128.to_be_bytes();
        let client = 0x2268_1ab9_7d52_c298_u64.to_be_bytes();
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();

        let cookie = Cookies::new(secret).server(client, address, 1_559_741_961);

        assert_eq!(
            u128::from_be_bytes(cookie),
            0x0100_0000_5cf7_c609_a6bb_79d1_6625_507a
        );
    }

    #[test]
    fn an_address_is_the_same_on_a_socket_of_both_families() {
        let cookies = Cookies::new([1; 16]);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let plain = "192.0.2.1".parse().unwrap();

        assert_eq!(
            cookies.server([2; 8], mapped, 3),
            cookies.server([2; 8], plain, 3)
        );
    }

    #[test]
    fn a_cookie_has_one_half_or_both() {
        for length in 0..60 {
            let option = vec![7; length];
            let good = length == 8 || (16..=40).contains(&length);
            assert_eq!(client_cookie(&option).is_ok(), good, "{length} octets");
        }
    }
}
