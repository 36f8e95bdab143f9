//! Ways from the client to the server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use tombolo_link::ca::Ca;

use crate::lab::{FAR, NEAR, SERVER, Space};
use crate::process::{Process, run, wait_for};
use crate::wireguard;

/// Where the server listens.
pub(crate) const SERVER_PORT: u16 = 7000;

/// A way from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Carrier {
    /// The near namespace routes: the limit
    Plain,
    /// haproxy on both sides, without encryption
    HaproxyTcp,
    /// haproxy on both sides, with certificates on both
    HaproxyMtls,
    /// stunnel on both sides, with certificates on both
    Stunnel,
    /// A tunnel of wireguard-go, through which the near and the far namespace route
    WireguardGo,
    /// Two gateways with their defaults
    Tombolo,
    /// Two gateways with the flags of `--a`
    TomboloA,
    /// Two gateways with the flags of `--b`
    TomboloB,
}

/// Other gateways, to compare in one run: flags of `gateway`, separated by blanks, and other builds.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Variants {
    /// Flags of the gateways of tombolo-a, such as "--congestion cubic"
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    a: String,
    /// Flags of the gateways of tombolo-b
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    b: String,
    /// Another build of this program, of which tombolo-a is
    #[arg(long)]
    a_program: Option<PathBuf>,
    /// Another build of this program, of which tombolo-b is
    #[arg(long)]
    b_program: Option<PathBuf>,
}

/// A carrier that has been started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) carrier: Carrier,
    /// Where the client connects to.
    pub(crate) target: SocketAddr,
    /// The near side and the far side; none if the kernel does it.
    pub(crate) sides: Vec<Process>,
}

/// One side of a pair that carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Near,
    Far,
}

/// Certificates of both sides.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

// === impl Carrier ===

impl Carrier {
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it carries datagrams as well as connections.
    pub(crate) fn carries_udp(self) -> bool {
        match self {
            Self::Plain | Self::WireguardGo | Self::Tombolo | Self::TomboloA | Self::TomboloB => {
                true
            }
            Self::HaproxyTcp | Self::HaproxyMtls | Self::Stunnel => false,
        }
    }

    /// Starts both sides.
    pub(crate) fn start(
        self,
        own: &Path,
        certificates: &Certificates,
        variants: &Variants,
    ) -> anyhow::Result<Started> {
        let target = match self {
            Self::Plain => SocketAddr::from((SERVER, SERVER_PORT)),
            Self::WireguardGo => SocketAddr::from((wireguard::TARGET, SERVER_PORT)),
            Self::HaproxyTcp
            | Self::HaproxyMtls
            | Self::Stunnel
            | Self::Tombolo
            | Self::TomboloA
            | Self::TomboloB => SocketAddr::from((NEAR, self.port())),
        };
        let sides = match self {
            Self::Plain => Vec::new(),
            Self::HaproxyTcp | Self::HaproxyMtls => self.haproxy(certificates)?,
            Self::Stunnel => self.stunnel(certificates)?,
            Self::WireguardGo => wireguard::start(self.port(), certificates)?,
            Self::Tombolo => self.gateways(own, certificates, "")?,
            Self::TomboloA => {
                let program = variants.a_program.as_deref();
                self.gateways(program.unwrap_or(own), certificates, &variants.a)?
            }
            Self::TomboloB => {
                let program = variants.b_program.as_deref();
                self.gateways(program.unwrap_or(own), certificates, &variants.b)?
            }
        };
        Ok(Started {
            carrier: self,
            target,
            sides,
        })
    }

    /// The same on both sides.
    fn port(self) -> u16 {
        match self {
            Self::Plain => SERVER_PORT,
            Self::HaproxyTcp => 7010,
            Self::HaproxyMtls => 7020,
            Self::Stunnel => 7030,
            Self::Tombolo => 7040,
            Self::TomboloA => 7050,
            Self::TomboloB => 7060,
            Self::WireguardGo => 7070,
        }
    }

    fn haproxy(self, certificates: &Certificates) -> anyhow::Result<Vec<Process>> {
        let port = self.port();
        // It does not start if it may not have two files a connection.
        let connections = rlimit::getrlimit(rlimit::Resource::NOFILE)?.0 / 2 - 100;
        self.pair(|side| {
            let (pem, ca) = (certificates.pem(side), certificates.ca(side.other()));
            let tls = match self == Self::HaproxyMtls {
                true => format!("ssl crt {pem} ca-file {ca} verify required"),
                false => String::new(),
            };
            let (bind_tls, server_tls) = match side {
                Side::Near => ("", tls.as_str()),
                Side::Far => (tls.as_str(), ""),
            };
            let (space, next) = side.place(port);
            let file = certificates.directory.join(format!("haproxy-{port}-{side:?}"));
            fs::write(
                &file,
                format!(
                    "global\n maxconn {connections}\n\
                     defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n\
                     listen all\n bind :{port} {bind_tls}\n server next {next} {server_tls}\n"
                ),
            )?;
            Process::start(space.command("haproxy").arg("-db").arg("-f").arg(file))
        })
    }

