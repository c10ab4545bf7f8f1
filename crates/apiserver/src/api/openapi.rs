//! OpenAPI: v3's list of documents and each group version's document, and v2's one document of all.

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::Call;
use super::discovery::{hash, with_etag, with_tag};
use crate::cluster::Cluster;
use crate::http::{Answer, full, text};
use crate::kinds::{Catalog, Kind};
use crate::schema::{Schemas, openapi_v2};
use crate::status::ApiError;

/// The documents that are not of a group version: paths of the server itself.
const PLAIN: &[&str] = &[
    ".well-known/openid-configuration",
    "api",
    "apis",
    "openid/v1/jwks",
    "version",
];

/// `/openapi/v3`: answered as text, as the real server does.
pub fn root(cluster: &Arc<Cluster>, call: &Call) -> Result<Answer, ApiError> {
    let catalog = cluster.catalog.load();
    let mut paths = Map::new();
    let mut add = |path: String, hash: String| {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    };
    for path in PLAIN {
        add((*path).to_owned(), hash(path.as_bytes()));
    }
    add("api/v1".into(), document_hash(&catalog, "", "v1"));
    for (group, versions) in catalog.groups() {
        if crate::kinds::ROWS.iter().any(|row| *row.group == **group) {
            add(format!("apis/{group}"), hash(group.as_bytes()));
        }
        for version in versions {
            add(
                format!("apis/{group}/{version}"),
                document_hash(&catalog, group, version),
            );
        }
    }
    let body = json!({"paths": paths}).to_string();
    let mut answer = with_etag(call, "text/plain; charset=utf-8", body);
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    answer.headers_mut().remove(header::ETAG);
    answer.headers_mut().remove(header::VARY);
    Ok(answer)
}

/// What a document is made from stands for it, so that the list costs no rendering of all of them.
fn document_hash(catalog: &Catalog, group: &str, version: &str) -> String {
    static BUILD: OnceLock<String> = OnceLock::new();
    let build = BUILD.get_or_init(|| {
        // Clients keep documents on disk by this hash; another build may render them otherwise.
        let modified = std::env::current_exe()
            .and_then(std::fs::metadata)
            .and_then(|meta| meta.modified());
        format!("{} {:?}", env!("CARGO_PKG_VERSION"), modified.ok())
    });
    let mut source = format!("{build} {group}/{version}");
    for kind in catalog.kinds_of(group, version) {
        if let Some(custom) = &kind.custom {
            source.push_str(&custom.spec_id);
        }
    }
    hash(source.as_bytes())
}

/// `/openapi/v3/…`.
pub fn document(cluster: &Arc<Cluster>, call: &Call, path: &str) -> Result<Answer, ApiError> {
    let catalog = cluster.catalog.load();
    let parts: Vec<&str> = path.split('/').collect();
    let (group, version) = match parts.as_slice() {
        ["api", "v1"] => ("", "v1"),
        ["apis", group, version] => (*group, *version),
        _ => {
            let group = path.strip_prefix("apis/").unwrap_or_default();
            let known =
                PLAIN.contains(&path) || catalog.groups().any(|(known, _)| &**known == group);
            if !known {
                return Ok(text(404, "404 page not found\n"));
            }
            let body = json!({
                "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.35.4"},
                "paths": {format!("/{path}/"): {"get": {"responses": {"200": {"description": "OK"}}}}},
            });
            return Ok(with_etag(call, "application/json", body.to_string()));
        }
    };
    if !catalog.serves(group, version) {
        return Ok(text(404, "404 page not found\n"));
    }
    let current = document_hash(&catalog, group, version);
    let asked = call.query.get("hash");
    if !asked.is_empty() && asked != current {
        let mut answer: Answer = Response::new(full(""));
        *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = format!("/openapi/v3/{path}?hash={current}");
        if let Ok(location) = HeaderValue::from_str(&location) {
            answer.headers_mut().insert(header::LOCATION, location);
        }
        return Ok(answer);
    }
    let body = described(&catalog, group, version);
    let mut answer = with_etag(call, "application/json", body.to_string());
    if !asked.is_empty() {
        // The document of a hash never changes.
        let forever = HeaderValue::from_static("public, immutable");
        answer.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    Ok(answer)
}

