//! Schemas of fields that say more than their Rust types.
//!
//! Where an author can do wrong there is a CEL rule, not a pattern: its message says what is
//! expected instead of quoting an expression.

use schemars::{Schema, SchemaGenerator, json_schema};

/// `metav1.Condition`s with the limits that the API server's own types have, one of each type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "description": "When the condition went from one status to another.",
                    "type": "string",
                    "format": "date-time",
                },
                "message": {
                    "description": "For people.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The metadata.generation that the condition speaks of.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "reason": {
                    "description": "For programs.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": CONDITION_TYPE,
                },
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

const CONDITION_TYPE: &str = concat!(
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
    r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
);

/// A DNS label (RFC 1123): what a cluster ID is.
pub(crate) fn dns_label(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": "must be a DNS label: lower-case letters, digits, and hyphens between them",
        }],
    })
}

/// Where gateways can be dialled: a DNS name has at most 253 characters, and a colon and a port
/// follow.
pub(crate) fn address_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "string",
            "maxLength": 259,
            "x-kubernetes-validations": [{
                "rule": ADDRESS_RULE,
                "message": ADDRESS_MESSAGE,
            }],
        },
        "x-kubernetes-list-type": "set",
    })
}

const ADDRESS_RULE: &str = concat!(
    r"self.matches('^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$')",
    r" && int(self.substring(self.lastIndexOf(':') + 1)) >= 1",
    r" && int(self.substring(self.lastIndexOf(':') + 1)) <= 65535",
);

const ADDRESS_MESSAGE: &str = "must be host:port, where the host is a DNS name, an IPv4 address or \
                               an IPv6 address in brackets, and the port is 1 to 65535";

/// PEM certificates. What is in them is checked by the gateway, which says so in a condition.
pub(crate) fn ca_bundle(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 65536,
        "x-kubernetes-validations": [{
            "rule": "self.contains('-----BEGIN CERTIFICATE-----')",
            "message": "must hold at least one PEM certificate: the content of ca.crt of the other \
                        cluster's ConfigMap tombolo-ca",
        }],
    })
}

/// A number of endpoints, or a percentage of them.
pub(crate) fn healthy_floor(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "x-kubernetes-validations": [{
            "rule": "type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",
            "message": "must be a number of endpoints from 1 on, or a percentage from 1% to 100%",
        }],
    })
}

/// Labels that a pod has to have. Whether they can be labels is told in a condition: a rule for
/// keys, whose length no schema bounds, would cost the API server too much.
pub(crate) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}
