//! The chart, rendered by helm: what it refuses, and what every pod of it must be.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tombolo_demo_clusters::demo::chart;
use tombolo_demo_clusters::tool::{Output, Tool};

const LIMIT: Duration = Duration::from_secs(60);

async fn template(settings: &[&str]) -> Result<Output> {
    let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let policy = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy";
    let mut helm = Tool::new(&helm)
        .with("template")
        .with("tombolo")
        .with(&chart().display().to_string())
        .with("--namespace=tombolo-system")
        .with("--kube-version=1.33.0")
        .with("--api-versions")
        .with(policy);
    for setting in settings {
        helm = helm.with("--set").with(setting);
    }
    helm.run::<&str>(&[], None, LIMIT).await
}

/// Every object that the chart renders.
async fn objects(settings: &[&str]) -> Result<Vec<Value>> {
    let yaml = template(settings).await?.success()?;
    let documents = yaml.split("\n---").map(|document| {
        let body: Vec<_> = document
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        serde_norway::from_str::<Value>(&body.join("\n")).context(document.to_owned())
    });
    documents
        .filter(|parsed| !matches!(parsed, Ok(Value::Null)))
        .collect()
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|object| object["kind"] == kind).collect()
}

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn a_bad_value_is_refused_by_its_name() -> Result<()> {
    let cases: &[(&[&str], &str)] = &[
        (&[], "clusterID"),
        (&["clusterID=East_1"], "/clusterID"),
        (&["clusterID=east", "clusterset="], "/clusterset"),
        (
            &["clusterID=east", "gateway.replicas=0"],
            "/gateway/replicas",
        ),
        (
            &["clusterID=east", "gateway.service.type=ClusterIP"],
            "/gateway/service/type",
        ),
        (
            &["clusterID=east", "gateway.service.nodePort=80"],
            "gateway.service.nodePort",
        ),
        (
            &["clusterID=east", "gateway.allowedEndpointCIDRs={10.0.0.1}"],
            "allowedEndpointCIDRs",
        ),
        (&["clusterID=east", "dns.clusterIP=ten"], "/dns/clusterIP"),
        (
            &["clusterID=east", "image.pullPolicy=Sometimes"],
            "/image/pullPolicy",
        ),
        (&["clusterID=east", "gatewy.replicas=2"], "gatewy"),
    ];
    for (settings, named) in cases {
        let output = template(settings).await?;
        assert_ne!(output.code, 0, "{settings:?} was accepted");
        assert!(
            output.stderr.contains(named),
            "{settings:?}: {}",
            output.stderr
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn every_pod_meets_the_restricted_standard() -> Result<()> {
    let all = objects(&["clusterID=east"]).await?;
    let workloads: Vec<_> = [of_kind(&all, "Deployment"), of_kind(&all, "Job")].concat();
    assert_eq!(workloads.len(), 6, "three programs and three hook Jobs");
    for workload in workloads {
        let name = &workload["metadata"]["name"];
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[field].is_null(), "{name}: {field}");
        }
        for container in pod["containers"].as_array().context("no containers")? {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(
                security["capabilities"],
                serde_json::json!({"drop": ["ALL"]}),
                "{name}"
            );
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{name}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn rights_are_no_more_than_the_programs_need() -> Result<()> {
    let all = objects(&["clusterID=east"]).await?;
    for role in [of_kind(&all, "ClusterRole"), of_kind(&all, "Role")].concat() {
        let name = &role["metadata"]["name"];
        for rule in role["rules"].as_array().context("no rules")? {
            let text = rule.to_string();
            assert!(!text.contains("\"*\""), "{name} has a wildcard: {text}");
            let resources = rule["resources"].to_string();
            let verbs = rule["verbs"].to_string();
            if resources.contains("\"secrets\"")
                && verbs != "[\"create\"]"
                && !resources.contains("configmaps")
            {
                assert!(
                    rule["resourceNames"].is_array(),
                    "{name} reads any Secret: {text}"
                );
            }
            if name == "tombolo-gateway" || name == "tombolo-dns" {
                let users = [
                    "services",
                    "endpointslices",
                    "pods",
                    "serviceimports",
                    "secrets",
                ];
                let writes = ["create", "patch", "update", "delete"];
                assert!(
                    !users
                        .iter()
                        .any(|kind| resources.contains(&format!("\"{kind}\"")))
                        || !writes.iter().any(|verb| verbs.contains(verb)),
                    "{name} writes what is not its own: {text}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn values_reach_the_programs() -> Result<()> {
    let all = objects(&[
        "clusterID=east",
        "image.registry=images.example/",
        "image.tag=v9",
        "gateway.allowedEndpointCIDRs={10.9.0.0/16,fd00::/8}",
        "gateway.service.type=LoadBalancer",
        "gateway.service.nodePort=0",
        "gateway.service.healthPort=7843",
        "dns.clusterIP=10.96.0.53",
    ])
    .await?;
    let deployments = of_kind(&all, "Deployment");
    let container = |name: &str| {
        let found = deployments
            .iter()
            .find(|d| d["metadata"]["name"] == format!("tombolo-{name}"));
        found
            .map(|d| &d["spec"]["template"]["spec"]["containers"][0])
            .context("no Deployment")
    };
    let gateway = container("gateway")?;
    assert_eq!(gateway["image"], "images.example/tombolo-gateway:v9");
    let variable = |container: &Value, name: &str| {
        let all = container["env"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|env| env["name"] == name)
            .map(|env| env["value"].clone())
    };
    let ranges = variable(gateway, "TOMBOLO_ALLOWED_ENDPOINT_CIDRS");
    assert_eq!(ranges, Some("10.9.0.0/16,fd00::/8".into()));
    assert_eq!(
        variable(container("operator")?, "TOMBOLO_CLUSTER_ID"),
        Some("east".into())
    );
    let services = of_kind(&all, "Service");
    let service = |name: &str| {
        services
            .iter()
            .find(|s| s["metadata"]["name"] == name)
            .copied()
    };
    let gateway = service("tombolo-gateway").context("no Service")?;
    assert_eq!(gateway["spec"]["type"], "LoadBalancer");
    assert!(gateway["spec"]["ports"][0]["nodePort"].is_null());
    let ports = gateway["spec"]["ports"].as_array().context("no ports")?;
    // The one port for health checks is the fallback's, too.
    assert_eq!(ports.len(), 2, "{ports:?}");
    assert_eq!(ports[1]["targetPort"], "link-tcp");
    assert_eq!(ports[1]["port"], 7843);
    let dns = service("tombolo-dns").context("no Service")?;
    assert_eq!(dns["spec"]["clusterIP"], "10.96.0.53");
    Ok(())
}

/// Settings, and the ports of the gateways' Service that they make: name and node port.
type PortCase<'a> = (&'a [&'a str], &'a [(&'a str, u64)]);

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn the_fallback_has_the_links_number_over_tcp_or_nothing() -> Result<()> {
    let cases: [PortCase<'_>; 5] = [
        (&[], &[("link", 30843), ("link-tcp", 30843)]),
        (&["gateway.tcpFallback=false"], &[("link", 30843)]),
        // Kubernetes would choose another one for each.
        (&["gateway.service.nodePort=0"], &[("link", 0)]),
        // The load balancer may not have both.
        (&["gateway.service.type=LoadBalancer"], &[("link", 30843)]),
        (
            &["gateway.service.healthPort=8443"],
            &[("link", 30843), ("link-tcp", 30843), ("health", 0)],
        ),
    ];
    for (settings, expected) in cases {
        let all = objects(&[&["clusterID=east"], settings].concat()).await?;
        let services = of_kind(&all, "Service");
        let gateway = services
            .iter()
            .find(|service| service["metadata"]["name"] == "tombolo-gateway")
            .context("no Service")?;
        let ports = gateway["spec"]["ports"].as_array().context("no ports")?;
        let found: Vec<_> = ports
            .iter()
            .map(|port| {
                let name = port["name"].as_str().unwrap_or_default();
                (name, port["nodePort"].as_u64().unwrap_or(0))
            })
            .collect();
        assert_eq!(found, expected, "{settings:?}");
        let deployments = of_kind(&all, "Deployment");
        let texts = deployments.iter().map(|deployment| deployment.to_string());
        let variable = format!(
            r#"{{"name":"TOMBOLO_TCP_FALLBACK","value":"{}"}}"#,
            !settings.contains(&"gateway.tcpFallback=false")
        );
        assert_eq!(texts.filter(|text| text.contains(&variable)).count(), 1);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn the_resolver_of_a_node_is_off_until_it_is_asked_for() -> Result<()> {
    let without = objects(&["clusterID=east"]).await?;
    assert!(of_kind(&without, "DaemonSet").is_empty());

    let settings = [
        "clusterID=east",
        "dns.nodeLocal.enabled=true",
        "dns.nodeLocal.clusterDNS=10.96.0.10",
    ];
    let all = objects(&settings).await?;
    let daemons = of_kind(&all, "DaemonSet");
    let [daemon] = daemons.as_slice() else {
        anyhow::bail!("{} DaemonSets", daemons.len());
    };
    assert_eq!(
        daemon["spec"]["updateStrategy"]["rollingUpdate"],
        serde_json::json!({"maxUnavailable": 0, "maxSurge": 1})
    );
    let pod = &daemon["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    let container = &pod["containers"][0];
    let address = &pod["initContainers"][0];
    assert_eq!(
        address["args"],
        serde_json::json!(["address", "169.254.25.10"])
    );
    // Nothing but the resolver's own image is pulled.
    assert_eq!(address["image"], container["image"]);
    // A port that is declared is taken while the old pod has it.
    assert!(container["ports"].is_null());
    assert_eq!(
        container["securityContext"]["capabilities"],
        serde_json::json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})
    );
    let config_maps = of_kind(&all, "ConfigMap");
    let corefile = config_maps
        .iter()
        .find_map(|object| object["data"]["Corefile"].as_str())
        .context("no Corefile")?;
    assert!(corefile.contains("clusterset.local:53 {\n    errors\n    bind 169.254.25.10\n"));
    assert!(corefile.contains("forward . 10.96.0.10 {\n        force_tcp\n"));

    let unknown = template(&settings[..2]).await?;
    assert!(unknown.stderr.contains("dns.nodeLocal.clusterDNS"));
    Ok(())
}

#[tokio::test]
#[ignore = "needs helm: run ./test.sh"]
async fn the_forward_goes_into_each_config_map_that_is_named() -> Result<()> {
    let all = objects(&[
        "clusterID=east",
        "coredns.forward.nodeLocalConfigMap=node-local-dns",
    ])
    .await?;
    let jobs = of_kind(&all, "Job");
    let arguments = |name: &str| {
        let job = jobs.iter().find(|job| job["metadata"]["name"] == name);
        job.map(|job| job["spec"]["template"]["spec"]["containers"][0]["args"].clone())
    };
    let both = "kube-system/coredns,kube-system/node-local-dns";
    assert_eq!(
        arguments("tombolo-corefile-install"),
        Some(serde_json::json!([
            "corefile",
            "install",
            "--config-map",
            both,
            "--key",
            "Corefile",
            "--service",
            "tombolo-dns"
        ]))
    );
    assert_eq!(
        arguments("tombolo-corefile-remove"),
        Some(serde_json::json!([
            "corefile",
            "remove",
            "--config-map",
            both,
            "--key",
            "Corefile"
        ]))
    );
    Ok(())
}
