//! PeerAuthentication, RequestAuthentication and AuthorizationPolicy.

use super::names::{self, Wrong, wrong};
use super::{Check, policy};
use crate::security::{
    Action, AuthorizationPolicy, Condition, JwtRule, Operation, PeerAuthentication,
    RequestAuthentication, Rule, Source,
};
use crate::uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

pub(super) fn check_peer_authentication(c: &mut Check, pa: &PeerAuthentication) {
    let selects = pa
        .selector
        .as_ref()
        .is_some_and(|s| !s.match_labels.is_empty());
    if !selects && !pa.port_level_mtls.is_empty() {
        c.error_at(
            "portLevelMtls",
            "is for workloads that a selector names",
            "add selector.matchLabels",
        );
    }
    c.entries("portLevelMtls", &pa.port_level_mtls, |c, port, _| {
        c.require_here(names::port(*port))
    });
    policy::selector(c, pa.selector.as_ref());
}

pub(super) fn check_request_authentication(c: &mut Check, ra: &RequestAuthentication) {
    policy::targets(
        c,
        ra.selector.as_ref(),
        ra.target_ref.as_ref(),
        &ra.target_refs,
    );
    c.each("jwtRules", &ra.jwt_rules, jwt_rule);
}

fn jwt_rule(c: &mut Check, rule: &JwtRule) {
    not_empty(c, "audiences", &rule.audiences);
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() {
        c.error_at("issuer", "either issuer or jwksUri is required", "");
    }
    if !rule.jwks_uri.is_empty() {
        c.require("jwksUri", http_url(&rule.jwks_uri));
    }
    if !rule.jwks.is_empty() {
        c.require("jwks", key_set(&rule.jwks));
    }
    c.each("fromHeaders", &rule.from_headers, |c, header| {
        if header.name.is_empty() {
            c.error_at("name", "must not be empty", "");
        }
    });
    not_empty(c, "fromParams", &rule.from_params);
    not_empty(c, "fromCookies", &rule.from_cookies);
    c.each(
        "outputClaimToHeaders",
        &rule.output_claim_to_headers,
        |c, output| {
            if output.claim.is_empty() || output.header.is_empty() {
                c.error("header and claim must not be empty", "");
            } else {
                c.require("header", names::strict_header(&output.header));
            }
        },
    );
    c.duration("timeout", rule.timeout);
}

fn http_url(url: &str) -> Result<(), Wrong> {
    let help = "write it as in https://issuer.example/.well-known/jwks.json";
    match uri::parse(url) {
        Ok(uri) if matches!(uri.scheme.as_str(), "http" | "https") => Ok(()),
        Ok(_) => Err(wrong(
            format!("\"{url}\" does not begin with http:// or https://"),
            help,
        )),
        Err(why) => Err(wrong(format!("\"{url}\" is not a URL: {why}"), help)),
    }
}

/// A JSON Web Key Set, or a single key.
fn key_set(text: &str) -> Result<(), Wrong> {
    let help = "paste the JSON that the issuer publishes, {\"keys\": […]}";
    let value: Value =
        serde_json::from_str(text).map_err(|e| wrong(format!("not JSON: {e}"), help))?;
    let keys = match value.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        Some(_) => return Err(wrong("keys is not a list", help)),
        None => std::slice::from_ref(&value),
    };
    for key in keys {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let has = |name: &str| {
            text(name).is_some_and(|t| {
                !t.is_empty() && URL_SAFE_NO_PAD.decode(t.trim_end_matches('=')).is_ok()
            })
        };
        let complete = match key.get("kty").and_then(Value::as_str) {
            Some("RSA") => has("n") && has("e"),
            Some("EC") => text("crv").is_some() && has("x") && has("y"),
            Some("OKP") => text("crv").is_some() && has("x"),
            Some("oct") => has("k"),
            _ => return Err(wrong("a key has no known type (kty)", help)),
        };
        if !complete {
            return Err(wrong("a key lacks the numbers that its type needs", help));
        }
    }
    Ok(())
}

fn not_empty(c: &mut Check, key: &str, values: &[String]) {
    c.each(key, values, |c, value| {
        if value.is_empty() {
            c.error("must not be empty", "remove the entry");
        }
    });
}

pub(super) fn check_authorization_policy(c: &mut Check, ap: &AuthorizationPolicy) {
    policy::targets(
        c,
        ap.selector.as_ref(),
        ap.target_ref.as_ref(),
        &ap.target_refs,
    );
    let action = ap.action.as_str();
    if ap.action == Action::Custom {
        if !ap.rules.is_empty() && ap.provider.as_ref().is_none_or(|p| p.name.is_empty()) {
            c.within("provider", |c| {
                c.error_at(
                    "name",
                    "CUSTOM needs a provider",
                    "name one of meshConfig.extensionProviders",
                );
            });
        }
        c.each("rules", &ap.rules, custom_rule);
    } else if ap.provider.is_some() {
        c.error_at(
            "provider",
            format!("is for action CUSTOM, and this is {action}"),
            "use action: CUSTOM, or remove it",
        );
    }
    if matches!(ap.action, Action::Custom | Action::Deny) && ap.rules.is_empty() {
        c.error_at(
            "rules",
            format!("{action} without rules never applies"),
            "add a rule; an empty one ({}) applies to every request",
        );
    }
    c.each("rules", &ap.rules, |c, rule| check_rule(c, rule, ap.action));
}

