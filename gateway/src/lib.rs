//! The gateway: carries catalogs and connections between clusters
