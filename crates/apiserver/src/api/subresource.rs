//! Subresources: status, scale, tokens, binding, eviction and the like.

use http::Method;
use serde_json::{Map, Value, json};

use super::Call;
use super::objects::{answer, patch, take_body};
use crate::http::{Accept, Answer, ResourcePath, json as json_answer, negotiate};
use crate::kinds::{Kind, subresources};
use crate::object::{meta, text};
use crate::selector::LabelSelector;
use crate::status::{ApiError, success};
use crate::store::ResourceId;
use crate::verbs::{self, DeleteOptions, Part, Request, WriteOptions, show_one};

pub async fn serve(
    request: Request<'_>,
    call: Call,
    path: &ResourcePath,
) -> Result<Answer, ApiError> {
    let name = path.subresource.as_str();
    let known = subresources(&request.kind)
        .into_iter()
        .find(|subresource| subresource.name == name);
    let Some(subresource) = known else {
        return Err(absent(&request.kind, name));
    };
    if request.kind.namespaced() && request.namespace.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    match subresource.name {
        "token" if call.method == Method::POST => {
            super::tokens::token_request(&request, call).await
        }
        "binding" if call.method == Method::POST => {
            let (_, body) = take_body(call, &request.kind).await?;
            bind_pod(&request, &request.name, &body.value).await
        }
        "eviction" if call.method == Method::POST => evict(&request, call).await,
        "log" => super::logs::serve(&request, &call).await,
        "token" | "binding" | "eviction" => Err(ApiError::method_not_allowed()),
        "scale" => scale(&request, call).await,
        "finalize" => finalize(&request, call).await,
        part => whole(&request, call, part).await,
    }
}

/// What runs in a pod's node and is not passed on to it.
const NODES_OWN: &[&str] = &["attach", "exec", "portforward"];

/// The refusal of a subresource that is not served, with the way out where there is one.
fn absent(kind: &Kind, name: &str) -> ApiError {
    if !kind.is("pods") || !NODES_OWN.contains(&name) {
        return ApiError::no_such_resource();
    }
    let message = format!(
        "pods/{name} is not served; in a pod of a lab, `hawser lab exec CLUSTER NAMESPACE/POD -- COMMAND` runs a command"
    );
    ApiError::new(501, "NotImplemented", message)
}

