//! Which kind is meant, and under which path an API server keeps it.

use crate::Error;
use std::borrow::Cow;

/// A kind as an API server serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version, as `v1`.
    pub version: Cow<'static, str>,
    /// Kind, as `Service`.
    pub kind: Cow<'static, str>,
    /// The name in paths, as `services`.
    pub plural: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// A namespaced kind known at compile time; `group` is empty for the core group.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Resource {
        Resource {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced: true,
        }
    }

    /// A cluster-wide kind known at compile time.
    pub const fn cluster_wide(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Resource {
        Resource {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced: false,
        }
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Path of the collection: of one namespace, or of all with `None`.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> Result<String, Error> {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", segment(&self.version)?)
        } else {
            format!(
                "/apis/{}/{}",
                segment(&self.group)?,
                segment(&self.version)?
            )
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.push_str(segment(namespace)?);
        }
        path.push('/');
        path.push_str(segment(&self.plural)?);
        Ok(path)
    }

    /// Path of one object, or of one of its subresources.
    pub(crate) fn object(
        &self,
        namespace: Option<&str>,
        name: &str,
        sub: &str,
    ) -> Result<String, Error> {
        if self.namespaced && namespace.is_none_or(str::is_empty) {
            return Err(Error::Request(format!(
                "{} {name:?} needs a namespace",
                self.kind
            )));
        }
        let mut path = self.collection(namespace)?;
        path.push('/');
        path.push_str(segment(name)?);
        if !sub.is_empty() {
            path.push('/');
            path.push_str(segment(sub)?);
        }
        Ok(path)
    }
}

impl std::fmt::Display for Resource {
    /// `deployments.apps`, as kubectl names kinds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.group)
        }
    }
}

/// Names end up in a path unescaped, so whatever could leave its segment is refused. Names of RBAC objects hold colons.
fn segment(text: &str) -> Result<&str, Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if text.is_empty() || text.len() > 253 || text == "." || text == ".." || !text.chars().all(fine)
    {
        return Err(Error::Request(format!(
            "{text:?} is no name that a path can hold"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");
    const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "Deployment", "deployments");
    const NODES: Resource = Resource::cluster_wide("", "v1", "Node", "nodes");

    fn check(name: &str, given: Result<String, Error>, expected: Option<&str>) {
        assert_eq!(given.ok().as_deref(), expected, "{name}");
    }

    #[test]
    fn paths() {
        check("all pods", PODS.collection(None), Some("/api/v1/pods"));
        check(
            "pods of a namespace",
            PODS.collection(Some("a")),
            Some("/api/v1/namespaces/a/pods"),
        );
        check(
            "a pod's binding",
            PODS.object(Some("a"), "p", "binding"),
            Some("/api/v1/namespaces/a/pods/p/binding"),
        );
        check(
            "a deployment",
            DEPLOYMENTS.object(Some("a"), "d", ""),
            Some("/apis/apps/v1/namespaces/a/deployments/d"),
        );
        check(
            "a node ignores namespaces",
            NODES.object(Some("a"), "n", ""),
            Some("/api/v1/nodes/n"),
        );
        check(
            "a pod without a namespace",
            PODS.object(None, "p", ""),
            None,
        );
        check(
            "a name that climbs",
            PODS.object(Some("a"), "../../secrets", ""),
            None,
        );
        check("dots", PODS.object(Some("a"), "..", ""), None);
        check("an empty name", PODS.object(Some("a"), "", ""), None);
    }
}
