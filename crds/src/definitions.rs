//! The CRDs, made from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube_core::CustomResourceExt;
use kube_core::crd::merge_crds;

use crate::about::ClusterProperty;
use crate::mcs::{self, v1alpha1};
use crate::{ClusterExport, Peer, TrafficPolicy};

/// All CRDs that Tombolo needs. Those of the MCS-API and the About API may be in a cluster already;
/// ask [`crate::install::decide`] before writing any.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        service_exports(),
        service_imports(),
        finished(ClusterProperty::crd()),
        finished(Peer::crd()),
        finished(ClusterExport::crd()),
        finished(TrafficPolicy::crd()),
    ]
}

/// The name of the file in `yaml/` that holds a CRD.
#[must_use]
pub fn yaml_file(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

fn service_exports() -> CustomResourceDefinition {
    with_older(mcs::ServiceExport::crd(), v1alpha1::ServiceExport::crd())
}

fn service_imports() -> CustomResourceDefinition {
    with_older(mcs::ServiceImport::crd(), v1alpha1::ServiceImport::crd())
}

/// Both versions are served and the newer is stored.
fn with_older(
    newer: CustomResourceDefinition,
    older: CustomResourceDefinition,
) -> CustomResourceDefinition {
    let stored = newer.spec.versions[0].name.clone();
    let merged = merge_crds(vec![newer, older], &stored)
        .expect("two derived CRDs of one group, kind and scope merge");
    let mut crd = finished(merged);
    crd.spec.versions.sort_by(|a, b| a.name.cmp(&b.name));
    for root in root_schemas(&mut crd) {
        // As upstream: most ServiceExports have no spec.
        root.required = None;
    }
    crd
}

/// A derived schema says of every optional field that it may be null and what it is then. To the
/// API server that is a difference between null and absent, and a default that it writes into
/// objects. A title would only repeat the kind, and a description has the source's line breaks.
fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for root in root_schemas(&mut crd) {
        visit(root, &|schema| {
            schema.nullable = None;
            schema.default = None;
            schema.title = None;
            schema.description = schema.description.take().map(|text| unwrapped(&text));
        });
    }
    crd
}

fn unwrapped(text: &str) -> String {
    let paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn root_schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    crd.spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut())
        .filter_map(|validation| validation.open_api_v3_schema.as_mut())
}

fn visit(schema: &mut JSONSchemaProps, change: &impl Fn(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        visit(property, change);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        visit(items, change);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        visit(values, change);
    }
}
