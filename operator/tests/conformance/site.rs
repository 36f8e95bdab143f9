//! Clusters that are linked, and what tests do in all of them.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Resource};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use crate::api_server::Cluster;
use crate::gateway::{self, Gateway, peer};
use crate::program::{Operator, Start, prepare};
use crate::scene::{Scene, eventually};

/// As the chart sets it.
const HOUR: u32 = 3600;

/// In the order in which equally old exports win.
const NAMES: [&str; 3] = ["east", "north", "west"];

static SHARED_CLUSTERS: LazyLock<[Cluster; 3]> =
    LazyLock::new(|| [Cluster::start(), Cluster::start(), Cluster::start()]);
static SHARED: OnceCell<Vec<Site>> = OnceCell::const_new();

/// What runs in one cluster.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    operator: Operator,
}

/// A namespace of the same name in three clusters.
pub(crate) struct Stage {
    pub(crate) east: Scene,
    pub(crate) north: Scene,
    pub(crate) west: Scene,
    sites: &'static [Site],
}

impl Site {
    /// Starts an operator and a gateway.
    pub(crate) async fn start(cluster: &Cluster, id: &str, number: u8, export_lease: u32) -> Self {
        let scene = Scene::of(cluster, "default").await;
        prepare(&scene.client, &["operator-0"]).await;
        let operator = Start::new(cluster, "operator-0")
            .env("TOMBOLO_CLUSTER_ID", id)
            .go();
        scene.await_crds().await;
        let gateway = gateway::Start {
            cluster,
            client: &scene.client,
            number,
            export_lease,
        };
        Self {
            gateway: gateway.go().await,
            operator,
        }
    }

    /// Stops the gateway; the operator goes on.
    pub(crate) fn without_gateway(self) -> Operator {
        self.operator
    }
}

/// Makes each of the clusters a peer of each other.
pub(crate) async fn link(clusters: &[(&str, &Cluster, &Gateway)]) {
    for (id, cluster, _) in clusters {
        let client = cluster.client().await;
        for (other, at, gateway) in clusters.iter().filter(|(other, ..)| other != id) {
            peer(&client, other, &at.client().await, &gateway.address).await;
        }
    }
}

impl Stage {
    /// With the namespace in each cluster.
    pub(crate) async fn new(namespace: &str) -> Self {
        let stage = Self::without_namespace(namespace).await;
        for scene in stage.scenes() {
            scene.make_namespace().await;
        }
        stage
    }

    pub(crate) async fn without_namespace(namespace: &str) -> Self {
        let clusters = &*SHARED_CLUSTERS;
        let sites = SHARED.get_or_init(async || {
            let numbered = (1..).zip(NAMES).zip(clusters);
            let sites =
                numbered.map(|((number, id), cluster)| Site::start(cluster, id, number, HOUR));
            let sites = futures::future::join_all(sites).await;
            let all = NAMES.iter().zip(clusters).zip(&sites);
            let all: Vec<_> = all
                .map(|((id, cluster), site)| (*id, cluster, &site.gateway))
                .collect();
            link(&all).await;
            sites
        });
        let sites = sites.await;
        let scene = async |cluster: &Cluster| Scene {
            client: cluster.client().await,
            namespace: namespace.to_owned(),
        };
        let [east, north, west] = clusters;
        Self {
            east: scene(east).await,
            north: scene(north).await,
            west: scene(west).await,
            sites,
        }
    }

    pub(crate) fn scenes(&self) -> [&Scene; 3] {
        [&self.east, &self.north, &self.west]
    }

    /// What slices list for everything that is behind a gateway of the east, the north, the west.
    pub(crate) fn gateways(&self) -> [&str; 3] {
        let [east, north, west] = self.sites else {
            unreachable!("there are three")
        };
        [east, north, west].map(|site| site.gateway.pod_ip.as_str())
    }

    /// What the programs of the east, the north, the west wrote for the services of this namespace.
    pub(crate) fn writes(&self) -> [Vec<String>; 3] {
        SHARED_CLUSTERS
            .each_ref()
            .map(|cluster| cluster.writes_for(&self.east.namespace))
    }

    /// Waits until the import has these exporters in every cluster.
    pub(crate) async fn is_exported_by(&self, clusters: &[&str]) -> [ServiceImport; 3] {
        let [east, north, west] = self.scenes();
        [
            imported_from(east, clusters).await,
            imported_from(north, clusters).await,
            imported_from(west, clusters).await,
        ]
    }
}

/// Waits until the import has these exporters.
pub(crate) async fn imported_from(scene: &Scene, clusters: &[&str]) -> ServiceImport {
    eventually(&format!("the import is of {clusters:?}"), async || {
        let import = scene.api::<ServiceImport>().get("web").await;
        let import = import.map_err(|error| error.to_string())?;
        let status = import.status.clone().unwrap_or_default();
        let found: Vec<_> = status.clusters.iter().map(|c| c.cluster.as_str()).collect();
        if found == clusters {
            Ok(import)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}

/// Exports `web` as of `spec` of the Service, with this in the export's spec, and waits until the
/// export is told to the others.
pub(crate) async fn export(scene: &Scene, service: Value, export: Value) -> ServiceExport {
    scene
        .make::<k8s_openapi::api::core::v1::Service>(json!({
            "metadata": {"name": "web"}, "spec": service,
        }))
        .await;
    let made = scene
        .make::<ServiceExport>(json!({"metadata": {"name": "web"}, "spec": export}))
        .await;
    scene.export_says("Ready", "True", "Exported").await;
    made
}

/// Waits until what is made from now on is younger than `export` by a second, in which the API
/// counts.
pub(crate) async fn is_outlived(export: &ServiceExport) {
    let made = export.meta().creation_timestamp.clone().unwrap().0;
    eventually("a second has passed", async || {
        if Timestamp::now().as_second() > made.as_second() {
            Ok(())
        } else {
            Err("the same second".to_owned())
        }
    })
    .await;
}

/// Deletes the namespace. There is no controller that would empty it, so it stays, and is leaving.
pub(crate) async fn delete_namespace(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let params = DeleteParams::default();
    namespaces.delete(&scene.namespace, &params).await.unwrap();
}

/// One port named `http`.
pub(crate) fn http(number: u16) -> Value {
    json!({"ports": [{"name": "http", "port": number}]})
}
