//! The DNS proxy: answers the names of the mesh, hands on everything else.

mod answer;
mod forward;
mod resolv;
mod server;
mod table;

pub use resolv::{ResolvConf, ResolvError};
pub use server::{Server, ServerConfig, ServerError};
pub use table::{Table, Viewpoint};
