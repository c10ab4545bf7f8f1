//! Kinds that are questions: tokens, access, rules, oneself. And the old way of posting bindings.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::Call;
use super::objects::take_body;
use crate::auth::{self, Attributes, Issuer, User};
use crate::cluster::Cluster;
use crate::http::{Accept, Answer, ResourcePath, json as json_answer};
use crate::kinds::Kind;
use crate::object::{strings, text, timestamp};
use crate::schema::managed::{self, Writer};
use crate::status::ApiError;
use crate::verbs::Request;

pub async fn serve(
    cluster: &Arc<Cluster>,
    call: Call,
    kind: &Arc<Kind>,
    path: &ResourcePath,
) -> Result<Answer, ApiError> {
    if call.method != Method::POST || !path.name.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let (call, body) = take_body(call, kind).await?;
    let mut object = body.value;
    let request = Request {
        cluster,
        kind: kind.clone(),
        namespace: path.namespace.clone(),
        name: String::new(),
        user: call.user.clone(),
        agent: call.agent.clone(),
    };
    if !object.is_object() {
        return Err(ApiError::bad_request("the body is not an object"));
    }
    let expected = kind.api_version();
    if !matches!(text(&object, "/apiVersion"), given if given.is_empty() || given == expected) {
        let given = text(&object, "/apiVersion");
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({expected})"
        )));
    }
    object["apiVersion"] = expected.into();
    object["kind"] = (&*kind.kind).into();
    if &*kind.kind == "Binding" {
        let name = crate::object::meta(&object, "name").to_owned();
        return super::subresource::bind_pod(&request, &name, &object).await;
    }
    kind.prune(&mut object);
    let now = timestamp(cluster.now());
    let manager = match call.query.get("fieldManager") {
        "" => call.agent.as_str(),
        manager => manager,
    };
    object["metadata"] = json!({});
    let spec = object["spec"].clone();
    let status = match &*kind.kind {
        "TokenReview" => token_review(cluster, &spec)?,
        "SubjectAccessReview" => access_review(cluster, &user_of(&spec), &spec)?,
        "LocalSubjectAccessReview" => access_review(cluster, &user_of(&spec), &spec)?,
        "SelfSubjectAccessReview" => access_review(cluster, &call.user, &spec)?,
        "SelfSubjectRulesReview" => rules_review(cluster, &call.user, &spec)?,
        "SelfSubjectReview" => {
            object["metadata"] = json!({"creationTimestamp": now});
            json!({"userInfo": user_info(&call.user)})
        }
        _ => return Err(ApiError::no_such_resource()),
    };
    if &*kind.kind != "SelfSubjectReview" {
        managed::update(
            kind.schema_ref(),
            None,
            &mut object,
            Writer {
                manager,
                subresource: "",
                now: &now,
            },
        );
    }
    object["status"] = status;
    Ok(json_answer(201, Accept::default(), object.to_string()))
}

fn user_info(user: &User) -> Value {
    serde_json::to_value(user).unwrap_or_default()
}

fn token_review(cluster: &Cluster, spec: &Value) -> Result<Value, ApiError> {
    let token = text(spec, "/token");
    let asked = strings(spec.get("audiences"));
    let refused = |why: &str| Ok(json!({"user": {}, "error": why}));
    if token.is_empty() {
        return refused("no token specified");
    }
    if let Some(user) = cluster.authenticator.fixed(token) {
        // A fixed token is for this server.
        let own = |audience: &&str| cluster.audiences.iter().any(|own| own == audience);
        if !asked.is_empty() && !asked.iter().any(own) {
            return refused("token audiences are invalid");
        }
        return Ok(
            json!({"authenticated": true, "user": user_info(&user), "audiences": [Issuer::URL]}),
        );
    }
    let Some(account) = auth::account(&cluster.store, &cluster.issuer, token, cluster.unix_now())
    else {
        return refused("invalid bearer token");
    };
    let wanted: Vec<&str> = if asked.is_empty() {
        cluster.audiences.iter().map(String::as_str).collect()
    } else {
        asked
    };
    let both: Vec<&str> = wanted
        .into_iter()
        .filter(|audience| account.audiences.iter().any(|own| own == audience))
        .collect();
    if both.is_empty() {
        return refused(&format!(
            "token audiences {:?} is invalid for the target audiences",
            account.audiences
        ));
    }
    Ok(json!({"authenticated": true, "user": user_info(&account.user), "audiences": both}))
}

fn user_of(spec: &Value) -> User {
    let groups = strings(spec.get("groups"))
        .into_iter()
        .map(str::to_owned)
        .collect();
    User {
        username: text(spec, "/user").to_owned(),
        uid: text(spec, "/uid").to_owned(),
        groups,
        extra: serde_json::from_value(spec["extra"].clone()).unwrap_or_default(),
    }
}

fn access_review(cluster: &Cluster, user: &User, spec: &Value) -> Result<Value, ApiError> {
    let resource = spec
        .get("resourceAttributes")
        .filter(|attributes| !attributes.is_null());
    let other = spec
        .get("nonResourceAttributes")
        .filter(|attributes| !attributes.is_null());
    let attributes = match (resource, other) {
        (Some(resource), None) => Attributes {
            verb: text(resource, "/verb"),
            group: text(resource, "/group"),
            resource: text(resource, "/resource"),
            subresource: text(resource, "/subresource"),
            namespace: text(resource, "/namespace"),
            name: text(resource, "/name"),
            path: None,
        },
        (None, Some(other)) => Attributes {
            verb: text(other, "/verb"),
            path: Some(text(other, "/path")),
            ..Attributes::default()
        },
        _ => {
            return Err(ApiError::bad_request(
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    Ok(match cluster.policy().allows(user, &attributes) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    })
}

fn rules_review(cluster: &Cluster, user: &User, spec: &Value) -> Result<Value, ApiError> {
    let namespace = text(spec, "/namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let policy = cluster.policy();
    let (mut resources, mut others) = (Vec::new(), Vec::new());
    let all = crate::auth::rbac::Rule {
        verbs: vec!["*".into()],
        api_groups: vec!["*".into()],
        resources: vec!["*".into()],
        ..Default::default()
    };
    let mut rules = policy.rules_for(user, namespace);
    if user.in_group(auth::MASTERS) {
        rules.push(&all);
        others.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for rule in rules {
        if !rule.non_resource_urls.is_empty() {
            others.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
        if !rule.resources.is_empty() {
            let mut entry = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                entry["resourceNames"] = json!(rule.resource_names);
            }
            resources.push(entry);
        }
    }
    Ok(json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false}))
}
