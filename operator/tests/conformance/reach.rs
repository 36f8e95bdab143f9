//! A cluster that cannot be reached, is no peer any more, or is not the one that it was.
//!
//! They are seen from one cluster, whose gateway gives peers little time.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::sync::OnceCell;
use tombolo_crds::Peer;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use crate::api_server::Cluster;
use crate::gateway::{self, peer};
use crate::scene::{Scene, eventually};
use crate::site::{Site, http};

/// Seconds: long enough for a look at what is stale.
const LEASE: u32 = 16;

static OBSERVER: LazyLock<Cluster> = LazyLock::new(Cluster::start);
static OBSERVING: OnceCell<Site> = OnceCell::const_new();

#[tokio::test]
async fn a_cluster_that_is_not_reached_is_stale_until_its_lease_runs_out_and_comes_back_whole() {
    let cluster = Cluster::start();
    let Pair { away, west, site } = Pair::new(&cluster, "away", 12).await;
    away.make_service(&["10.0.0.1"]).await;
    away.make_export().await;
    let gateway = observing().await.gateway.pod_ip.as_str();
    west.lists("away", &[gateway]).await;
    let before = west.import().await;

    let address = site.gateway.address.clone();
    let _operator = site.without_gateway();

    west.lists("away", &[]).await;
    let stale = west
        .import_says("tombolo.io/Stale", "True", "Unreachable")
        .await;
    let message = stale.message;
    assert!(message.starts_with("away: no link since "), "{message}");
    west.import_says("Ready", "True", "Ready").await;
    peer_says(&west, "away", ("ExportsStale", "True", "Unreachable")).await;
    let meanwhile: ServiceImport = west.api().get("web").await.unwrap();
    assert_eq!(meanwhile.spec, before.spec, "it stands");

    peer_says(&west, "away", ("ExportsStale", "True", "Expired")).await;
    west.is_gone(&west.cluster_exports(), "web.away.away").await;
    west.nothing_is_left().await;

    let again = gateway::Start {
        cluster: &cluster,
        client: &away.client,
        number: 12,
        export_lease: LEASE,
    };
    let _again = again.at(&address).await;
    peer_says(&west, "away", ("ExportsStale", "False", "Fresh")).await;
    west.lists("away", &[gateway]).await;
    let conditions = west.import().await.status.unwrap().conditions;
    let types: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(types, ["Ready"], "nothing is stale");
}

#[tokio::test]
async fn exports_of_a_peer_that_is_no_longer_accepted_stand_until_their_lease_runs_out() {
    let cluster = Cluster::start();
    let pair = Pair::new(&cluster, "spoilt", 32).await;
    let (away, west) = (&pair.away, &pair.west);
    make(away, "web").await;
    is_imported(west, "web").await;
    let peers: Api<Peer> = Api::all(west.client.clone());
    let sound = peers.get("spoilt").await.unwrap().spec.ca_bundle;
    let trust = async |bundle: &str| {
        let patch = Patch::Merge(json!({"spec": {"caBundle": bundle}}));
        peers
            .patch("spoilt", &PatchParams::default(), &patch)
            .await
            .unwrap();
    };

    trust("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n").await;

    peer_says(west, "spoilt", ("Accepted", "False", "InvalidCABundle")).await;
    peer_says(west, "spoilt", ("ExportsStale", "True", "Unreachable")).await;
    is_imported(west, "web").await;
    peer_says(west, "spoilt", ("ExportsStale", "True", "Expired")).await;
    west.is_gone(&west.api::<ServiceImport>(), "web").await;

    trust(&sound).await;

    peer_says(west, "spoilt", ("ExportsStale", "False", "Fresh")).await;
    is_imported(west, "web").await;
}

#[tokio::test]
async fn exports_go_with_their_peer_and_a_cluster_rebuilt_under_its_id_has_none_of_the_former() {
    let cluster = Cluster::start();
    let Pair { away, west, site } = Pair::new(&cluster, "rebuilt", 22).await;
    // So many that their withdrawal would be held, were it not for the new incarnation.
    let former = ["a", "b", "c", "d"];
    for name in former {
        make(&away, name).await;
        is_imported(&west, name).await;
    }
    let peers: Api<Peer> = Api::all(west.client.clone());
    let params = DeleteParams::default();
    peers.delete("rebuilt", &params).await.unwrap();
    for name in former {
        west.is_gone(&west.api::<ServiceImport>(), name).await;
    }
    peer(&west.client, "rebuilt", &away.client, &site.gateway.address).await;
    for name in former {
        is_imported(&west, name).await;
    }

    let anew = Cluster::start();
    let rebuilt = Site::start(&anew, "rebuilt", 23, LEASE).await;
    let new = scene(&anew, "rebuilt").await;
    make(&new, "other").await;
    eventually("the new export is told", async || {
        let exports = new.cluster_exports();
        let told = exports.get("other.rebuilt.rebuilt").await;
        told.map(drop).map_err(|error| error.to_string())
    })
    .await;
    peer(&new.client, "west", &west.client, "127.0.0.1:1").await;
    // Long before the lease of the former runs out.
    drop(site);
    peer(
        &west.client,
        "rebuilt",
        &new.client,
        &rebuilt.gateway.address,
    )
    .await;

    is_imported(&west, "other").await;
    for name in former {
        west.is_gone(&west.api::<ServiceImport>(), name).await;
    }
}

/// A cluster of its own with a namespace that is called like it, and the observer's of that name.
struct Pair {
    away: Scene,
    west: Scene,
    site: Site,
}

impl Pair {
    async fn new(cluster: &Cluster, id: &str, number: u8) -> Self {
        let (site, observer) =
            futures::future::join(Site::start(cluster, id, number, LEASE), observing()).await;
        let away = scene(cluster, id).await;
        let west = scene(&OBSERVER, id).await;
        peer(&west.client, id, &away.client, &site.gateway.address).await;
        peer(
            &away.client,
            "west",
            &west.client,
            &observer.gateway.address,
        )
        .await;
        Self { away, west, site }
    }
}

async fn observing() -> &'static Site {
    let start = async || Site::start(&OBSERVER, "west", 11, LEASE).await;
    OBSERVING.get_or_init(start).await
}

async fn scene(cluster: &Cluster, namespace: &str) -> Scene {
    let scene = Scene {
        client: cluster.client().await,
        namespace: namespace.to_owned(),
    };
    scene.make_namespace().await;
    scene
}

async fn make(scene: &Scene, name: &str) {
    scene
        .make::<Service>(json!({"metadata": {"name": name}, "spec": http(80)}))
        .await;
    scene
        .make::<ServiceExport>(json!({"metadata": {"name": name}}))
        .await;
}

async fn is_imported(scene: &Scene, name: &str) {
    eventually(&format!("{name} is imported"), async || {
        let import = scene.api::<ServiceImport>().get(name).await;
        import.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

async fn peer_says(scene: &Scene, peer: &str, (type_, status, reason): (&str, &str, &str)) {
    let peers: Api<Peer> = Api::all(scene.client.clone());
    let what = format!("Peer {peer}: {type_}={status}, {reason}");
    eventually(&what, async || {
        let found = peers.get(peer).await.map_err(|error| error.to_string())?;
        let conditions = found.status.unwrap_or_default().conditions;
        let is_so = conditions
            .iter()
            .any(|c| c.type_ == type_ && c.status == status && c.reason == reason);
        if is_so {
            Ok(())
        } else {
            Err(format!("{conditions:?}"))
        }
    })
    .await;
}
