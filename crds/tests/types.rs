//! The types read what a cluster may hold.

use serde_json::{Value, json};
use tombolo_crds::mcs::{ServiceExport, ServiceImport, ServiceImportType, v1alpha1};

#[test]
fn an_export_needs_no_spec() {
    for spec in [None, Some(Value::Null), Some(json!({}))] {
        let export: ServiceExport = read("v1beta1", "ServiceExport", spec.clone());
        assert!(export.spec.exported_labels.is_empty());
        let older: v1alpha1::ServiceExport = read("v1alpha1", "ServiceExport", spec);
        assert_eq!(ServiceExport::from(older), export);
    }
}

#[test]
fn an_import_needs_no_spec() {
    for spec in [None, Some(Value::Null)] {
        let import: ServiceImport = read("v1beta1", "ServiceImport", spec.clone());
        assert!(import.spec.ports.is_empty());
        let older: v1alpha1::ServiceImport = read("v1alpha1", "ServiceImport", spec);
        assert_eq!(ServiceImport::from(older), import);
    }
}

#[test]
fn both_versions_hold_the_same() {
    let spec = json!({
        "ports": [{"name": "http", "protocol": "TCP", "appProtocol": "http", "port": 80}],
        "ips": ["10.96.0.7"],
        "ipFamilies": ["IPv4"],
        "type": "Headless",
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "internalTrafficPolicy": "Local",
        "trafficDistribution": "PreferClose",
    });
    let import: ServiceImport = read("v1beta1", "ServiceImport", Some(spec.clone()));
    assert_eq!(import.spec.type_, ServiceImportType::Headless);
    assert_eq!(
        serde_json::to_value(&import).expect("it serializes")["spec"],
        spec
    );

    let older = v1alpha1::ServiceImport::from(import.clone());
    let written = serde_json::to_value(&older).expect("it serializes");
    assert_eq!(written["apiVersion"], "multicluster.x-k8s.io/v1alpha1");
    assert_eq!(written["spec"], spec);
    assert_eq!(ServiceImport::from(older), import);
}

#[test]
fn a_port_is_tcp_unless_it_says_otherwise() {
    let spec = json!({"type": "ClusterSetIP", "ports": [{"port": 80}]});
    let import: ServiceImport = read("v1beta1", "ServiceImport", Some(spec));
    assert_eq!(import.spec.ports[0].protocol, "TCP");
}

fn read<T: serde::de::DeserializeOwned>(version: &str, kind: &str, spec: Option<Value>) -> T {
    let mut object = json!({
        "apiVersion": format!("multicluster.x-k8s.io/{version}"),
        "kind": kind,
        "metadata": {"namespace": "demo", "name": "hello"},
    });
    if let Some(spec) = spec {
        object["spec"] = spec;
    }
    serde_json::from_value(object).expect("the API server accepts it, and so do we")
}
