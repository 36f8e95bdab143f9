//! A gateway as a process.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tombolo_crds::Peer;
use tombolo_crds::well_known::{CA_CONFIG_MAP, GATEWAY_IDENTITY_SECRET};

use crate::api_server::Cluster;
use crate::process::Process;
use crate::program::{SYSTEM, apply, chart_objects, user};
use crate::scene::eventually;

const POD: &str = "gateway-0";

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(build);

/// A gateway of one cluster, and where it is reached.
pub(crate) struct Gateway {
    /// What slices say: the API refuses addresses of loopback in them.
    pub(crate) pod_ip: String,
    /// Where links are accepted.
    pub(crate) address: String,
    _process: Process,
}

/// How a gateway is started.
pub(crate) struct Start<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) client: &'a Client,
    /// Tells it from the gateways of other clusters on this machine.
    pub(crate) number: u8,
    /// Seconds that exports of a peer stand that is not reached.
    pub(crate) export_lease: u32,
}

impl Start<'_> {
    pub(crate) async fn go(&self) -> Gateway {
        self.at(&free(&self.host())).await
    }

    /// Where one was before.
    pub(crate) async fn at(&self, address: &str) -> Gateway {
        let pod_ip = format!("10.77.{}.1", self.number);
        for object in chart_objects("gateway/rbac.yaml", &[POD]) {
            apply(self.client, &object).await;
        }
        self.make_pod(&pod_ip).await;
        let identity = self.identity().await;
        let host = self.host();
        let env = [
            ("POD_NAMESPACE", SYSTEM.to_owned()),
            ("POD_NAME", POD.to_owned()),
            ("POD_IP", pod_ip.clone()),
            ("TOMBOLO_ADMIN_ADDRESS", format!("{host}:0")),
            ("TOMBOLO_LINK_ADDRESS", address.to_owned()),
            ("TOMBOLO_HEALTH_ADDRESS", address.to_owned()),
            ("TOMBOLO_IMPORT_ADDRESS", host),
            ("TOMBOLO_IDENTITY_DIR", identity.display().to_string()),
            // The endpoints of tests are nobody's pods.
            ("TOMBOLO_ALLOWED_ENDPOINT_CIDRS", "10.0.0.0/8".to_owned()),
            ("TOMBOLO_EXPORT_LEASE", self.export_lease.to_string()),
            ("TOMBOLO_WORKERS", "1".to_owned()),
            ("TOMBOLO_LOG", "info".to_owned()),
            (
                "KUBECONFIG",
                self.cluster.kubeconfig_of(&user(POD)).display().to_string(),
            ),
        ];
        let log = self.cluster.file("gateway.log");
        Gateway {
            pod_ip,
            address: address.to_owned(),
            _process: Process::start(&PROGRAM, &[], &env, &log),
        }
    }

    fn host(&self) -> String {
        format!("127.77.{}.1", self.number)
    }

    async fn make_pod(&self, pod_ip: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let params = PatchParams::apply("test").force();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": POD, "labels": {"tombolo.io/component": "gateway"}},
            "spec": {"containers": [{"name": "gateway", "image": "gateway"}]},
        });
        pods.patch(POD, &params, &Patch::Apply(pod)).await.unwrap();
        let status = json!({"status": {"phase": "Running", "podIP": pod_ip,
            "podIPs": [{"ip": pod_ip}]}});
        let params = PatchParams::default();
        pods.patch_status(POD, &params, &Patch::Merge(status))
            .await
            .unwrap();
    }

    /// What the kubelet would mount.
    async fn identity(&self) -> PathBuf {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), SYSTEM);
        let data = eventually("there is a gateway's certificate", async || {
            let secret = secrets.get(GATEWAY_IDENTITY_SECRET).await;
            Ok(secret
                .map_err(|error| error.to_string())?
                .data
                .unwrap_or_default())
        })
        .await;
        let dir = self.cluster.file("identity");
        std::fs::create_dir_all(&dir).unwrap();
        for (name, content) in data {
            std::fs::write(dir.join(name), content.0).unwrap();
        }
        dir
    }
}

/// Makes `cluster` a peer of the cluster of `client`, dialled at `address`.
pub(crate) async fn peer(client: &Client, cluster: &str, of: &Client, address: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(of.clone(), SYSTEM);
    let bundle = eventually("there is a CA", async || {
        let map = maps.get(CA_CONFIG_MAP).await.map_err(|e| e.to_string())?;
        map.data
            .and_then(|data| data.get("ca.crt").cloned())
            .ok_or_else(|| "no ca.crt".to_owned())
    })
    .await;
    let peer = json!({
        "apiVersion": "tombolo.io/v1alpha1", "kind": "Peer", "metadata": {"name": cluster},
        "spec": {"clusterID": cluster, "addresses": [address], "caBundle": bundle},
    });
    let peers: Api<Peer> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    peers
        .patch(cluster, &params, &Patch::Apply(peer))
        .await
        .unwrap();
}

/// The gateway of the same build: cargo gives a test only the programs of its own package.
fn build() -> PathBuf {
    let operator = Path::new(env!("CARGO_BIN_EXE_tombolo-operator"));
    let folder = operator.parent().unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--package",
            "tombolo-gateway",
            "--profile",
            profile,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .status()
        .unwrap();
    assert!(built.success(), "tombolo-gateway cannot be built");
    operator.with_file_name("tombolo-gateway")
}

fn free(host: &str) -> String {
    let socket = UdpSocket::bind((host, 0)).unwrap();
    socket.local_addr().unwrap().to_string()
}