/// What an external authoriser's filter cannot see, for it runs first.
fn custom_rule(c: &mut Check, rule: &Rule) {
    let unsupported =
        |c: &mut Check, key: &str| c.error_at(key, "is not supported with action CUSTOM", "");
    c.each("from", &rule.from, |c, from| {
        let Some(source) = &from.source else { return };
        c.within("source", |c| {
            let fields = [
                ("namespaces", &source.namespaces),
                ("notNamespaces", &source.not_namespaces),
                ("serviceAccounts", &source.service_accounts),
                ("notServiceAccounts", &source.not_service_accounts),
                ("principals", &source.principals),
                ("notPrincipals", &source.not_principals),
                ("requestPrincipals", &source.request_principals),
                ("notRequestPrincipals", &source.not_request_principals),
            ];
            for (key, _) in fields.iter().filter(|(_, values)| !values.is_empty()) {
                unsupported(c, key);
            }
        });
    });
    c.each("when", &rule.when, |c, when| {
        let identity = matches!(
            when.key.as_str(),
            "source.namespace" | "source.serviceAccount" | "source.principal"
        );
        if identity || when.key.starts_with("request.auth.") {
            unsupported(c, "key");
        }
    });
}

fn check_rule(c: &mut Check, rule: &Rule, action: Action) {
    let (mut tcp_source, mut tcp_operation) = (false, false);
    c.each("from", &rule.from, |c, from| match &from.source {
        Some(source) => tcp_source |= c.within("source", |c| check_source(c, source)),
        None => c.error_at("source", "is required", ""),
    });
    c.each("to", &rule.to, |c, to| match &to.operation {
        Some(operation) => {
            tcp_operation |= c.within("operation", |c| check_operation(c, operation))
        }
        None => c.error_at("operation", "is required", ""),
    });
    c.each("when", &rule.when, check_condition);
    let from = rule.from.iter().any(|f| f.source.is_some());
    let to = rule.to.iter().any(|t| t.operation.is_some());
    if action == Action::Deny && ((from && !to && !tcp_source) || (to && !tcp_operation)) {
        c.warn(
            "a DENY rule with only HTTP attributes denies all traffic to TCP ports",
            "name the ports that are meant in to.operation.ports",
        );
    }
}

/// Whether the source has attributes that TCP connections have too.
fn check_source(c: &mut Check, s: &Source) -> bool {
    let accounts = s.service_accounts.len() + s.not_service_accounts.len() > 0;
    let others = [
        &s.principals,
        &s.not_principals,
        &s.namespaces,
        &s.not_namespaces,
    ]
    .iter()
    .any(|l| !l.is_empty());
    if accounts && others {
        c.error(
            "serviceAccounts exclude namespaces and principals",
            "use either",
        );
    }
    let lists = [
        ("principals", &s.principals),
        ("notPrincipals", &s.not_principals),
        ("requestPrincipals", &s.request_principals),
        ("notRequestPrincipals", &s.not_request_principals),
        ("namespaces", &s.namespaces),
        ("notNamespaces", &s.not_namespaces),
        ("trustDomains", &s.trust_domains),
        ("notTrustDomains", &s.not_trust_domains),
    ];
    for (key, values) in lists {
        not_empty(c, key, values);
    }
    let blocks = [
        ("ipBlocks", &s.ip_blocks),
        ("notIpBlocks", &s.not_ip_blocks),
        ("remoteIpBlocks", &s.remote_ip_blocks),
        ("notRemoteIpBlocks", &s.not_remote_ip_blocks),
    ];
    for (key, values) in blocks {
        c.each(key, values, |c, block| c.require_here(names::subnet(block)));
    }
    for (key, values) in [
        ("serviceAccounts", &s.service_accounts),
        ("notServiceAccounts", &s.not_service_accounts),
    ] {
        c.each(key, values, |c, account| {
            c.require_here(service_account(account))
        });
    }
    if lists
        .iter()
        .chain(&blocks)
        .all(|(_, values)| values.is_empty())
        && !accounts
    {
        c.error("a source must not be empty", "remove it to mean any source");
    }
    let http_only = ["requestPrincipals", "notRequestPrincipals"];
    accounts
        || lists
            .iter()
            .chain(&blocks)
            .any(|(key, values)| !values.is_empty() && !http_only.contains(key))
}

