//! Keeps one Peer: contends for its Lease and, while holding it, has its catalog stored and its
//! status written.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use kube::Resource;
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tombolo_crds::Peer;
use tombolo_link::{CatalogEvent, PeerLink};
use tombolo_runtime::events::{Notice, Severity};
use tombolo_runtime::lease::{Claim, Kept, Lease, Timing};

use super::Control;
use super::book::{Book, Judged};
use super::session::{Refused, Session};
use super::status::StatusWriter;
use super::store::Store;
use crate::absence::{Absence, Freshness};
use crate::peer_status::{self, LinkView, Linked, PeerView};

/// How often a keeper looks, if it hears of nothing.
const TICK: Duration = Duration::from_secs(1);
/// How long a replica without a link waits for one before it leaves the Peer to a sibling that has
/// one, or takes it because nobody has.
const PATIENCE: Duration = Duration::from_secs(3);

/// For so long a catalog stands still when its keeper dies without a word. Shorter than a leader's
/// lease would be, since a lost claim costs nothing but a snapshot.
const TIMING: Timing = Timing {
    duration: Duration::from_secs(6),
    renew: Duration::from_secs(2),
    retry: Duration::from_secs(1),
};

pub(super) struct Keeper {
    control: Arc<Control>,
    store: Store,
    name: String,
    book: watch::Receiver<Arc<Book>>,
    lease: Option<Contended>,
    /// Since when this replica has no link to the Peer.
    unlinked_since: Option<Instant>,
    absence: Absence,
    session: Option<Session>,
    status: StatusWriter,
}

struct Contended {
    claims: watch::Receiver<Claim>,
    _lease: Kept,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(control: Arc<Control>, name: &str, book: watch::Receiver<Arc<Book>>) -> Self {
        Self {
            store: Store::new(control.client.clone(), &control.namespace),
            absence: Absence::new(control.export_lease, Instant::now().into_std()),
            control,
            name: name.to_owned(),
            book,
            lease: None,
            unlinked_since: Some(Instant::now()),
            session: None,
            status: StatusWriter::default(),
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
            let cluster = &judged.peer.spec.cluster_id;
            let link = links.borrow_and_update().get(cluster).cloned();
            self.contend(&judged, link.as_ref());
            if self.is_holder() {
                self.tend(&judged, link.as_ref()).await;
            } else {
                self.let_go();
            }

            let tick = Instant::now() + TICK;
            let due = self
                .session
                .as_ref()
                .and_then(Session::due)
                .map_or(tick, |due| due.min(tick));
            tokio::select! {
                changed = self.book.changed() => if changed.is_err() { return },
                changed = links.changed() => if changed.is_err() { return },
                _ = changes.changed() => {}
                () = claimed(&mut self.lease) => {}
                event = told(&mut self.session) => self.hear(event, &judged.peer),
                () = time::sleep_until(due) => {}
            }
        }
    }

    // A replica with a link goes before one without.
    fn contend(&mut self, judged: &Judged, link: Option<&PeerLink>) {
        let now = Instant::now();
        let linked = link.is_some_and(PeerLink::is_connected);
        self.unlinked_since = match linked {
            true => None,
            false => self.unlinked_since.or(Some(now)),
        };
        // A Peer that is not accepted has no link; any replica may say why.
        let may_hold = linked || judged.rejection.is_some();
        let is_impatient = self
            .unlinked_since
            .is_some_and(|since| now >= since + PATIENCE);
        let sibling_is_linked = || {
            let cluster = &judged.peer.spec.cluster_id;
            let siblings = self.control.siblings.lock();
            siblings.have_link(now.into_std(), &self.control.replica, cluster)
        };
        match &self.lease {
            Some(_) if !may_hold && is_impatient && sibling_is_linked() => {
                tracing::info!(peer = self.name, "left to a replica that has a link");
                self.lease = None;
            }
            None if may_hold || (is_impatient && !sibling_is_linked()) => {
                self.lease = Some(self.contended(&judged.peer));
            }
            Some(_) | None => {}
        }
    }

    fn contended(&self, peer: &Peer) -> Contended {
        let Control {
            client,
            namespace,
            replica,
            tasks,
            ..
        } = &*self.control;
        let name = format!("tombolo-peer-{}", self.name);
        let mut lease = Lease::new(client.clone(), namespace, &name, replica).timing(TIMING);
        if let Some(owner) = peer.owner_ref(&()) {
            lease = lease.owned_by(owner);
        }
        let lease = lease.keep(tasks);
        Contended {
            claims: lease.claims(),
            _lease: lease,
        }
    }

