//! What a Peer's status says: from what is known of it to conditions.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tombolo_crds::well_known::EXPORTS_STALE_CONDITION;
use tombolo_crds::{Peer, PeerStatus};

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
    /// Replicas there, by name.
    Linked(Vec<String>),
    /// Nothing to dial: the other side has to.
    WaitingForDial,
    /// What went wrong last.
    Unreachable(String),
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
        LinkView::Linked(replicas) => {
            let message = format!("linked to {}", replicas.join(", "));
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

#[cfg(test)]
mod tests {
    use tombolo_crds::PeerSpec;

    use super::*;

    #[test]
    fn a_linked_peer_is_all_well() {
        let status = evaluate(&peer(), &linked(), at(10));

        assert_eq!(
            reasons(&status),
            [
                ("Accepted", "True", "Accepted"),
                ("Connected", "True", "Connected"),
                ("CatalogSynced", "True", "Synced"),
                ("WithdrawalHeld", "False", "NothingHeld"),
                ("ExportsStale", "False", "Fresh"),
            ]
        );
        assert_eq!(status.exports, Some(3));
        assert!(
            status
                .conditions
                .iter()
                .all(|c| c.observed_generation == Some(7))
        );
    }

    #[test]
    fn nothing_new_is_no_change() {
        let mut peer = peer();
        peer.status = Some(evaluate(&peer, &linked(), at(10)));

        assert_eq!(Some(evaluate(&peer, &linked(), at(20))), peer.status);
    }

    #[test]
    fn only_a_changed_condition_has_a_new_transition_time() {
        let mut peer = peer();
        peer.status = Some(evaluate(&peer, &linked(), at(10)));
        let unlinked = PeerView {
            link: LinkView::Unreachable("no route".to_owned()),
            ..linked()
        };

        let status = evaluate(&peer, &unlinked, at(20));

        let times: Vec<_> = status
            .conditions
            .iter()
            .map(|c| c.last_transition_time.0.as_second())
            .collect();
        assert_eq!(times, [10, 20, 20, 10, 10]);
        assert_eq!(status.conditions[1].message, "no route");
        assert_eq!(status.conditions[2].reason, "Disconnected");
    }

    #[test]
    fn a_rejected_peer_says_why_and_nothing_more() {
        let rejected = PeerView {
            rejection: Some(Rejection::OwnClusterId("west".to_owned())),
            link: LinkView::WaitingForDial,
            exports: None,
            ..linked()
        };
        let mut peer = peer();
        peer.status = Some(evaluate(&peer, &linked(), at(10)));

        let status = evaluate(&peer, &rejected, at(20));

        assert_eq!(
            reasons(&status),
            [
                ("Accepted", "False", "OwnClusterID"),
                ("Connected", "False", "NotAccepted"),
                ("CatalogSynced", "False", "Disconnected"),
                ("WithdrawalHeld", "False", "NothingHeld"),
                ("ExportsStale", "False", "NotAccepted"),
            ]
        );
        assert_eq!(status.exports, None);
    }

    #[test]
    fn exports_of_a_peer_that_is_no_longer_accepted_are_stale_and_then_none() {
        let since = at(60);
        let rejected = |freshness| PeerView {
            rejection: Some(Rejection::InvalidAddress("nowhere".to_owned())),
            link: LinkView::Unreachable("not connected yet".to_owned()),
            exports: None,
            freshness,
            ..linked()
        };

        let until = at(3660);
        let stale = evaluate(
            &peer(),
            &rejected(Freshness::Stale { since, until }),
            at(120),
        );
        let expired = evaluate(&peer(), &rejected(Freshness::Expired { since }), at(3660));

        assert_eq!(reasons(&stale)[0], ("Accepted", "False", "InvalidAddress"));
        assert_eq!(reasons(&stale)[4], ("ExportsStale", "True", "Unreachable"));
        assert_eq!(reasons(&expired)[4], ("ExportsStale", "True", "Expired"));
        assert_eq!(expired.exports, Some(0));
    }

    #[test]
    fn before_the_first_catalog_it_is_pending() {
        let status = evaluate(
            &peer(),
            &PeerView {
                exports: None,
                ..linked()
            },
            at(10),
        );

        assert_eq!(reasons(&status)[2], ("CatalogSynced", "False", "Pending"));
        assert_eq!(status.exports, None);
    }

    #[test]
    fn a_held_withdrawal_says_how_many_and_until_when() {
        let held = Some(HeldView {
            count: 40,
            until: at(90),
        });

        let status = evaluate(&peer(), &PeerView { held, ..linked() }, at(10));

        let condition = &status.conditions[3];
        assert_eq!(
            reasons(&status)[3],
            ("WithdrawalHeld", "True", "WithdrawalHeld")
        );
        assert!(condition.message.contains("40 exports"));
        assert!(condition.message.contains("1970-01-01T00:01:30Z"));
    }

    #[test]
    fn exports_of_a_peer_that_is_away_are_stale_and_then_none() {
        let mut peer = peer();
        peer.status = Some(evaluate(&peer, &linked(), at(10)));
        let away = |freshness| PeerView {
            link: LinkView::Unreachable("no route".to_owned()),
            exports: None,
            incarnation: None,
            freshness,
            ..linked()
        };

        let (since, until) = (at(60), at(3660));
        let stale = evaluate(&peer, &away(Freshness::Stale { since, until }), at(120));
        let expired = evaluate(&peer, &away(Freshness::Expired { since }), at(3660));

        assert_eq!(reasons(&stale)[4], ("ExportsStale", "True", "Unreachable"));
        assert!(stale.conditions[4].message.contains("1970-01-01T01:01:00Z"));
        assert_eq!(stale.exports, Some(3));
        assert_eq!(reasons(&expired)[4], ("ExportsStale", "True", "Expired"));
        assert_eq!(expired.exports, Some(0));
        assert_eq!(
            expired.incarnation.as_deref(),
            Some("uid-1"),
            "the last one that was told"
        );
    }

    fn linked() -> PeerView {
        PeerView {
            rejection: None,
            link: LinkView::Linked(vec!["gateway-a".to_owned(), "gateway-b".to_owned()]),
            exports: Some(3),
            held: None,
            freshness: Freshness::Fresh,
            incarnation: Some("uid-1".to_owned()),
        }
    }

    fn peer() -> Peer {
        let mut peer = Peer::new(
            "east",
            PeerSpec {
                cluster_id: "east".to_owned(),
                addresses: Vec::new(),
                ca_bundle: String::new(),
            },
        );
        peer.metadata.generation = Some(7);
        peer
    }

    fn reasons(status: &PeerStatus) -> Vec<(&str, &str, &str)> {
        status
            .conditions
            .iter()
            .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
            .collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
}