/// `account` or `namespace/account`.
fn service_account(account: &str) -> Result<(), Wrong> {
    let parts: Vec<&str> = account.split('/').collect();
    if parts.len() > 2 || parts.iter().any(|p| p.is_empty()) {
        return Err(wrong(
            format!("\"{account}\" is not a service account"),
            "write namespace/account, or account",
        ));
    }
    Ok(())
}

/// Whether the operation has attributes that TCP connections have too.
fn check_operation(c: &mut Check, o: &Operation) -> bool {
    let lists = [
        ("hosts", &o.hosts),
        ("notHosts", &o.not_hosts),
        ("ports", &o.ports),
        ("notPorts", &o.not_ports),
        ("methods", &o.methods),
        ("notMethods", &o.not_methods),
        ("paths", &o.paths),
        ("notPaths", &o.not_paths),
    ];
    if lists.iter().all(|(_, values)| values.is_empty()) {
        c.error(
            "an operation must not be empty",
            "remove it to mean any operation",
        );
    }
    for (key, values) in lists {
        match key {
            "ports" | "notPorts" => c.each(key, values, |c, port| c.require_here(port_text(port))),
            "paths" | "notPaths" => {
                c.each(key, values, |c, path| c.require_here(path_template(path)))
            }
            _ => not_empty(c, key, values),
        }
    }
    !o.ports.is_empty() || !o.not_ports.is_empty()
}

fn port_text(port: &str) -> Result<(), Wrong> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if digits && port.parse::<u32>().is_ok_and(|p| p <= 65535) {
        Ok(())
    } else {
        Err(wrong(
            format!("\"{port}\" is not a port"),
            "write a number up to 65535 in quotes",
        ))
    }
}

/// Templates know `{*}` (one segment) and `{**}` (any number, after which no other follows). Both are whole segments;
/// beside them are neither braces nor, in a path with one of them, anything but characters that paths have.
fn path_template(path: &str) -> Result<(), Wrong> {
    if path.is_empty() {
        return Err(wrong("must not be empty", "remove the entry"));
    }
    let template = path.contains("{*}") || path.contains("{**}");
    let mut after_any = false;
    for segment in path.trim_matches('/').split('/') {
        let help = match segment {
            "{*}" | "{**}" if after_any => "put {**} last",
            "{*}" => continue,
            "{**}" => {
                after_any = true;
                continue;
            }
            _ if segment.contains(['{', '}']) => {
                "use {*} for one segment and {**} for any number of them, alone between slashes"
            }
            _ if template && !is_literal(segment) => {
                "beside {*} and {**}, use plain segments without *"
            }
            _ => continue,
        };
        return Err(wrong(
            format!("\"{path}\" is not a path template that is supported"),
            help,
        ));
    }
    Ok(())
}

/// Whether a segment of a path has characters of RFC 3986 alone, without the `*` that Envoy's templates give a meaning.
fn is_literal(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b))
}

fn check_condition(c: &mut Check, when: &Condition) {
    if when.key.is_empty() {
        c.error_at("key", "must not be empty", "");
    } else if when.values.is_empty() && when.not_values.is_empty() {
        c.error("one of values and notValues is required", "");
    } else {
        for (key, values) in [("values", &when.values), ("notValues", &when.not_values)] {
            attribute(c, &when.key, key, values);
        }
    }
}

fn attribute(c: &mut Check, name: &str, key: &str, values: &[String]) {
    let before = c.findings.len();
    not_empty(c, key, values);
    if c.findings.len() > before {
        return;
    }
    let bracketed = |c: &mut Check| {
        let open = name.find('[');
        if !name.ends_with(']') || open.is_none_or(|at| at == 0 || at + 2 >= name.len()) {
            c.error_at(
                "key",
                format!("\"{name}\" has no name in brackets"),
                "write it as in request.headers[x-name]",
            );
        }
    };
    match name {
        "source.ip" | "remote.ip" | "destination.ip" => {
            c.each(key, values, |c, value| c.require_here(names::subnet(value)));
        }
        "destination.port" => c.each(key, values, |c, value| c.require_here(port_text(value))),
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni"
        | "source.serviceAccount" => {
            if name == "source.serviceAccount" {
                c.each(key, values, |c, value| {
                    c.require_here(service_account(value))
                });
            }
        }
        _ if [
            "request.headers",
            "request.auth.claims",
            "experimental.envoy.filters.",
        ]
        .iter()
        .any(|p| name.starts_with(p)) =>
        {
            bracketed(c);
        }
        _ => {
            let help = match name {
                "destination.namespace" => "policies apply in their own namespace",
                "destination.name" | "destination.user" | "destination.labels" => {
                    "use the policy's selector"
                }
                _ => {
                    "use source.ip, remote.ip, source.namespace, source.principal, source.serviceAccount, request.headers[…], \
                     request.auth.principal, request.auth.audiences, request.auth.presenter, request.auth.claims[…], \
                     destination.ip, destination.port or connection.sni"
                }
            };
            c.error_at(
                "key",
                format!("\"{name}\" is not an attribute of requests"),
                help,
            );
        }
    }
}