/// The v3 document of a group version.
fn described(catalog: &Catalog, group: &str, version: &str) -> Value {
    let specs: Vec<Value> = {
        let custom = catalog
            .kinds_of(group, version)
            .filter_map(|kind| kind.custom.as_ref());
        custom.map(|custom| custom.spec()).collect()
    };
    let refs: Vec<&Value> = specs.iter().collect();
    let mut body = Schemas::builtin().openapi_v3(group, version, &refs);
    for kind in catalog
        .kinds_of(group, version)
        .filter(|kind| kind.custom.is_none() && !kind.served_as_stored())
    {
        if !body["paths"]
            .as_object()
            .is_some_and(|paths| paths.keys().any(|path| path.ends_with(&*kind.plural)))
        {
            add_stored(&mut body, kind);
        }
    }
    body
}

/// Describes a kind as the one that it is stored as, under its own name and paths.
fn add_stored(document: &mut Value, kind: &Kind) {
    let mut stored = Schemas::builtin().openapi_v3(&kind.storage_group, &kind.storage_version, &[]);
    let from = format!("/apis/{}/{}/", kind.storage_group, kind.storage_version);
    let to = format!("/apis/{}/{}/", kind.group, kind.version);
    rename(&mut stored, kind);
    let is_of = |path: &str| path.split('/').any(|part| *part == *kind.plural);
    if let Some(Value::Object(paths)) = stored.get_mut("paths").map(Value::take) {
        for (path, operations) in paths.into_iter().filter(|(path, _)| is_of(path)) {
            document["paths"][path.replace(&from, &to)] = operations;
        }
    }
    if let Some(Value::Object(schemas)) = stored.pointer_mut("/components/schemas").map(Value::take)
    {
        for (name, schema) in schemas {
            document["components"]["schemas"][name] = schema;
        }
    }
}

/// Replaces the stored kind's group and version by the served ones wherever they name the kind.
fn rename(value: &mut Value, kind: &Kind) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, kind)),
        Value::Object(fields) => {
            let names_it = fields
                .get("group")
                .is_some_and(|group| *group == *kind.storage_group)
                && fields
                    .get("version")
                    .is_some_and(|version| *version == *kind.storage_version)
                && fields.get("kind").is_some_and(|name| *name == *kind.kind);
            if names_it {
                fields.insert("group".into(), (&*kind.group).into());
                fields.insert("version".into(), (&*kind.version).into());
            }
            fields.values_mut().for_each(|field| rename(field, kind));
        }
        _ => {}
    }
}

const GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The older name of the same, which kubectl asks for.
const GNOSTIC_AT: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// `/openapi/v2`: all group versions in one document, rendered when asked; clients keep it by its ETag.
pub fn v2(cluster: &Arc<Cluster>, call: &Call) -> Result<Answer, ApiError> {
    let catalog = cluster.catalog.load();
    let form = call.accept.split(',').find_map(|clause| {
        match clause.split(';').next().unwrap_or_default().trim() {
            "" | "*/*" | "application/*" | "application/json" => Some("application/json"),
            GNOSTIC | GNOSTIC_AT => Some(GNOSTIC),
            _ => None,
        }
    });
    let Some(form) = form else {
        return Ok(text(406, "406 not acceptable\n"));
    };
    let served: Vec<(&str, &str)> = std::iter::once(("", "v1"))
        .chain(
            catalog
                .groups()
                .flat_map(|(group, versions)| versions.iter().map(move |v| (&**group, &**v))),
        )
        .collect();
    let sources = served
        .iter()
        .fold(form.to_owned(), |all, (group, version)| {
            all + &document_hash(&catalog, group, version)
        });
    Ok(with_tag(call, form, &hash(sources.as_bytes()), || {
        let documents: Vec<Value> = served
            .iter()
            .map(|(group, version)| described(&catalog, group, version))
            .collect();
        let document = openapi_v2::from_v3(&documents);
        match form {
            GNOSTIC => openapi_v2::protobuf(&document),
            _ => document.to_string().into_bytes(),
        }
    }))
}
