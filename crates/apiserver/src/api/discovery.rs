//! Discovery: which groups, versions and resources there are, in the old form and the aggregated one.

use std::sync::Arc;

use aws_lc_rs::digest;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Call;
use crate::cluster::Cluster;
use crate::http::{Accept, Answer, full, json as json_answer, text};
use crate::kinds::{Kind, Scope, Subresource, api_version, subresources};

/// The Kubernetes version whose API this server answers as.
const VERSION: (&str, &str, &str) = ("1", "35", "v1.35.4");

pub fn server_version() -> Answer {
    let (major, minor, git) = VERSION;
    let version = json!({
        "major": major, "minor": minor,
        "emulationMajor": major, "emulationMinor": minor, "minCompatibilityMajor": major, "minCompatibilityMinor": "34",
        "gitVersion": format!("{git}+hawser"), "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("linux/{}", std::env::consts::ARCH),
    });
    json_answer(200, Accept::default(), version.to_string())
}

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.virtual_only {
        &["create"]
    } else if kind.is("namespaces") {
        &[
            "create", "delete", "get", "list", "patch", "update", "watch",
        ]
    } else {
        ALL
    }
}

/// As the real server derives it from where a kind is stored.
fn storage_hash(kind: &Kind) -> String {
    use base64::Engine;
    let text = format!(
        "{}/{}/{}",
        kind.storage_group, kind.storage_version, kind.kind
    );
    let hash = Sha256::digest(text);
    base64::engine::general_purpose::STANDARD.encode(hash.get(..8).unwrap_or_default())
}

fn server_addresses(cluster: &Cluster) -> Value {
    json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": cluster.addr.to_string()}])
}

pub fn root(cluster: &Cluster) -> Answer {
    let catalog = cluster.catalog.load();
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".into(),
        "/api/v1".into(),
        "/apis".into(),
    ];
    for (group, versions) in catalog.groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    paths.extend(
        [
            "/healthz",
            "/livez",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    json_answer(200, Accept::default(), json!({"paths": paths}).to_string())
}

/// The version of the aggregated form that the client takes first, or `None` for the old form.
fn aggregated(call: &Call) -> Option<&'static str> {
    for clause in call.accept.split(',') {
        let has = |wanted: &str| clause.split(';').any(|part| part.trim() == wanted);
        if has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") {
            if has("v=v2") {
                return Some("v2");
            }
            if has("v=v2beta1") {
                return Some("v2beta1");
            }
        } else if matches!(
            clause.split(';').next().map(str::trim),
            Some("application/json" | "*/*")
        ) {
            return None;
        }
    }
    None
}

pub fn api(cluster: &Arc<Cluster>, call: &Call) -> Answer {
    if let Some(version) = aggregated(call) {
        let core: [Arc<str>; 1] = ["v1".into()];
        return discovery_list(cluster, call, version, vec![("", core.as_slice())]);
    }
    let body = json!({
        "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": server_addresses(cluster),
    });
    json_answer(200, Accept::default(), body.to_string())
}

pub fn apis(cluster: &Arc<Cluster>, call: &Call) -> Answer {
    let catalog = cluster.catalog.load();
    if let Some(version) = aggregated(call) {
        let groups = catalog
            .groups()
            .map(|(group, versions)| (&**group, versions))
            .collect();
        return discovery_list(cluster, call, version, groups);
    }
    let groups: Vec<Value> = catalog
        .groups()
        .map(|(group, versions)| group_entry(group, versions))
        .collect();
    let body = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
    json_answer(200, Accept::default(), body.to_string())
}

fn group_entry(group: &str, versions: &[Arc<str>]) -> Value {
    let entry = |version: &Arc<str>| json!({"groupVersion": api_version(group, version), "version": **version});
    let all: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": group, "versions": all, "preferredVersion": versions.first().map(entry)})
}

/// `/apis/GROUP`.
pub fn group(cluster: &Cluster, name: &str) -> Answer {
    let catalog = cluster.catalog.load();
    let Some((group, versions)) = catalog.groups().find(|(group, _)| &***group == name) else {
        return text(404, "404 page not found\n");
    };
    let mut body = group_entry(group, versions);
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    json_answer(200, Accept::default(), body.to_string())
}

