//! Who is asking, and may they.

mod authn;
pub mod bootstrap;
mod issuer;
pub mod rbac;

pub use authn::{Authenticator, StaticToken, account, certificate_user, parse_token_file};
pub use issuer::{Bound, Issuer, ObjectName, TokenSpec};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct User {
    pub username: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Whoever is in this group may do anything.
pub const MASTERS: &str = "system:masters";
pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

impl User {
    pub fn anonymous() -> User {
        User {
            username: "system:anonymous".into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..User::default()
        }
    }

    /// The cluster's own housekeeping.
    pub fn system(name: &str) -> User {
        User {
            username: name.into(),
            groups: vec![MASTERS.into(), AUTHENTICATED.into()],
            ..User::default()
        }
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|other| other == group)
    }
}

/// What somebody wants to do, as authorization sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Set for paths that are no resources; the fields above but `verb` are empty then.
    pub path: Option<&'a str>,
}

impl Attributes<'_> {
    /// The sentence that tells a user what they may not do.
    pub fn refusal(&self, user: &User) -> String {
        if let Some(path) = self.path {
            return format!(
                "User {:?} cannot {} path {path:?}",
                user.username, self.verb
            );
        }
        let resource = self.full_resource();
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
            user.username, self.verb, self.group
        )
    }

    /// `resource` or `resource/subresource`.
    pub fn full_resource(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}
