//! What a Peer's status says: from what is known of it to conditions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tombolo_crds::well_known::EXPORTS_STALE_CONDITION;
use tombolo_crds::{LinkedGateway, Peer, PeerStatus};
use tombolo_link::Carrier;

use crate::absence::Freshness;
use crate::peers::Rejection;

/// What the replica that holds the Peer's Lease knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Why the Peer is not used, if it is not.
    pub rejection: Option<Rejection>,
    /// How it stands with the link.
    pub link: LinkView,
    /// How many exports the catalog holds; `None` until one was received whole.
    pub exports: Option<usize>,
    /// Withdrawals that are held back.
    pub held: Option<HeldView>,
    /// What the exports are worth.
    pub freshness: Freshness,
    /// Of which incarnation of the cluster the exports are; `None` if nobody has told yet.
    pub incarnation: Option<String>,
}

/// How it stands with the link to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkView {
    /// The gateways there, by name.
    Linked(Linked),
    /// Nothing to dial: the other side has to.
    WaitingForDial,
    /// What went wrong last.
    Unreachable(String),
}

/// The gateways of a peer to which there is a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Each with what carries it, by name.
    pub gateways: BTreeMap<String, Carrier>,
    /// Since when nobody has answered over UDP, to the second; `None` if this side has not dialled, or
    /// somebody has answered.
    pub unanswered_since: Option<Timestamp>,
}

/// Withdrawals that are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// How many.
    pub count: usize,
    /// When the first of them will be believed, to the second.
    pub until: Timestamp,
}

/// The status that `peer` should have; equal to the one that it has if nothing changed.
#[must_use]
pub fn evaluate(peer: &Peer, view: &PeerView, now: Timestamp) -> PeerStatus {
    let before = peer.status.clone().unwrap_or_default();
    let observed = [
        accepted(view),
        connected(view),
        catalog_synced(view),
        withdrawal_held(view),
        exports_stale(view),
        over_tcp(view),
    ];
    let conditions = observed
        .into_iter()
        .map(|observed| {
            let old = before
                .conditions
                .iter()
                .find(|old| old.type_ == observed.type_);
            let status = if observed.status { "True" } else { "False" };
            let since = old
                .filter(|old| old.status == status)
                .map_or(Time(now), |old| old.last_transition_time.clone());
            Condition {
                type_: observed.type_.to_owned(),
                status: status.to_owned(),
                reason: observed.reason.to_owned(),
                message: observed.message,
                observed_generation: peer.metadata.generation,
                last_transition_time: since,
            }
        })
        .collect();
    let is_expired = matches!(view.freshness, Freshness::Expired { .. });
    let exports = match (&view.rejection, view.exports) {
        (_, None) if is_expired => Some(0),
        (Some(_), _) => None,
        (None, Some(exports)) => i64::try_from(exports).ok(),
        // The copies outlive the link, and so does their number.
        (None, None) => before.exports,
    };
    PeerStatus {
        conditions,
        gateways: gateways(view),
        exports,
        incarnation: view.incarnation.clone().or(before.incarnation),
    }
}

/// Since when there is no link, if that is what a Peer's status says.
#[must_use]
pub fn unlinked_since(peer: &Peer) -> Option<Timestamp> {
    let conditions = peer.status.iter().flat_map(|status| &status.conditions);
    let mut connected = conditions.filter(|condition| condition.type_ == "Connected");
    let found = connected.next().filter(|found| found.status == "False")?;
    Some(found.last_transition_time.0)
}

