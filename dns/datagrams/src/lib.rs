//! Datagrams sent by the batch: `sendmmsg`, each with its own source address.
//!
//! This is the one place of Tombolo with `unsafe`, and a crate for that alone. Of the crates that have
//! `sendmmsg`, rustix (1.1) knows no source addresses; nix (0.32) has one for the whole batch, and reads
//! memory that nobody wrote to tell how many were sent; quinn-udp (0.5) sends one datagram a call.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use socket2::SockAddr;

/// As many datagrams as are sent with one call.
pub const MAX: usize = 64;

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// What it holds.
    pub contents: &'a [u8],
    /// Where it goes.
    pub to: SocketAddr,
    /// Which of this machine's addresses it comes from; by default the kernel chooses one.
    pub from: Option<IpAddr>,
}

/// Tells the kernel the source of a datagram.
enum Source {
    Any,
    V4(Control<libc::in_pktinfo>),
    V6(Control<libc::in6_pktinfo>),
}

/// A control message, as `cmsg(3)` lays it out: the data is where `CMSG_DATA` looks for it, as neither
/// kind needs a larger alignment than the header.
#[repr(C)]
struct Control<T> {
    header: libc::cmsghdr,
    data: T,
}

/// Sends the first of `datagrams`, at most [`MAX`], on a UDP socket; says how many were sent. It is fewer
/// if the socket has no more room, or if one cannot be sent: the next call says why.
///
/// # Errors
/// Of the first datagram, with which nothing was sent.
pub fn send<'a>(
    socket: &impl AsFd,
    datagrams: impl IntoIterator<Item = Datagram<'a>>,
) -> io::Result<usize> {
    let datagrams = datagrams.into_iter().take(MAX);
    let mut contents = Vec::with_capacity(MAX);
    let mut clients = Vec::with_capacity(MAX);
    let mut sources = Vec::with_capacity(MAX);
    for datagram in datagrams {
        contents.push(libc::iovec {
            iov_base: datagram.contents.as_ptr().cast_mut().cast(),
            iov_len: datagram.contents.len(),
        });
        clients.push(SockAddr::from(datagram.to));
        sources.push(Source::new(datagram.from));
    }
    // None of the three lists grows from here on, so that what points into them stays good.
    let mut headers = Vec::with_capacity(contents.len());
    for ((contents, client), source) in contents.iter_mut().zip(&clients).zip(&mut sources) {
        let (control, control_octets) = source.octets();
        headers.push(libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: client.as_ptr().cast_mut().cast(),
                msg_namelen: client.len(),
                msg_iov: contents,
                msg_iovlen: 1,
                msg_control: control,
                msg_controllen: control_octets,
                msg_flags: 0,
            },
            msg_len: 0,
        });
    }
    let sent = sendmmsg(socket, &mut headers);
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Negative if nothing was sent, and `errno` says why. All pointers of `headers` must be good.
#[allow(unsafe_code, reason = "no safe crate has this call")]
fn sendmmsg(socket: &impl AsFd, headers: &mut [libc::mmsghdr]) -> libc::c_int {
    let fd = socket.as_fd().as_raw_fd();
    // At most `MAX`.
    let count = headers.len() as libc::c_uint;
    // SAFETY: `headers` is a list of `count`, and the kernel writes nothing but their `msg_len`. `send`,
    // which alone calls this, has each point to one `iovec`, one address and one control message (or
    // null, with the length 0), all with their true lengths, in lists that live until it returns; each
    // `iovec` is a slice that lives as long, of which the kernel only reads.
    unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, 0) }
}

// === impl Source ===

impl Source {
    fn new(address: Option<IpAddr>) -> Self {
        match address {
            None => Self::Any,
            Some(IpAddr::V4(address)) => {
                let data = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                Self::V4(Control::new(libc::IPPROTO_IP, libc::IP_PKTINFO, data))
            }
            Some(IpAddr::V6(address)) => {
                let data = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: address.octets(),
                    },
                    ipi6_ifindex: 0,
                };
                Self::V6(Control::new(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, data))
            }
        }
    }

    fn octets(&mut self) -> (*mut libc::c_void, usize) {
        match self {
            Self::Any => (ptr::null_mut(), 0),
            Self::V4(control) => (ptr::from_mut(control).cast(), size_of_val(control)),
            Self::V6(control) => (ptr::from_mut(control).cast(), size_of_val(control)),
        }
    }
}

// === impl Control ===

impl<T> Control<T> {
    fn new(level: libc::c_int, kind: libc::c_int, data: T) -> Self {
        let header = libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<T>(),
            cmsg_level: level,
            cmsg_type: kind,
        };
        Self { header, data }
    }
}

#[cfg(test)]
mod tests;
