//! The paths of the API, `/api/v1/…` and `/apis/GROUP/VERSION/…`.

/// What a path addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePath {
    /// `/api`, `/apis`, `/apis/GROUP` and everything that is no API object, without a trailing slash.
    Other(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    Version {
        group: String,
        version: String,
    },
    Resource(ResourcePath),
}

/// A path to objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourcePath {
    pub group: String,
    pub version: String,
    /// Empty for cluster-scoped objects and for lists over all namespaces; for namespaces themselves their name.
    pub namespace: String,
    pub plural: String,
    /// Empty for the collection.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// What follows the subresource, as in `proxy/healthz`.
    pub rest: String,
    /// The pre-1.11 form `/watch/…`.
    pub watch_prefix: bool,
}

/// Splits a request's path. Pure.
pub fn split(path: &str) -> RoutePath {
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(percent_decode)
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return RoutePath::Other(format!("/{}", parts.join("/"))),
    };
    let mut target = ResourcePath {
        group: group.into(),
        version: version.into(),
        ..ResourcePath::default()
    };
    let rest = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => {
            target.watch_prefix = true;
            rest
        }
        other => other,
    };
    let rest = match rest {
        [] => {
            return RoutePath::Version {
                group: group.into(),
                version: version.into(),
            };
        }
        ["namespaces", namespace, "status" | "finalize"] => {
            target.namespace = (*namespace).into();
            rest
        }
        ["namespaces", namespace, plural, after @ ..]
            if *plural != "status" && *plural != "finalize" =>
        {
            target.namespace = (*namespace).into();
            target.plural = (*plural).into();
            fill(&mut target, after);
            return RoutePath::Resource(target);
        }
        ["namespaces", namespace] => {
            target.namespace = (*namespace).into();
            rest
        }
        other => other,
    };
    if let [plural, after @ ..] = rest {
        target.plural = (*plural).into();
        fill(&mut target, after);
    }
    RoutePath::Resource(target)
}

fn fill(target: &mut ResourcePath, after: &[&str]) {
    if let [name, after @ ..] = after {
        target.name = (*name).into();
        if let [subresource, rest @ ..] = after {
            target.subresource = (*subresource).into();
            target.rest = rest.join("/");
        }
    }
}

/// `%41` becomes `A`; anything malformed stays as it is, and so will not be found.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: (&str, &str, &str, &str, &str, &str)) {
        let RoutePath::Resource(found) = split(path) else {
            panic!("{path} names no resource");
        };
        let found = (
            found.group.as_str(),
            found.version.as_str(),
            found.namespace.as_str(),
            found.plural.as_str(),
            found.name.as_str(),
            found.subresource.as_str(),
        );
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths() {
        check("/api/v1/pods", ("", "v1", "", "pods", "", ""));
        check("/api/v1/namespaces", ("", "v1", "", "namespaces", "", ""));
        check(
            "/api/v1/namespaces/a",
            ("", "v1", "a", "namespaces", "a", ""),
        );
        check(
            "/api/v1/namespaces/a/finalize",
            ("", "v1", "a", "namespaces", "a", "finalize"),
        );
        check(
            "/api/v1/namespaces/a/pods/b/log",
            ("", "v1", "a", "pods", "b", "log"),
        );
        check(
            "/apis/apps/v1/namespaces/a/deployments/",
            ("apps", "v1", "a", "deployments", "", ""),
        );
        check(
            "/apis/g/v1/things/x%3Ay",
            ("g", "v1", "", "things", "x:y", ""),
        );
        assert_eq!(
            split("/apis/apps/v1"),
            RoutePath::Version {
                group: "apps".into(),
                version: "v1".into()
            }
        );
        assert_eq!(split("/apis/"), RoutePath::Other("/apis".into()));
    }
}
