//! What `hawser lab up` does with its clusters: steps that a user could do by hand.

mod observe;
pub mod replicated;
mod steps;
mod tls_probe;