struct Observed {
    type_: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

fn observed(
    type_: &'static str,
    status: bool,
    reason: &'static str,
    message: impl Into<String>,
) -> Observed {
    Observed {
        type_,
        status,
        reason,
        message: message.into(),
    }
}

fn accepted(view: &PeerView) -> Observed {
    match &view.rejection {
        None => observed("Accepted", true, "Accepted", ""),
        Some(rejection) => observed("Accepted", false, rejection.reason(), rejection.to_string()),
    }
}

fn connected(view: &PeerView) -> Observed {
    if view.rejection.is_some() {
        return observed(
            "Connected",
            false,
            "NotAccepted",
            "the Peer is not accepted",
        );
    }
    match &view.link {
        LinkView::Linked(linked) => {
            let names: Vec<&str> = linked.gateways.keys().map(String::as_str).collect();
            let message = format!("linked to {}", names.join(", "));
            observed("Connected", true, "Connected", message)
        }
        LinkView::WaitingForDial => {
            let message = "the Peer has no addresses: waiting for the other cluster to dial";
            observed("Connected", false, "WaitingForDial", message)
        }
        LinkView::Unreachable(error) => observed("Connected", false, "Unreachable", error),
    }
}

fn catalog_synced(view: &PeerView) -> Observed {
    let linked = matches!(view.link, LinkView::Linked(_));
    let (status, reason, message) = match (&view.rejection, view.exports) {
        (Some(_), _) => (false, "Disconnected", "the Peer is not accepted"),
        (None, _) if !linked => (
            false,
            "Disconnected",
            "not linked: the last known exports stand",
        ),
        (None, Some(_)) => (true, "Synced", ""),
        (None, None) => (false, "Pending", "waiting for a complete catalog"),
    };
    observed("CatalogSynced", status, reason, message)
}

fn withdrawal_held(view: &PeerView) -> Observed {
    match view.held {
        None => observed("WithdrawalHeld", false, "NothingHeld", ""),
        Some(held) => {
            let message = format!(
                "the cluster withdrew {} exports at once; they stand until {} unless it exports \
                 them again",
                held.count, held.until,
            );
            observed("WithdrawalHeld", true, "WithdrawalHeld", message)
        }
    }
}

fn exports_stale(view: &PeerView) -> Observed {
    let type_ = EXPORTS_STALE_CONDITION;
    match view.freshness {
        Freshness::Fresh if view.rejection.is_some() => {
            observed(type_, false, "NotAccepted", "the Peer is not accepted")
        }
        Freshness::Fresh => observed(type_, false, "Fresh", ""),
        Freshness::Stale { since, until } => {
            let message = format!("no link since {since}: its exports stand until {until}");
            observed(type_, true, "Unreachable", message)
        }
        Freshness::Expired { since } => {
            let message = format!("no link since {since}: its exports are withdrawn");
            observed(type_, true, "Expired", message)
        }
    }
}

fn over_tcp(view: &PeerView) -> Observed {
    let type_ = "OverTCP";
    let linked = match (&view.rejection, &view.link) {
        (None, LinkView::Linked(linked)) => linked,
        (Some(_), _) | (_, LinkView::WaitingForDial | LinkView::Unreachable(_)) => {
            return observed(type_, false, "NotLinked", "");
        }
    };
    match linked.over_tcp().as_slice() {
        [] => observed(type_, false, "OverUDP", ""),
        gateways => {
            let gateways = gateways.join(", ");
            let why = linked.why_tcp();
            let message = format!("TCP carries the link to {gateways}: {why}");
            observed(type_, true, "UDPNotAnswered", message)
        }
    }
}

fn gateways(view: &PeerView) -> Vec<LinkedGateway> {
    let LinkView::Linked(linked) = &view.link else {
        return Vec::new();
    };
    let gateways = linked.gateways.iter();
    gateways
        .map(|(name, carrier)| LinkedGateway {
            name: name.clone(),
            carrier: carrier.as_str().to_owned(),
        })
        .collect()
}

// === impl Linked ===

impl Linked {
    /// The gateways that TCP carries the link to.
    #[must_use]
    pub fn over_tcp(&self) -> Vec<&str> {
        let over_tcp = |carrier: &Carrier| *carrier == Carrier::Tcp;
        let gateways = self.gateways.iter();
        gateways
            .filter(|(_, carrier)| over_tcp(carrier))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Why TCP carries what it does.
    #[must_use]
    pub fn why_tcp(&self) -> String {
        match self.unanswered_since {
            Some(since) => format!("nobody has answered over UDP since {since}"),
            None => "the other cluster dialled so, to whom nobody answers over UDP".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
