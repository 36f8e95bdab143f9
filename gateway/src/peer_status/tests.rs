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
            ("OverTCP", "False", "OverUDP"),
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
    assert_eq!(times, [10, 20, 20, 10, 10, 10]);
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
            ("OverTCP", "False", "NotLinked"),
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

#[test]
fn a_link_over_tcp_says_so_for_each_gateway_and_why() {
    let mut partly = over([("gateway-a", Carrier::Tcp), ("gateway-b", Carrier::Udp)]);
    partly.unanswered_since = Some(at(60));
    let dialled_there = over([("gateway-a", Carrier::Tcp)]);
    let status = |linked| {
        let view = PeerView {
            link: LinkView::Linked(linked),
            ..self::linked()
        };
        evaluate(&peer(), &view, at(90))
    };

    let dialled = status(partly);
    assert_eq!(reasons(&dialled)[5], ("OverTCP", "True", "UDPNotAnswered"));
    assert_eq!(
        dialled.conditions[5].message,
        "TCP carries the link to gateway-a: nobody has answered over UDP since 1970-01-01T00:01:00Z"
    );
    assert_eq!(reasons(&dialled)[1], ("Connected", "True", "Connected"));
    let carriers: Vec<_> = dialled
        .gateways
        .iter()
        .map(|gateway| (gateway.name.as_str(), gateway.carrier.as_str()))
        .collect();
    assert_eq!(carriers, [("gateway-a", "TCP"), ("gateway-b", "UDP")]);
    let inbound = status(dialled_there);
    assert!(inbound.conditions[5].message.contains("the other cluster"));
}

fn over<const N: usize>(gateways: [(&str, Carrier); N]) -> Linked {
    Linked {
        gateways: gateways
            .map(|(name, carrier)| (name.to_owned(), carrier))
            .into(),
        unanswered_since: None,
    }
}

fn linked() -> PeerView {
    PeerView {
        rejection: None,
        link: LinkView::Linked(over([
            ("gateway-a", Carrier::Udp),
            ("gateway-b", Carrier::Udp),
        ])),
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
