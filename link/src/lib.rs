//! Links between clusters: identity and trust, handshake, connection pool, catalog replication
