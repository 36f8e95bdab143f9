//! Feeds [`Gateways`] from the API server, and the index from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tombolo_crds::well_known::COMPONENT_LABEL;
use tombolo_runtime::watch::{self, Handle, Key, Watches};

use crate::gateways::{Gateways, SILENCE};
use crate::hangups::{Hangups, Sign};
use crate::watches::SharedIndex;

/// While there are gateways, no word of any for longer than this means that the watch hangs.
const HANGS_AFTER: Duration = Duration::from_secs(SILENCE.as_secs() + 1);
/// The API server is away if it does not answer so soon: a dead replica is to leave in time.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Follows the gateways until it is dropped.
pub async fn run(watches: Watches, namespace: String, index: SharedIndex) {
    let shared = Shared::default();
    let selector = format!("{COMPONENT_LABEL}=gateway");
    let pods = watches
        .namespaced::<Pod>("gatewaypods", &namespace)
        .labels(&selector)
        .feed(Some, shared.clone());
    let leases = watches
        .namespaced::<Lease>("gatewayleases", &namespace)
        .labels(&selector)
        .max_silence(HANGS_AFTER)
        .feed(Some, shared.clone());
    // An empty list of gateways is what an index says that was not told of any.
    pods.synced().await;
    leases.synced().await;
    let api = Api::namespaced(watches.client, &namespace);
    Heartbeats {
        shared,
        leases,
        hangups: Hangups::default(),
        api,
        selector,
        index,
    }
    .run()
    .await;
}

#[derive(Clone, Default)]
struct Shared {
    gateways: Arc<Mutex<Gateways>>,
    changed: Arc<Notify>,
}

struct Heartbeats {
    shared: Shared,
    leases: Handle,
    hangups: Hangups,
    api: Api<Lease>,
    selector: String,
    index: SharedIndex,
}

// === impl Shared ===

impl Shared {
    fn tell(&self, tell: impl FnOnce(&mut Gateways, Instant)) {
        tell(&mut self.gateways.lock(), now());
        self.changed.notify_one();
    }
}

impl watch::Index<Pod> for Shared {
    fn apply(&mut self, _key: &Key, pod: &Arc<Pod>) {
        self.tell(|gateways, _| gateways.handle_pod(pod));
    }

    fn delete(&mut self, key: &Key) {
        self.tell(|gateways, _| gateways.handle_pod_gone(&key.name));
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<Pod>>) {
        self.tell(|gateways, _| gateways.handle_pods(all.values().map(|pod| &**pod)));
    }
}

impl watch::Index<Lease> for Shared {
    fn apply(&mut self, _key: &Key, lease: &Arc<Lease>) {
        self.tell(|gateways, now| gateways.handle_lease(now, lease));
    }

    fn delete(&mut self, key: &Key) {
        self.tell(|gateways, _| gateways.handle_lease_gone(&key.name));
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<Lease>>) {
        self.tell(|gateways, now| {
            gateways.handle_leases(now, all.values().map(|lease| &**lease));
        });
    }
}

// === impl Heartbeats ===

impl Heartbeats {
    async fn run(mut self) {
        let mut health = self.leases.health_changes();
        self.publish(true);
        loop {
            self.listen_for_hangups();
            let timeout = self.shared.gateways.lock().poll_timeout();
            tokio::select! {
                // News before time-outs: a heartbeat that is here already must count.
                biased;
                () = self.shared.changed.notified() => {}
                changed = health.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let hears = self.leases.health().hears();
                    let mut gateways = self.shared.gateways.lock();
                    if hears {
                        gateways.handle_watch_restored(now());
                    } else {
                        gateways.handle_watch_broken();
                    }
                }
                () = sleep_until(timeout) => self.read_if_overdue().await,
            }
            self.publish(false);
        }
    }

    fn listen_for_hangups(&mut self) {
        let shared = self.shared.clone();
        let replicas = shared.gateways.lock().admin_servers();
        self.hangups.follow(replicas, move |name, sign| {
            tracing::debug!(gateway = name, ?sign, "gateway process");
            shared.tell(|gateways, now| match sign {
                Sign::Answer => gateways.handle_answer(name),
                Sign::Hangup => gateways.handle_hangup(now, name),
            });
        });
    }

    async fn read_if_overdue(&self) {
        if !self.shared.gateways.lock().handle_timeout(now()) {
            return;
        }
        let params = ListParams::default().labels(&self.selector);
        let read = tokio::time::timeout(READ_TIMEOUT, self.api.list(&params)).await;
        let leases = match &read {
            Ok(Ok(leases)) => Some(&leases.items[..]),
            Ok(Err(error)) => {
                tracing::info!(%error, "silent gateways, but the leases cannot be read");
                None
            }
            Err(_) => {
                tracing::info!("silent gateways, but the API server does not answer");
                None
            }
        };
        self.shared.gateways.lock().handle_read(now(), leases);
    }

    fn publish(&self, first: bool) {
        let mut gateways = self.shared.gateways.lock();
        let changes = gateways.poll_changes();
        if changes.is_empty() && !first {
            return;
        }
        tracing::debug!(?changes, "gateways");
        self.index
            .index
            .write()
            .set_gateways(gateways.listings().cloned(), &changes);
        self.index.changed.notify_one();
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
