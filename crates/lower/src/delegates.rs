//! VirtualServices that delegate: the delegate's rules take the place of the rule that names it, restricted by it
//! (Istio's `mergeVirtualServicesIfNeeded`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_api::networking::{HttpMatchRequest, HttpRoute, StringMatch, VirtualService};
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::mesh::Mesh;
use hawser_model::{ClusterId, Problem};

use crate::names::{qualify, visibility};
use crate::notes::{CONFLICT, NOT_FOUND, Notes};

/// A VirtualService as it was written.
pub type Written = Arc<Object<VirtualService, IstioStatus>>;

/// The VirtualServices that have hosts, with their HTTP rules after merging, in order of precedence: those that
/// delegate come after the others, as in Istio. Input in order of precedence.
pub fn merge(
    objects: &[Written],
    cluster: &ClusterId,
    mesh: &Mesh,
    problems: &mut Vec<Problem>,
) -> Vec<(Written, Vec<HttpRoute>)> {
    let delegates: BTreeMap<(&str, &str), &Written> = objects
        .iter()
        .filter(|o| o.spec.hosts.is_empty())
        .map(|o| ((o.meta.namespace.as_str(), o.meta.name.as_str()), o))
        .collect();
    let (roots, plain): (Vec<_>, Vec<_>) = objects
        .iter()
        .filter(|o| !o.spec.hosts.is_empty())
        .partition(|o| o.spec.http.iter().any(|r| r.delegate.is_some()));
    let mut out: Vec<(Written, Vec<HttpRoute>)> = plain
        .into_iter()
        .map(|o| (Arc::clone(o), o.spec.http.clone()))
        .collect();
    for root in roots {
        let mut notes = Notes::new(problems, cluster, Kind::VirtualService, &root.meta);
        let mut rules = Vec::new();
        for (i, rule) in root.spec.http.iter().enumerate() {
            let Some(to) = &rule.delegate else {
                rules.push(rule.clone());
                continue;
            };
            let field = format!("spec.http[{i}].delegate");
            let namespace = if to.namespace.is_empty() {
                root.meta.namespace.as_str()
            } else {
                to.namespace.as_str()
            };
            let Some(delegate) = delegates.get(&(namespace, to.name.as_str())) else {
                notes.error(
                    NOT_FOUND,
                    field,
                    format!("there is no delegate VirtualService {namespace}/{}", to.name),
                    "create it without hosts, or correct the name; the rule has no effect until then",
                );
                continue;
            };
            let visible = visibility(
                &delegate.spec.export_to,
                namespace,
                &mesh.default_route_visibility,
            );
            if !visible.allows(&root.meta.namespace) {
                notes.error(
                    NOT_FOUND,
                    field,
                    format!(
                        "the VirtualService {namespace}/{} is not exported to this namespace",
                        to.name
                    ),
                    format!("add {} to its exportTo", root.meta.namespace),
                );
                continue;
            }
            let rule = qualified(rule, &root.meta.namespace, &mesh.dns_domain);
            for (j, sub) in delegate.spec.http.iter().enumerate() {
                match merge_route(&rule, &qualified(sub, namespace, &mesh.dns_domain)) {
                    Some(merged) => rules.push(merged),
                    None => notes.warn(
                        CONFLICT,
                        field.clone(),
                        format!(
                            "rule {j} of {namespace}/{} can never hold together with this rule's match and is left out",
                            to.name
                        ),
                        "a delegate's match must lie within that of the rule that names it; regular expressions cannot be combined",
                    ),
                }
            }
        }
        out.push((Arc::clone(root), rules));
    }
    out
}

/// A delegate's rule with short names in full: they are those of the delegate's namespace, whoever delegates to it.
fn qualified(rule: &HttpRoute, namespace: &str, domain: &str) -> HttpRoute {
    let mut out = rule.clone();
    let to = out.route.iter_mut().filter_map(|r| r.destination.as_mut());
    let copies = out
        .mirrors
        .iter_mut()
        .filter_map(|m| m.destination.as_mut());
    for destination in to.chain(out.mirror.as_mut()).chain(copies) {
        // What is no host name is told of where the rule is lowered.
        if let Ok(host) = qualify(&destination.host, namespace, domain) {
            destination.host = host.to_string();
        }
    }
    let gateways = out.match_.iter_mut().flat_map(|m| m.gateways.iter_mut());
    for gateway in gateways.filter(|g| *g != "mesh" && !g.contains(['/', '.'])) {
        *gateway = format!("{namespace}/{gateway}");
    }
    out
}

