use k8s_openapi::api::core::v1::{ClientIPConfig, ServicePort as KubePort, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tombolo_crds::mcs::ServiceExportSpec;

use super::*;

#[test]
fn the_proxy_protocol_is_exported_in_the_version_that_there_is() {
    let exported = |version: Option<&str>| {
        let mut service = service(ServiceSpec {
            ports: Some(vec![port(None, "TCP", 80)]),
            ..Default::default()
        });
        service.metadata.annotations = version
            .map(|version| [(PROXY_PROTOCOL_ANNOTATION.to_owned(), version.to_owned())].into());
        let exported = export_from("east", &export(), Some(&service), true, Vec::new()).unwrap();
        let asked = proxy_protocol(&service).map(|asked| asked.map(str::to_owned));
        (exported.proxy_protocol, asked.map_err(str::to_owned))
    };

    assert_eq!(exported(None), (None, Ok(None)));
    let v2 = Some("v2".to_owned());
    assert_eq!(exported(Some("v2")), (v2.clone(), Ok(v2)));
    // A Service is not withdrawn for a slip of the pen.
    assert_eq!(exported(Some("2")), (None, Err("2".to_owned())));
}

#[test]
fn a_cluster_ip_service_is_exported_with_all_that_matters() {
    let mut service = service(ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        cluster_ip: Some("10.96.0.7".to_owned()),
        ports: Some(vec![
            port(Some("http"), "TCP", 80),
            port(Some("dns"), "UDP", 53),
        ]),
        session_affinity: Some("ClientIP".to_owned()),
        session_affinity_config: Some(SessionAffinityConfig {
            client_ip: Some(ClientIPConfig {
                timeout_seconds: Some(60),
            }),
        }),
        internal_traffic_policy: Some("Local".to_owned()),
        traffic_distribution: Some("PreferClose".to_owned()),
        ip_families: Some(vec!["IPv6".to_owned(), "IPv4".to_owned()]),
        ..Default::default()
    });
    service.metadata.labels = Some([("app".to_owned(), "hello".to_owned())].into());
    let mut export = export();
    export.spec.exported_labels = [("team".to_owned(), "blue".to_owned())].into();
    export.spec.exported_annotations = [("note".to_owned(), "any text".to_owned())].into();
    export.metadata.labels = Some([("app".to_owned(), "hello".to_owned())].into());

    let exported = export_from("east", &export, Some(&service), true, Vec::new()).unwrap();

    assert_eq!(exported.object_name(), "hello.demo.east");
    assert_eq!(exported.created_at.0.as_second(), CREATED_AT);
    assert_eq!(exported.type_, ServiceImportType::ClusterSetIP);
    assert_eq!(exported.ports.len(), 2);
    assert_eq!(exported.ports[1].name.as_deref(), Some("dns"));
    assert_eq!(exported.ports[1].protocol, "UDP");
    assert_eq!(exported.session_affinity.as_deref(), Some("ClientIP"));
    assert_eq!(
        exported.session_affinity_config,
        service
            .spec
            .as_ref()
            .and_then(|spec| spec.session_affinity_config.clone())
    );
    assert_eq!(exported.internal_traffic_policy.as_deref(), Some("Local"));
    assert_eq!(
        exported.traffic_distribution.as_deref(),
        Some("PreferClose")
    );
    assert_eq!(exported.ip_families, ["IPv6", "IPv4"]);
    assert_eq!(
        exported.exported_labels,
        [("team".to_owned(), "blue".to_owned())].into()
    );
    assert_eq!(
        exported.exported_annotations,
        export.spec.exported_annotations
    );
    assert!(exported.ready);
}

#[test]
fn types_map_to_import_types() {
    let cases = [
        (None, "10.96.0.7", ServiceImportType::ClusterSetIP),
        (
            Some("ClusterIP"),
            "10.96.0.7",
            ServiceImportType::ClusterSetIP,
        ),
        (
            Some("NodePort"),
            "10.96.0.7",
            ServiceImportType::ClusterSetIP,
        ),
        (
            Some("LoadBalancer"),
            "10.96.0.7",
            ServiceImportType::ClusterSetIP,
        ),
        (Some("ClusterIP"), "None", ServiceImportType::Headless),
    ];
    for (type_, cluster_ip, expected) in cases {
        let service = service(ServiceSpec {
            type_: type_.map(str::to_owned),
            cluster_ip: Some(cluster_ip.to_owned()),
            ports: Some(vec![port(None, "TCP", 80)]),
            ..Default::default()
        });
        let exported = export_from("east", &export(), Some(&service), false, Vec::new()).unwrap();
        assert_eq!(exported.type_, expected, "{type_:?} {cluster_ip}");
    }
}

