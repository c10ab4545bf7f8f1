//! The headers a service hands on, so that a trace and a user stay together across calls.

use http::{HeaderMap, HeaderName};

/// What every service copies from the request it got to those it makes.
const TRACING: &[&str] = &[
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "x-ot-span-context",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "sw8",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

/// The header that carries the logged-in user's name.
pub const END_USER: HeaderName = HeaderName::from_static("end-user");

/// The tracing headers of a request. `end-user` is not among them: the product page makes it
/// from its session and must not let a caller choose it.
pub fn tracing(request: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in TRACING {
        for value in request.get_all(*name) {
            out.append(HeaderName::from_static(name), value.clone());
        }
    }
    out
}

/// The tracing headers and the user, as the services behind the product page hand them on.
pub fn tracing_and_user(request: &HeaderMap) -> HeaderMap {
    let mut out = tracing(request);
    if let Some(user) = request.get(END_USER) {
        out.insert(END_USER, user.clone());
    }
    out
}
