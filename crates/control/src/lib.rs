//! The control plane's one writer task: folds Changes, runs lower, publishes snapshots.
//!
//! [`feed`] turns watches into Changes, [`writer`] owns the store and publishes views of it, and `hawser-serve` serves
//! them. Beside that road stand the small effects that a control plane owes its cluster: its authority ([`authority`]),
//! the roots in every namespace ([`roots`]), admission webhooks ([`webhook`]), and answers about itself ([`debug`]). What
//! the mesh wants of the world outside ([`wants`]) is seen to by tasks of their own: keys of tokens ([`jwks`]), addresses of
//! gateways known by name, [`statuses`].

#![forbid(unsafe_code)]

mod addresses;
mod admission;
pub mod authority;
mod certificates;
mod credentials;
pub mod debug;
pub mod envoy_patch;
pub mod feed;
pub mod jwks;
mod kinds;
mod listen;
mod mesh;
mod refresh;
mod refusals;
mod reviewer;
pub mod roots;
pub mod run;
pub mod settings;
pub mod statuses;
pub mod wants;
pub mod webhook;
pub mod writer;

pub use run::{ControlPlaneArgs, run};
