//! What can be done with objects, for every kind alike.

mod create;
mod delete;
mod list;
mod prepare;
mod read;
mod show;
mod update;
mod watch;

pub use create::create;
pub use delete::{DeleteOptions, Preconditions, delete, delete_collection, remove_finalizer};
pub use list::list;
pub use prepare::WriteOptions;
pub use read::get;
pub use show::{show_list, show_one};
pub use update::{Desired, Part, apply, patch_function, update};
pub use watch::watch;

use std::sync::Arc;

use serde_json::Value;

use crate::auth::User;
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::store::Key;

/// One request on its way: where, what, by whom.
pub struct Request<'a> {
    pub cluster: &'a Arc<Cluster>,
    pub kind: Arc<Kind>,
    /// Empty for cluster-scoped kinds and for all namespaces.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    pub user: User,
    /// What `User-Agent` says, up to the slash: the default field manager.
    pub agent: String,
}

impl Request<'_> {
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    pub fn key_of(&self, name: &str) -> Key {
        Key::new(&self.namespace, name)
    }
}

/// What a write gave.
#[derive(Debug)]
pub struct Outcome {
    /// The object in its stored version, or a `Status` when `is_status`.
    pub object: Value,
    pub is_status: bool,
    pub created: bool,
    pub warnings: Vec<String>,
}