/// Subresources whose bodies are the object itself.
async fn whole(request: &Request<'_>, call: Call, part: &'static str) -> Result<Answer, ApiError> {
    let accept = negotiate(&call.accept, request.kind.custom.is_some())?;
    let part = Part::Subresource(part);
    match call.method {
        Method::GET | Method::HEAD => {
            let stored = verbs::get(request, &call.query)?;
            let mut object = stored.value();
            request.kind.to_served(&mut object);
            Ok(json_answer(
                200,
                accept,
                show_one(&request.kind, &object, accept, &call.query),
            ))
        }
        Method::PUT => {
            let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
            let (call, body) = take_body(call, &request.kind).await?;
            let wanted = body.value;
            let outcome = verbs::update(request, part, &options, true, body.duplicates, &|_| {
                Ok(wanted.clone())
            })
            .await?;
            Ok(answer(&request.kind, outcome, accept, &call))
        }
        Method::PATCH => {
            let options = WriteOptions::parse(&call.query, "PatchOptions")?;
            let (call, outcome) = patch(request, call, part, options).await?;
            Ok(answer(&request.kind, outcome, accept, &call))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Where replicas and the selector stand in a kind.
struct ScalePaths {
    spec: String,
    status: String,
    selector: Option<String>,
}

impl ScalePaths {
    fn of(kind: &Kind) -> ScalePaths {
        let pointer = |path: &str| path.replace('.', "/");
        match &kind.custom {
            Some(custom) => ScalePaths {
                spec: pointer(text(&custom.scale, "/specReplicasPath")),
                status: pointer(text(&custom.scale, "/statusReplicasPath")),
                selector: custom.scale["labelSelectorPath"].as_str().map(pointer),
            },
            None => ScalePaths {
                spec: "/spec/replicas".into(),
                status: "/status/replicas".into(),
                selector: Some("/spec/selector".into()),
            },
        }
    }

    fn scale(&self, object: &Value) -> Value {
        let mut metadata = Map::new();
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            if let Some(value) = object.pointer(&format!("/metadata/{field}")) {
                metadata.insert(field.into(), value.clone());
            }
        }
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let mut spec = Map::new();
        if number(&self.spec) != 0 {
            spec.insert("replicas".into(), number(&self.spec).into());
        }
        let mut status = json!({"replicas": number(&self.status)});
        let selector = self
            .selector
            .as_deref()
            .and_then(|pointer| object.pointer(pointer));
        let selector = match selector {
            Some(Value::String(selector)) => selector.clone(),
            Some(selector) => selector_text(selector),
            None => String::new(),
        };
        if !selector.is_empty() {
            status["selector"] = selector.into();
        }
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
    }
}

/// A label selector as text.
fn selector_text(selector: &Value) -> String {
    let labels = selector.get("matchLabels").or_else(|| {
        // A replication controller's selector is the labels themselves.
        selector
            .as_object()
            .filter(|map| map.values().all(Value::is_string))
            .map(|_| selector)
    });
    let mut parts: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = text(expression, "/key");
        let values = crate::object::strings(expression.get("values")).join(",");
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

async fn scale(request: &Request<'_>, call: Call) -> Result<Answer, ApiError> {
    let kind = &request.kind;
    let paths = ScalePaths::of(kind);
    if matches!(call.method, Method::GET | Method::HEAD) {
        let mut object = verbs::get(request, &call.query)?.value();
        kind.to_served(&mut object);
        return Ok(json_answer(
            200,
            Accept::default(),
            paths.scale(&object).to_string(),
        ));
    }
    let is_put = call.method == Method::PUT;
    let desired: Box<verbs::Desired<'static>>;
    let options;
    if is_put {
        options = WriteOptions::parse(&call.query, "UpdateOptions")?;
        let (_, body) = take_body(call, kind).await?;
        desired = Box::new(move |_| Ok(body.value.clone()));
    } else if call.method == Method::PATCH {
        options = WriteOptions::parse(&call.query, "PatchOptions")?;
        let (call, body) = call.split_body();
        let bytes = crate::http::read_body(body).await?;
        // A Scale has no lists to merge, so both merge patches mean the same.
        let media_type = match call.content_type.as_str() {
            "application/strategic-merge-patch+json" => "application/merge-patch+json",
            other => other,
        };
        desired = verbs::patch_function(kind, media_type, &bytes)?;
    } else {
        return Err(ApiError::method_not_allowed());
    }
    let pointer = paths.spec.clone();
    let change = |live: &Value| -> Result<Value, ApiError> {
        let scale = desired(&paths.scale(live))?;
        let revision = meta(&scale, "resourceVersion");
        if !revision.is_empty() && revision != meta(live, "resourceVersion") {
            return Err(ApiError::conflict(&request.kind, &request.name));
        }
        let replicas = scale
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if replicas < 0 {
            let problem = crate::schema::Invalid {
                reason: "FieldValueInvalid",
                field: "spec.replicas".into(),
                message: format!("Invalid value: {replicas}: must be greater than or equal to 0"),
            };
            return Err(ApiError::invalid_as(
                "autoscaling",
                "Scale",
                &request.name,
                &[problem],
            ));
        }
        let mut object = live.clone();
        crate::object::unset_meta(&mut object, "resourceVersion");
        set_pointer(&mut object, &pointer, replicas.into());
        Ok(object)
    };
    let outcome = verbs::update(
        request,
        Part::Subresource("scale"),
        &options,
        false,
        Vec::new(),
        &change,
    )
    .await?;
    let mut object = outcome.object;
    kind.to_served(&mut object);
    Ok(json_answer(
        200,
        Accept::default(),
        paths.scale(&object).to_string(),
    ))
}

/// Sets a value at a JSON pointer, making objects on the way.
fn set_pointer(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').filter(|part| !part.is_empty()) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Some(fields) = at.as_object_mut() else {
            return;
        };
        at = fields.entry(part).or_insert(Value::Null);
    }
    *at = value;
}

async fn finalize(request: &Request<'_>, call: Call) -> Result<Answer, ApiError> {
    if call.method != Method::PUT {
        return Err(ApiError::method_not_allowed());
    }
    let accept = negotiate(&call.accept, false)?;
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let (call, body) = take_body(call, &request.kind).await?;
    let finalizers = body
        .value
        .pointer("/spec/finalizers")
        .cloned()
        .unwrap_or_else(|| json!([]));
    let revision = meta(&body.value, "resourceVersion").to_owned();
    let change = |live: &Value| {
        let mut object = live.clone();
        object["spec"]["finalizers"] = finalizers.clone();
        if !revision.is_empty() {
            crate::object::set_meta(&mut object, "resourceVersion", revision.as_str());
        }
        Ok(object)
    };
    let part = Part::Subresource("finalize");
    let outcome = verbs::update(request, part, &options, false, Vec::new(), &change).await?;
    Ok(answer(&request.kind, outcome, accept, &call))
}

/// Puts a pod on a node; what a scheduler does.
pub async fn bind_pod(
    request: &Request<'_>,
    name: &str,
    binding: &Value,
) -> Result<Answer, ApiError> {
    let catalog = request.cluster.catalog.load_full();
    let Some(kind) = catalog.find("", "v1", "pods") else {
        return Err(ApiError::no_such_resource());
    };
    let node = text(binding, "/target/name").to_owned();
    if node.is_empty() {
        let problem = crate::schema::Invalid {
            reason: "FieldValueRequired",
            field: "target.name".into(),
            message: "Required value".into(),
        };
        return Err(ApiError::invalid_as("", "Binding", name, &[problem]));
    }
    let pod = Request {
        cluster: request.cluster,
        kind: kind.clone(),
        namespace: request.namespace.clone(),
        name: name.to_owned(),
        user: request.user.clone(),
        agent: request.agent.clone(),
    };
    let now = crate::object::timestamp(request.cluster.now());
    let change = |live: &Value| {
        let conflict = |why: String| Err(ApiError::conflict_because(&pod.kind, name, &why));
        let taken = text(live, "/spec/nodeName");
        if !taken.is_empty() {
            return conflict(format!("pod {name} is already assigned to node {taken:?}"));
        }
        if !text(live, "/metadata/deletionTimestamp").is_empty() {
            return conflict(format!(
                "pod {name} is being deleted, cannot be assigned to a host"
            ));
        }
        let mut object = live.clone();
        object["spec"]["nodeName"] = node.as_str().into();
        for field in ["annotations", "labels"] {
            if let Some(added) = binding
                .pointer(&format!("/metadata/{field}"))
                .and_then(Value::as_object)
            {
                let mut merged = live
                    .pointer(&format!("/metadata/{field}"))
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
                merged.extend(added.clone());
                crate::object::set_meta(&mut object, field, Value::Object(merged));
            }
        }
        let mut conditions = object
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        }));
        object["status"]["conditions"] = Value::Array(conditions);
        Ok(object)
    };
    let options = WriteOptions::default();
    verbs::update(
        &pod,
        Part::Subresource("binding"),
        &options,
        false,
        Vec::new(),
        &change,
    )
    .await?;
    Ok(json_answer(
        201,
        Accept::default(),
        success(Some(201), Value::Null).to_string(),
    ))
}

