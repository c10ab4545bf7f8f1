//! The control plane's one writer task: folds Changes, runs lower, publishes snapshots.
//!
//! [`feed`] turns watches into Changes, [`writer`] owns the store and publishes views of it, and `hawser-serve` serves
//! them. Beside that road stand the small effects that a control plane owes its cluster: its authority ([`authority`]),
//! the roots in every namespace ([`roots`]), admission webhooks ([`webhook`]), and answers about itself ([`debug`]).

#![forbid(unsafe_code)]

mod admission;
pub mod authority;
pub mod debug;
pub mod feed;
mod kinds;
mod listen;
pub mod reviewer;
pub mod roots;
pub mod run;
pub mod settings;
pub mod webhook;
pub mod writer;

pub use run::{ControlPlaneArgs, run};
