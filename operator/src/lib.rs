//! The operator: exports in, imports out
