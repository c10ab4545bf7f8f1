//! Routes of the Gateway API: the rules of their CRDs beyond types and bounds.

use super::gateway_api::{hostname, one_of};
use super::{Check, re2};
use crate::gateway_api::{
    GrpcRouteSpec, HttpBackendRef, HttpPathMatch, HttpPathModifier, HttpRouteFilter, HttpRouteRule,
    HttpRouteSpec, HttpRouteTimeouts, HttpValueMatch, L4RouteRule, TlsRouteSpec,
};
use std::collections::BTreeSet;

fn hostnames(c: &mut Check, hosts: &[String]) {
    c.each("hostnames", hosts, |c, host| {
        c.require_here(hostname(host, true))
    });
}

pub(super) fn check_http_route(c: &mut Check, route: &HttpRouteSpec) {
    hostnames(c, &route.hostnames);
    c.each("rules", &route.rules, http_rule);
}

fn http_rule(c: &mut Check, rule: &HttpRouteRule) {
    c.each("matches", &rule.matches, |c, m| {
        if let Some(path) = &m.path {
            c.within("path", |c| path_match(c, path));
        }
        values(c, "headers", &m.headers);
        values(c, "queryParams", &m.query_params);
        one_of(
            c,
            "method",
            m.method.as_deref(),
            &[
                "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
            ],
        );
    });
    filters(c, &rule.filters, &rule.backend_refs, true);
    backends(c, &rule.backend_refs, true);
    if let Some(timeouts) = &rule.timeouts {
        c.within("timeouts", |c| check_timeouts(c, timeouts));
    }
}

fn path_match(c: &mut Check, path: &HttpPathMatch) {
    let kind = path.type_.as_deref().unwrap_or("PathPrefix");
    one_of(
        c,
        "type",
        Some(kind),
        &["Exact", "PathPrefix", "RegularExpression"],
    );
    let value = path.value.as_deref().unwrap_or("/");
    if kind == "RegularExpression" {
        if let Err(why) = re2::compile(value) {
            // A cluster takes it all the same; no proxy does.
            c.within("value", |c| {
                c.warn(
                    format!("bad regular expression: {why}"),
                    "write it as RE2 does",
                );
            });
        }
        return;
    }
    let bad = ["//", "/./", "/../", "%2f", "%2F", "#"]
        .iter()
        .find(|part| value.contains(**part));
    if !value.starts_with('/') {
        c.error_at(
            "value",
            format!("path \"{value}\" is not absolute"),
            format!("write /{value}"),
        );
    } else if let Some(part) = bad {
        c.error_at(
            "value",
            format!("path \"{value}\" must not contain {part}"),
            "write the path as it is after normalisation",
        );
    } else if value.ends_with("/..") || value.ends_with("/.") {
        c.error_at(
            "value",
            format!("path \"{value}\" must not end with dots"),
            "",
        );
    }
}

fn values(c: &mut Check, key: &str, list: &[HttpValueMatch]) {
    c.each(key, list, |c, m| {
        one_of(
            c,
            "type",
            m.type_.as_deref(),
            &["Exact", "RegularExpression"],
        );
        if m.name.is_empty() {
            c.error_at("name", "must not be empty", "");
        }
    });
}

/// The name of a filter, and which of its fields must be set for it.
fn settings(filter: &HttpRouteFilter) -> [(&'static str, &'static str, bool); 8] {
    [
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            filter.request_header_modifier.is_some(),
        ),
        (
            "ResponseHeaderModifier",
            "responseHeaderModifier",
            filter.response_header_modifier.is_some(),
        ),
        (
            "RequestMirror",
            "requestMirror",
            filter.request_mirror.is_some(),
        ),
        (
            "RequestRedirect",
            "requestRedirect",
            filter.request_redirect.is_some(),
        ),
        ("URLRewrite", "urlRewrite", filter.url_rewrite.is_some()),
        ("CORS", "cors", filter.cors.is_some()),
        (
            "ExternalAuth",
            "externalAuth",
            filter.external_auth.is_some(),
        ),
        (
            "ExtensionRef",
            "extensionRef",
            filter.extension_ref.is_some(),
        ),
    ]
}

