//! Pure: Snapshot + Proxy become Envoy resources.
//!
//! `select` gathers for each resource a small value with everything that the resource depends on; `render` sees only that
//! value, so that what was rendered can be remembered by it ([`Translator`]).

#![forbid(unsafe_code)]

mod audience;
mod authn;
mod authz;
mod blame;
mod canonical;
mod cluster;
mod destination;
mod dynamic;
mod endpoints;
mod envoy_filter;
mod extensions;
mod give;
mod listener;
mod memo;
mod names;
pub mod node;
mod resource;
mod route;
mod scope;
mod select;
mod selection;
mod telemetry;
mod translator;
mod view;
mod wire;

pub use blame::Patched;
pub use resource::{Resource, Resources};
pub use selection::{Given, Selection};
pub use translator::{Translator, translate};
