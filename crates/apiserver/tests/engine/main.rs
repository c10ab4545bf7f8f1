//! The API server seen from outside: a small HTTPS client asks, real kubectl acts, processes are killed.

mod admission;
mod auth;
mod client;
mod client_go;
mod custom;
mod durability;
mod helm;
mod hook;
mod informers;
mod kubectl;
mod lifecycle;
mod namespace;
mod objects;
mod robust;
mod tools;
mod watch;
mod webhooks;
