//! Pure: objects of one or several clusters become findings, with Istio's codes.
//!
//! [`analyze`] builds one [`world::World`] per cluster (objects by kind, with lookup tables) and runs every analyzer of
//! [`analyzers::ALL`] over it. What one object alone has wrong comes from `hawser_api::validate` and is passed in.

mod analyzers;
mod annotations;
mod authentication;
mod authorization;
mod clusters;
mod codes;
mod conditions;
mod deployments;
mod deprecation;
mod destination_rules;
mod envoy_filters;
mod finding;
mod gateway_api;
mod gateway_secrets;
mod gateways;
mod hosts;
mod injection;
mod mesh_networks;
mod pods;
mod proxy_image;
mod route_gateways;
mod route_hosts;
mod routes;
mod run;
mod selectors;
mod service_entries;
mod services;
mod suppress;
mod telemetry;
mod webhooks;
mod world;

#[cfg(test)]
mod tests;

pub use analyzers::{ALL, Analyzer};
pub use codes::{DUPLICATE_KEY, DUPLICATE_OBJECT, UNREADABLE};
pub use finding::Finding;
pub use run::{Cluster, Settings, analyze};
pub use suppress::{BadSuppression, Suppression};
