//! Pure: the environment of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::fields::{self, Placed};

/// What a pod's containers refer to, read beforehand; what does not exist is absent.
#[derive(Default, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Data of ConfigMaps by name.
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Data of Secrets by name, decoded; only text can be an environment variable.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// Names of the ConfigMaps and of the Secrets that a container's environment refers to.
pub(crate) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|var| var.value_from.as_ref())
    {
        maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    (maps, secrets)
}

/// The environment: `base` (the image's), then `envFrom`, then `env`, later ones winning.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    placed: &Placed,
    sources: &Sources,
    base: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut env = base;
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or("");
        if let Some(map) = &from.config_map_ref {
            match sources.config_maps.get(&map.name) {
                Some(data) => env.extend(
                    data.iter()
                        .map(|(k, v)| (format!("{prefix}{k}"), v.clone())),
                ),
                None if map.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", map.name)),
            }
        }
        if let Some(secret) = &from.secret_ref {
            match sources.secrets.get(&secret.name) {
                Some(data) => {
                    for (key, value) in data {
                        env.insert(format!("{prefix}{key}"), text(&secret.name, key, value)?);
                    }
                }
                None if secret.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", secret.name)),
            }
        }
    }
    for var in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, placed, sources, &env, var)? {
            env.insert(var.name.clone(), value);
        }
    }
    Ok(env)
}

fn value(
    pod: &Pod,
    container: &Container,
    placed: &Placed,
    sources: &Sources,
    env: &BTreeMap<String, String>,
    var: &EnvVar,
) -> Result<Option<String>, String> {
    let Some(from) = &var.value_from else {
        return Ok(Some(expand(var.value.as_deref().unwrap_or(""), env)));
    };
    if let Some(selector) = &from.field_ref {
        return fields::field(pod, placed, &selector.field_path).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
        return fields::resource(containers, Some(container), placed, selector).map(Some);
    }
    if let Some(selector) = &from.config_map_key_ref {
        let found = sources
            .config_maps
            .get(&selector.name)
            .and_then(|data| data.get(&selector.key));
        return match found {
            Some(value) => Ok(Some(value.clone())),
            None if selector.optional == Some(true) => Ok(None),
            None => Err(format!(
                "key {:?} of configmap {:?} not found",
                selector.key, selector.name
            )),
        };
    }
    if let Some(selector) = &from.secret_key_ref {
        let found = sources
            .secrets
            .get(&selector.name)
            .and_then(|data| data.get(&selector.key));
        return match found {
            Some(value) => text(&selector.name, &selector.key, value).map(Some),
            None if selector.optional == Some(true) => Ok(None),
            None => Err(format!(
                "key {:?} of secret {:?} not found",
                selector.key, selector.name
            )),
        };
    }
    Ok(None)
}

fn text(secret: &str, key: &str, value: &[u8]) -> Result<String, String> {
    String::from_utf8(value.to_vec())
        .map_err(|_| format!("key {key:?} of secret {secret:?} is not text"))
}

/// Replaces `$(NAME)` by variables known so far; `$$` stands for `$`; an unknown name stays as written
/// (Kubernetes `third_party/forked/golang/expansion`).
pub(crate) fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'))
        {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[..rest.len() - after.len()]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn expansion() {
        let env = BTreeMap::from([
            ("A".to_string(), "1".to_string()),
            ("B".to_string(), "$(A)".to_string()),
        ]);
        let cases = [
            ("$(A)-$(B)", "1-$(A)"),
            ("$$(A)", "$(A)"),
            ("$(C) $", "$(C) $"),
            ("$(A", "$(A"),
            ("100$A", "100$A"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }

    #[test]
    fn environments() {
        let pod = |env: serde_json::Value| -> Pod {
            from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [
                {"name": "c", "envFrom": [{"prefix": "M_", "configMapRef": {"name": "m"}}], "env": env}
            ]}}))
            .expect("a pod")
        };
        let sources = Sources {
            config_maps: BTreeMap::from([("m".into(), BTreeMap::from([("k".into(), "v".into())]))]),
            secrets: BTreeMap::from([(
                "s".into(),
                BTreeMap::from([("t".into(), b"text".to_vec()), ("b".into(), vec![0xff])]),
            )]),
        };
        let cases = [
            (json!([{"name": "A", "value": "$(M_k)!"}]), Ok("A=v! M_k=v")),
            (
                json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "A2", "value": "$(A)"}]),
                Ok("A=p A2=p M_k=v"),
            ),
            (
                json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "t"}}}]),
                Ok("A=text M_k=v"),
            ),
            (
                json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "b"}}}]),
                Err("key \"b\" of secret \"s\" is not text"),
            ),
            (
                json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k"}}}]),
                Err("key \"k\" of configmap \"x\" not found"),
            ),
            (
                json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k", "optional": true}}}]),
                Ok("M_k=v"),
            ),
        ];
        for (env, expected) in cases {
            let pod = pod(env.clone());
            let container = &pod.spec.as_ref().expect("spec").containers[0];
            let given = environment(
                &pod,
                container,
                &Placed::default(),
                &sources,
                BTreeMap::new(),
            )
            .map(|env| {
                env.iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            assert_eq!(
                given,
                expected.map(String::from).map_err(String::from),
                "{env}"
            );
        }
    }
}
