//! The parts of an HTTP route that stand on their own: matches, headers, CORS, faults, redirects, retries, rewrites.

use super::{Check, names, re2};
use crate::networking::{
    CorsPolicy, FaultAbort, FaultDelay, Headers, HttpBody, HttpDirectResponse, HttpFaultInjection,
    HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, Percent, RegexRewrite, StringMatch,
};

const RETRY_CONDITIONS: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

const GRPC_STATUSES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
];

pub(super) fn string_match(c: &mut Check, value: &StringMatch) {
    match value {
        StringMatch::Prefix(prefix) if prefix.is_empty() => {
            c.error_at(
                "prefix",
                "an empty prefix matches everything",
                "leave the match out",
            );
        }
        StringMatch::Regex(regex) => check_regex(c, "regex", regex),
        _ => {}
    }
}

pub(super) fn check_regex(c: &mut Check, key: &str, regex: &str) {
    if regex.is_empty() {
        c.error_at(
            key,
            "a regular expression must not be empty",
            "leave the match out",
        );
    } else if regex.len() > re2::MAX_LENGTH {
        c.error_at(
            key,
            format!(
                "a regular expression has at most {} characters",
                re2::MAX_LENGTH
            ),
            "",
        );
    } else if let Err(why) = re2::compile(regex) {
        c.error_at(
            key,
            format!("bad regular expression: {why}"),
            "the syntax is RE2's, without look-around and back references",
        );
    }
}

pub(super) fn headers(c: &mut Check, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    c.within("headers", |c| {
        for (side, operations, request) in [
            ("request", &headers.request, true),
            ("response", &headers.response, false),
        ] {
            let Some(operations) = operations else {
                continue;
            };
            let name_ok = if request {
                names::changed_request_header
            } else {
                names::changed_header
            };
            c.within(side, |c| {
                for (key, map) in [("set", &operations.set), ("add", &operations.add)] {
                    c.entries(key, map, |c, name, value| {
                        c.require_here(name_ok(name));
                        c.require_here(names::header_value(value));
                    });
                }
                c.each("remove", &operations.remove, |c, name| {
                    c.require_here(names::changed_header(name))
                });
            });
        }
    });
}

/// The Host header may be set in one place only.
pub(super) fn authority_once(c: &mut Check, route: &HttpRoute) {
    let rewritten = route
        .rewrite
        .as_ref()
        .is_some_and(|r| !r.authority.is_empty());
    let request = route.headers.as_ref().and_then(|h| h.request.as_ref());
    let set = request
        .into_iter()
        .flat_map(|r| r.set.keys().chain(r.add.keys()))
        .filter(|n| names::is_authority(n))
        .count();
    if set + usize::from(rewritten) > 1 {
        c.error(
            "the Host header is set more than once",
            "set it in rewrite.authority, or in headers.request.set, once",
        );
    }
}

pub(super) fn cors_policy(c: &mut Check, cors: &CorsPolicy) {
    c.each(
        "allowOrigins",
        &cors.allow_origins,
        |c, origin| match origin {
            StringMatch::Exact(s) | StringMatch::Prefix(s) | StringMatch::Regex(s)
                if s.is_empty() =>
            {
                c.error("an allowed origin must not be empty", "");
            }
            StringMatch::Present => c.error("an allowed origin needs exact, prefix or regex", ""),
            StringMatch::Regex(regex) => check_regex(c, "regex", regex),
            _ => {}
        },
    );
    c.each("allowMethods", &cors.allow_methods, |c, method| {
        if !METHODS.contains(&method.as_str()) {
            c.error(
                format!("\"{method}\" is not an HTTP method"),
                "use GET, POST, … in capitals, or *",
            );
        }
    });
    for (key, list) in [
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ] {
        c.each(key, list, |c, name| {
            c.require_here(names::cors_header(name))
        });
    }
    if let Some(max_age) = cors.max_age {
        c.duration("maxAge", Some(max_age));
        if max_age.nanos() % 1_000_000_000 != 0 {
            c.error_at("maxAge", "must be in whole seconds", "");
        }
    }
}

pub(super) fn fault_injection(c: &mut Check, fault: &HttpFaultInjection) {
    if fault.abort.is_none() && fault.delay.is_none() {
        c.error("a fault needs delay or abort", "");
    }
    if let Some(FaultAbort {
        http_status,
        grpc_status,
        http2_error,
        percentage,
    }) = &fault.abort
    {
        c.within("abort", |c| {
            c.percentage("percentage", percentage.as_ref());
            match (http_status, grpc_status, http2_error) {
                (Some(status), _, _) => http_status_in_range(c, "httpStatus", i64::from(*status)),
                (_, Some(status), _) if !GRPC_STATUSES.contains(&status.as_str()) => {
                    c.error_at(
                        "grpcStatus",
                        format!("\"{status}\" is not a gRPC status"),
                        "use a name such as NOT_FOUND",
                    );
                }
                (_, Some(_), _) => {}
                (_, _, Some(_)) => c.error_at(
                    "http2Error",
                    "is not supported",
                    "use httpStatus or grpcStatus",
                ),
                (None, None, None) => c.unseen_by_istio(|c| {
                    c.warn(
                        "the abort has no status, so it does nothing",
                        "set httpStatus or grpcStatus",
                    );
                }),
            }
        });
    }
    if let Some(FaultDelay {
        fixed_delay,
        exponential_delay,
        percentage,
        ..
    }) = &fault.delay
    {
        c.within("delay", |c| {
            c.percentage("percentage", percentage.as_ref());
            c.duration("fixedDelay", *fixed_delay);
            if exponential_delay.is_some() {
                c.error_at("exponentialDelay", "is not supported", "use fixedDelay");
            }
        });
    }
}

