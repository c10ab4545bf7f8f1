//! The subresources of each kind, one row each.

use super::Kind;

/// A subresource as discovery lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    pub name: &'static str,
    /// The kind of its bodies; `None`: that of the object.
    pub body: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

const CHANGE: &[&str] = &["get", "patch", "update"];
const POST: &[&str] = &["create"];

const fn whole(name: &'static str) -> Subresource {
    Subresource {
        name,
        body: None,
        verbs: CHANGE,
    }
}

/// The subresources served for a kind, by name.
pub fn subresources(kind: &Kind) -> Vec<Subresource> {
    let mut list = Vec::new();
    let posted = |name, body| Subresource {
        name,
        body: Some(body),
        verbs: POST,
    };
    match kind.resource.as_str() {
        "pods" => {
            list.push(posted("binding", ("", "v1", "Binding")));
            list.push(whole("ephemeralcontainers"));
            list.push(posted("eviction", ("policy", "v1", "Eviction")));
            list.push(Subresource {
                name: "log",
                body: None,
                verbs: &["get"],
            });
        }
        "namespaces" => list.push(Subresource {
            name: "finalize",
            body: None,
            verbs: &["update"],
        }),
        "serviceaccounts" => list.push(posted(
            "token",
            ("authentication.k8s.io", "v1", "TokenRequest"),
        )),
        _ => {}
    }
    if kind.scale {
        list.push(Subresource {
            name: "scale",
            body: Some(("autoscaling", "v1", "Scale")),
            verbs: CHANGE,
        });
    }
    if kind.status {
        list.push(whole("status"));
    }
    list.sort_by_key(|subresource| subresource.name);
    list
}
