//! Requests to objects themselves.

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::Call;
use crate::http::{
    Accept, Answer, Decoded, Format, ResourcePath, decode, json as json_answer, negotiate,
    read_body,
};
use crate::kinds::Kind;
use crate::object::text;
use crate::status::ApiError;
use crate::verbs::{
    self, DeleteOptions, Outcome, Part, Request, WriteOptions, show_list, show_one,
};

/// Serves a request to a collection or an object.
pub async fn serve(
    request: Request<'_>,
    call: Call,
    path: &ResourcePath,
) -> Result<Answer, ApiError> {
    let accept = negotiate(&call.accept, request.kind.custom.is_some())?;
    let collection = request.name.is_empty();
    let all_namespaces = request.kind.namespaced() && request.namespace.is_empty();
    match (call.method.clone(), collection) {
        (Method::GET | Method::HEAD, _)
            if path.watch_prefix || (call.query.flag("watch") && collection) =>
        {
            verbs::watch(&request, &call.query, accept)
        }
        (Method::GET | Method::HEAD, true) => {
            let page = verbs::list(&request, &call.query)?;
            Ok(json_answer(
                200,
                accept,
                show_list(&request.kind, &page, accept, &call.query),
            ))
        }
        (Method::GET | Method::HEAD, false) if !all_namespaces => {
            let stored = verbs::get(&request, &call.query)?;
            if accept == Accept::default() && request.kind.served_as_stored() {
                return Ok(json_answer(200, accept, stored.json.clone()));
            }
            let mut object = stored.value();
            request.kind.to_served(&mut object);
            Ok(json_answer(
                200,
                accept,
                show_one(&request.kind, &object, accept, &call.query),
            ))
        }
        (Method::POST, true) if !all_namespaces => {
            let options = WriteOptions::parse(&call.query, "CreateOptions")?;
            let (call, body) = take_body(call, &request.kind).await?;
            let outcome = verbs::create(&request, body, &options).await?;
            Ok(answer(&request.kind, outcome, accept, &call))
        }
        (Method::PUT, false) if !all_namespaces => {
            let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
            let (call, body) = take_body(call, &request.kind).await?;
            let wanted = body.value;
            let outcome = verbs::update(
                &request,
                Part::Main,
                &options,
                true,
                body.duplicates,
                &|_| Ok(wanted.clone()),
            )
            .await?;
            Ok(answer(&request.kind, outcome, accept, &call))
        }
        (Method::PATCH, false) if !all_namespaces => {
            let options = WriteOptions::parse(&call.query, "PatchOptions")?;
            let (call, outcome) = patch(&request, call, Part::Main, options).await?;
            Ok(answer(&request.kind, outcome, accept, &call))
        }
        (Method::DELETE, false) if !all_namespaces => {
            let (call, options) = delete_options(call).await?;
            let outcome = verbs::delete(&request, &options).await?;
            Ok(answer(&request.kind, outcome, accept, &call))
        }
        (Method::DELETE, true) if !all_namespaces => {
            let (call, options) = delete_options(call).await?;
            let deleted = verbs::delete_collection(&request, &call.query, &options).await?;
            let items: Vec<Value> = deleted
                .iter()
                .map(|object| {
                    let mut object = object.value();
                    request.kind.to_served(&mut object);
                    object
                })
                .collect();
            let revision = request.cluster.store.revision().to_string();
            let list = json!({
                "kind": *request.kind.list_kind, "apiVersion": request.kind.api_version(),
                "metadata": {"resourceVersion": revision}, "items": items,
            });
            Ok(json_answer(200, accept, list.to_string()))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Applies a patch of any type to a part of an object.
pub async fn patch(
    request: &Request<'_>,
    call: Call,
    part: Part,
    options: WriteOptions,
) -> Result<(Call<()>, Outcome), ApiError> {
    let (call, bytes) = take_bytes(call).await?;
    let media_type = call
        .content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if matches!(
        media_type,
        "application/apply-patch+yaml" | "application/apply-patch+json"
    ) {
        if options.manager.is_empty() {
            let problem = crate::schema::Invalid {
                reason: "FieldValueRequired",
                field: "fieldManager".into(),
                message: "Required value: is required for apply patch".into(),
            };
            return Err(ApiError::invalid_as(
                "meta.k8s.io",
                "PatchOptions",
                "",
                &[problem],
            ));
        }
        let body = decode(Format::Yaml, &bytes)
            .map_err(|why| ApiError::bad_request(format!("error decoding YAML: {why}")))?;
        let outcome = verbs::apply(request, part, &options, &body.value, body.duplicates).await?;
        return Ok((call, outcome));
    }
    if options.force {
        let problem = crate::schema::Invalid {
            reason: "FieldValueForbidden",
            field: "force".into(),
            message: "Forbidden: may not be specified for non-apply patch".into(),
        };
        return Err(ApiError::invalid_as(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[problem],
        ));
    }
    let desired = verbs::patch_function(&request.kind, &call.content_type, &bytes)?;
    let outcome = verbs::update(request, part, &options, false, Vec::new(), &*desired).await?;
    Ok((call, outcome))
}

/// The answer to a write.
pub fn answer(kind: &Kind, outcome: Outcome, accept: Accept, call: &Call<()>) -> Answer {
    let code = if outcome.created { 201 } else { 200 };
    let mut answer = if outcome.is_status {
        json_answer(
            code,
            Accept {
                yaml: accept.yaml,
                ..Accept::default()
            },
            outcome.object.to_string(),
        )
    } else {
        let mut object = outcome.object;
        kind.to_served(&mut object);
        json_answer(code, accept, show_one(kind, &object, accept, &call.query))
    };
    add_warnings(&mut answer, &outcome.warnings);
    answer
}

/// `Warning` headers, each once.
pub fn add_warnings(answer: &mut Answer, warnings: &[String]) {
    let mut given: Vec<&String> = Vec::new();
    for warning in warnings {
        if given.contains(&warning) {
            continue;
        }
        given.push(warning);
        let printable: String = warning.chars().filter(|c| !c.is_control()).collect();
        let quoted = printable.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            answer.headers_mut().append(http::header::WARNING, value);
        }
    }
}

async fn take_bytes(call: Call) -> Result<(Call<()>, bytes::Bytes), ApiError> {
    let (call, body) = call.split_body();
    Ok((call, read_body(body).await?))
}

/// Reads and decodes a body of a kind.
pub async fn take_body(call: Call, kind: &Kind) -> Result<(Call<()>, Decoded), ApiError> {
    let format = Format::of(&call.content_type)?;
    let (call, bytes) = take_bytes(call).await?;
    let decoded = decode(format, &bytes).map_err(|why| unreadable(kind, format, &why))?;
    Ok((call, decoded))
}

fn unreadable(kind: &Kind, format: Format, why: &str) -> ApiError {
    let why = match format {
        Format::Json => format!("couldn't get version/kind; {why}"),
        Format::Yaml | Format::Protobuf => why.to_owned(),
    };
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why}",
        kind.kind
    ))
}

async fn delete_options(call: Call) -> Result<(Call<()>, DeleteOptions), ApiError> {
    let format = Format::of(&call.content_type)?;
    let (call, bytes) = take_bytes(call).await?;
    let body = if bytes.is_empty() {
        None
    } else {
        let body = decode(format, &bytes)
            .map_err(|why| ApiError::bad_request(format!("decoding DeleteOptions: {why}")))?;
        let kind = text(&body.value, "/kind");
        if !matches!(kind, "" | "DeleteOptions") {
            return Err(ApiError::bad_request(format!(
                "the body of a DELETE must be DeleteOptions, not {kind}"
            )));
        }
        Some(body.value)
    };
    let options = DeleteOptions::parse(body, &call.query)?;
    Ok((call, options))
}
