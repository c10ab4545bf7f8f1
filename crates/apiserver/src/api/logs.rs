//! `pods/log`: what a container wrote, streamed from the kubelet of its node.

use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;

use super::Call;
use crate::http::{Answer, full};
use crate::kubelet::{self, Endpoint};
use crate::object::text;
use crate::schema::Invalid;
use crate::status::ApiError;
use crate::store::{Key, ResourceId};
use crate::verbs::{self, Request};

/// The largest refusal of a kubelet that is passed on, in bytes.
const REFUSAL: usize = 4096;
/// Options that go to the kubelet as they are.
const PASSED: &[&str] = &["follow", "previous", "sinceTime", "timestamps"];
/// The same with numbers, and the smallest that each may be.
const NUMBERS: &[(&str, u64)] = &[("limitBytes", 1), ("sinceSeconds", 1), ("tailLines", 0)];

pub async fn serve(request: &Request<'_>, call: &Call) -> Result<Answer, ApiError> {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let pod = verbs::get(request, &crate::http::Query::default())?.value();
    let name = &request.name;
    let container = container(&pod, name, call.query.get("container"))?;
    let options = options(call, name)?;
    let node = text(&pod, "/spec/nodeName");
    if node.is_empty() {
        // Nothing has been written yet.
        let mut nothing = Answer::new(full(""));
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    let stored = request
        .cluster
        .store
        .get(&ResourceId::new("nodes", ""), &Key::new("", node));
    let endpoint = stored.and_then(|node| Endpoint::of(&node.value()));
    let Some(endpoint) = endpoint else {
        let message = format!("the node {node:?} of pod {name:?} names no kubelet to ask for logs");
        return Err(ApiError::new(503, "ServiceUnavailable", message));
    };
    let namespace = &request.namespace;
    let path = format!("/containerLogs/{namespace}/{name}/{container}?{options}");
    let answer = kubelet::get(request.cluster, &endpoint, &path)
        .await
        .map_err(|why| ApiError::new(500, "InternalError", why))?;
    let (parts, body) = answer.into_parts();
    if !parts.status.is_success() {
        let why = http_body_util::Limited::new(body, REFUSAL).collect().await;
        let why = why.map(|why| why.to_bytes()).unwrap_or_default();
        let why = String::from_utf8_lossy(&why).trim().to_owned();
        return Err(match parts.status {
            StatusCode::NOT_FOUND => ApiError::new(404, "NotFound", why),
            StatusCode::BAD_REQUEST => ApiError::bad_request(why),
            _ => ApiError::new(500, "InternalError", why),
        });
    }
    let mut answer = Response::new(body.map_err(std::io::Error::other).boxed_unsync());
    let headers = answer.headers_mut();
    let plain = HeaderValue::from_static("text/plain");
    headers.insert(header::CONTENT_TYPE, plain);
    let uncached = HeaderValue::from_static("no-cache, private");
    headers.insert(header::CACHE_CONTROL, uncached);
    Ok(answer)
}

/// The container that is meant: the one named, or the only one.
fn container(pod: &Value, name: &str, wanted: &str) -> Result<String, ApiError> {
    let names = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers
            .map(|container| text(container, "/name").to_owned())
            .collect()
    };
    let (plain, init) = (names("containers"), names("initContainers"));
    if wanted.is_empty() {
        if let [only] = plain.as_slice() {
            return Ok(only.clone());
        }
        let mut message = format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            plain.join(" ")
        );
        if !init.is_empty() {
            message += &format!(" or one of the init containers: [{}]", init.join(" "));
        }
        return Err(ApiError::bad_request(message));
    }
    let known = [plain, init, names("ephemeralContainers")].concat();
    known
        .into_iter()
        .find(|known| known == wanted)
        .ok_or_else(|| {
            ApiError::bad_request(format!("container {wanted} is not valid for pod {name}"))
        })
}

/// The query for the kubelet.
fn options(call: &Call, name: &str) -> Result<String, ApiError> {
    let mut options = Vec::new();
    for option in PASSED.iter().filter(|option| call.query.has(option)) {
        let value = call.query.get(option);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-:.TZ".contains(c);
        if !value.chars().all(plain) {
            let message = format!("{option}: {value:?} cannot be read");
            return Err(ApiError::bad_request(message));
        }
        options.push(format!("{option}={value}"));
    }
    for (option, least) in NUMBERS.iter().filter(|(option, _)| call.query.has(option)) {
        let value = call.query.get(option);
        match value.parse::<u64>() {
            Ok(number) if number >= *least => options.push(format!("{option}={number}")),
            _ => {
                let message =
                    format!("Invalid value: {value}: must be greater than or equal to {least}");
                let problem = Invalid {
                    reason: "FieldValueInvalid",
                    field: (*option).to_owned(),
                    message,
                };
                return Err(ApiError::invalid_as("", "PodLogOptions", name, &[problem]));
            }
        }
    }
    Ok(options.join("&"))
}
