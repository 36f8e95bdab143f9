//! A cluster without nodes: etcd and kube-apiserver.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::go_modules::build;
use crate::patience::eventually;
use crate::process::Process;

const TOKEN: &str = "administrator";

/// Counts what clients write, and what they are refused.
const AUDIT_POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    verbs: [watch]
  - level: Metadata
";

static PROGRAMS: LazyLock<Programs> = LazyLock::new(Programs::build);
static ETCD: LazyLock<Etcd> = LazyLock::new(Etcd::start);
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

struct Programs {
    api_server: PathBuf,
    etcd: PathBuf,
}

struct Etcd {
    url: String,
    _process: Process,
}

pub(crate) struct Cluster {
    url: String,
    process: Process,
    dir: PathBuf,
}

/// A request of some client, as the API server recorded it.
pub(crate) struct Request {
    pub(crate) user: String,
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) code: u64,
}

impl Programs {
    fn build() -> Self {
        let [api_server, etcd] = build(["kube-apiserver", "etcd"]);
        Self { api_server, etcd }
    }
}

impl Etcd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let (url, peer_url) = (local_url("http"), local_url("http"));
        let args = [
            format!("--data-dir={}", dir.join("data").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            // Nothing here is to outlive the machine's power.
            "--unsafe-no-fsync".to_owned(),
        ];
        let process = Process::start_in(
            Some(&dir),
            &PROGRAMS.etcd,
            &args,
            &[],
            &dir.join("etcd.log"),
        );
        Self {
            url,
            _process: process,
        }
    }
}

impl Cluster {
    pub(crate) fn start() -> Self {
        // Services are of IPv4 unless they ask for more.
        Self::with_service_range("10.96.0.0/16,fd00:96::/112")
    }

    pub(crate) fn with_service_range(range: &str) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let file = |name: &str, content: &str| {
            let path = dir.join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = file("service-account.key", &pair.serialize_pem());
        let public_key = file("service-account.pub", &pair.public_key_pem());
        let tokens = file(
            "tokens.csv",
            &format!("{TOKEN},admin,admin,system:masters\n"),
        );
        let policy = file("audit.yaml", AUDIT_POLICY);
        let url = local_url("https");
        let port = url.rsplit(':').next().unwrap();
        let args = [
            format!("--etcd-servers={}", ETCD.url),
            format!(
                "--etcd-prefix=/cluster-{}",
                CLUSTERS.fetch_add(1, Ordering::Relaxed)
            ),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", dir.display()),
            format!("--token-auth-file={tokens}"),
            "--authorization-mode=RBAC".to_owned(),
            format!("--service-cluster-ip-range={range}"),
            format!("--service-account-key-file={public_key}"),
            format!("--service-account-signing-key-file={key}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            // There is no controller that would make the default account of a namespace.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={policy}"),
            format!("--audit-log-path={}", dir.join("audit.log").display()),
        ];
        let log = dir.join("kube-apiserver.log");
        let process = Process::start_in(Some(&dir), &PROGRAMS.api_server, &args, &[], &log);
        Self { url, process, dir }
    }

    /// A client that may do everything, once the API server is of use.
    pub(crate) async fn admin(&self) -> Client {
        let client = self.client().await;
        // Services come last: for a moment each is refused because "the range is full".
        let services: Api<Service> = Api::namespaced(client.clone(), "default");
        let probe = serde_json::from_value(json!({
            "metadata": {"name": "probe"},
            "spec": {"ports": [{"port": 80}]},
        }))
        .unwrap();
        eventually("the API server is ready", async || {
            match services.create(&PostParams::default(), &probe).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error}\n{}", self.process.log())),
            }
        })
        .await;
        let params = DeleteParams::default();
        services.delete("probe", &params).await.unwrap();
        client
    }

    /// A client that may do everything. Each test has its own, as each has a runtime.
    pub(crate) async fn client(&self) -> Client {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(
            serde_json::from_value(self.kubeconfig(None)).unwrap(),
            &options,
        );
        tombolo_runtime::client::client(config.await.unwrap()).unwrap()
    }

    /// Writes a kubeconfig with which a program is `user`.
    pub(crate) fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.write_kubeconfig(&user.replace(':', "-"), Some(user))
    }

    /// Writes a kubeconfig with which a program may do everything.
    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.write_kubeconfig("admin", None)
    }

    fn write_kubeconfig(&self, name: &str, user: Option<&str>) -> PathBuf {
        let path = self.dir.join(format!("{name}.kubeconfig"));
        // JSON is YAML.
        fs::write(&path, self.kubeconfig(user).to_string()).unwrap();
        path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What was asked of the API server so far, but for watches.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let log = fs::read_to_string(self.dir.join("audit.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .map(Request::read)
            .collect()
    }

    /// What the programs wrote, but for what runs on its own: Leases, Events.
    pub(crate) fn writes(&self) -> Vec<String> {
        let writes = self.requests().into_iter().filter(Request::is_write);
        writes
            .map(|r| format!("{} {} {}", r.verb, r.namespace, r.resource))
            .collect()
    }

    /// What they wrote for the services of one namespace: resources, in order.
    pub(crate) fn writes_for(&self, namespace: &str) -> Vec<String> {
        let copies = format!(".{namespace}.");
        let writes = self.requests().into_iter().filter(Request::is_write);
        writes
            .filter(|r| r.namespace == namespace || r.name.contains(&copies))
            .map(|r| r.resource)
            .collect()
    }

    fn kubeconfig(&self, user: Option<&str>) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {
                "server": self.url, "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "u", "user": {"token": TOKEN, "as": user}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        })
    }
}

impl Request {
    fn is_write(&self) -> bool {
        self.user.starts_with("system:serviceaccount:")
            && ["create", "update", "patch", "delete"].contains(&self.verb.as_str())
            && !["leases", "events"].contains(&self.resource.as_str())
    }

    fn read(event: Value) -> Self {
        let text = |path: &str| {
            event
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let user = text("/impersonatedUser/username");
        let subresource = text("/objectRef/subresource");
        let mut resource = text("/objectRef/resource");
        if !subresource.is_empty() {
            resource = format!("{resource}/{subresource}");
        }
        Self {
            user: if user.is_empty() {
                text("/user/username")
            } else {
                user
            },
            verb: text("/verb"),
            resource,
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            code: event
                .pointer("/responseStatus/code")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        }
    }
}

fn local_url(scheme: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("{scheme}://{}", listener.local_addr().unwrap())
}