fn filters(c: &mut Check, list: &[HttpRouteFilter], backends: &[HttpBackendRef], http: bool) {
    let mut seen = BTreeSet::new();
    c.each("filters", list, |c, filter| {
        let settings = settings(filter);
        let known: Vec<&str> = settings
            .iter()
            .map(|(kind, _, _)| *kind)
            .filter(|kind| {
                http || matches!(
                    *kind,
                    "RequestHeaderModifier"
                        | "ResponseHeaderModifier"
                        | "RequestMirror"
                        | "ExtensionRef"
                )
            })
            .collect();
        let kind = filter.type_.as_str();
        one_of(c, "type", Some(kind), &known);
        for (of, field, set) in settings {
            if of == kind && !set {
                c.error_at(
                    field,
                    format!("is required for a filter of type {kind}"),
                    "",
                );
            } else if of != kind && set && known.contains(&kind) {
                c.error_at(
                    field,
                    format!("contradicts type {kind}"),
                    format!("use type {of}, or remove it"),
                );
            }
        }
        let once = !matches!(kind, "RequestMirror" | "ExtensionRef");
        if once && !seen.insert(kind.to_owned()) {
            c.error_at("type", format!("filter {kind} stands twice"), "merge them");
        }
        if let Some(redirect) = &filter.request_redirect {
            c.within("requestRedirect", |c| {
                one_of(c, "scheme", redirect.scheme.as_deref(), &["http", "https"]);
                if let Some(code) = redirect
                    .status_code
                    .filter(|code| ![301, 302, 303, 307, 308].contains(code))
                {
                    c.error_at(
                        "statusCode",
                        format!("{code} is not a redirect"),
                        "use 301, 302, 303, 307 or 308",
                    );
                }
                if let Some(host) = &redirect.hostname {
                    c.require("hostname", hostname(host, false));
                }
                path_modifier(c, redirect.path.as_ref());
            });
        }
        if let Some(rewrite) = &filter.url_rewrite {
            c.within("urlRewrite", |c| {
                if let Some(host) = &rewrite.hostname {
                    c.require("hostname", hostname(host, false));
                }
                path_modifier(c, rewrite.path.as_ref());
            });
        }
    });
    let has = |kind: &str| list.iter().any(|f| f.type_ == kind);
    if has("RequestRedirect") && has("URLRewrite") {
        c.error_at(
            "filters",
            "a rule cannot both redirect and rewrite",
            "keep one of them",
        );
    }
    if has("RequestRedirect") && !backends.is_empty() {
        c.error_at(
            "backendRefs",
            "a rule that redirects cannot have backends",
            "remove the backends, or the filter RequestRedirect",
        );
    }
}

fn path_modifier(c: &mut Check, path: Option<&HttpPathModifier>) {
    let Some(path) = path else { return };
    c.within("path", |c| {
        let kind = path.type_.as_str();
        one_of(
            c,
            "type",
            Some(kind),
            &["ReplaceFullPath", "ReplacePrefixMatch"],
        );
        for (of, field, set) in [
            (
                "ReplaceFullPath",
                "replaceFullPath",
                path.replace_full_path.is_some(),
            ),
            (
                "ReplacePrefixMatch",
                "replacePrefixMatch",
                path.replace_prefix_match.is_some(),
            ),
        ] {
            if (of == kind) != set {
                let message = if set {
                    format!("contradicts type {kind}")
                } else {
                    format!("is required for type {kind}")
                };
                c.error_at(field, message, "");
            }
        }
    });
}

