//! A node of a cluster: a container, reached into only to break something.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::tool::{Output, Tool};

/// Port under which gateways are reached on the nodes, over UDP and TCP: the chart's default.
pub const LINK_NODE_PORT: u16 = 30843;

/// Where [`Node::host_outside`] is reached: of a documentation range, of which the demo's gateways
/// may dial endpoints (`demo-clusters/lib/tombolo.sh`).
pub const OUTSIDE_ADDRESS: &str = "198.51.100.7";

/// Port on which it listens.
pub const OUTSIDE_PORT: u16 = 8080;

const LIMIT: Duration = Duration::from_secs(60);
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const PARKED: &str = "/etc/kubernetes/kube-apiserver.yaml.parked";

/// The control-plane node of a cluster.
#[derive(Clone, Debug)]
pub struct Node {
    container: String,
    docker: Tool,
}

/// Undoes what was done to a node when it goes, so that a failed test does not fail those after it.
#[must_use]
#[derive(Debug)]
pub struct Undo {
    node: Node,
    undo: String,
}

impl Node {
    pub(crate) fn new(container: &str, docker: Tool) -> Self {
        Self {
            container: container.to_owned(),
            docker,
        }
    }

    /// Name of its container.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.container
    }

    /// Runs a shell script on the node, as root.
    ///
    /// # Errors
    /// If it cannot be started or takes over a minute.
    pub async fn run(&self, script: &str) -> Result<Output> {
        self.docker
            .run(&["exec", &self.container, "sh", "-c", script], None, LIMIT)
            .await
    }

    /// Runs a shell script on the node and gives what it printed.
    ///
    /// # Errors
    /// As [`Node::run`], and if its exit code is not 0.
    pub async fn output(&self, script: &str) -> Result<String> {
        self.run(script)
            .await?
            .success()
            .with_context(|| format!("{}: {script}", self.container))
    }

    /// Its IPv4 address on the network that all nodes share.
    ///
    /// # Errors
    /// If docker does not tell it.
    pub async fn address(&self) -> Result<String> {
        self.output("ip -4 -o addr show dev eth0 | sed 's|.*inet ||; s|/.*||'")
            .await
    }

    /// Its IPv6 address on that network.
    ///
    /// # Errors
    /// If docker does not tell it.
    pub async fn address6(&self) -> Result<String> {
        self.output("ip -6 -o addr show dev eth0 scope global | sed 's|.*inet6 ||; s|/.*||'")
            .await
    }

    /// Lets no packet of a link reach this node, until what it gives is dropped.
    ///
    /// # Errors
    /// If iptables refuses.
    pub async fn cut_link(&self) -> Result<Undo> {
        self.block(&["udp", "tcp"]).await
    }

    /// Lets no packet of a link over UDP reach this node, until what it gives is dropped.
    ///
    /// # Errors
    /// If iptables refuses.
    pub async fn block_udp(&self) -> Result<Undo> {
        self.block(&["udp"]).await
    }

    async fn block(&self, protocols: &[&str]) -> Result<Undo> {
        // Before connection tracking: packets of known flows must be lost too.
        let all = |verb: &str| {
            let rule = |protocol: &&str, side: &str| {
                format!(
                    "iptables -t raw {verb} PREROUTING -p {protocol} --{side} {LINK_NODE_PORT} \
                     -j DROP"
                )
            };
            let rules: Vec<String> = protocols
                .iter()
                .flat_map(|protocol| [rule(protocol, "dport"), rule(protocol, "sport")])
                .collect();
            rules.join("; ")
        };
        let undo = Undo {
            node: self.clone(),
            undo: all("-D"),
        };
        self.output(&format!("set -e; {}", all("-I"))).await?;
        Ok(undo)
    }

    /// Puts a host that Kubernetes knows nothing of behind this node, until what it gives is dropped.
    /// It answers HTTP on [`OUTSIDE_PORT`] at [`OUTSIDE_ADDRESS`], whatever is asked.
    ///
    /// # Errors
    /// If there is one already.
    pub async fn host_outside(&self, answer: &str) -> Result<Undo> {
        let undo = Undo {
            node: self.clone(),
            undo: "ip netns pids outside | xargs -r kill; ip netns del outside".to_owned(),
        };
        let length = answer.len();
        self.output(&format!(
            "set -e; ip netns add outside; ip link add outside type veth peer name eth0 netns outside
             ip addr add 198.51.100.1/24 dev outside; ip link set outside up
             host() {{ ip netns exec outside \"$@\"; }}
             host ip addr add {OUTSIDE_ADDRESS}/24 dev eth0; host ip link set eth0 up
             host ip route add default via 198.51.100.1
             printf 'HTTP/1.0 200 OK\\r\\nContent-Length: {length}\\r\\n\\r\\n{answer}' >/run/outside
             host systemd-socket-activate --accept --inetd --listen={OUTSIDE_PORT} \
               sh -c 'sed /^.$/q >/dev/null; cat /run/outside' >/dev/null 2>&1 </dev/null &"
        ))
        .await
        .context("a host outside")?;
        Ok(undo)
    }

    /// Stops the API server, until what it gives is dropped.
    ///
    /// # Errors
    /// If it does not go.
    pub async fn stop_api_server(&self) -> Result<Undo> {
        let undo = Undo {
            node: self.clone(),
            undo: format!("! test -e {PARKED} || mv {PARKED} {MANIFEST}"),
        };
        // The kubelet takes its time to notice a manifest that is gone.
        self.output(&format!(
            "set -e; mv {MANIFEST} {PARKED}; pkill -9 -x kube-apiserver; \
             for i in $(seq 45); do pgrep -x kube-apiserver >/dev/null || exit 0; sleep 1; \
             pkill -9 -x kube-apiserver || true; done; exit 1"
        ))
        .await
        .context("stop the API server")?;
        Ok(undo)
    }

    /// Sends a signal to the oldest process of that name, of any pod on the node; milliseconds since
    /// the epoch at that moment.
    ///
    /// # Errors
    /// If there is none.
    pub async fn signal_one(&self, program: &str, signal: &str) -> Result<u64> {
        // The kernel keeps 15 characters of a name.
        let name: String = program.chars().take(15).collect();
        let script = format!(
            "pid=$(pgrep -x -o {name}) && at=$(date +%s%3N) && kill -{signal} $pid && echo $at"
        );
        let at = self.output(&script).await?;
        at.parse().with_context(|| format!("no time: {at:?}"))
    }
}

impl Undo {
    /// Undoes it now.
    ///
    /// # Errors
    /// If that fails.
    pub async fn now(mut self) -> Result<()> {
        let undo = std::mem::take(&mut self.undo);
        self.node.output(&undo).await.map(drop)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.undo.is_empty() {
            return;
        }
        let mut command = self.node.docker.blocking();
        // Nobody is left to tell; the test that broke it fails already.
        command
            .args(["exec", &self.node.container, "sh", "-c", &self.undo])
            .status()
            .ok();
    }
}
