//! The operator as a process, with the rights that the chart gives it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde::Deserialize;

use crate::api_server::Cluster;
use crate::process::Process;

pub(crate) const SYSTEM: &str = "tombolo-system";

/// The pod of the uninstallation's Job.
pub(crate) const CLEANUP: &str = "cleanup";

pub(crate) struct Operator {
    process: Process,
}

/// How an operator is started: as the cluster `east` of the clusterset `prod` unless told otherwise.
#[derive(Clone)]
pub(crate) struct Start<'a> {
    cluster: &'a Cluster,
    pod: &'a str,
    env: BTreeMap<&'static str, String>,
}

impl<'a> Start<'a> {
    pub(crate) fn new(cluster: &'a Cluster, pod: &'a str) -> Self {
        let env = [
            ("POD_NAMESPACE", SYSTEM.to_owned()),
            ("POD_NAME", pod.to_owned()),
            ("TOMBOLO_CLUSTER_ID", "east".to_owned()),
            ("TOMBOLO_CLUSTERSET", "prod".to_owned()),
            ("TOMBOLO_ADMIN_ADDRESS", "127.0.0.1:0".to_owned()),
            ("TOMBOLO_LOG", "info,tombolo_operator=debug".to_owned()),
        ];
        Self {
            cluster,
            pod,
            env: env.into(),
        }
    }

    pub(crate) fn env(mut self, key: &'static str, value: &str) -> Self {
        self.env.insert(key, value.to_owned());
        self
    }

    pub(crate) fn go(self) -> Operator {
        self.run(&[])
    }

    pub(crate) fn run(mut self, args: &[&str]) -> Operator {
        let kubeconfig = self.cluster.kubeconfig_of(&user(self.pod));
        self.env
            .insert("KUBECONFIG", kubeconfig.display().to_string());
        let env: Vec<_> = self.env.into_iter().collect();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let log = self.cluster.file(&format!("{}.log", self.pod));
        let program = Path::new(env!("CARGO_BIN_EXE_tombolo-operator"));
        Operator {
            process: Process::start(program, &args, &env, &log),
        }
    }
}

impl Operator {
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        self.process.resident_kib()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Whether it is to be sent work: else what its answer to the kubelet is.
    pub(crate) fn is_ready(&self) -> Result<(), String> {
        let log = self.log();
        let address = log.split("admin_address=").nth(1);
        let address = address.and_then(|rest| rest.split_whitespace().next());
        let answer = get(address.ok_or("not started")?, "/readyz");
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.contains(" 200 OK") {
            true => Ok(()),
            false => Err(answer),
        }
    }
}

fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Each replica is a user of its own here, so that one can tell what each has done.
pub(crate) fn user(pod: &str) -> String {
    format!("system:serviceaccount:{SYSTEM}:{pod}")
}

/// Makes Tombolo's namespace, and gives these pods the rights of the chart's operator.
pub(crate) async fn prepare(client: &Client, pods: &[&str]) {
    let namespace = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM},
    });
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let params = PatchParams::apply("test");
    namespaces
        .patch(SYSTEM, &params, &Patch::Apply(namespace))
        .await
        .unwrap();
    for object in chart_objects("operator/rbac.yaml", pods) {
        apply(client, &object).await;
    }
    for object in chart_objects("uninstall/cleanup.yaml", &[CLEANUP]) {
        if object
            .types
            .as_ref()
            .is_some_and(|types| types.api_version.starts_with("rbac"))
        {
            apply(client, &object).await;
        }
    }
}

/// The objects of a template that has no logic but labels and the namespace, which is all that the
/// chart's RBAC needs: an operator that asks for more than it is given fails here.
pub(crate) fn chart_objects(template: &str, pods: &[&str]) -> Vec<DynamicObject> {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/tombolo/templates");
    let text = fs::read_to_string(templates.join(template)).unwrap();
    let subjects: Vec<String> = pods
        .iter()
        .map(|pod| format!("{{kind: ServiceAccount, name: {pod}, namespace: {SYSTEM}}}"))
        .collect();
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.replace("{{ .Release.Namespace }}", SYSTEM);
        if line.trim_start().starts_with("- {kind: ServiceAccount") {
            lines.extend(subjects.iter().map(|subject| format!("  - {subject}")));
        } else if line.trim() == "labels:" {
            lines.push("  labels: {}".to_owned());
        } else if !line.contains("{{") && !line.trim_start().starts_with('"') {
            lines.push(line);
        }
    }
    let yaml = lines.join("\n");
    let documents = serde_norway::Deserializer::from_str(&yaml)
        .map(|document| Option::<DynamicObject>::deserialize(document).unwrap());
    documents.flatten().collect()
}

pub(crate) async fn apply(client: &Client, object: &DynamicObject) {
    let types = object.types.as_ref().unwrap();
    let (group, version) = types
        .api_version
        .split_once('/')
        .unwrap_or(("", &types.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.as_deref().unwrap();
    api.patch(
        name,
        &PatchParams::apply("test").force(),
        &Patch::Apply(object),
    )
    .await
    .unwrap();
}
