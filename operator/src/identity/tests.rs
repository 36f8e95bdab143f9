use super::*;

#[test]
fn properties_win_where_there_is_no_flag_and_the_other_way_round() {
    let properties = names(Some("east"), None);
    let flags = names(None, Some("prod"));

    let identity = Identity::decide(&properties, &flags).unwrap();

    assert_eq!(
        identity,
        Identity {
            cluster: "east".to_owned(),
            clusterset: "prod".to_owned()
        }
    );
}

#[test]
fn two_that_agree_are_one() {
    let both = names(Some("east"), Some("prod"));

    assert!(Identity::decide(&both, &both).is_ok());
}

#[test]
fn nobody_and_two_who_disagree_are_errors_that_say_what_to_do() {
    let nothing = names(None, Some("prod"));
    let error = Identity::decide(&nothing, &nothing).unwrap_err();
    assert_eq!(error.reason(), "ClusterIdentityUnknown");
    assert!(error.to_string().contains(CLUSTER_ID_PROPERTY), "{error}");

    let properties = names(Some("east"), Some("prod"));
    let error = Identity::decide(&properties, &names(Some("west"), None)).unwrap_err();
    assert_eq!(error.reason(), "ClusterIdentityDisagreement");
    assert!(
        error.to_string().contains("\"west\" by flag --cluster-id"),
        "{error}"
    );
}

#[test]
fn a_cluster_id_is_a_dns_label() {
    for bad in ["", "East", "a.b", "-a"] {
        let error = Identity::decide(&names(Some(bad), Some("prod")), &Names::default());
        assert_eq!(
            error.unwrap_err().reason(),
            "ClusterIdentityInvalid",
            "{bad:?}"
        );
    }
}

fn names(cluster: Option<&str>, clusterset: Option<&str>) -> Names {
    Names {
        cluster: cluster.map(str::to_owned),
        clusterset: clusterset.map(str::to_owned),
    }
}
