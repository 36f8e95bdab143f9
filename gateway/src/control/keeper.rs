//! Keeps one Peer: contends for its Lease and, while holding it, stores its catalog and says in its
//! status how it stands.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tombolo_catalog::{Held, ServiceName};
use tombolo_crds::{ClusterExportSpec, Peer, PeerStatus};
use tombolo_link::{CatalogEvent, CatalogStream, PeerLink};
use tombolo_runtime::events::{Notice, Severity};
use tombolo_runtime::lease::{Kept, Lease};

use super::Control;
use super::book::{Book, Judged};
use super::store::{Failure, Store};
use crate::copies::{Copies, Exports, GRACE, Written};
use crate::metrics::{ClusterLabels, ErrorLabels};
use crate::peer_status::{self, HeldView, LinkView, PeerView};

/// How often a keeper looks, if it hears of nothing.
const TICK: Duration = Duration::from_secs(1);
/// How long a holder without a link waits for one before it leaves the Peer to a sibling.
const PATIENCE: Duration = Duration::from_secs(3);
/// When a failed write is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// A status of which only a message is new is not written more often.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(5);
/// Writes under way at a time.
const CONCURRENCY: usize = 16;
/// Events of a catalog that are taken before they are written.
const BURST: usize = 1024;

pub(super) struct Keeper {
    control: Arc<Control>,
    store: Store,
    name: String,
    book: watch::Receiver<Arc<Book>>,
    lease: Option<Kept>,
    /// Since when this replica has no link to the Peer.
    unlinked_since: Option<Instant>,
    session: Option<Session>,
    status: Status,
}

/// What is done as long as the Lease is held and the Peer is the same.
struct Session {
    cluster: String,
    copies: Copies,
    catalog: CatalogStream,
    written: Written,
    /// Of the table of stored ClusterExports, when it was last compared.
    compared: Option<u64>,
    retry_at: Option<Instant>,
    /// The wall clock's time of an instant, told only once so that it does not waver.
    held_until: Option<(std::time::Instant, Timestamp)>,
}

#[derive(Default)]
struct Status {
    /// The Peer as it was after the last write, until the watch shows a newer one.
    written: Option<Peer>,
    written_at: Option<Instant>,
    retry_at: Option<Instant>,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(control: Arc<Control>, name: &str, book: watch::Receiver<Arc<Book>>) -> Self {
        Self {
            store: Store::new(control.client.clone(), &control.namespace),
            control,
            name: name.to_owned(),
            book,
            lease: None,
            unlinked_since: Some(Instant::now()),
            session: None,
            status: Status::default(),
        }
    }

