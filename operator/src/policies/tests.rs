use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tombolo_crds::TrafficPolicySpec;
use tombolo_crds::traffic_policy::TargetRef;

use super::*;

const SYSTEM: &str = "tombolo-system";

#[test]
fn each_policy_is_told_what_became_of_it() {
    let (older, younger) = (
        policy("older", 1, Some("web")),
        policy("younger", 2, Some("web")),
    );
    let (lost, default) = (policy("lost", 3, Some("lost")), policy("default", 4, None));
    let objects = [older, younger, lost, default].map(Arc::new);

    let told = told(&objects);

    let expected = [
        ("older", "True", "Accepted"),
        ("younger", "False", "Conflicted"),
        ("lost", "False", "TargetNotFound"),
        ("default", "False", "Invalid"),
    ];
    assert_eq!(told.len(), expected.len());
    for ((name, status), (policy, truth, reason)) in told.iter().zip(expected) {
        let [ancestor] = &status.ancestors[..] else {
            panic!("{status:?}")
        };
        assert_eq!(name.name, policy);
        assert_eq!(ancestor.controller_name, CONTROLLER);
        let condition = &ancestor.conditions[0];
        assert_eq!((&*condition.type_, &*condition.status), ("Accepted", truth));
        assert_eq!(condition.reason, reason, "{policy}");
    }
}

#[test]
fn the_default_of_the_cluster_is_attached_to_its_namespace() {
    let mut default = policy("default", 1, None);
    default.metadata.namespace = Some(SYSTEM.to_owned());

    let told = told(&[Arc::new(default)]);

    let ancestor = &told[0].1.ancestors[0];
    assert_eq!(ancestor.ancestor_ref.kind, "Namespace");
    assert_eq!(ancestor.ancestor_ref.name, SYSTEM);
    assert_eq!(ancestor.conditions[0].reason, "Accepted");
}

#[test]
fn a_status_that_is_right_is_not_written_again() {
    let mut policy = policy("a", 1, Some("web"));
    policy.status = Some(told(&[Arc::new(policy.clone())]).remove(0).1);

    assert_eq!(told(&[Arc::new(policy)]), []);
}

#[test]
fn what_other_controllers_say_is_kept() {
    let mut policy = policy("a", 1, Some("web"));
    let other = PolicyAncestor {
        controller_name: "example.org/other".to_owned(),
        ..PolicyAncestor::default()
    };
    policy.status = Some(TrafficPolicyStatus {
        ancestors: vec![other.clone()],
    });

    let told = told(&[Arc::new(policy)]);

    assert_eq!(told[0].1.ancestors.len(), 2);
    assert_eq!(told[0].1.ancestors[0], other);
}

fn told(objects: &[Arc<TrafficPolicy>]) -> Vec<(ServiceName, TrafficPolicyStatus)> {
    let policies = Policies::new(SYSTEM, objects.iter().cloned());
    let exists = |import: &ServiceName| *import == ServiceName::new("demo", "web");
    statuses(
        &policies,
        objects,
        SYSTEM,
        exists,
        Timestamp::from_second(9).unwrap(),
    )
}

fn policy(name: &str, age: i64, target: Option<&str>) -> TrafficPolicy {
    let target_ref = target.map(|name| TargetRef {
        group: mcs::GROUP.to_owned(),
        kind: "ServiceImport".to_owned(),
        name: name.to_owned(),
    });
    let spec = TrafficPolicySpec {
        target_ref,
        ..TrafficPolicySpec::default()
    };
    let mut policy = TrafficPolicy::new(name, spec);
    policy.metadata.namespace = Some("demo".to_owned());
    policy.metadata.generation = Some(1);
    let created = Timestamp::from_second(age).unwrap();
    policy.metadata.creation_timestamp = Some(Time(created));
    policy
}
