use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tombolo_crds::traffic_policy::{ClusterWeight, Subset, TrafficLimits};

use super::*;

const SYSTEM: &str = "tombolo-system";

#[test]
fn without_a_policy_nothing_is_special() {
    let policies = Policies::new(SYSTEM, []);

    assert_eq!(policies.rules(&web()), TrafficRules::default());
}

#[test]
fn of_two_policies_with_one_target_the_oldest_counts() {
    let older = policy("b", 1, |spec| spec.prefer = vec![Preference::Local]);
    let younger = policy("a", 2, |spec| spec.prefer = vec![Preference::Zone]);

    let policies = Policies::new(SYSTEM, [younger.clone(), older.clone()]);

    assert_eq!(policies.rules(&web()).prefer, [Preference::Local]);
    assert_eq!(reason(&policies, &older), "Accepted");
    let verdict = policies.verdict(&younger, |_| true);
    assert_eq!(verdict, Some(PolicyVerdict::Conflicted("b".to_owned())));
}

#[test]
fn of_two_of_one_age_the_first_by_name_counts() {
    let (a, b) = (policy("a", 1, |_| {}), policy("b", 1, |_| {}));

    let policies = Policies::new(SYSTEM, [b.clone(), a.clone()]);

    assert_eq!(reason(&policies, &a), "Accepted");
    assert_eq!(reason(&policies, &b), "Conflicted");
}

#[test]
fn a_policy_that_is_invalid_or_going_is_in_nobodys_way() {
    let invalid = policy("a", 1, |spec| {
        spec.clusters = vec![ClusterWeight {
            cluster: "east".to_owned(),
            weight: 0,
        }];
    });
    let mut going = (*policy("b", 2, |_| {})).clone();
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
    let good = policy("c", 3, |_| {});

    let policies = Policies::new(SYSTEM, [invalid.clone(), going.into(), good.clone()]);

    assert_eq!(reason(&policies, &invalid), "Invalid");
    assert_eq!(reason(&policies, &good), "Accepted");
}

#[test]
fn a_policy_without_its_import_says_so() {
    let policy = policy("a", 1, |_| {});
    let policies = Policies::new(SYSTEM, [policy.clone()]);

    let verdict = policies.verdict(&policy, |_| false);

    assert_eq!(verdict, Some(PolicyVerdict::TargetNotFound(web())));
}

#[test]
fn only_tombolos_namespace_has_a_default() {
    let mut elsewhere = (*policy("a", 1, |_| {})).clone();
    elsewhere.spec.target_ref = None;
    let mut default = elsewhere.clone();
    default.metadata.namespace = Some(SYSTEM.to_owned());
    let (elsewhere, default) = (Arc::new(elsewhere), Arc::new(default));

    let policies = Policies::new(SYSTEM, [elsewhere.clone(), default.clone()]);

    assert_eq!(reason(&policies, &elsewhere), "Invalid");
    assert_eq!(reason(&policies, &default), "Accepted");
}

#[test]
fn what_a_policy_does_not_say_is_the_clusters_default() {
    let mut default = (*policy("default", 1, |spec| {
        spec.prefer = vec![Preference::Local];
        spec.limits = Some(limits(Some(10), Some(5)));
        spec.session_affinity = Some(Affinity::ClientIP);
    }))
    .clone();
    default.spec.target_ref = None;
    default.metadata.namespace = Some(SYSTEM.to_owned());
    let own = policy("web", 2, |spec| {
        spec.limits = Some(limits(Some(3), None));
        spec.session_affinity = Some(Affinity::None);
    });

    let policies = Policies::new(SYSTEM, [Arc::new(default), own]);
    let rules = policies.rules(&web());
    let others = policies.rules(&ServiceName::new("demo", "other"));

    assert_eq!(rules.prefer, [Preference::Local]);
    assert_eq!(
        (rules.connections, rules.connections_per_second),
        (Some(3), Some(5))
    );
    assert_eq!((rules.affinity, others.affinity), (Some(false), Some(true)));
    assert_eq!(others.connections, Some(10));
}

#[test]
fn who_says_where_traffic_goes_has_it_exactly_unless_told_otherwise() {
    let exact = |change: fn(&mut TrafficPolicySpec)| {
        let policies = Policies::new(SYSTEM, [policy("a", 1, change)]);
        policies.rules(&web()).exact
    };

    assert!(!exact(|_| {}));
    assert!(!exact(
        |spec| spec.session_affinity = Some(Affinity::ClientIP)
    ));
    assert!(exact(|spec| spec.split = Some(Split::Exact)));
    assert!(exact(|spec| spec.prefer = vec![Preference::Region]));
    assert!(exact(|spec| spec.min_healthy = Some(IntOrString::Int(3))));
    assert!(exact(|spec| {
        spec.subsets = vec![Subset {
            name: "v1".to_owned(),
            labels: [("version".to_owned(), "v1".to_owned())].into(),
            weight: 1,
        }];
    }));
    assert!(!exact(|spec| {
        spec.prefer = vec![Preference::Region];
        spec.split = Some(Split::Shared);
    }));
}

#[test]
fn a_floor_is_a_number_or_a_percentage() {
    let text = |text: &str| floor(&IntOrString::String(text.to_owned()));

    assert_eq!(floor(&IntOrString::Int(3)), Some(HealthyFloor::Count(3)));
    assert_eq!(text("70%"), Some(HealthyFloor::Percent(70)));
    assert_eq!(floor(&IntOrString::Int(0)), None);
    assert_eq!((text("0%"), text("101%"), text("70")), (None, None, None));
}

fn policy(name: &str, age: i64, change: impl FnOnce(&mut TrafficPolicySpec)) -> Arc<TrafficPolicy> {
    let mut spec = TrafficPolicySpec {
        target_ref: Some(TargetRef {
            group: mcs::GROUP.to_owned(),
            kind: "ServiceImport".to_owned(),
            name: "web".to_owned(),
        }),
        ..TrafficPolicySpec::default()
    };
    change(&mut spec);
    let mut policy = TrafficPolicy::new(name, spec);
    policy.metadata.namespace = Some("demo".to_owned());
    let created = Timestamp::from_second(age).unwrap();
    policy.metadata.creation_timestamp = Some(Time(created));
    Arc::new(policy)
}

fn limits(connections: Option<i32>, per_second: Option<i32>) -> TrafficLimits {
    TrafficLimits {
        connections,
        connections_per_second: per_second,
    }
}

fn reason(policies: &Policies, policy: &TrafficPolicy) -> &'static str {
    policies.verdict(policy, |_| true).unwrap().reason()
}

fn web() -> ServiceName {
    ServiceName::new("demo", "web")
}
