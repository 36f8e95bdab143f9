use tombolo_crds::mcs::{ServiceImport, ServiceImportSpec};

use super::*;
use crate::index::Index;
use crate::mcs::McsVersion;
use crate::plan::action::{DeletedKind, Deletion};

#[test]
fn what_left_the_object_as_it_is_need_not_be_applied_again() {
    let mut settled = Settled::default();
    let action = apply("10.0.0.1");
    assert!(!settled.has(&action, &view(7)));

    settled.record(&action, &view(7));

    assert!(settled.has(&action, &view(7)));
    assert!(
        !settled.has(&apply("10.0.0.2"), &view(7)),
        "something else is wanted"
    );
    assert!(
        !settled.has(&action, &view(8)),
        "somebody has changed it since"
    );
}

#[test]
fn an_object_that_is_gone_is_made_again() {
    let mut settled = Settled::default();
    let action = apply("10.0.0.1");
    settled.record(&action, &view(7));
    let absent = Index::new("east", "tombolo-system", McsVersion::V1Beta1).view(&web());

    assert!(!settled.has(&action, &absent));
}

#[test]
fn a_deletion_forgets_what_was_applied() {
    let mut settled = Settled::default();
    settled.record(&apply("10.0.0.1"), &view(7));
    let deletion = Deletion {
        kind: DeletedKind::ServiceImport,
        name: web(),
        uid: None,
    };

    settled.record(&Action::Delete(deletion), &view(7));

    assert!(!settled.has(&apply("10.0.0.1"), &view(7)));
}

#[test]
fn at_rest_only_what_is_needed_is_remembered() {
    let mut settled = Settled::default();
    let action = apply("10.0.0.1");
    settled.record(&action, &view(7));

    settled.rest(&web(), &BTreeSet::from([Target::of(&action)]));
    assert!(settled.has(&action, &view(7)));
    settled.rest(&web(), &BTreeSet::new());

    assert!(!settled.has(&action, &view(7)));
    assert!(settled.0.is_empty());
}

fn web() -> ServiceName {
    ServiceName::new("demo", "web")
}

fn import(ip: &str) -> ServiceImport {
    let spec = ServiceImportSpec {
        ips: vec![ip.to_owned()],
        ..ServiceImportSpec::default()
    };
    let mut import = ServiceImport::new("web", spec);
    import.metadata.namespace = Some("demo".to_owned());
    import
}

fn apply(ip: &str) -> Action {
    Action::ApplyImport(Box::new(import(ip)))
}

fn view(version: u64) -> View {
    let mut found = import("192.0.2.1");
    found.metadata.resource_version = Some(version.to_string());
    let mut index = Index::new("east", "tombolo-system", McsVersion::V1Beta1);
    index.observe(&found);
    index.view(&web())
}