#[test]
fn without_a_service_the_reason_is_no_service() {
    let invalid = export_from("east", &export(), None, false, Vec::new()).unwrap_err();
    assert_eq!(invalid, Invalid::NoService);
    assert_eq!(invalid.reason(), "NoService");
}

#[test]
fn what_cannot_be_exported_is_an_invalid_service_type() {
    let external_name = service(ServiceSpec {
        type_: Some("ExternalName".to_owned()),
        external_name: Some("example.com".to_owned()),
        ..Default::default()
    });
    let headless = service(ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        ports: Some(Vec::new()),
        ..Default::default()
    });
    let of_import = |label: &str| {
        let mut service = service(ServiceSpec {
            ports: Some(vec![port(None, "TCP", 80)]),
            ..Default::default()
        });
        service.metadata.labels = Some([(label.to_owned(), "hello".to_owned())].into());
        service
    };

    for (service, expected) in [
        (external_name, Invalid::Type("ExternalName".to_owned())),
        (headless, Invalid::HeadlessWithoutPorts),
        (
            of_import(IMPORT_LABEL),
            Invalid::Derived("hello".to_owned()),
        ),
        (
            of_import(ENDPOINT_SERVICE_LABEL),
            Invalid::Derived("hello".to_owned()),
        ),
    ] {
        let invalid =
            export_from("east", &export(), Some(&service), false, Vec::new()).unwrap_err();
        assert_eq!(invalid, expected);
        assert_eq!(invalid.reason(), "InvalidServiceType");
    }
}

#[test]
fn single_endpoints_are_told_of_headless_services_only() {
    let endpoints = vec![ExportedEndpoint {
        id: "hello-0".to_owned(),
        ready: true,
    }];
    for (cluster_ip, told) in [("None", 1), ("10.96.0.1", 0)] {
        let service = service(ServiceSpec {
            cluster_ip: Some(cluster_ip.to_owned()),
            ports: Some(vec![port(None, "TCP", 80)]),
            ..Default::default()
        });

        let exported =
            export_from("east", &export(), Some(&service), true, endpoints.clone()).unwrap();

        assert_eq!(exported.endpoints, endpoints[..told]);
    }
}

#[test]
fn what_other_clusters_would_refuse_is_not_exported() {
    let service = service(ServiceSpec {
        ports: Some(vec![port(None, "TCP", 80)]),
        ..Default::default()
    });
    let mut export = export();
    export.spec.exported_labels = [("not a key".to_owned(), String::new())].into();

    let invalid = export_from("east", &export, Some(&service), false, Vec::new()).unwrap_err();

    assert_eq!(invalid.reason(), "InvalidExportedLabel");
    assert_eq!(
        invalid.to_string(),
        "exported label \"not a key\" has no valid key or value"
    );
}

#[test]
fn a_port_is_tcp_and_unnamed_unless_it_says_otherwise() {
    let bare = KubePort {
        port: 80,
        name: Some(String::new()),
        ..Default::default()
    };
    let service = service(ServiceSpec {
        ports: Some(vec![bare]),
        ..Default::default()
    });

    let exported = export_from("east", &export(), Some(&service), false, Vec::new()).unwrap();

    let expected = ServicePort {
        protocol: "TCP".to_owned(),
        port: 80,
        ..Default::default()
    };
    assert_eq!(exported.ports, [expected]);
}

#[test]
fn an_export_that_was_never_stored_is_the_youngest() {
    let service = service(ServiceSpec {
        ports: Some(vec![port(None, "TCP", 80)]),
        ..Default::default()
    });
    let mut export = export();
    export.metadata.creation_timestamp = None;

    let exported = export_from("east", &export, Some(&service), false, Vec::new()).unwrap();

    assert_eq!(exported.created_at, Time(Timestamp::MAX));
}

const CREATED_AT: i64 = 1_700_000_000;

fn export() -> ServiceExport {
    ServiceExport {
        metadata: ObjectMeta {
            creation_timestamp: Some(Time(Timestamp::from_second(CREATED_AT).unwrap())),
            ..metadata()
        },
        spec: ServiceExportSpec::default(),
        status: None,
    }
}

fn service(spec: ServiceSpec) -> Service {
    Service {
        metadata: metadata(),
        spec: Some(spec),
        status: None,
    }
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        namespace: Some("demo".to_owned()),
        name: Some("hello".to_owned()),
        ..Default::default()
    }
}

fn port(name: Option<&str>, protocol: &str, port: i32) -> KubePort {
    KubePort {
        name: name.map(str::to_owned),
        protocol: Some(protocol.to_owned()),
        port,
        ..Default::default()
    }
}
