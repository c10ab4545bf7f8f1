//! Embedded Kubernetes-compatible API server on an embedded database.

mod admission;
mod api;
mod args;
mod auth;
mod cluster;
mod http;
mod keeper;
mod kinds;
mod kubelet;
mod names;
mod netns;
mod object;
mod pki;
mod protobuf;
mod rules;
mod schema;
mod selector;
mod server;
mod status;
mod store;
mod verbs;

pub use args::{ApiserverArgs, ClusterArg, run};
pub use auth::{StaticToken, User, parse_token_file};
pub use server::{Config, Handle, Server, StartError};
