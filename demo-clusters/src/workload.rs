//! YAML of what tests run in the clusters.

/// Size of the blob that [`echo`] serves and that tests send.
pub const BLOB: u64 = 256 * 1024 * 1024;

/// A pod to type into: a shell with curl, dig, socat, nc.
#[must_use]
pub fn client(toolbox: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: client, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: client
      image: {toolbox}
      imagePullPolicy: IfNotPresent
      command: [sleep, infinity]
"
    )
}

/// An HTTP server whose `/hostname` tells the pod's name, and its Service on port 80.
#[must_use]
pub fn hello(name: &str, replicas: usize, toolbox: &str) -> String {
    let service = service(name, &[("http", 80, 8080)]);
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: hello
          image: {toolbox}
          imagePullPolicy: IfNotPresent
          args: [netexec, --http-port=8080, --udp-port=8081]
          readinessProbe:
            httpGet: {{path: /hostname, port: 8080}}
            periodSeconds: 1
---{service}"
    )
}

/// A StatefulSet of the same HTTP servers, and its headless Service on their own port.
#[must_use]
pub fn stateful(name: &str, replicas: usize, toolbox: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  serviceName: {name}
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: hello
          image: {toolbox}
          imagePullPolicy: IfNotPresent
          args: [netexec, --http-port=8080, --udp-port=8081]
          ports: [{{name: web, containerPort: 8080}}]
          readinessProbe:
            httpGet: {{path: /hostname, port: 8080}}
            periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  clusterIP: None
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: web}}]
"
    )
}

/// A TCP server: what comes in on 9000 goes back; 9001 answers with the SHA-256 of all that came
/// until the client's end of stream; 9002 sends a random blob of [`BLOB`] bytes, whose SHA-256 is
/// in the pod's `/tmp/sum`.
#[must_use]
pub fn echo(name: &str, toolbox: &str) -> String {
    let service = service(
        name,
        &[
            ("echo", 9000, 9000),
            ("digest", 9001, 9001),
            ("blob", 9002, 9002),
        ],
    );
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: echo
          image: {toolbox}
          imagePullPolicy: IfNotPresent
          command:
            - bash
            - -c
            - |
              head -c {BLOB} /dev/urandom >/tmp/blob
              sha256sum </tmp/blob | cut -d' ' -f1 >/tmp/sum
              socat -t60 TCP-LISTEN:9001,fork,reuseaddr SYSTEM:'sha256sum | cut -c1-64' &
              socat -u OPEN:/tmp/blob,rdonly TCP-LISTEN:9002,reuseaddr,fork &
              socat TCP-LISTEN:9000,fork,reuseaddr,backlog=1024 PIPE &
              wait
          readinessProbe:
            tcpSocket: {{port: 9000}}
            periodSeconds: 1
---{service}"
    )
}

/// A UDP server on 8081 that tells the pod's name (`hostname`) or what it is asked to (`echo …`).
#[must_use]
pub fn udp(name: &str, replicas: usize, toolbox: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: {name}
          image: {toolbox}
          imagePullPolicy: IfNotPresent
          args: [netexec, --http-port=8080, --udp-port=8081]
          readinessProbe:
            httpGet: {{path: /hostname, port: 8080}}
            periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: udp, port: 8081, protocol: UDP}}]
"
    )
}

/// A TCP server on 9000 that sends back all that it got, as hexadecimal digits, once the client has
/// ended.
#[must_use]
pub fn recorder(name: &str, toolbox: &str) -> String {
    let service = service(name, &[("tcp", 9000, 9000)]);
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: {name}
          image: {toolbox}
          imagePullPolicy: IfNotPresent
          command: [socat, -t60, \"TCP-LISTEN:9000,fork,reuseaddr\", \"SYSTEM:od -An -v -tx1\"]
          readinessProbe:
            tcpSocket: {{port: 9000}}
            periodSeconds: 1
---{service}"
    )
}

/// A Service that selects the pods labelled `app: <name>`; ports as (name, port, target port).
#[must_use]
pub fn service(name: &str, ports: &[(&str, u16, u16)]) -> String {
    let ports: String = ports
        .iter()
        .map(|(name, port, target)| {
            format!("    - {{name: {name}, port: {port}, targetPort: {target}}}\n")
        })
        .collect();
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
{ports}"
    )
}

/// A Service without selector, and an EndpointSlice that claims this address and port for it.
#[must_use]
pub fn hand_made(name: &str, address: &str, port: u16) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  ports: [{{name: http, port: 80, targetPort: {port}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-by-hand
  labels: {{kubernetes.io/service-name: {name}, endpointslice.kubernetes.io/managed-by: somebody}}
addressType: IPv4
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: [\"{address}\"], conditions: {{ready: true}}}}]
"
    )
}

/// A ServiceExport.
#[must_use]
pub fn export(name: &str) -> String {
    format!(
        "
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {{name: {name}}}
"
    )
}

/// The name by which the whole clusterset knows a service.
#[must_use]
pub fn clusterset_name(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc.clusterset.local")
}