/// Deletes a pod unless a disruption budget forbids it.
async fn evict(request: &Request<'_>, call: Call) -> Result<Answer, ApiError> {
    let (call, body) = take_body(call, &request.kind).await?;
    let options = body
        .value
        .get("deleteOptions")
        .filter(|options| !options.is_null())
        .cloned();
    let options = DeleteOptions::parse(options, &call.query)?;
    let pod = verbs::get(request, &call.query)?;
    let budgets = ResourceId::new("poddisruptionbudgets", "policy");
    let (volume, _) = request.cluster.store.read(&budgets);
    for budget in volume.iter(Some(&request.namespace)) {
        let budget = budget.value();
        let selector = LabelSelector::from_object(&budget["spec"]["selector"]);
        let allowed = budget
            .pointer("/status/disruptionsAllowed")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if selector.matches(&pod) && allowed <= 0 {
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            let mut error = ApiError::new(429, "TooManyRequests", message);
            error.details = json!({"causes": [{
                "reason": "DisruptionBudget",
                "message": format!(
                    "The disruption budget {} needs {} healthy pods and has {} currently", meta(&budget, "name"),
                    budget.pointer("/status/desiredHealthy").and_then(Value::as_i64).unwrap_or(0),
                    budget.pointer("/status/currentHealthy").and_then(Value::as_i64).unwrap_or(0),
                ),
            }]});
            return Err(error);
        }
    }
    verbs::delete(request, &options).await?;
    Ok(json_answer(
        201,
        Accept::default(),
        success(Some(201), Value::Null).to_string(),
    ))
}
