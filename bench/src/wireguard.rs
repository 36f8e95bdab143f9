//! The carrier that is a tunnel: wireguard-go in the near and in the far namespace.
//!
//! ```text
//! client 10.81.6.2 ── near ══ UDP across the path ══ far ── server 10.81.5.2
//! ```
//!
//! It carries packets, not connections, so clients connect to the server itself. Client and server
//! have a second address each for it, in a network of its own, and only what goes from one of these
//! to the other is routed into the tunnel, there and back: `plain` goes past it, to the server's
//! first address.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::ensure;

use crate::carrier::{Certificates, Side};
use crate::lab::{CLIENT, FAR, FAR_LAN, NEAR, SERVER, Space, network_of};
use crate::process::{Process, wait_for};

/// Where the server is reached through the tunnel.
pub(crate) const TARGET: Ipv4Addr = Ipv4Addr::new(10, 81, 5, 2);
/// Where the client is then.
const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 81, 6, 2);
/// What the headers of IP, UDP and WireGuard leave of 1,500 bytes: WireGuard's own default. The
/// routes of client and server have it too, so that no packet is refused at the tunnel's mouth.
const MTU: u16 = 1_420;

/// One end of the tunnel, and who is behind it.
struct End {
    space: Space,
    device: &'static str,
    /// Its address towards whom is behind it.
    gateway: Ipv4Addr,
    behind: Space,
    /// The first address of who is behind it, and the one for this carrier.
    addresses: (Ipv4Addr, Ipv4Addr),
    /// File of its private key.
    private_key: String,
    public_key: String,
}

// === impl End ===

impl End {
    fn new(side: Side, certificates: &Certificates) -> anyhow::Result<Self> {
        let private_key = certificates.file(side, "-wireguard.key");
        let public_key = make_key(&private_key)?;
        Ok(match side {
            Side::Near => Self {
                space: Space::Near,
                device: "wg-near",
                gateway: NEAR,
                behind: Space::Client,
                addresses: (CLIENT, SOURCE),
                private_key,
                public_key,
            },
            Side::Far => Self {
                space: Space::Far,
                device: "wg-far",
                gateway: FAR_LAN,
                behind: Space::Server,
                addresses: (SERVER, TARGET),
                private_key,
                public_key,
            },
        })
    }

    /// Starts the process that has the device.
    fn start(&self) -> anyhow::Result<Process> {
        let mut command = self.space.command("wireguard-go");
        // Asked for so, it does not recommend the kernel's on each start.
        command.env("WG_PROCESS_FOREGROUND", "1");
        let process = Process::start(command.arg(self.device))?;
        wait_for("wireguard-go", || self.tells("public-key").is_some())?;
        Ok(process)
    }

    /// Leads what comes from behind it, and is for who is behind the other end, into the tunnel.
    fn connect(&self, other: &Self, port: u16, dial: &str) -> anyhow::Result<()> {
        let Self { space, device, .. } = self;
        let (first, own) = self.addresses;
        let (here, there) = (network_of(own), network_of(other.addresses.1));
        let (private_key, peer) = (&self.private_key, &other.public_key);
        space.run(&format!(
            "wg set {device} listen-port {port} private-key {private_key} \
             peer {peer} allowed-ips {there} {dial}"
        ))?;
        space.run(&format!("ip link set {device} mtu {MTU} up"))?;
        space.run(&format!("ip route add {there} dev {device}"))?;
        space.run(&format!("ip route add {here} via {first}"))?;
        let behind = self.behind;
        behind.run(&format!("ip address add {own}/32 dev lan"))?;
        behind.run(&format!(
            "ip route add {there} via {} src {own} mtu {MTU} congctl cubic",
            self.gateway
        ))
    }

    /// What `wg show` says of it, if there is something to say.
    fn tells(&self, what: &str) -> Option<String> {
        let mut command = self.space.command("wg");
        let output = command.args(["show", self.device, what]).output().ok()?;
        let told = String::from_utf8(output.stdout).ok()?;
        (!told.is_empty()).then_some(told)
    }

    fn is_connected(&self) -> bool {
        // Seconds since the epoch, after the peer's key; 0 before the first handshake.
        let handshakes = self.tells("latest-handshakes");
        handshakes.is_some_and(|told| !told.trim_end().ends_with("\t0"))
    }
}

/// Makes the tunnel, between this UDP port of both sides.
///
/// Its two processes do all that is not done for `plain`, so their CPU is the carrier's, as that of
/// gateways is: the kernel routes packets to and from them, as it carries bytes to and from
/// gateways.
pub(crate) fn start(port: u16, certificates: &Certificates) -> anyhow::Result<Vec<Process>> {
    let near = End::new(Side::Near, certificates)?;
    let far = End::new(Side::Far, certificates)?;
    let sides = vec![far.start()?, near.start()?];
    // The far end learns from the near one's packets where that is.
    far.connect(&near, port, "")?;
    let dial = format!("endpoint {FAR}:{port} persistent-keepalive 25");
    near.connect(&far, port, &dial)?;
    wait_for("the tunnel", || near.is_connected())?;
    Ok(sides)
}

/// Makes a private key in this file, and returns the public one.
fn make_key(file: &str) -> anyhow::Result<String> {
    let line = format!("wg genkey | tee {file} | wg pubkey");
    let output = Command::new("sh").args(["-c", &line]).output()?;
    let public = String::from_utf8(output.stdout)?.trim_end().to_owned();
    ensure!(!public.is_empty(), "no key by {line}");
    Ok(public)
}
