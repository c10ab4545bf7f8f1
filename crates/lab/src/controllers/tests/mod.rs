//! Objects in, actions out.

mod services;
mod workloads;