fn merge_route(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let mut merged = delegate.clone();
    merged.delegate = None;
    merged.match_ = merge_matches(&root.match_, &delegate.match_)?;
    merged.name = join(&root.name, &delegate.name);
    merged.rewrite = merged.rewrite.or_else(|| root.rewrite.clone());
    merged.direct_response = merged
        .direct_response
        .or_else(|| root.direct_response.clone());
    merged.timeout = merged.timeout.or(root.timeout);
    merged.retries = merged.retries.or_else(|| root.retries.clone());
    merged.fault = merged.fault.or_else(|| root.fault.clone());
    merged.mirror = merged.mirror.or_else(|| root.mirror.clone());
    if merged.mirrors.is_empty() {
        merged.mirrors.clone_from(&root.mirrors);
    }
    merged.mirror_percent = merged.mirror_percent.or(root.mirror_percent);
    merged.mirror_percentage = merged
        .mirror_percentage
        .or_else(|| root.mirror_percentage.clone());
    merged.cors_policy = merged.cors_policy.or_else(|| root.cors_policy.clone());
    merged.headers = merged.headers.or_else(|| root.headers.clone());
    Some(merged)
}

fn join(root: &str, delegate: &str) -> String {
    match (root, delegate) {
        (root, "") => root.to_owned(),
        ("", delegate) => delegate.to_owned(),
        (root, delegate) => format!("{root}-{delegate}"),
    }
}

fn merge_matches(
    root: &[HttpMatchRequest],
    delegate: &[HttpMatchRequest],
) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() {
        return Some(delegate.to_vec());
    }
    if delegate.is_empty() {
        return Some(root.to_vec());
    }
    let mut out = Vec::new();
    for leaf in delegate {
        let before = out.len();
        out.extend(
            root.iter()
                .filter(|r| !conflict(r, leaf))
                .map(|r| merge_match(r, leaf)),
        );
        if out.len() == before {
            return None;
        }
    }
    Some(out)
}

fn merge_match(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    let mut out = leaf.clone();
    out.name = join(&root.name, &leaf.name);
    out.uri = out.uri.or_else(|| root.uri.clone());
    out.scheme = out.scheme.or_else(|| root.scheme.clone());
    out.method = out.method.or_else(|| root.method.clone());
    out.authority = out.authority.or_else(|| root.authority.clone());
    for (into, from) in [
        (&mut out.headers, &root.headers),
        (&mut out.without_headers, &root.without_headers),
        (&mut out.query_params, &root.query_params),
    ] {
        for (name, value) in from {
            into.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if out.port == 0 {
        out.port = root.port;
    }
    // The root's say about the caller holds for its delegates too.
    for (name, value) in &root.source_labels {
        out.source_labels
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    if out.source_namespace.is_empty() {
        out.source_namespace.clone_from(&root.source_namespace);
    }
    if out.gateways.is_empty() {
        out.gateways.clone_from(&root.gateways);
    }
    if out.stat_prefix.is_empty() {
        out.stat_prefix.clone_from(&root.stat_prefix);
    }
    out
}

fn conflict(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let strings = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    strings
        .iter()
        .any(|(r, l)| string_conflict(r.as_ref(), l.as_ref()))
        || maps.iter().any(|(r, l)| {
            l.iter()
                .any(|(name, value)| string_conflict(r.get(name), Some(value)))
        })
        || root.ignore_uri_case != leaf.ignore_uri_case
        || (root.port > 0 && leaf.port > 0 && root.port != leaf.port)
        || caller_conflict(root, leaf)
}

/// True unless the leaf's callers are surely among the root's.
fn caller_conflict(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    (!root.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace)
        || leaf
            .source_labels
            .iter()
            .any(|(name, value)| root.source_labels.get(name).is_some_and(|r| r != value))
        || (!root.gateways.is_empty() && leaf.gateways.iter().any(|g| !root.gateways.contains(g)))
}

/// True unless the leaf's match surely lies within the root's.
fn string_conflict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    match (root, leaf) {
        (None, _) | (_, None) => false,
        (Some(StringMatch::Exact(r)), Some(StringMatch::Exact(l))) => r != l,
        (Some(StringMatch::Prefix(r)), Some(StringMatch::Exact(l) | StringMatch::Prefix(l))) => {
            !l.starts_with(r.as_str())
        }
        _ => true,
    }
}
