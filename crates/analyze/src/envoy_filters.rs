//! EnvoyFilters whose operation does nothing, or depends on the order of filters (Istio `envoyfilter.EnvoyPatchAnalyzer`).

use crate::codes::{
    ADD_INEFFECTIVE, RELATIVE_PATCH, RELATIVE_PATCH_WITH_VERSION, REMOVE_INEFFECTIVE,
    REPLACE_INEFFECTIVE,
};
use crate::finding::{Finding, on};
use crate::world::World;
use hawser_api::Kind;
use hawser_api::networking::{ApplyTo, EnvoyConfigObjectPatch, PatchOperation};
use std::collections::BTreeSet;

/// What a patch is about: the name in its value, or that of the filter it looks for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Unknown,
    OfValue(String),
    OfFilter(String),
}

pub fn patches(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    // Names patched for some versions of the proxy only, in this filter or one before it.
    let mut versioned = BTreeSet::new();
    for filter in &world.envoy_filters {
        for (i, patch) in filter.spec.config_patches.iter().enumerate() {
            let Some(content) = &patch.patch else { break };
            let name = name(patch);
            let routes = matches!(
                patch.apply_to,
                ApplyTo::RouteConfiguration | ApplyTo::HttpRoute
            );
            let replaceable = matches!(
                patch.apply_to,
                ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::VirtualHost
            );
            let mut found = |code, message: &str, help: &str| {
                let path = format!("spec.configPatches[{i}].patch.operation");
                out.push(
                    Finding::new(code, on(Kind::EnvoyFilter, &filter.meta), path, message)
                        .help(help),
                );
            };
            let relative = match content.operation {
                PatchOperation::Add if routes => {
                    found(
                        ADD_INEFFECTIVE,
                        "ADD does nothing for ROUTE_CONFIGURATION and HTTP_ROUTE",
                        "use MERGE, or INSERT_FIRST for HTTP_ROUTE",
                    );
                    false
                }
                PatchOperation::Remove if routes => {
                    found(
                        REMOVE_INEFFECTIVE,
                        "REMOVE does nothing for ROUTE_CONFIGURATION and HTTP_ROUTE",
                        "use MERGE, or remove the VIRTUAL_HOST",
                    );
                    false
                }
                PatchOperation::Replace if !replaceable => {
                    found(
                        REPLACE_INEFFECTIVE,
                        "REPLACE works for HTTP_FILTER, NETWORK_FILTER and VIRTUAL_HOST only",
                        "use MERGE, or REMOVE and ADD",
                    );
                    false
                }
                PatchOperation::Remove
                | PatchOperation::Replace
                | PatchOperation::InsertBefore
                | PatchOperation::InsertAfter
                | PatchOperation::Merge => true,
                _ => false,
            };
            if relative && filter.spec.priority == 0 {
                let help = "set priority, or use INSERT_FIRST or ADD";
                if versioned.contains(&name) {
                    found(
                        RELATIVE_PATCH_WITH_VERSION,
                        "the operation depends on filters that others patch for one proxy version only: it may do nothing during an upgrade",
                        help,
                    );
                } else {
                    found(
                        RELATIVE_PATCH,
                        "the operation depends on what other EnvoyFilters did before: without a priority it may do nothing",
                        help,
                    );
                }
            }
            let proxy = patch.match_.as_ref().and_then(|m| m.proxy.as_ref());
            if proxy.is_some_and(|p| !p.proxy_version.is_empty()) {
                versioned.insert(name);
            }
        }
    }
    out
}

fn name(patch: &EnvoyConfigObjectPatch) -> Name {
    let value = patch.patch.as_ref().and_then(|p| p.value.as_ref());
    let Some(value) = value.filter(|v| !v.is_empty()) else {
        return Name::Unknown;
    };
    if let Some(name) = value.get("name") {
        return Name::OfValue(name.to_string());
    }
    let listener = patch.match_.as_ref().and_then(|m| m.listener.as_ref());
    let chain = listener.and_then(|l| l.filter_chain.as_ref());
    match chain.and_then(|c| c.filter.as_ref()) {
        Some(filter) => Name::OfFilter(filter.name.clone()),
        None => Name::Unknown,
    }
}
