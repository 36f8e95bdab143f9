//! `tombolo-dns address`: the address of a node's resolver, put on the node.
//!
//! It is on the loopback interface, which every node has and nobody manages; a dummy interface would need a
//! module of the kernel that not every node has. The kernel is not to take it as the source of anything but
//! answers: its scope is the node (IPv4), and it is deprecated from the beginning (IPv6, RFC 6724, rule 3).

use std::io::{self, Read, Write};
use std::net::IpAddr;

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

/// Of `linux/netlink.h` and `linux/rtnetlink.h`, whose numbers are the kernel's promise to programs.
const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLM_F_CREATE_REPLACE: u16 = 0x400 | 0x100;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RT_SCOPE_HOST: u8 = 254;

/// The loopback interface is the first of each network namespace.
const LOOPBACK: u32 = 1;
const HEADER_OCTETS: usize = 16;
const LIFETIME_OCTETS: usize = 4 + 16;
/// Seconds, of a lifetime without an end.
const FOREVER: u32 = u32::MAX;

/// Where to answer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Addresses to add; those that are there stay
    #[arg(required = true)]
    addresses: Vec<IpAddr>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        for address in self.addresses {
            add(address).with_context(|| format!("cannot add {address} to the node"))?;
        }
        Ok(())
    }
}

fn add(address: IpAddr) -> io::Result<()> {
    let domain = Domain::from(AF_NETLINK);
    let mut kernel = Socket::new(domain, Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
    kernel.write_all(&request(address))?;
    let mut answer = [0; 1_024];
    let octets = kernel.read(&mut answer)?;
    outcome(&answer[..octets])
}

/// To add the address, or to leave it if it is there.
fn request(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    // Each at a multiple of 4, as netlink wants it: an address has 4 octets or 16.
    let attribute_octets = 4 + octets.len();
    let length = HEADER_OCTETS + 8 + 2 * attribute_octets + LIFETIME_OCTETS;
    let flags = NLM_F_REQUEST_ACK | NLM_F_CREATE_REPLACE;
    let mut request = Vec::with_capacity(length);
    request.extend((length as u32).to_ne_bytes());
    request.extend(RTM_NEWADDR.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    // One request a socket, and the kernel knows whose: no number is needed.
    request.extend([0; 8]);
    let prefix = 8 * octets.len() as u8;
    request.extend([family, prefix, 0, RT_SCOPE_HOST]);
    request.extend(LOOPBACK.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        request.extend((attribute_octets as u16).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(&octets);
    }
    request.extend((LIFETIME_OCTETS as u16).to_ne_bytes());
    request.extend(IFA_CACHEINFO.to_ne_bytes());
    // How long it is preferred, how long it is valid, and two times that are the kernel's to tell.
    for seconds in [0, FOREVER, 0, 0] {
        request.extend(seconds.to_ne_bytes());
    }
    request
}

/// What the kernel says of a request: a negative `errno` after the header, or 0.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|octets| octets.try_into().ok());
    let code = answer
        .get(HEADER_OCTETS..HEADER_OCTETS + 4)
        .and_then(|octets| octets.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        let answer = |kind: u16, code: i32| {
            let mut answer = vec![0; HEADER_OCTETS];
            answer[4..6].copy_from_slice(&kind.to_ne_bytes());
            answer.extend(code.to_ne_bytes());
            outcome(&answer)
        };
        assert!(answer(NLMSG_ERROR, 0).is_ok());
        let refused = answer(NLMSG_ERROR, -1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let other = answer(RTM_NEWADDR, 0).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            outcome(&[0; 5]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        for (address, octets) in [("169.254.25.10", 60), ("fd00::53", 84)] {
            let request = request(address.parse().unwrap());
            assert_eq!(request.len(), octets);
            assert_eq!(request[..4], (octets as u32).to_ne_bytes());
        }
    }
}
