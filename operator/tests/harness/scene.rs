//! What the tests make and look at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::LazyLock;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tombolo_catalog::derived_service_name;
use tombolo_crds::ClusterExport;
use tombolo_crds::about::ClusterProperty;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::{ENDPOINT_LABEL, ENDPOINT_NAMESPACE_LABEL, SOURCE_CLUSTER_LABEL};

use crate::api_server::Cluster;
pub(crate) use crate::patience::eventually;
use crate::program::{Operator, SYSTEM, Start, prepare};

static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start);
static SHARED_OPERATOR: OnceCell<Operator> = OnceCell::const_new();

/// A namespace of a cluster.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Scene {
    /// In the cluster that tests of single services share, whose operator runs.
    pub(crate) async fn shared(namespace: &str) -> Self {
        let client = SHARED.admin().await;
        SHARED_OPERATOR
            .get_or_init(async || {
                prepare(&client, &["operator-0"]).await;
                Start::new(&SHARED, "operator-0").go()
            })
            .await;
        let scene = Self {
            client,
            namespace: namespace.to_owned(),
        };
        scene.await_crds().await;
        scene
    }

    pub(crate) async fn of(cluster: &Cluster, namespace: &str) -> Self {
        Self {
            client: cluster.admin().await,
            namespace: namespace.to_owned(),
        }
    }

    /// Waits until each kind of the CRDs can be used: a little after it is served.
    pub(crate) async fn await_crds(&self) {
        self.is_served::<ServiceExport>().await;
        self.is_served::<ServiceImport>().await;
        self.is_served::<ClusterExport>().await;
        self.is_served::<ClusterProperty>().await;
    }

    async fn is_served<K>(&self)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        eventually(&format!("{} is served", K::kind(&())), async || {
            api.list(&ListParams::default())
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await;
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn cluster_exports(&self) -> Api<ClusterExport> {
        Api::namespaced(self.client.clone(), SYSTEM)
    }

    pub(crate) async fn make_namespace(&self) {
        let metadata = ObjectMeta {
            name: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        };
        let namespace = Namespace {
            metadata,
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    /// The Service `web`, port 80 named `http`, with a slice of one ready pod per address.
    pub(crate) async fn make_service(&self, addresses: &[&str]) {
        self.make::<Service>(json!({
            "metadata": {"name": "web"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }))
        .await;
        let endpoints: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
            .collect();
        self.make::<EndpointSlice>(json!({
            "metadata": {"name": "web-abcde", "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }))
        .await;
    }

    pub(crate) async fn make_export(&self) {
        self.make::<ServiceExport>(json!({"metadata": {"name": "web"}}))
            .await;
    }

    /// What a gateway stores of another cluster's export of `web`.
    pub(crate) async fn make_copy(&self, cluster: &str, ports: Value) {
        let name = format!("web.{}.{cluster}", self.namespace);
        let export = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"tombolo.io/cluster": cluster}},
            "spec": {
                "cluster": cluster, "namespace": self.namespace, "name": "web",
                "createdAt": "2030-01-01T00:00:00Z", "type": "ClusterSetIP", "ports": ports,
                "ipFamilies": ["IPv4"], "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster", "ready": true,
            },
        }));
        let params = PostParams::default();
        self.cluster_exports()
            .create(&params, &export.unwrap())
            .await
            .unwrap();
    }

    /// The same, of a headless `web`, with these endpoints, all ready.
    pub(crate) async fn make_headless_copy(&self, cluster: &str, endpoints: &[&str]) {
        let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
        self.make_copy(cluster, http).await;
        self.tell_endpoints(cluster, endpoints).await;
    }

    /// What a gateway stores when another cluster tells these endpoints of its headless `web`.
    pub(crate) async fn tell_endpoints(&self, cluster: &str, endpoints: &[&str]) {
        let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|id| json!({"id": id, "ready": true}))
            .collect();
        self.patch_copy(cluster, json!({"type": "Headless", "endpoints": endpoints}))
            .await;
    }

    pub(crate) async fn patch_copy(&self, cluster: &str, spec: Value) {
        let name = format!("web.{}.{cluster}", self.namespace);
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.cluster_exports()
            .patch(&name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// The Services of other clusters' endpoints of `web`, by the endpoints' IDs.
    pub(crate) async fn endpoint_services(&self) -> BTreeMap<String, Service> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), SYSTEM);
        let params = ListParams::default().labels(&self.of_endpoints());
        let listed = services.list(&params).await.unwrap().items.into_iter();
        let by_id = listed.map(|service| {
            let id = service.metadata.labels.as_ref().unwrap()[ENDPOINT_LABEL].clone();
            (id, service)
        });
        by_id.collect()
    }

    /// The slices of these Services.
    pub(crate) async fn endpoint_slices(&self) -> Vec<EndpointSlice> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), SYSTEM);
        let params = ListParams::default().labels(&self.of_endpoints());
        slices.list(&params).await.unwrap().items
    }

    fn of_endpoints(&self) -> String {
        format!("{ENDPOINT_NAMESPACE_LABEL}={}", self.namespace)
    }

    pub(crate) async fn make<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Waits until the ServiceExport has a condition with this status and reason.
    pub(crate) async fn export_says(&self, type_: &str, status: &str, reason: &str) -> Condition {
        eventually(
            &format!("ServiceExport: {type_}={status}, {reason}"),
            async || {
                let export = self
                    .api::<ServiceExport>()
                    .get("web")
                    .await
                    .map_err(|e| e.to_string())?;
                let conditions = export.status.unwrap_or_default().conditions;
                find(&conditions, type_, status, reason)
            },
        )
        .await
    }

    /// Waits until the ServiceImport has a condition with this status and reason.
    pub(crate) async fn import_says(&self, type_: &str, status: &str, reason: &str) -> Condition {
        eventually(
            &format!("ServiceImport: {type_}={status}, {reason}"),
            async || {
                let import = self
                    .api::<ServiceImport>()
                    .get("web")
                    .await
                    .map_err(|e| e.to_string())?;
                let conditions = import.status.unwrap_or_default().conditions;
                find(&conditions, type_, status, reason)
            },
        )
        .await
    }

    /// The import, once it has a clusterset IP.
    pub(crate) async fn import(&self) -> ServiceImport {
        self.import_says("Ready", "True", "Ready").await;
        self.api().get("web").await.unwrap()
    }

    pub(crate) fn derived_name(&self) -> String {
        derived_service_name(&self.namespace, "web")
    }

    pub(crate) async fn derived(&self) -> Service {
        self.api().get(&self.derived_name()).await.unwrap()
    }

    /// Waits until the slices of a source cluster list exactly these addresses.
    pub(crate) async fn lists(&self, cluster: &str, addresses: &[&str]) -> Vec<EndpointSlice> {
        let params = ListParams::default().labels(&format!("{SOURCE_CLUSTER_LABEL}={cluster}"));
        let expected: BTreeSet<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
        eventually(
            &format!("{cluster} has the endpoints {expected:?}"),
            async || {
                let slices = self.api::<EndpointSlice>().list(&params).await;
                let slices = slices.map_err(|error| error.to_string())?.items;
                let listed: BTreeSet<String> = slices
                    .iter()
                    .flat_map(|slice| &slice.endpoints)
                    .flat_map(|endpoint| endpoint.addresses.clone())
                    .collect();
                if listed == expected {
                    Ok(slices)
                } else {
                    Err(format!("{listed:?}"))
                }
            },
        )
        .await
    }

    /// Waits until an object is gone.
    pub(crate) async fn is_gone<K>(&self, api: &Api<K>, name: &str)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        eventually(
            &format!("{} {name} is gone", K::kind(&())),
            async || match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(format!("{:?}", object.meta())),
                Err(error) => Err(error.to_string()),
            },
        )
        .await;
    }

    /// Waits until everything that was made for `web` is gone.
    pub(crate) async fn nothing_is_left(&self) {
        self.is_gone(&self.api::<ServiceImport>(), "web").await;
        self.is_gone(&self.api::<Service>(), &self.derived_name())
            .await;
        let ours = ListParams::default().labels(SOURCE_CLUSTER_LABEL);
        eventually("no slice is left", async || {
            let left = self.api::<EndpointSlice>().list(&ours).await;
            let left = left.map_err(|error| error.to_string())?.items;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{} are left", left.len()))
            }
        })
        .await;
        eventually("nothing of other clusters' endpoints is left", async || {
            let left = (
                self.endpoint_services().await.len(),
                self.endpoint_slices().await.len(),
            );
            match left {
                (0, 0) => Ok(()),
                left => Err(format!("{left:?} are left")),
            }
        })
        .await;
    }
}

/// What was written in the cluster that tests share.
pub(crate) fn shared_writes() -> Vec<String> {
    SHARED.writes()
}

fn find(
    conditions: &[Condition],
    type_: &str,
    status: &str,
    reason: &str,
) -> Result<Condition, String> {
    let found = conditions
        .iter()
        .find(|c| c.type_ == type_ && c.status == status);
    found
        .filter(|c| c.reason == reason)
        .cloned()
        .ok_or_else(|| format!("{conditions:?}"))
}
