use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinitionStatus, CustomResourceDefinitionVersion,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::*;

#[test]
fn an_absent_crd_is_created() {
    for ours in crate::all() {
        assert_eq!(decide(None, &ours), Decision::Create);
    }
}

#[test]
fn every_crd_of_a_versioned_api_has_a_version() {
    for ours in crate::all()
        .into_iter()
        .filter(|crd| crd.spec.group != "about.k8s.io")
    {
        assert!(version(&ours).is_some(), "{:?}", ours.metadata.name);
    }
}

#[test]
fn what_we_wrote_is_kept() {
    for ours in crate::all()
        .into_iter()
        .filter(|crd| crd.spec.group != "about.k8s.io")
    {
        assert_eq!(decide(Some(&ours), &ours), Decision::Keep(Kept::Same));
    }
}

#[test]
fn only_a_crd_labelled_as_older_is_upgraded() {
    let ours = labelled("v0.5.2", "1");
    let cases = [
        ("v0.5.2", "0", Decision::Upgrade),
        ("v0.5.1", "7", Decision::Upgrade),
        ("v0.4.9", "1", Decision::Upgrade),
        ("0.5.1", "1", Decision::Upgrade),
        ("v0.5.2-rc.1", "1", Decision::Upgrade),
        ("v0.5.2", "1", Decision::Keep(Kept::Same)),
        ("v0.5.2", "2", Decision::Keep(Kept::Newer)),
        ("v0.5.10", "0", Decision::Keep(Kept::Newer)),
        ("v0.6.0-alpha.1", "0", Decision::Keep(Kept::Newer)),
        ("v1.0.0", "0", Decision::Keep(Kept::Newer)),
        ("main", "0", Decision::Keep(Kept::Unlabelled)),
        ("v0.5", "0", Decision::Keep(Kept::Unlabelled)),
        ("v0.5.1", "many", Decision::Keep(Kept::Unlabelled)),
    ];
    for (release, revision, expected) in cases {
        let existing = labelled(release, revision);
        assert_eq!(
            decide(Some(&existing), &ours),
            expected,
            "{release} {revision}"
        );
    }
}

#[test]
fn releases_are_ordered_as_semantic_versions() {
    let ascending = [
        "v0.1.0-1",
        "v0.1.0-2",
        "v0.1.0-10",
        "v0.1.0-alpha",
        "v0.1.0-alpha.1",
        "v0.1.0-beta",
        "v0.1.0",
        "v0.1.1",
    ];
    let parsed: Vec<Release> = ascending
        .iter()
        .filter_map(|text| Release::parse(text))
        .collect();
    assert_eq!(parsed.len(), ascending.len());
    assert!(parsed.is_sorted_by(|a, b| a < b), "{parsed:?}");
}

#[test]
fn an_unlabelled_crd_is_kept_whatever_it_serves() {
    let mut existing = service_exports();
    existing.metadata.labels = None;
    assert_eq!(
        decide(Some(&existing), &service_exports()),
        Decision::Keep(Kept::Unlabelled)
    );
}

#[test]
fn an_older_crd_with_v1alpha1_only_is_upgraded() {
    let mut existing = labelled("v0.3.0", "0");
    existing
        .spec
        .versions
        .retain(|version| version.name == "v1alpha1");
    existing.status = Some(stored(&["v1alpha1"]));
    assert_eq!(
        decide(Some(&existing), &service_exports()),
        Decision::Upgrade
    );
}

#[test]
fn an_older_crd_is_kept_if_a_version_would_be_lost() {
    let lost = Decision::Keep(Kept::HasOtherVersion("v1".to_owned()));

    let mut serving = labelled("v0.3.0", "0");
    serving.spec.versions.push(version_named("v1"));
    assert_eq!(decide(Some(&serving), &service_exports()), lost);

    let mut storing = labelled("v0.3.0", "0");
    storing.status = Some(stored(&["v1alpha1", "v1"]));
    assert_eq!(decide(Some(&storing), &service_exports()), lost);
}

#[test]
fn an_older_crd_is_kept_if_another_controller_converts_it() {
    let mut existing = labelled("v0.3.0", "0");
    existing.spec.conversion = Some(CustomResourceConversion {
        strategy: "Webhook".to_owned(),
        webhook: None,
    });
    let expected = Decision::Keep(Kept::ConvertedByWebhook);
    assert_eq!(decide(Some(&existing), &service_exports()), expected);
}

#[test]
fn an_older_crd_is_kept_while_it_is_deleted() {
    let mut existing = labelled("v0.3.0", "0");
    existing.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let expected = Decision::Keep(Kept::Terminating);
    assert_eq!(decide(Some(&existing), &service_exports()), expected);
}

#[test]
fn a_crd_of_another_shape_is_kept() {
    let mut existing = labelled("v0.3.0", "0");
    existing.spec.scope = "Cluster".to_owned();
    let expected = Decision::Keep(Kept::Incompatible);
    assert_eq!(decide(Some(&existing), &service_exports()), expected);
}

#[test]
fn the_best_served_version_is_spoken() {
    let mut existing = service_exports();
    assert_eq!(served(&existing, &crate::mcs::VERSIONS), Some("v1beta1"));

    for version in &mut existing.spec.versions {
        version.served = version.name == "v1alpha1";
    }
    assert_eq!(served(&existing, &crate::mcs::VERSIONS), Some("v1alpha1"));

    existing.spec.versions = vec![version_named("v1")];
    assert_eq!(served(&existing, &crate::mcs::VERSIONS), None);
}

fn service_exports() -> CustomResourceDefinition {
    crate::all()
        .into_iter()
        .find(|crd| crd.spec.names.kind == "ServiceExport")
        .expect("ServiceExport is among our CRDs")
}

fn labelled(release: &str, revision: &str) -> CustomResourceDefinition {
    let mut crd = service_exports();
    let labels = crd.metadata.labels.get_or_insert_default();
    labels.insert(
        "multicluster.x-k8s.io/release-version".to_owned(),
        release.to_owned(),
    );
    labels.insert(
        "multicluster.x-k8s.io/crd-schema-revision".to_owned(),
        revision.to_owned(),
    );
    crd
}

fn version_named(name: &str) -> CustomResourceDefinitionVersion {
    CustomResourceDefinitionVersion {
        name: name.to_owned(),
        served: true,
        ..Default::default()
    }
}

fn stored(versions: &[&str]) -> CustomResourceDefinitionStatus {
    CustomResourceDefinitionStatus {
        stored_versions: Some(versions.iter().map(|&v| v.to_owned()).collect()),
        ..Default::default()
    }
}
