//! OpenID discovery of the service account issuer, and TokenRequest.

use std::sync::Arc;

use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::Call;
use super::objects::take_body;
use crate::auth::{Bound, Issuer, ObjectName, TokenSpec};
use crate::cluster::Cluster;
use crate::http::{Accept, Answer, json as json_answer};
use crate::kinds::Kind;
use crate::object::{meta, strings, text, timestamp};
use crate::schema::Invalid;
use crate::schema::managed::{self, Writer};
use crate::status::ApiError;
use crate::store::{Key, ResourceId};
use crate::verbs::Request;

/// Clients may keep the issuer's documents this long.
const CACHED: &str = "public, max-age=3600";

pub fn openid_configuration(cluster: &Cluster, _call: &Call) -> Result<Answer, ApiError> {
    let body = json!({
        "issuer": Issuer::URL, "jwks_uri": format!("https://{}/openid/v1/jwks", cluster.addr),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let mut answer = json_answer(200, Accept::default(), body.to_string());
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHED));
    Ok(answer)
}

pub fn jwks(cluster: &Cluster, call: &Call) -> Result<Answer, ApiError> {
    let acceptable = |clause: &str| {
        matches!(
            clause.split(';').next().map(str::trim),
            Some("application/jwk-set+json" | "application/*" | "*/*" | "")
        )
    };
    if !call.accept.split(',').any(acceptable) {
        return Err(ApiError::not_acceptable("application/jwk-set+json"));
    }
    let keys = cluster
        .issuer
        .jwks()
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let mut answer = json_answer(200, Accept::default(), keys.to_string());
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/jwk-set+json"),
    );
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHED));
    Ok(answer)
}

/// Seconds: the shortest and the longest life of a token, and what it is when not asked for.
const SHORTEST: u64 = 600;
const LONGEST: u64 = 1 << 32;
const USUAL: u64 = 3600;

