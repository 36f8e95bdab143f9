//! IPv4 and IPv6: three clusters, one of IPv4 alone, one of IPv6 alone, one of both, linked each
//! with each.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tombolo_crds::mcs::ServiceImport;
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster};
use tombolo_demo_clusters::{Demo, Pod, Scene, wait_until, workload};

const SHORT: Duration = Duration::from_secs(30);
const POD_START: Duration = Duration::from_secs(120);

/// As Kubernetes, DNS, curl and socat call a family.
#[derive(Debug)]
struct Family {
    name: &'static str,
    record: &'static str,
    curl: &'static str,
    socat: &'static str,
}

const IPV4: &Family = &Family {
    name: "IPv4",
    record: "A",
    curl: "-4",
    socat: "UDP4",
};

const IPV6: &Family = &Family {
    name: "IPv6",
    record: "AAAA",
    curl: "-6",
    socat: "UDP6",
};

impl Family {
    fn of(address: &str) -> Result<&'static Self> {
        let address: IpAddr = address.parse().context(address.to_owned())?;
        Ok(if address.is_ipv4() { IPV4 } else { IPV6 })
    }

    /// What a URL says to a client that uses this family only.
    async fn get(&self, client: &Pod, url: &str) -> Result<String> {
        let Self { curl, .. } = self;
        client
            .output(&format!("curl {curl} -sS -f -m 5 {url}"), SHORT)
            .await
    }

    /// What a UDP server says to `hostname`.
    async fn ask(&self, client: &Pod, server: &str) -> Result<String> {
        let Self { socat, .. } = self;
        let script = format!("printf hostname | socat -t 3 -T 3 - {socat}:{server}");
        let answer = client.output(&script, SHORT).await?;
        ensure!(!answer.is_empty(), "no answer of {server}");
        Ok(answer)
    }
}

/// The clusters by what they have: IPv4, IPv6, both.
fn clusters(scene: &Scene) -> [&Cluster; 3] {
    let [four, six, both] = scene.demo().clusters() else {
        unreachable!("as many as were asked for")
    };
    [four, six, both]
}

async fn scene(subject: &str) -> Result<Scene> {
    Scene::in_demo(Demo::of(&["four", "six", "both"]).await?, subject).await
}

/// The clusterset IPs of an import from these clusters, whose families are told in their order.
async fn ips(cluster: &Cluster, scene: &Scene, name: &str, from: &[&str]) -> Result<Vec<String>> {
    cluster.imported(scene.namespace(), name, from).await?;
    let import = cluster.api::<ServiceImport>(scene.namespace());
    let spec = import.get(name).await?.spec;
    let families = spec.ips.iter().map(|ip| Ok(Family::of(ip)?.name));
    assert_eq!(spec.ip_families, families.collect::<Result<Vec<_>>>()?);
    Ok(spec.ips)
}

/// What DNS says of both families: IPv4's first.
async fn addresses(client: &Pod, name: &str) -> Result<[Vec<String>; 2]> {
    let mut found = [Vec::new(), Vec::new()];
    for (family, records) in [IPV4, IPV6].into_iter().zip(&mut found) {
        let answer = client.dig(name, family.record).await?;
        ensure!(answer.status == "NOERROR", "{name}: {answer:?}");
        *records = answer.records;
    }
    Ok(found)
}

