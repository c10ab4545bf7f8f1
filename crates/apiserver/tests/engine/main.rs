//! The API server seen from outside: a small HTTPS client asks, real kubectl acts, processes are killed.

mod admission;
mod auth;
mod client;
mod custom;
mod durability;
mod informers;
mod kubectl;
mod lifecycle;
mod namespace;
mod objects;
mod watch;