/// `/api/v1` and `/apis/GROUP/VERSION`: an `APIResourceList`.
pub fn version(cluster: &Cluster, _call: &Call, group: &str, version: &str) -> Answer {
    let catalog = cluster.catalog.load();
    let mut resources = Vec::new();
    let mut kinds: Vec<_> = catalog.kinds_of(group, version).collect();
    kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    for kind in kinds {
        let mut entry = Map::new();
        entry.insert("name".into(), (&*kind.plural).into());
        entry.insert("singularName".into(), (&*kind.singular).into());
        entry.insert("namespaced".into(), kind.namespaced().into());
        entry.insert("kind".into(), (&*kind.kind).into());
        entry.insert("verbs".into(), json!(verbs(kind)));
        insert_names(&mut entry, kind);
        if !kind.virtual_only {
            entry.insert("storageVersionHash".into(), storage_hash(kind).into());
        }
        resources.push(Value::Object(entry));
        for subresource in subresources(kind) {
            resources.push(subresource_entry(kind, &subresource));
        }
    }
    let mut body = json!({"kind": "APIResourceList", "groupVersion": api_version(group, version), "resources": resources});
    if !group.is_empty() {
        body["apiVersion"] = "v1".into();
    }
    json_answer(200, Accept::default(), body.to_string())
}

fn insert_names(entry: &mut Map<String, Value>, kind: &Kind) {
    for (field, names) in [
        ("shortNames", &kind.short_names),
        ("categories", &kind.categories),
    ] {
        if !names.is_empty() {
            entry.insert(
                field.into(),
                names.iter().map(|name| Value::from(&**name)).collect(),
            );
        }
    }
}

fn subresource_entry(kind: &Kind, subresource: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, subresource.name), "singularName": "", "namespaced": kind.namespaced(),
        "kind": subresource.body.map_or(&*kind.kind, |(_, _, body)| body), "verbs": subresource.verbs,
    });
    if let Some((group, version, _)) = subresource.body
        && (group != &*kind.group || version != &*kind.version)
    {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

fn discovery_list(
    cluster: &Cluster,
    call: &Call,
    form: &'static str,
    groups: Vec<(&str, &[Arc<str>])>,
) -> Answer {
    let catalog = cluster.catalog.load();
    let mut items = Vec::new();
    for (group, versions) in groups {
        let mut listed = Vec::new();
        for version in versions {
            let mut kinds: Vec<_> = catalog.kinds_of(group, version).collect();
            kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
            let resources: Vec<Value> = kinds
                .into_iter()
                .map(|kind| discovery_entry(kind))
                .collect();
            listed.push(
                json!({"version": **version, "resources": resources, "freshness": "Current"}),
            );
        }
        let metadata = if group.is_empty() {
            json!({})
        } else {
            json!({"name": group})
        };
        items.push(json!({"metadata": metadata, "versions": listed}));
    }
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"), "metadata": {},
        "items": items,
    });
    let content_type = match form {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    with_etag(call, content_type, body.to_string())
}

/// An answer that clients may keep and ask about again.
pub fn with_etag(call: &Call, content_type: &'static str, body: String) -> Answer {
    let tag = hash(body.as_bytes());
    with_tag(call, content_type, &tag, || body.into_bytes())
}

/// The same where what the body is made from stands for it; it is made only for who does not have it.
pub fn with_tag(
    call: &Call,
    content_type: &'static str,
    tag: &str,
    body: impl FnOnce() -> Vec<u8>,
) -> Answer {
    let etag = format!("\"{tag}\"");
    let fresh = call.if_none_match == etag;
    let mut answer = Answer::new(full(if fresh { Vec::new() } else { body() }));
    if fresh {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    answer
}

/// SHA-512 in upper-case hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA512, bytes)
        .as_ref()
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02X}"))
}

fn discovery_entry(kind: &Kind) -> Value {
    let response = json!({"group": *kind.group, "version": *kind.version, "kind": *kind.kind});
    let mut entry = Map::new();
    entry.insert("resource".into(), (&*kind.plural).into());
    entry.insert("responseKind".into(), response.clone());
    entry.insert(
        "scope".into(),
        if kind.scope == Scope::Namespaced {
            "Namespaced"
        } else {
            "Cluster"
        }
        .into(),
    );
    entry.insert("singularResource".into(), (&*kind.singular).into());
    entry.insert("verbs".into(), json!(verbs(kind)));
    insert_names(&mut entry, kind);
    let children: Vec<Value> = subresources(kind)
        .iter()
        .map(|subresource| {
            let body = subresource.body.map_or(response.clone(), |(group, version, kind)| {
                json!({"group": group, "version": version, "kind": kind})
            });
            json!({"subresource": subresource.name, "responseKind": body, "verbs": subresource.verbs})
        })
        .collect();
    if !children.is_empty() {
        entry.insert("subresources".into(), children.into());
    }
    Value::Object(entry)
}