pub(super) fn http_status_in_range(c: &mut Check, key: &str, status: i64) {
    if !(200..=600).contains(&status) {
        c.error_at(
            key,
            format!("HTTP status {status} is not in the range 200-599"),
            "",
        );
    }
}

pub(super) fn mirror_percentage(c: &mut Check, key: &str, percent: Option<&Percent>) {
    if let Some(percent) = percent
        && !(0.0..=100.0).contains(&percent.value)
    {
        c.error_at(
            key,
            format!("{} percent is not from 0 to 100", percent.value),
            "",
        );
    }
}

pub(super) fn redirect(c: &mut Check, r: &HttpRedirect) {
    if r.uri.is_empty()
        && r.authority.is_empty()
        && r.scheme.is_empty()
        && r.port.is_none()
        && r.derive_port.is_none()
        && r.prefix_rewrite.is_empty()
    {
        c.error(
            "a redirect needs uri, prefixRewrite, authority, scheme or port",
            "",
        );
    } else if !r.uri.is_empty() && !r.prefix_rewrite.is_empty() {
        c.error(
            "uri and prefixRewrite exclude each other",
            "keep one of them",
        );
    } else if r.redirect_code != 0 && !(300..=399).contains(&r.redirect_code) {
        c.error_at(
            "redirectCode",
            format!("{} is not a redirect", r.redirect_code),
            "use a code from 300 to 399",
        );
    } else if !matches!(r.scheme.as_str(), "" | "http" | "https") {
        c.error_at(
            "scheme",
            format!("\"{}\" is neither http nor https", r.scheme),
            "",
        );
    } else if let Some(port) = r.port.filter(|p| *p > 0) {
        c.require("port", names::port(port));
    }
}

pub(super) fn direct_response(c: &mut Check, d: &HttpDirectResponse) {
    let size = match &d.body {
        Some(HttpBody::String(text)) => text.len(),
        Some(HttpBody::Bytes(bytes)) => bytes.0.len(),
        _ => 0,
    };
    if size > 1 << 20 {
        c.error_at("body", "is larger than 1 MB", "");
    } else if size > 100 << 10 {
        c.within("body", |c| {
            c.warn(
                "is larger than 100 KB, which every proxy holds in memory",
                "",
            )
        });
    }
    http_status_in_range(c, "status", i64::from(d.status));
}

pub(super) fn retries(c: &mut Check, r: &HttpRetry) {
    if r.attempts < 0 {
        c.error_at(
            "attempts",
            format!("must not be negative, and is {}", r.attempts),
            "use 0 to switch retries off",
        );
    }
    if r.attempts == 0
        && (r.per_try_timeout.is_some()
            || !r.retry_on.is_empty()
            || r.retry_remote_localities.is_some())
    {
        c.error(
            "retries are configured and switched off (attempts is 0)",
            "set attempts, or remove the other fields",
        );
    }
    c.duration("perTryTimeout", r.per_try_timeout);
    c.duration("backoff", r.backoff);
    for condition in r.retry_on.split(',').filter(|_| !r.retry_on.is_empty()) {
        let status = condition.parse::<u16>().is_ok_and(is_http_status);
        if !status && !RETRY_CONDITIONS.contains(&condition) {
            let help = match RETRY_CONDITIONS.contains(&condition.trim()) {
                true => "remove the space".to_owned(),
                false => format!("use status codes, {}", RETRY_CONDITIONS.join(", ")),
            };
            c.error_at(
                "retryOn",
                format!("\"{condition}\" is not a retry condition"),
                help,
            );
        }
    }
}

/// Status codes that have a name.
pub(super) fn is_http_status(code: u16) -> bool {
    matches!(code, 100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511)
}

pub(super) fn rewrite(c: &mut Check, r: &HttpRewrite) {
    if !r.uri.is_empty() && r.uri_regex_rewrite.is_some() {
        c.error(
            "uri and uriRegexRewrite exclude each other",
            "keep one of them",
        );
    } else if r.uri.is_empty() && r.uri_regex_rewrite.is_none() && r.authority.is_empty() {
        c.error("a rewrite needs uri, uriRegexRewrite or authority", "");
    } else if let Some(RegexRewrite { match_, rewrite }) = &r.uri_regex_rewrite {
        c.within("uriRegexRewrite", |c| {
            if match_.is_empty() || rewrite.is_empty() {
                c.error("both match and rewrite are required", "");
            } else {
                check_regex(c, "match", match_);
            }
        });
    }
}