    fn is_holder(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| {
            lease
                .claims
                .borrow()
                .is_held_by(&self.control.replica, Instant::now())
        })
    }

    fn let_go(&mut self) {
        self.status = StatusWriter::default();
        // Whoever holds the Lease writes since when there is no link.
        self.absence.handle_link();
        if let Some(session) = self.session.take() {
            session.forget_metrics(&self.control);
        }
    }

    async fn tend(&mut self, judged: &Judged, link: Option<&PeerLink>) {
        let cluster = &judged.peer.spec.cluster_id;
        // The links know a Peer that is accepted again: there is something to hear.
        let is_good = |session: &Session| {
            session.cluster() == cluster && (judged.rejection.is_some() || !session.is_deaf())
        };
        if !judged.has_copies {
            self.session = None;
        } else if !self.session.as_ref().is_some_and(is_good) {
            let status = judged.peer.status.as_ref();
            let incarnation = status.and_then(|status| status.incarnation.clone());
            self.session = Some(Session::new(&self.control, cluster, incarnation));
        }
        let freshness = self.freshness(judged, link);
        if let (Freshness::Expired { .. }, Some(session)) = (freshness, &mut self.session) {
            session.expire();
        }
        if let Some(session) = &mut self.session {
            let (claims, replica) = (
                self.lease.as_ref().map(|l| &l.claims),
                &self.control.replica,
            );
            let is_holder =
                || claims.is_some_and(|claims| claims.borrow().is_held_by(replica, Instant::now()));
            session.tend(&self.control, &self.store, is_holder).await;
        }

        let session = self.session.as_ref();
        let view = PeerView {
            rejection: judged.rejection.clone(),
            link: link_view(&judged.peer, link),
            exports: session.and_then(Session::synced),
            held: session.and_then(Session::held),
            freshness,
            incarnation: session.and_then(Session::incarnation).map(str::to_owned),
        };
        self.tell(&judged.peer, &view);
        self.status
            .write(&self.control, &self.store, &judged.peer, &view)
            .await;
    }

    fn hear(&mut self, event: Option<CatalogEvent>, peer: &Peer) {
        let Some(session) = &mut self.session else {
            return;
        };
        let links = self.control.links.status();
        let incarnation = links
            .borrow()
            .get(session.cluster())
            .and_then(|link| link.incarnation.clone());
        let refused = session.hear(event, incarnation.as_deref());
        if session.take_rebuilt() {
            tracing::info!(peer = self.name, incarnation, "the cluster was rebuilt");
            let note = "the cluster was rebuilt: its namespace kube-system is another one, and \
                        what it exported before is withdrawn";
            self.warn(peer, "ClusterRebuilt", "Replicate", note.to_owned());
        }
        let Some(Refused { reason, message }) = refused.first() else {
            return;
        };
        for Refused { reason, message } in &refused {
            self.control.metrics.reject_export(reason);
            tracing::info!(
                peer = self.name,
                reason,
                message,
                "part of the catalog refused"
            );
        }
        let note = match refused.len() {
            1 => format!("{reason}: {message}"),
            more => format!("{more} exports are refused, the first: {reason}: {message}"),
        };
        self.warn(peer, "ExportRefused", "Replicate", note);
    }

    fn freshness(&mut self, judged: &Judged, link: Option<&PeerLink>) -> Freshness {
        let peer = &judged.peer;
        let now = Instant::now().into_std();
        // What is another Peer's is its matter.
        if link.is_some_and(PeerLink::is_connected) || !judged.has_copies {
            self.absence.handle_link();
        } else {
            let since = peer_status::unlinked_since(peer);
            self.absence.handle_no_link(now, Timestamp::now(), since);
        }
        self.absence.freshness(now)
    }

    fn tell(&self, peer: &Peer, view: &PeerView) {
        if let Some(rejection) = &view.rejection {
            self.warn(peer, rejection.reason(), "Accept", rejection.to_string());
        }
        match view.held {
            Some(held) => {
                let note = format!("{} exports were withdrawn at once", held.count);
                self.warn(peer, "WithdrawalHeld", "Replicate", note);
            }
            None => self
                .control
                .events
                .forget(&peer.object_ref(&()), "WithdrawalHeld"),
        }
        match &view.link {
            LinkView::Linked(linked) if !linked.over_tcp().is_empty() => {
                // Without the names, which may change often: the status has them.
                let note = format!("TCP carries the link: {}", linked.why_tcp());
                self.warn(peer, "OverTCP", "Link", note);
            }
            LinkView::Linked(_) => self.control.events.forget(&peer.object_ref(&()), "OverTCP"),
            // A link that is lost and made again as it was is no news.
            LinkView::WaitingForDial | LinkView::Unreachable(_) => {}
        }
        match view.freshness {
            Freshness::Expired { since } => {
                let note = format!("no link since {since}: its exports are withdrawn");
                self.warn(peer, "ExportsExpired", "Replicate", note);
            }
            Freshness::Fresh | Freshness::Stale { .. } => self
                .control
                .events
                .forget(&peer.object_ref(&()), "ExportsExpired"),
        }
    }

    fn warn(&self, peer: &Peer, reason: &'static str, action: &'static str, note: String) {
        let notice = Notice {
            severity: Severity::Warning,
            reason,
            action,
            note,
        };
        self.control.events.publish(&peer.object_ref(&()), notice);
    }
}

async fn claimed(lease: &mut Option<Contended>) {
    let Some(lease) = lease else {
        return std::future::pending().await;
    };
    // It ends when a drain has released it: there is nothing more to hear then.
    if lease.claims.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn told(session: &mut Option<Session>) -> Option<CatalogEvent> {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}

fn to_the_second(time: SystemTime) -> Option<Timestamp> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::from_second(i64::try_from(since_epoch.as_secs()).ok()?).ok()
}

fn link_view(peer: &Peer, link: Option<&PeerLink>) -> LinkView {
    match link {
        Some(link) if link.is_connected() => {
            let gateways = link.replicas.iter();
            LinkView::Linked(Linked {
                gateways: gateways
                    .map(|(name, replica)| (name.clone(), replica.carrier))
                    .collect(),
                unanswered_since: link.unanswered_since.and_then(to_the_second),
            })
        }
        Some(_) | None if peer.spec.addresses.is_empty() => LinkView::WaitingForDial,
        Some(PeerLink {
            last_error: Some(error),
            ..
        }) => LinkView::Unreachable(format!("{}: {}", error.reason, error.message)),
        Some(_) | None => LinkView::Unreachable("not connected yet".to_owned()),
    }
}
