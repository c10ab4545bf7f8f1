//! The mesh's nouns: Snapshot, Service, Endpoint, Network, Identity, Proxy, Problem.