    fn stunnel(self, certificates: &Certificates) -> anyhow::Result<Vec<Process>> {
        let port = self.port();
        self.pair(|side| {
            let (pem, ca) = (certificates.pem(side), certificates.ca(side.other()));
            let client = match side {
                Side::Near => "yes",
                Side::Far => "no",
            };
            let (space, next) = side.place(port);
            let file = certificates.directory.join(format!("stunnel-{side:?}"));
            fs::write(
                &file,
                format!(
                    "foreground = yes\ndebug = 3\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n\
                     [all]\nclient = {client}\naccept = {port}\nconnect = {next}\ncert = {pem}\n\
                     CAfile = {ca}\nverifyChain = yes\n"
                ),
            )?;
            Process::start(space.command("stunnel").arg(file))
        })
    }

    fn gateways(
        self,
        program: &Path,
        certificates: &Certificates,
        flags: &str,
    ) -> anyhow::Result<Vec<Process>> {
        let port = self.port();
        let start = |side: Side| {
            let link = port + 1;
            let mut command = gateway(side, program, certificates, link);
            match side {
                Side::Near => command
                    .args(["--dial", &format!("{FAR}:{link}")])
                    .args(["--import", &port.to_string()]),
                Side::Far => command.args(["--export", &format!("{SERVER}:{SERVER_PORT}")]),
            };
            Process::start(command.args(flags.split_whitespace()))
        };
        let mut sides = vec![start(Side::Far)?, start(Side::Near)?];
        for side in &mut sides {
            side.line()?;
        }
        Ok(sides)
    }

    fn pair(self, start: impl Fn(Side) -> anyhow::Result<Process>) -> anyhow::Result<Vec<Process>> {
        let sides = vec![start(Side::Far)?, start(Side::Near)?];
        let port = format!(":{}", self.port());
        for space in [Space::Far, Space::Near] {
            wait_for(&self.name(), || {
                let listening = space
                    .command("ss")
                    .args(["-Hltn", "sport", "=", &port])
                    .output();
                listening.is_ok_and(|output| !output.stdout.is_empty())
            })?;
        }
        Ok(sides)
    }
}

// === impl Started ===

impl Started {
    /// CPU time of both sides, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        self.sides.iter().map(Process::cpu).sum()
    }

    /// Memory of both sides, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.sides.iter().map(Process::memory).sum()
    }
}

// === impl Side ===

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// Its namespace, and where it sends what comes to it.
    fn place(self, port: u16) -> (Space, SocketAddr) {
        match self {
            Self::Near => (Space::Near, SocketAddr::from((FAR, port))),
            Self::Far => (Space::Far, SocketAddr::from((SERVER, SERVER_PORT))),
        }
    }
}

// === impl Certificates ===

impl Certificates {
    /// Two clusters' CAs and a certificate of each, in files.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let certificates = Self {
            directory: directory.to_owned(),
        };
        let now = SystemTime::now();
        for side in [Side::Near, Side::Far] {
            let ca = Ca::generate("bench", side.name(), now)?;
            let issued = ca.issue_gateway(Duration::from_secs(24 * 3600), now)?;
            let identity = PathBuf::from(certificates.identity(side));
            fs::create_dir_all(&identity)?;
            fs::write(certificates.ca(side), ca.certificate_pem())?;
            fs::write(identity.join("tls.crt"), &issued.certificate_pem)?;
            fs::write(identity.join("tls.key"), &issued.key_pem)?;
            let both = issued.certificate_pem + &issued.key_pem;
            fs::write(certificates.pem(side), both)?;
        }
        // stunnel refuses keys that others may read.
        run(Command::new("chmod").args(["-R", "go="]).arg(directory))?;
        Ok(certificates)
    }

    /// A file of one side, in a directory that goes with the benchmark.
    pub(crate) fn file(&self, side: Side, what: &str) -> String {
        let file = self.directory.join(format!("{}{what}", side.name()));
        file.to_string_lossy().into_owned()
    }

    fn ca(&self, side: Side) -> String {
        self.file(side, "-ca.pem")
    }

    fn pem(&self, side: Side) -> String {
        self.file(side, ".pem")
    }

    fn identity(&self, side: Side) -> String {
        self.file(side, "")
    }
}

/// The command of a gateway that listens at `link`, without what it dials, imports and exports.
pub(crate) fn gateway(
    side: Side,
    program: &Path,
    certificates: &Certificates,
    link: u16,
) -> Command {
    let (space, _) = side.place(link);
    let mut command = space.command(program);
    command.args(["gateway", "--cluster", side.name()]);
    command.args(["--peer", side.other().name()]);
    command.args(["--identity", &certificates.identity(side)]);
    command.args(["--peer-ca", &certificates.ca(side.other())]);
    command.args(["--listen", &format!("0.0.0.0:{link}")]);
    command
}

/// The server's command.
pub(crate) fn server(own: &Path) -> anyhow::Result<Process> {
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERVER_PORT));
    let mut command = Space::Server.command(own);
    let server = Process::start(command.args(["server", &listen.to_string()]))?;
    let port = format!(":{SERVER_PORT}");
    wait_for("the server", || {
        let mut listening = Space::Server.command("ss");
        let output = listening.args(["-Hltn", "sport", "=", &port]).output();
        output.is_ok_and(|output| !output.stdout.is_empty())
    })?;
    Ok(server)
}
