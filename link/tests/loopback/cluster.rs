//! Clusters with their CAs, gateways with their identities, and waiting for what they do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tombolo_catalog::ServiceName;
use tombolo_link::ca::{Ca, IssuedCertificate};
use tombolo_link::{
    CaBundle, CatalogSnapshot, Connect, Event, IdentityFiles, Incoming, LinkConfig, LinkStream,
    Links, PeerConfig, PeerLink, Protocol, Source,
};

pub(crate) const CLUSTERSET: &str = "prod";
/// How long a test waits for what must come. On a busy machine everything takes long.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cluster: a name and a CA.
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) ca: Ca,
}

/// One gateway replica.
pub(crate) struct Gateway {
    pub(crate) links: Links,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) catalog: watch::Sender<Option<Arc<CatalogSnapshot>>>,
    pub(crate) siblings: watch::Sender<u32>,
    pub(crate) identity: IdentityDir,
}

/// A directory with a gateway's certificate and key.
pub(crate) struct IdentityDir(TempDir);

impl Cluster {
    pub(crate) fn new(id: &str) -> Self {
        Self::of_clusterset(CLUSTERSET, id)
    }

    pub(crate) fn of_clusterset(clusterset: &str, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ca: Ca::generate(clusterset, id, SystemTime::now()).unwrap(),
        }
    }

    pub(crate) fn bundle(&self) -> CaBundle {
        CaBundle::parse(self.ca.certificate_pem()).unwrap()
    }

    /// This cluster as a peer of others.
    pub(crate) fn peer(&self, addresses: &[SocketAddr]) -> PeerConfig {
        PeerConfig {
            cluster: self.id.clone(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            bundle: self.bundle(),
        }
    }

    pub(crate) fn issue(&self) -> IssuedCertificate {
        self.ca.issue_gateway(DAY, SystemTime::now()).unwrap()
    }

    pub(crate) fn gateway(&self, replica: &str) -> Gateway {
        self.gateway_with(replica, &self.issue(), |_| {})
    }

    pub(crate) fn gateway_with(
        &self,
        replica: &str,
        certificate: &IssuedCertificate,
        configure: impl FnOnce(&mut LinkConfig),
    ) -> Gateway {
        let identity = IdentityDir::new(certificate);
        let (catalog, catalog_receiver) = watch::channel(None);
        let (siblings, siblings_receiver) = watch::channel(0);
        let mut config = LinkConfig::new("127.0.0.1:0".parse().unwrap(), replica);
        configure(&mut config);
        let (links, incoming) = Links::start(
            config,
            identity.files(),
            catalog_receiver,
            siblings_receiver,
        )
        .unwrap();
        Gateway {
            links,
            incoming,
            catalog,
            siblings,
            identity,
        }
    }
}

impl IdentityDir {
    fn new(certificate: &IssuedCertificate) -> Self {
        let dir = Self(TempDir::new().unwrap());
        dir.write(certificate);
        dir
    }

    pub(crate) fn write(&self, certificate: &IssuedCertificate) {
        std::fs::write(self.path("tls.key"), &certificate.key_pem).unwrap();
        std::fs::write(self.path("tls.crt"), &certificate.certificate_pem).unwrap();
    }

    fn files(&self) -> IdentityFiles {
        IdentityFiles::new(self.path("tls.crt"), self.path("tls.key"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }
}

impl Gateway {
    pub(crate) fn address(&self) -> SocketAddr {
        self.links.local_addr()
    }

    /// Waits until the link to a cluster is as `condition` says.
    pub(crate) async fn until(
        &self,
        cluster: &str,
        condition: impl Fn(&PeerLink) -> bool,
    ) -> PeerLink {
        let mut status = self.links.status();
        let waiting = async {
            let status = status
                .wait_for(|status| status.get(cluster).is_some_and(&condition))
                .await
                .unwrap();
            status[cluster].clone()
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(link) => link,
            Err(_) => panic!(
                "not reached: {:?}, counts {:?}",
                self.links.status().borrow().get(cluster),
                self.links.counts()
            ),
        }
    }

    pub(crate) async fn connected(&self, cluster: &str) -> PeerLink {
        self.until(cluster, PeerLink::is_connected).await
    }

    /// The replicas of a cluster, once there are so many.
    pub(crate) async fn replicas(&self, cluster: &str, count: usize) -> Vec<String> {
        let link = self
            .until(cluster, |link| link.replicas.len() == count)
            .await;
        link.replicas.keys().cloned().collect()
    }

    pub(crate) fn count(&self, event: Event, reason: &str) -> u64 {
        let counts = self.links.counts().into_iter();
        counts
            .filter(|count| count.event == event && count.reason == reason)
            .map(|count| count.value)
            .sum()
    }

    /// Waits until something was counted.
    pub(crate) async fn counted(&self, event: Event, reason: &str) {
        let what = format!("{event:?} {reason}");
        eventually(
            &what,
            || self.count(event, reason) > 0,
            || self.links.counts(),
        )
        .await;
    }

    pub(crate) async fn next_incoming(&mut self) -> Incoming {
        patiently(self.incoming.recv()).await.unwrap()
    }

    /// Answers every connection by sending back what comes, for ever.
    pub(crate) fn echo(mut self) -> (Links, tokio::task::JoinHandle<()>) {
        let links = self.links.clone();
        let task = tokio::spawn(async move {
            while let Some(incoming) = self.incoming.recv().await {
                tokio::spawn(echo_one(incoming));
            }
        });
        (links, task)
    }
}

async fn echo_one(incoming: Incoming) {
    let Ok(mut stream) = incoming.responder.opened().await else {
        return;
    };
    while let Ok(Some(chunk)) = stream.recv.read_chunk(64 * 1024).await {
        if stream.send.write_chunk(chunk).await.is_err() {
            return;
        }
    }
    stream.send.finish();
}

/// A connection to `web` in namespace `demo`.
pub(crate) fn connect() -> Connect {
    Connect {
        service: ServiceName::new("demo", "web"),
        protocol: Protocol::Tcp,
        port: 80,
        endpoint: None,
        source: Source::default(),
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: String::new(),
        affinity: None,
    }
}

/// Sends `text` through a stream that is echoed, and its end; returns what comes back.
pub(crate) async fn exchange(mut stream: LinkStream, text: &'static str) -> String {
    stream.send.write_chunk(text.into()).await.unwrap();
    stream.send.finish();
    read_all(&mut stream).await
}

pub(crate) async fn read_all(stream: &mut LinkStream) -> String {
    let mut read = Vec::new();
    while let Some(chunk) = patiently(stream.recv.read_chunk(4096)).await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    String::from_utf8(read).unwrap()
}

pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing came"),
    }
}

/// Waits until `condition` holds; `explain` says what was instead.
pub(crate) async fn eventually<E: Debug>(
    what: &str,
    condition: impl Fn() -> bool,
    explain: impl Fn() -> E,
) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        if tokio::time::Instant::now() > deadline {
            panic!("{what} did not come: {:?}", explain());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
