//! The network namespaces, and the path between the gateways.

use std::net::Ipv4Addr;
use std::path::Path as File;
use std::process::Command;

use anyhow::Context;

use crate::process::{Process, run};

/// Where the server is.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 81, 4, 2);
/// Where the client is.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 81, 1, 2);
/// Where clients reach the near gateway.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 81, 1, 1);
/// Where the near gateway reaches the far one.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 81, 3, 1);
/// Where the server reaches the far one.
pub(crate) const FAR_LAN: Ipv4Addr = Ipv4Addr::new(10, 81, 4, 1);

/// One way of the lossy path: 20 ms there, 20 ms back.
const DELAY: &str = "20";
const LOSS: &str = "0.005";

/// What is between the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Path {
    /// A virtual wire that passes packets of 64 KiB as one
    Clean,
    /// The same, for packets of 9,000 bytes, as within many clouds' networks
    Jumbo,
    /// Packets of 1,500 bytes
    Packets,
    /// 1,500 bytes, 40 ms round trip, 0.5 % lost each way, 1 Gbit/s
    Lossy,
}

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Client,
    Near,
    Path,
    Far,
    Server,
}

/// All of them, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    // Before the namespaces go.
    delay: Option<Process>,
    made: Vec<Space>,
}

/// A wire: two ends, each with its namespace, its device and its address.
type Wire = [(Space, &'static str, Ipv4Addr); 2];

const WIRES: [Wire; 4] = [
    [(Space::Client, "lan", CLIENT), (Space::Near, "lan", NEAR)],
    [
        (Space::Near, "wan", Ipv4Addr::new(10, 81, 2, 1)),
        (Space::Path, "near", Ipv4Addr::new(10, 81, 2, 2)),
    ],
    [
        (Space::Path, "far", Ipv4Addr::new(10, 81, 3, 2)),
        (Space::Far, "wan", FAR),
    ],
    [(Space::Far, "lan", FAR_LAN), (Space::Server, "lan", SERVER)],
];

/// Which networks a namespace reaches through whom.
const ROUTES: [(Space, &[u8], Ipv4Addr); 6] = [
    (Space::Client, &[2, 3, 4], NEAR),
    (Space::Near, &[3, 4], Ipv4Addr::new(10, 81, 2, 2)),
    (Space::Path, &[1], Ipv4Addr::new(10, 81, 2, 1)),
    (Space::Path, &[4], FAR),
    (Space::Far, &[1, 2], Ipv4Addr::new(10, 81, 3, 2)),
    (Space::Server, &[1, 2, 3], FAR_LAN),
];

// === impl Space ===

impl Space {
    const ALL: [Self; 5] = [
        Self::Client,
        Self::Near,
        Self::Path,
        Self::Far,
        Self::Server,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Client => "tombolo-bench-client",
            Self::Near => "tombolo-bench-near",
            Self::Path => "tombolo-bench-path",
            Self::Far => "tombolo-bench-far",
            Self::Server => "tombolo-bench-server",
        }
    }

    /// A command that runs in it.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name()]).arg(program);
        command
    }

    /// Runs a command in it to its end: words that are separated by blanks.
    pub(crate) fn run(self, line: &str) -> anyhow::Result<()> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command")?;
        run(self.command(program).args(words))
    }
}

// === impl Lab ===

impl Lab {
    /// Makes the namespaces with `path` in their middle.
    pub(crate) fn new(path: Path, own: &File) -> anyhow::Result<Self> {
        let mut lab = Self {
            delay: None,
            made: Vec::new(),
        };
        for space in Space::ALL {
            run(Command::new("ip").args(["netns", "add", space.name()]))?;
            lab.made.push(space);
            space.run("ip link set lo up")?;
            space.run("sysctl -q -w net.ipv4.ip_forward=1")?;
            // Many short connections follow each other.
            space.run("sysctl -q -w net.ipv4.tcp_tw_reuse=1")?;
        }
        for [here, there] in WIRES {
            let ends = format!(
                "ip link add {} type veth peer name {} netns {}",
                here.1,
                there.1,
                there.0.name()
            );
            here.0.run(&ends)?;
            for (space, device, address) in [here, there] {
                space.run(&format!("ip address add {address}/24 dev {device}"))?;
                space.run(&format!("ip link set {device} up"))?;
                // A namespace has no congestion control of its own, a route may.
                let net = network_of(address);
                let flags = "proto kernel scope link congctl cubic";
                space.run(&format!(
                    "ip route replace {net} dev {device} src {address} {flags}"
                ))?;
            }
        }
        for (space, networks, gateway) in ROUTES {
            for number in networks {
                let net = network(*number);
                space.run(&format!("ip route add {net} via {gateway} congctl cubic"))?;
            }
        }
        lab.shape(path, own)?;
        Ok(lab)
    }

    fn shape(&mut self, path: Path, own: &File) -> anyhow::Result<()> {
        let wide = [
            (Space::Near, "wan"),
            (Space::Path, "near"),
            (Space::Path, "far"),
            (Space::Far, "wan"),
        ];
        match path {
            Path::Clean => return Ok(()),
            Path::Jumbo => {
                for (space, device) in wide {
                    space.run(&format!("ip link set {device} mtu 9000"))?;
                }
                return Ok(());
            }
            Path::Packets | Path::Lossy => (),
        }
        // What the ends send is passed on by plain routing as it comes.
        let ends = wide
            .into_iter()
            .chain([(Space::Client, "lan"), (Space::Server, "lan")]);
        for (space, device) in ends {
            space.run(&format!(
                "ethtool -K {device} tso off gso off gro off tx-udp-segmentation off"
            ))?;
        }
        if path == Path::Packets {
            return Ok(());
        }
        for (queue, (from, to)) in [("near", "far"), ("far", "near")].into_iter().enumerate() {
            let forward = format!("iptables -w -A FORWARD -i {from} -o {to}");
            let random = format!("-m statistic --mode random --probability {LOSS}");
            Space::Path.run(&format!("{forward} {random} -j DROP"))?;
            Space::Path.run(&format!("{forward} -j NFQUEUE --queue-num {queue}"))?;
            // 20 ms of queue.
            Space::Path.run(&format!(
                "tc qdisc add dev {to} root tbf rate 1gbit burst 256kb limit 2500000"
            ))?;
        }
        // Ahead of what it is to hold back.
        let mut delay = Space::Path.command("chrt");
        delay.args(["-f", "10"]).arg(own);
        let mut delay = Process::start(delay.args(["delay", "--millis", DELAY, "0", "1"]))?;
        delay.line()?;
        self.delay = Some(delay);
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.delay.take());
        for space in &self.made {
            // What is left of it goes with its last process.
            let _ = run(Command::new("ip").args(["netns", "delete", space.name()]));
        }
    }
}

/// The network that an address of the lab is in.
pub(crate) fn network_of(address: Ipv4Addr) -> String {
    network(address.octets()[2])
}

fn network(number: u8) -> String {
    format!("10.81.{number}.0/24")
}