    pub(super) async fn run(mut self) {
        // What is stored decides which withdrawals are a large part of it.
        self.control.watches.exports.synced().await;
        let mut links = self.control.links.status();
        let mut changes = self.control.world.changes();
        loop {
            changes.mark_unchanged();
            let Some(judged) = self.book.borrow_and_update().get(&self.name).cloned() else {
                return;
            };
            let link = links
                .borrow_and_update()
                .get(&judged.peer.spec.cluster_id)
                .cloned();
            self.contend(&judged, link.as_ref());
            if self.is_holder() {
                self.tend(&judged, link.as_ref()).await;
            } else {
                self.let_go();
            }

            let due = self.session.as_ref().and_then(Session::due);
            let due = due.into_iter().chain([Instant::now() + TICK]).min();
            let mut claims = self.lease.as_ref().map(Kept::claims);
            let claimed = async {
                match &mut claims {
                    Some(claims) => claims.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            let session = &mut self.session;
            let told = async {
                match session {
                    Some(session) => session.catalog.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.book.changed() => if changed.is_err() { return },
                changed = links.changed() => if changed.is_err() { return },
                _ = changes.changed() => {}
                _ = claimed => {}
                event = told => self.hear(event, &judged),
                () = time::sleep_until(due.unwrap_or_else(Instant::now)) => {}
            }
        }
    }

    // A replica with a link goes before one without.
    fn contend(&mut self, judged: &Judged, link: Option<&PeerLink>) {
        let now = Instant::now();
        let linked = link.is_some_and(PeerLink::is_connected);
        match linked {
            true => self.unlinked_since = None,
            false => {
                self.unlinked_since.get_or_insert(now);
            }
        }
        let impatient = self
            .unlinked_since
            .is_some_and(|since| now >= since + PATIENCE);
        let sibling_is_linked = || {
            let cluster = &judged.peer.spec.cluster_id;
            let siblings = self.control.siblings.lock();
            siblings.have_link(now.into_std(), &self.control.replica, cluster)
        };
        match &self.lease {
            Some(_) if impatient && sibling_is_linked() => {
                tracing::info!(peer = self.name, "left to a replica that has a link");
                self.lease = None;
            }
            None if linked || (impatient && !sibling_is_linked()) => {
                let lease = format!("tombolo-peer-{}", self.name);
                let Control {
                    client,
                    namespace,
                    replica,
                    tasks,
                    ..
                } = &*self.control;
                let mut lease = Lease::new(client.clone(), namespace, &lease, replica);
                if let Some(owner) = judged.peer.owner_ref(&()) {
                    lease = lease.owned_by(owner);
                }
                self.lease = Some(lease.keep(tasks));
            }
            Some(_) | None => {}
        }
    }

    fn is_holder(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| {
            lease
                .claims()
                .borrow()
                .is_held_by(&self.control.replica, Instant::now())
        })
    }

    fn let_go(&mut self) {
        self.status = Status::default();
        if let Some(session) = self.session.take() {
            let labels = ClusterLabels {
                cluster: session.cluster,
            };
            self.control.metrics.exports.remove(&labels);
            self.control.metrics.withheld.remove(&labels);
        }
    }

    async fn tend(&mut self, judged: &Judged, link: Option<&PeerLink>) {
        let cluster = &judged.peer.spec.cluster_id;
        let is_same = |session: &Session| session.cluster == *cluster && judged.rejection.is_none();
        if !self.session.as_ref().is_some_and(is_same) {
            self.session = judged
                .rejection
                .is_none()
                .then(|| Session::new(&self.control, cluster));
        }
        if let Some(session) = &mut self.session {
            session.copies.handle_timeout(std::time::Instant::now());
            let lease = self.lease.as_ref().map(Kept::claims);
            let is_holder = || {
                lease.as_ref().is_some_and(|claims| {
                    claims
                        .borrow()
                        .is_held_by(&self.control.replica, Instant::now())
                })
            };
            session.store(&self.control, &self.store, is_holder).await;
            session.count(&self.control);
        }
        self.tell(judged, link);
        self.write_status(judged, link).await;
    }

    fn hear(&mut self, event: Option<CatalogEvent>, judged: &Judged) {
        let Some(session) = &mut self.session else {
            return;
        };
        let mut next = Some(event);
        let mut wrong = Vec::new();
        for _ in 0..BURST {
            let Some(event) = next.take() else { break };
            let Some(event) = event else {
                // The links know the Peer no more; the book will say so too.
                self.session = None;
                break;
            };
            session.compared = None;
            wrong.extend(session.hear(event));
            next = session.catalog.next().now_or_never();
        }
        let Some((reason, first)) = wrong.first() else {
            return;
        };
        for (reason, message) in &wrong {
            let labels = ErrorLabels { reason };
            self.control
                .metrics
                .rejected_exports
                .get_or_create(&labels)
                .inc();
            tracing::info!(
                peer = self.name,
                reason,
                message,
                "part of the catalog refused"
            );
        }
        let note = match wrong.len() {
            1 => format!("{reason}: {first}"),
            more => format!("{more} exports are refused, the first: {reason}: {first}"),
        };
        self.warn(&judged.peer, "ExportRefused", "Replicate", note);
    }

    fn tell(&self, judged: &Judged, link: Option<&PeerLink>) {
        let peer = &judged.peer;
        if let Some(rejection) = &judged.rejection {
            self.warn(peer, rejection.reason(), "Accept", rejection.to_string());
        }
        let view = self.view(judged, link);
        if let Some(held) = view.held {
            let note = format!("{} exports were withdrawn at once", held.count);
            self.warn(peer, "WithdrawalHeld", "Replicate", note);
        } else {
            self.control
                .events
                .forget(&reference(peer), "WithdrawalHeld");
        }
    }

    fn warn(&self, peer: &Peer, reason: &'static str, action: &'static str, note: String) {
        let notice = Notice {
            severity: Severity::Warning,
            reason,
            action,
            note,
        };
        self.control.events.publish(&reference(peer), notice);
    }

    fn view(&self, judged: &Judged, link: Option<&PeerLink>) -> PeerView {
        let session = self.session.as_ref();
        PeerView {
            rejection: judged.rejection.clone(),
            link: link_view(&judged.peer, link),
            exports: session.and_then(|session| session.copies.synced()),
            held: session.and_then(|session| {
                let (_, until) = session.held_until?;
                Some(HeldView {
                    count: session.copies.held()?.count,
                    until,
                })
            }),
        }
    }

    async fn write_status(&mut self, judged: &Judged, link: Option<&PeerLink>) {
        let now = Instant::now();
        if self.status.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let peer = self.status.newest(&judged.peer);
        let status = peer_status::evaluate(peer, &self.view(judged, link), Timestamp::now());
        let before = peer.status.as_ref();
        if before == Some(&status) {
            return;
        }
        let is_minor = before.is_some_and(|before| same_but_for_messages(before, &status));
        let recent = self
            .status
            .written_at
            .is_some_and(|at| now < at + MESSAGE_INTERVAL);
        if is_minor && recent {
            return;
        }
        match self.store.set_status(&self.name, &status).await {
            Ok(peer) => {
                self.status = Status {
                    written: Some(peer),
                    written_at: Some(now),
                    retry_at: None,
                };
            }
            Err(error) => {
                self.status.retry_at = Some(now + RETRY);
                failed(&self.control, "PeerStatus", &error);
            }
        }
    }
}

// === impl Status ===

impl Status {
    fn newest<'a>(&'a self, watched: &'a Peer) -> &'a Peer {
        let version =
            |peer: &Peer| -> Option<u64> { peer.metadata.resource_version.as_ref()?.parse().ok() };
        match &self.written {
            Some(written) if version(written) > version(watched) => written,
            Some(_) | None => watched,
        }
    }
}

// === impl Session ===

impl Session {
    fn new(control: &Control, cluster: &str) -> Self {
        let (_, stored) = stored(control, cluster);
        Self {
            cluster: cluster.to_owned(),
            copies: Copies::new(cluster, GRACE, stored),
            catalog: control.links.catalog(cluster),
            written: Written::default(),
            compared: None,
            retry_at: None,
            held_until: None,
        }
    }

    fn due(&self) -> Option<Instant> {
        let judged = self.copies.poll_timeout().map(Instant::from_std);
        judged.into_iter().chain(self.retry_at).min()
    }

    /// Takes an event; what is wrong with it, and a word for that.
    fn hear(&mut self, event: CatalogEvent) -> Vec<(&'static str, String)> {
        let now = std::time::Instant::now();
        let foreign = match event {
            CatalogEvent::Snapshot(update) => {
                let unusable = update
                    .rejected
                    .iter()
                    .map(|rejected| rejected.service.clone());
                let taken = self.copies.handle_snapshot(now, update.exports, unusable);
                let mut wrong: Vec<_> = update
                    .rejected
                    .iter()
                    .map(|rejected| (rejected.rejection.reason(), rejected.to_string()))
                    .collect();
                wrong.extend(
                    taken
                        .err()
                        .map(|error| ("ForeignExport", error.to_string())),
                );
                return wrong;
            }
            CatalogEvent::Upsert(export) => self.copies.handle_upsert(*export),
            CatalogEvent::Withdraw(service) => {
                self.copies.handle_withdraw(now, service);
                Ok(())
            }
            CatalogEvent::Rejected(rejected) => {
                return vec![(rejected.rejection.reason(), rejected.to_string())];
            }
            CatalogEvent::Interrupted { reason, message } => {
                tracing::debug!(
                    cluster = self.cluster,
                    reason,
                    message,
                    "catalog interrupted"
                );
                self.copies.handle_interruption();
                Ok(())
            }
        };
        foreign
            .err()
            .map(|error| ("ForeignExport", error.to_string()))
            .into_iter()
            .collect()
    }

    /// Writes what differs.
    async fn store(&mut self, control: &Control, store: &Store, is_holder: impl Fn() -> bool) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let (version, stored) = match self.needs_comparison(control) {
            true => stored(control, &self.cluster),
            false => return,
        };
        self.retry_at = None;
        self.compared = Some(version);
        let differences = self
            .copies
            .differences(now.into_std(), &stored, &mut self.written);

        let cluster = self.cluster.as_str();
        let is_holder = &is_holder;
        let applied = differences
            .apply
            .into_iter()
            .map(|export| (ServiceName::from(&*export), Some(export)));
        let deleted = differences
            .delete
            .into_iter()
            .map(|service| (service, None));
        let mut writes = stream::iter(applied.chain(deleted))
            .take_while(|_| std::future::ready(is_holder()))
            .map(
                |(service, export): (ServiceName, Option<Arc<ClusterExportSpec>>)| async move {
                    let written = match &export {
                        Some(export) => store.apply(export).await,
                        None => store.delete(cluster, &service).await,
                    };
                    (service, export, written)
                },
            )
            .buffer_unordered(CONCURRENCY);
        while let Some((service, export, written)) = writes.next().await {
            match written {
                Ok(()) => self.written.record(now.into_std(), service, export),
                Err(error) => {
                    self.retry_at = Some(now + RETRY);
                    failed(control, "ClusterExport", &error);
                    // Where the API server does not answer, the others need not be tried.
                    if !error.is_refusal() {
                        break;
                    }
                }
            }
        }
    }

    fn needs_comparison(&self, control: &Control) -> bool {
        let version = control.world.exports.lock().version();
        self.compared != Some(version) || self.retry_at.is_some() || !self.written.is_empty()
    }

    fn count(&mut self, control: &Control) {
        let held = self.copies.held();
        self.held_until = held.map(|Held { until, .. }| match self.held_until {
            Some((instant, wall)) if instant == until => (instant, wall),
            Some(_) | None => (until, wall_clock(until)),
        });
        let labels = ClusterLabels {
            cluster: self.cluster.clone(),
        };
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(exports) = self.copies.synced() {
            control
                .metrics
                .exports
                .get_or_create(&labels)
                .set(gauge(exports));
        }
        let withheld = held.map_or(0, |held| held.count);
        control
            .metrics
            .withheld
            .get_or_create(&labels)
            .set(gauge(withheld));
    }
}

fn stored(control: &Control, cluster: &str) -> (u64, Exports) {
    let table = control.world.exports.lock();
    let copies = table
        .objects()
        .values()
        .filter(|export| export.cluster == cluster)
        .map(|export| (ServiceName::from(&**export), Arc::clone(export)))
        .collect();
    (table.version(), copies)
}

fn link_view(peer: &Peer, link: Option<&PeerLink>) -> LinkView {
    match link {
        Some(link) if link.is_connected() => {
            LinkView::Linked(link.replicas.keys().cloned().collect())
        }
        Some(_) | None if peer.spec.addresses.is_empty() => LinkView::WaitingForDial,
        Some(PeerLink {
            last_error: Some(error),
            ..
        }) => LinkView::Unreachable(format!("{}: {}", error.reason, error.message)),
        Some(_) | None => LinkView::Unreachable("not connected yet".to_owned()),
    }
}

fn same_but_for_messages(before: &PeerStatus, after: &PeerStatus) -> bool {
    let states = |status: &PeerStatus| -> Vec<_> {
        let conditions = status.conditions.iter();
        conditions
            .map(|c| (c.type_.clone(), c.reason.clone(), c.observed_generation))
            .collect()
    };
    before.exports == after.exports && states(before) == states(after)
}

fn wall_clock(instant: std::time::Instant) -> Timestamp {
    let left = instant.saturating_duration_since(std::time::Instant::now());
    let second = Timestamp::now()
        .as_second()
        .saturating_add_unsigned(left.as_secs());
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

fn reference(peer: &Peer) -> ObjectReference {
    peer.object_ref(&())
}

fn failed(control: &Control, reason: &'static str, error: &Failure) {
    control
        .metrics
        .write_failures
        .get_or_create(&ErrorLabels { reason })
        .inc();
    tracing::info!(what = reason, %error, "write failed");
}
