//! Routes of a VirtualService that no request reaches, and matches that an earlier one makes useless.

use super::{Check, INEFFECTIVE_MATCH, Severity, UNREACHABLE_RULE};
use crate::message::Field;
use crate::networking::{HttpMatchRequest, StringMatch, VirtualService};
use std::collections::BTreeMap;

pub(super) fn check(c: &mut Check, vs: &VirtualService) {
    let http: Vec<Vec<String>> = vs
        .http
        .iter()
        .map(|r| {
            let unnamed = |m: &HttpMatchRequest| HttpMatchRequest {
                name: String::new(),
                ..m.clone()
            };
            r.match_
                .iter()
                .map(|m| unnamed(m).write().to_string())
                .collect()
        })
        .collect();
    duplicates(c, "http", &http);
    let texts = |matches: Vec<serde_json::Value>| {
        matches.iter().map(serde_json::Value::to_string).collect()
    };
    let tcp: Vec<Vec<String>> = vs
        .tcp
        .iter()
        .map(|r| texts(r.match_.iter().map(Field::write).collect()))
        .collect();
    duplicates(c, "tcp", &tcp);
    let tls: Vec<Vec<String>> = vs
        .tls
        .iter()
        .map(|r| texts(r.match_.iter().map(Field::write).collect()))
        .collect();
    duplicates(c, "tls", &tls);
    covered(c, vs);
}

/// Matches are compared as text; a route without any takes every request.
fn duplicates(c: &mut Check, key: &str, routes: &[Vec<String>]) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut catch_all = false;
    for (i, matches) in routes.iter().enumerate() {
        if matches.is_empty() {
            if catch_all {
                at(
                    c,
                    &format!("{key}[{i}]"),
                    UNREACHABLE_RULE,
                    Severity::Warning,
                    &format!("no request reaches route {i}: one before it has no match"),
                );
            }
            catch_all = true;
            continue;
        }
        let mut repeated = 0;
        for (j, text) in matches.iter().enumerate() {
            if let Some(first) = seen.get(text.as_str()) {
                repeated += 1;
                let message = format!(
                    "no request reaches match {j} of route {i}: route {first} has the same"
                );
                at(
                    c,
                    &format!("{key}[{i}].match[{j}]"),
                    INEFFECTIVE_MATCH,
                    Severity::Info,
                    &message,
                );
            } else {
                seen.insert(text, i);
            }
        }
        if repeated == matches.len() {
            at(
                c,
                &format!("{key}[{i}]"),
                UNREACHABLE_RULE,
                Severity::Warning,
                &format!("no request reaches route {i}: earlier ones have all its matches"),
            );
        }
    }
}

fn at(c: &mut Check, path: &str, code: &'static str, severity: Severity, message: &str) {
    let length = c.path.len();
    c.path.push('.');
    c.path.push_str(path);
    c.find(
        code,
        severity,
        message,
        "remove it, or move it before the one that takes its requests",
    );
    c.path.truncate(length);
}

/// The parts of a match that Istio compares when one URI prefix begins with another.
struct Prefixed<'a> {
    path: String,
    prefix: &'a str,
    port: u32,
    method: String,
    authority: String,
    maps: [BTreeMap<&'a str, String>; 3],
}

fn text(value: Option<&StringMatch>) -> String {
    match value {
        Some(StringMatch::Exact(s)) if !s.is_empty() => format!("exact:{s}"),
        Some(StringMatch::Prefix(s)) if !s.is_empty() => format!("prefix:{s}"),
        _ => String::new(),
    }
}

fn covered(c: &mut Check, vs: &VirtualService) {
    let mut all = Vec::new();
    for (i, route) in vs.http.iter().enumerate() {
        for (j, m) in route.match_.iter().enumerate() {
            let Some(StringMatch::Prefix(prefix)) = &m.uri else {
                continue;
            };
            if prefix.is_empty() {
                continue;
            }
            let method = text(m.method.as_ref());
            all.push(Prefixed {
                path: format!("http[{i}].match[{j}]"),
                prefix,
                port: m.port,
                method: if method.is_empty() {
                    "exact:GET".to_owned()
                } else {
                    method
                },
                authority: text(m.authority.as_ref()),
                maps: [&m.headers, &m.query_params, &m.without_headers].map(|map| {
                    map.iter()
                        .map(|(k, v)| (k.as_str(), text(Some(v))))
                        .collect()
                }),
            });
        }
    }
    for (i, first) in all.iter().enumerate() {
        for later in &all[i + 1..] {
            if later.prefix != first.prefix && covers(first, later) {
                let message = format!(
                    "no request reaches {}: {} takes every path that begins with {}",
                    later.path, first.path, first.prefix
                );
                at(c, &later.path, INEFFECTIVE_MATCH, Severity::Info, &message);
            }
        }
    }
}

fn covers(first: &Prefixed, later: &Prefixed) -> bool {
    let maps = first.maps.iter().zip(&later.maps).all(|(a, b)| {
        a.len() == b.len()
            && a.iter()
                .all(|(k, v)| b.get(k).is_some_and(|other| v.starts_with(other.as_str())))
    });
    later.prefix.starts_with(first.prefix)
        && first.port == later.port
        && first.method.starts_with(&later.method)
        && first.authority.starts_with(&later.authority)
        && maps
}