/// POST `serviceaccounts/NAME/token`.
pub async fn token_request(request: &Request<'_>, call: Call) -> Result<Answer, ApiError> {
    let cluster = request.cluster;
    let kind = Kind::token_request();
    let (_call, body) = take_body(call, &kind).await?;
    let mut object = body.value;
    let account = cluster.store.get(&request.kind.resource, &request.key());
    let account = account.ok_or_else(|| ApiError::not_found(&request.kind, &request.name))?;
    let audiences: Vec<String> = strings(object.pointer("/spec/audiences"))
        .into_iter()
        .map(str::to_owned)
        .collect();
    let audiences = if audiences.is_empty() {
        vec![Issuer::URL.to_owned()]
    } else {
        audiences
    };
    let asked = object
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_u64);
    let lifetime = asked.unwrap_or(USUAL);
    let refuse = |message: &str| {
        let problem = Invalid {
            reason: "FieldValueInvalid",
            field: "spec.expirationSeconds".into(),
            message: format!("Invalid value: {lifetime}: {message}"),
        };
        ApiError::invalid_as("authentication.k8s.io", "TokenRequest", "", &[problem])
    };
    if lifetime < SHORTEST {
        return Err(refuse("may not specify a duration less than 10 minutes"));
    }
    if lifetime > LONGEST {
        return Err(refuse(
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    let mut bound = Bound {
        namespace: request.namespace.clone(),
        serviceaccount: ObjectName {
            name: request.name.clone(),
            uid: account.uid.to_string(),
        },
        ..Bound::default()
    };
    bind(request, &object, &mut bound)?;
    let now = cluster.now();
    let spec = TokenSpec {
        bound,
        audiences: audiences.clone(),
        now: cluster.unix_now(),
        lifetime,
    };
    let token = wait_for_key(cluster, spec).await?;
    object["apiVersion"] = "authentication.k8s.io/v1".into();
    object["kind"] = "TokenRequest".into();
    let reference = object
        .pointer("/spec/boundObjectRef")
        .cloned()
        .unwrap_or(Value::Null);
    object["spec"] = json!({"audiences": audiences, "expirationSeconds": lifetime});
    object["metadata"] = json!({
        "name": request.name, "namespace": request.namespace, "uid": uuid::Uuid::new_v4().to_string(),
        "creationTimestamp": timestamp(now),
    });
    let manager = match call_manager(&_call) {
        "" => request.agent.as_str(),
        manager => manager,
    };
    let writer = Writer {
        manager,
        subresource: "token",
        now: &timestamp(now),
    };
    managed::update(kind.schema_ref(), None, &mut object, writer);
    object["spec"]["boundObjectRef"] = reference;
    let seconds = i64::try_from(lifetime).unwrap_or(i64::MAX);
    object["status"] = json!({
        "token": token, "expirationTimestamp": timestamp(now + time::Duration::seconds(seconds)),
    });
    Ok(json_answer(201, Accept::default(), object.to_string()))
}

fn call_manager<B>(call: &Call<B>) -> &str {
    call.query.get("fieldManager")
}

impl Kind {
    /// The kind of the bodies of `serviceaccounts/token`.
    fn token_request() -> Kind {
        let rows = crate::kinds::ROWS
            .iter()
            .find(|row| row.kind == "TokenReview");
        // The table has that row; a copy of it differs in its names only.
        let mut kind = rows
            .map(Kind::from_row)
            .unwrap_or_else(|| Kind::from_row(&crate::kinds::ROWS[0]));
        kind.kind = "TokenRequest".into();
        kind.plural = "tokenrequests".into();
        kind
    }
}

/// Binds the token to the object that the request names.
fn bind(request: &Request<'_>, object: &Value, bound: &mut Bound) -> Result<(), ApiError> {
    let reference = object
        .pointer("/spec/boundObjectRef")
        .cloned()
        .unwrap_or(Value::Null);
    if reference.is_null() {
        return Ok(());
    }
    let (kind, name) = (text(&reference, "/kind"), text(&reference, "/name"));
    let resource = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        "Node" => "nodes",
        other => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token to {other:?}"
            )));
        }
    };
    let namespace = if kind == "Node" {
        ""
    } else {
        request.namespace.as_str()
    };
    let store = &request.cluster.store;
    let found = store.get(&ResourceId::new(resource, ""), &Key::new(namespace, name));
    let catalog = request.cluster.catalog.load();
    let missing = || match catalog.find("", "v1", resource) {
        Some(kind) => ApiError::not_found(kind, name),
        None => ApiError::no_such_resource(),
    };
    let found = found.ok_or_else(missing)?;
    let wanted = text(&reference, "/uid");
    if !wanted.is_empty() && *wanted != *found.uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record ({})",
            found.uid
        );
        return Err(ApiError::conflict_because(&request.kind, name, &why));
    }
    let reference = ObjectName {
        name: name.to_owned(),
        uid: found.uid.to_string(),
    };
    match kind {
        "Pod" => {
            let pod = found.value();
            let own = match text(&pod, "/spec/serviceAccountName") {
                "" => "default",
                name => name,
            };
            if own != request.name {
                let why = format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    request.name
                );
                return Err(ApiError::bad_request(why));
            }
            let node = text(&pod, "/spec/nodeName");
            if !node.is_empty() {
                let uid = store.get(&ResourceId::new("nodes", ""), &Key::new("", node));
                let uid = uid.map(|node| node.uid.to_string()).unwrap_or_default();
                bound.node = Some(ObjectName {
                    name: node.to_owned(),
                    uid,
                });
            }
            bound.pod = Some(reference);
        }
        "Secret" => bound.secret = Some(reference),
        _ => bound.node = Some(reference),
    }
    let _ = meta;
    Ok(())
}

/// A fresh cluster's key takes a moment to be made; the first tokens wait for it.
async fn wait_for_key(cluster: &Arc<Cluster>, spec: TokenSpec) -> Result<String, ApiError> {
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !cluster.issuer.ready() && tokio::time::Instant::now() < patience {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    cluster
        .issuer
        .sign(spec)
        .map_err(|error| ApiError::internal(error.to_string()))
}
