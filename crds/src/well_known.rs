//! Labels, annotations, object names and ports that the programs agree on.

/// On a multi-cluster EndpointSlice: the service that it belongs to (KEP-1645, EndpointSlice).
pub const SERVICE_NAME_LABEL: &str = "multicluster.kubernetes.io/service-name";
/// On a multi-cluster EndpointSlice: the cluster whose endpoints it holds (KEP-1645, EndpointSlice).
pub const SOURCE_CLUSTER_LABEL: &str = "multicluster.kubernetes.io/source-cluster";
/// On a ServiceImport: the name of its derived Service, as the reference controllers write it.
pub const DERIVED_SERVICE_ANNOTATION: &str = "multicluster.kubernetes.io/derived-service";
/// On an EndpointSlice: the Service whose endpoints it holds, read by kube-proxy.
pub const KUBE_SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// On an EndpointSlice: the controller that writes it.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`] on slices that Tombolo's operator writes.
pub const SLICE_MANAGER: &str = "operator.tombolo.io";
/// On every ServiceImport, Service and EndpointSlice that the operator writes: it is Tombolo's own,
/// and nobody else's of the same name. Gateways select Services by it.
pub const MANAGER_LABEL: &str = "tombolo.io/managed-by";
/// The value of [`MANAGER_LABEL`].
pub const MANAGER: &str = "operator";
/// On a derived Service: the name of its ServiceImport.
pub const IMPORT_LABEL: &str = "tombolo.io/service-import";
/// On the Service that stands for one endpoint of another cluster's headless service, and on its
/// EndpointSlices: the endpoint's ID. Such Services are in Tombolo's namespace.
pub const ENDPOINT_LABEL: &str = "tombolo.io/endpoint";
/// Beside [`ENDPOINT_LABEL`]: the cluster in which the endpoint runs.
pub const ENDPOINT_CLUSTER_LABEL: &str = "tombolo.io/endpoint-cluster";
/// Beside [`ENDPOINT_LABEL`]: the namespace of the endpoint's ServiceImport.
pub const ENDPOINT_NAMESPACE_LABEL: &str = "tombolo.io/endpoint-namespace";
/// Beside [`ENDPOINT_LABEL`]: the name of the endpoint's ServiceImport.
pub const ENDPOINT_SERVICE_LABEL: &str = "tombolo.io/endpoint-service";
/// On a ClusterExport: the cluster that wrote it.
pub const CLUSTER_LABEL: &str = "tombolo.io/cluster";
/// On Pods and Leases: which of Tombolo's programs it is (`gateway`, `operator`, `dns`).
pub const COMPONENT_LABEL: &str = "tombolo.io/component";
/// On a gateway replica's Lease: comma-separated IDs of the clusters that it has a link to.
pub const LINKED_CLUSTERS_ANNOTATION: &str = "tombolo.io/linked-clusters";
/// On a gateway replica's Lease: the newest resourceVersion of a derived Service up to which this
/// replica listens on every allotted port. Absent until its first list of them is complete.
pub const LISTENING_ANNOTATION: &str = "tombolo.io/listening";
/// On a gateway replica's Lease: comma-separated ports on which it cannot or will not listen
/// (taken by another socket, or claimed by two imports).
pub const REFUSED_PORTS_ANNOTATION: &str = "tombolo.io/refused-ports";
/// On a gateway replica's Lease: comma-separated exported Services of which it refuses to dial an
/// endpoint, each with one such address: `namespace/name=address`.
pub const REFUSED_ENDPOINTS_ANNOTATION: &str = "tombolo.io/refused-endpoints";

/// Condition of a ServiceImport, there only while it is True: a cluster that exports it cannot be
/// reached, so what is known of its export may be old.
pub const STALE_CONDITION: &str = "tombolo.io/Stale";
/// Condition of a ServiceExport, there only while it is False: this cluster cannot have the import.
pub const IMPORTED_CONDITION: &str = "tombolo.io/Imported";
/// Condition of a Peer: it is not reached, so its exports may be old, and will be withdrawn.
pub const EXPORTS_STALE_CONDITION: &str = "ExportsStale";
/// On an exported Service: the version of the PROXY protocol by which gateways tell its pods who
/// connects to its TCP ports from other clusters. The only one is [`PROXY_PROTOCOL_V2`].
pub const PROXY_PROTOCOL_ANNOTATION: &str = "tombolo.io/proxy-protocol";
/// A value of [`PROXY_PROTOCOL_ANNOTATION`].
pub const PROXY_PROTOCOL_V2: &str = "v2";

/// ClusterProperty with the ID of this cluster (KEP-2149).
pub const CLUSTER_ID_PROPERTY: &str = "cluster.clusterset.k8s.io";
/// ClusterProperty with the ID of the clusterset (KEP-2149).
pub const CLUSTERSET_PROPERTY: &str = "clusterset.k8s.io";

/// Secret in Tombolo's namespace with the cluster's CA: `tls.crt`, `tls.key`. Read by the operator only.
pub const CA_SECRET: &str = "tombolo-ca";
/// ConfigMap in Tombolo's namespace with the cluster's CA bundle: `ca.crt`, PEM. What a Peer of
/// this cluster carries elsewhere.
pub const CA_CONFIG_MAP: &str = "tombolo-ca";
/// Secret in Tombolo's namespace that gateways mount: `tls.crt`, `tls.key`.
pub const GATEWAY_IDENTITY_SECRET: &str = "tombolo-gateway-identity";

/// UDP port on which gateways listen for links.
pub const LINK_PORT: u16 = 7843;
/// TCP port of every program's `/livez`, `/readyz` and `/metrics`.
pub const ADMIN_PORT: u16 = 8080;
/// UDP and TCP port on which `tombolo-dns` listens in its pod; its Service maps 53 to it.
pub const DNS_PORT: u16 = 1053;
/// First of the gateway ports that imports are allotted; below it are ports of other programs.
pub const FIRST_IMPORT_PORT: u16 = 10_000;
/// Last of the gateway ports that imports are allotted; the kernel's ephemeral range begins above.
pub const LAST_IMPORT_PORT: u16 = 29_999;
