//! The bytes between clusters: stream prefaces and catalog messages
