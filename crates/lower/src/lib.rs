//! Pure: the objects of N clusters become (Snapshot, Problems).
//!
//! A [`Lowerer`] holds what the sources said last and makes snapshots of it; it reads no clock, no network and no
//! environment. What only the outside can know (the time, fetched keys, resolved names) is told to it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod allocate;
mod catalogue;
mod config;
mod delegates;
mod destination_rules;
mod dirty;
mod endpoints;
mod extensions;
mod filters;
mod gateway_api;
mod gateways;
mod ingress;
mod instances;
mod l4_routes;
mod lowerer;
mod mesh_config;
mod mesh_inert;
mod mesh_services;
mod names;
mod networks;
mod notes;
mod providers;
mod proxy_configs;
mod references;
mod security;
mod service_entries;
mod services;
mod sidecars;
mod sources;
mod spread;
pub mod statuses;
mod store;
mod telemetry;
mod virtual_services;
mod workloads;
mod world;

pub use allocate::Allocation;
pub use config::StatusUpdate;
pub use lowerer::{Lowerer, Settings};
pub use mesh_inert::WITHOUT_EFFECT;
pub use security::FetchedKeys;
pub use store::{Objects, Source, Table};
pub use world::Addresses;