fn backends(c: &mut Check, list: &[HttpBackendRef], http: bool) {
    c.each("backendRefs", list, |c, backend| {
        needs_port(
            c,
            backend.group.as_deref(),
            backend.kind.as_deref(),
            backend.port,
        );
        filters(c, &backend.filters, &[], http);
    });
}

fn needs_port(c: &mut Check, group: Option<&str>, kind: Option<&str>, port: Option<i32>) {
    let service = group.unwrap_or_default().is_empty() && kind.unwrap_or("Service") == "Service";
    if service && port.is_none() {
        c.error_at(
            "port",
            "is required for a Service",
            "write the Service's port",
        );
    }
}

/// A duration of the Gateway API in milliseconds: up to four numbers with units, `1h30m`, `500ms`.
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let (mut total, mut parts) = (0u64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        if !(1..=5).contains(&digits) {
            return None;
        }
        total = total.saturating_add(number.parse::<u64>().ok()?.saturating_mul(factor));
        parts += 1;
        rest = after;
    }
    (1..=4).contains(&parts).then_some(total)
}

fn check_timeouts(c: &mut Check, timeouts: &HttpRouteTimeouts) {
    let mut read = |key: &str, text: &Option<String>| {
        let text = text.as_deref()?;
        let read = milliseconds(text);
        if read.is_none() {
            c.error_at(
                key,
                format!("bad duration \"{text}\""),
                "write whole numbers with h, m, s or ms, such as 5s or 1m30s",
            );
        }
        read
    };
    let request = read("request", &timeouts.request);
    let backend = read("backendRequest", &timeouts.backend_request);
    if let (Some(request), Some(backend)) = (request, backend)
        && request != 0
        && backend > request
    {
        c.error_at(
            "backendRequest",
            "is longer than the whole request may take",
            "make it at most the request timeout",
        );
    }
}

pub(super) fn check_grpc_route(c: &mut Check, route: &GrpcRouteSpec) {
    hostnames(c, &route.hostnames);
    c.each("rules", &route.rules, |c, rule| {
        c.each("matches", &rule.matches, |c, m| {
            values(c, "headers", &m.headers);
            let Some(method) = &m.method else { return };
            c.within("method", |c| {
                let kind = method.type_.as_deref();
                one_of(c, "type", kind, &["Exact", "RegularExpression"]);
                let (service, name) = (method.service.as_deref(), method.method.as_deref());
                if service.unwrap_or_default().is_empty() && name.unwrap_or_default().is_empty() {
                    c.error("service or method is required", "");
                }
                let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
                for (key, text) in [("service", service), ("method", name)] {
                    let exact = kind.unwrap_or("Exact") == "Exact";
                    if let Some(text) = text.filter(|t| exact && !t.bytes().all(word)) {
                        c.error_at(
                            key,
                            format!("\"{text}\" is not a name of gRPC"),
                            "use letters, digits, underscores and dots",
                        );
                    }
                }
            });
        });
        filters(c, &rule.filters, &rule.backend_refs, false);
        backends(c, &rule.backend_refs, false);
    });
}

pub(super) fn check_tls_route(c: &mut Check, route: &TlsRouteSpec) {
    if route.hostnames.is_empty() {
        // Older versions of the CRD let it be absent; Hawser then matches any SNI.
        c.within("hostnames", |c| {
            c.warn(
                "is required from version 1 of the kind on",
                "name the SNI hosts",
            );
        });
    }
    hostnames(c, &route.hostnames);
    l4_rules(c, &route.rules);
}

pub(super) fn l4_rules(c: &mut Check, rules: &[L4RouteRule]) {
    c.each("rules", rules, |c, rule| {
        if rule.backend_refs.is_empty() {
            c.error_at("backendRefs", "must have at least one backend", "");
        }
        c.each("backendRefs", &rule.backend_refs, |c, b| {
            needs_port(c, b.group.as_deref(), b.kind.as_deref(), b.port)
        });
    });
}