/// The pods that answer a client's requests by one family.
async fn pods(client: &Pod, family: &Family, url: &str) -> Result<BTreeSet<String>> {
    let pods = client.spread(family.curl, url, 20, Duration::ZERO).await?;
    Ok(pods.into_keys().collect())
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_cluster_of_each_family_uses_a_service_of_the_other() -> Result<()> {
    let scene = scene("family").await?;
    let [four, six, _] = clusters(&scene);
    let toolbox = scene.demo().toolbox();
    for (exporter, importer, family) in [(six, four, IPV4), (four, six, IPV6)] {
        let hello = format!("hello-{}", exporter.name());
        let udp = format!("udp-{}", exporter.name());
        scene.hello(exporter, &hello, 2).await?;
        let server = workload::udp(&udp, 1, toolbox);
        let export = workload::export(&udp);
        scene
            .apply(exporter, &format!("{server}---{export}"))
            .await?;
        let client = scene.client(importer).await?;
        scene.answers(&client, &hello).await?;

        let ips = ips(importer, &scene, &hello, &[exporter.name()]).await?;
        let [ip] = &ips[..] else {
            panic!("one family, not {ips:?}")
        };
        assert_eq!(Family::of(ip)?.name, family.name);
        let expected = match family.record {
            "A" => [ips.clone(), Vec::new()],
            _ => [Vec::new(), ips.clone()],
        };
        assert_eq!(addresses(&client, &scene.name(&hello)).await?, expected);
        let seen = pods(&client, family, &scene.url(&hello)).await?;
        assert_eq!(seen.len(), 2, "{seen:?}");

        importer
            .imported(scene.namespace(), &udp, &[exporter.name()])
            .await?;
        let server = format!("{}:8081", scene.name(&udp));
        let pod = wait_until("an answer over UDP", ARRIVAL, async || {
            family.ask(&client, &server).await
        })
        .await?;
        assert!(pod.starts_with(&udp), "{pod}");
    }
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn pods_of_a_headless_service_are_reached_by_name_from_another_family() -> Result<()> {
    let scene = scene("families-headless").await?;
    let [four, six, _] = clusters(&scene);
    for (exporter, importer, family) in [(six, four, IPV4), (four, six, IPV6)] {
        let db = format!("db-{}", exporter.name());
        let server = workload::stateful(&db, 2, scene.demo().toolbox());
        let export = workload::export(&db);
        scene
            .apply(exporter, &format!("{server}---{export}"))
            .await?;
        let client = scene.client(importer).await?;
        let mut all = BTreeSet::new();
        for number in 0..2 {
            let pod = format!("{db}-{number}");
            let name = format!("{pod}.{}.{}", exporter.name(), scene.name(&db));
            let url = format!("http://{name}/hostname");
            wait_until(format!("an answer of {url}"), POD_START, async || {
                let answer = family.get(&client, &url).await?;
                ensure!(answer == pod, "{pod} is {answer}");
                Ok(())
            })
            .await?;
            let found = addresses(&client, &name).await?.concat();
            let [address] = &found[..] else {
                panic!("one address of {pod}, not {found:?}")
            };
            assert_eq!(Family::of(address)?.name, family.name);
            all.insert(address.clone());
        }
        let found = addresses(&client, &scene.name(&db)).await?.concat();
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
        let import = importer.api::<ServiceImport>(scene.namespace());
        let spec = import.get(&db).await?.spec;
        assert_eq!(
            (spec.ips.len(), spec.ip_families),
            (0, vec![family.name.to_owned()])
        );
    }
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_service_of_both_families_has_an_ip_of_each_and_both_reach_all_pods() -> Result<()> {
    let scene = scene("dual").await?;
    let [four, six, both] = clusters(&scene);
    let toolbox = scene.demo().toolbox();
    let dual = r#"{"spec": {"ipFamilyPolicy": "RequireDualStack"}}"#;
    scene
        .apply(both, &workload::hello("dual", 1, toolbox))
        .await?;
    scene
        .kubectl(both, &["patch", "service", "dual", "-p", dual])
        .await?;
    scene.apply(both, &workload::export("dual")).await?;
    // The oldest export says how many families there are.
    four.imported(scene.namespace(), "dual", &["both"]).await?;
    for cluster in [four, six] {
        scene.hello(cluster, "dual", 1).await?;
    }
    let mut expected = BTreeSet::new();
    for cluster in scene.demo().clusters() {
        cluster
            .rolled_out(scene.namespace(), "deployment/dual")
            .await?;
        expected.append(&mut scene.pods_of(cluster, "dual").await?);
    }
    for cluster in [four, six] {
        let one_has_not = ("Conflict", "True", "IPFamilyConflict");
        cluster
            .export_condition(scene.namespace(), "dual", one_has_not)
            .await?;
    }

    for (cluster, families) in [(both, &[IPV4, IPV6][..]), (four, &[IPV4]), (six, &[IPV6])] {
        let client = scene.client(cluster).await?;
        let ips = ips(cluster, &scene, "dual", &["both", "four", "six"]).await?;
        let told = ips.iter().map(|ip| Ok(Family::of(ip)?.name));
        let wanted: Vec<_> = families.iter().map(|family| family.name).collect();
        assert_eq!(told.collect::<Result<Vec<_>>>()?, wanted);
        assert_eq!(addresses(&client, &scene.name("dual")).await?.concat(), ips);
        for family in families {
            let what = format!("{} to lead to all from {}", family.name, cluster.name());
            wait_until(what, ARRIVAL, async || {
                let seen = pods(&client, family, &scene.url("dual")).await?;
                ensure!(seen == expected, "{seen:?} of {expected:?}");
                Ok(())
            })
            .await?;
        }
    }
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn nothing_but_the_link_passes_over_ipv6() -> Result<()> {
    let scene = scene("families-closed").await?;
    let [four, six, both] = clusters(&scene);
    let client = scene.client(both).await?;
    for there in [six, both] {
        let address = there.node().address6().await?;
        // The API server and the kubelet.
        for port in [6443, 10250] {
            let script = format!(
                "timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo open || echo closed"
            );
            let what = format!("{} at {port}", there.name());
            assert_eq!(there.node().output(&script).await?, "open", "{what}");
            for here in scene.demo().clusters() {
                if here.name() != there.name() {
                    let from_node = here.node().output(&script).await?;
                    assert_eq!(from_node, "closed", "{what} from {}", here.name());
                }
            }
            if there.name() == six.name() {
                assert_eq!(client.output(&script, SHORT).await?, "closed", "{what}");
            }
        }
    }
    let of_ipv4_alone = format!(
        "timeout 3 bash -c '</dev/tcp/{}/6443'",
        four.node().address6().await?
    );
    assert_ne!(six.node().run(&of_ipv4_alone).await?.code, 0);
    scene.finish().await
}
