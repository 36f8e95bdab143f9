use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use super::*;

#[test]
fn what_is_unpacked_is_what_was_packed() {
    comes_back::<Service>(json!({
        "metadata": {"name": "web", "namespace": "demo", "uid": "u", "resourceVersion": "7",
            "creationTimestamp": "2030-01-01T00:00:00Z", "labels": {"a": "b"}, "annotations": {}},
        "spec": {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]},
    }));
    comes_back::<EndpointSlice>(json!({
        "metadata": {"name": "web-1", "namespace": "demo"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": true}, "zone": "a"}],
    }));
    comes_back::<ServiceExport>(json!({
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"exportedLabels": {"a": "b"}},
        "status": {"conditions": [{"type": "Valid", "status": "True", "reason": "Valid",
            "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z"}]},
    }));
    comes_back::<ServiceImport>(json!({
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"type": "ClusterSetIP", "ports": [{"port": 80, "protocol": "TCP"}],
            "ips": ["10.0.0.1"]},
        "status": {"clusters": [{"cluster": "west"}]},
    }));
    comes_back::<ClusterExport>(json!({
        "metadata": {"name": "web.demo.west", "namespace": "tombolo-system"},
        "spec": {"cluster": "west", "namespace": "demo", "name": "web",
            "createdAt": "2030-01-01T00:00:00Z", "type": "Headless", "ready": true,
            "endpoints": [{"id": "web-0", "ready": true}]},
    }));
}

#[test]
fn a_packed_object_tells_its_metadata_and_version() {
    let mut service = Service::default();
    service.metadata.name = Some("web".to_owned());
    service.metadata.resource_version = Some("7".to_owned());
    let packed = Packed::new(&service).unwrap();

    assert_eq!(packed.metadata(), service.metadata);
    assert_eq!(packed.version(), Some(7));
}

#[test]
fn objects_differ_packed_as_they_do_unpacked() {
    let service = Service::default();
    let with_spec = Service {
        spec: Some(ServiceSpec::default()),
        ..Service::default()
    };
    let pack = |service: &Service| Packed::new(service).unwrap();

    assert!(pack(&service) == pack(&service));
    assert!(pack(&service) != pack(&with_spec));
}

fn comes_back<T>(json: Value)
where
    T: Resource + Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    let object: T = serde_json::from_value(json).unwrap();
    assert_eq!(*Packed::new(&object).unwrap().unpack(), object);
}
