//! EnvoyFilters.

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::filter::{
    ApplyTo, ClusterTarget, Context, EnvoyFilter, ListenerTarget, Operation, Patch, RefusedPatch,
    RouteTarget, Target,
};
use hawser_model::{ClusterId, Problem, Selector, Str};

use crate::names::{self, labels};
use crate::notes::{Notes, REFUSED_BY_ENVOY, SCHEMA, UNSUPPORTED};
use crate::security::selector;

/// Lowers one EnvoyFilter; patches that say nothing are left out. `refused` are patches that proxies would not take.
pub fn envoy_filter(
    object: &Object<api::EnvoyFilter, IstioStatus>,
    cluster: &ClusterId,
    refused: &[RefusedPatch],
    problems: &mut Vec<Problem>,
) -> EnvoyFilter {
    let mut notes = Notes::new(problems, cluster, Kind::EnvoyFilter, &object.meta);
    let spec = &object.spec;
    let selector = Selector {
        labels: spec
            .workload_selector
            .as_ref()
            .map(|s| labels(&s.labels))
            .unwrap_or_default(),
        ..selector(None, None, &spec.target_refs)
    };
    let meta = names::meta(&object.meta);
    let patches: Vec<Patch> = spec
        .config_patches
        .iter()
        .enumerate()
        .filter_map(|(i, p)| patch(i, p, &mut notes))
        .collect();
    for refused in refused.iter().filter(|r| r.named.filter == meta) {
        let patch = &refused.named.patch;
        // One that was written anew meanwhile is another patch.
        if patches.contains(patch) {
            notes.error(
                REFUSED_BY_ENVOY,
                format!("spec.configPatches[{}]", patch.index),
                format!("Envoy refuses what the patch makes: {} (proxy {})", refused.why, refused.proxy),
                "correct the patch: until then it is left out for proxies that refuse it, and all else is in force",
            );
        }
    }
    EnvoyFilter {
        meta,
        priority: spec.priority,
        selector,
        patches,
    }
}

fn patch(
    index: usize,
    patch: &api::EnvoyConfigObjectPatch,
    notes: &mut Notes<'_>,
) -> Option<Patch> {
    let field = format!("spec.configPatches[{index}]");
    let apply_to = apply_to(patch.apply_to);
    let what = patch.patch.as_ref();
    let operation = what.and_then(|p| operation(p.operation));
    let (Some(apply_to), Some(operation), Some(what)) = (apply_to, operation, what) else {
        notes.error(
            SCHEMA,
            field,
            "the patch does not say to what it applies, or what it does",
            "set applyTo and patch.operation",
        );
        return None;
    };
    let Some(operation) = carried_out(apply_to, operation) else {
        notes.error(
            UNSUPPORTED,
            format!("{field}.patch.operation"),
            format!(
                "{} has no effect with applyTo: {}",
                what.operation.as_str(),
                patch.apply_to.as_str()
            ),
            "see the operations that EnvoyFilter documents for it",
        );
        return None;
    };
    if what.filter_class != api::FilterClass::Unspecified {
        notes.warn(
            UNSUPPORTED,
            format!("{field}.patch.filterClass"),
            "has no effect, as in Istio",
            "say the place by INSERT_BEFORE or INSERT_AFTER and the name of a filter",
        );
    }
    let m = patch.match_.clone().unwrap_or_default();
    let proxy = m.proxy.clone().unwrap_or_default();
    Some(Patch {
        index,
        apply_to,
        context: match m.context {
            api::PatchContext::Any => Context::Any,
            api::PatchContext::SidecarInbound => Context::SidecarInbound,
            api::PatchContext::SidecarOutbound => Context::SidecarOutbound,
            api::PatchContext::Gateway => Context::Gateway,
            api::PatchContext::Waypoint => Context::Waypoint,
        },
        proxy_version: proxy.proxy_version.as_str().into(),
        proxy_metadata: proxy
            .metadata
            .iter()
            .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
            .collect(),
        target: target(&m),
        operation,
        value: what.value.as_ref().map(json).unwrap_or_default(),
    })
}

/// What Istio does for an operation: on some objects every insertion is an addition, and not all objects know all
/// operations.
fn carried_out(apply_to: ApplyTo, operation: Operation) -> Option<Operation> {
    use Operation::{
        Add, InsertAfter, InsertBefore, InsertFirst, Merge, MergeAndReplaceList, Replace,
    };
    let inserts = matches!(operation, InsertAfter | InsertBefore | InsertFirst);
    let merges = matches!(operation, Merge | MergeAndReplaceList);
    let known = match apply_to {
        ApplyTo::NetworkFilter | ApplyTo::HttpFilter => true,
        ApplyTo::ListenerFilter => !merges,
        ApplyTo::HttpRoute => operation != Replace,
        ApplyTo::VirtualHost => true,
        ApplyTo::Listener | ApplyTo::FilterChain | ApplyTo::Cluster => operation != Replace,
        ApplyTo::RouteConfiguration => merges,
        ApplyTo::Bootstrap => operation == Merge,
        ApplyTo::ExtensionConfig => operation == Add || inserts,
    };
    let ordered = matches!(
        apply_to,
        ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::ListenerFilter | ApplyTo::HttpRoute
    );
    known.then_some(if inserts && !ordered { Add } else { operation })
}

/// The JSON text of an object.
fn json(value: &serde_json::Map<String, serde_json::Value>) -> Str {
    serde_json::Value::Object(value.clone()).to_string().into()
}

fn apply_to(apply_to: api::ApplyTo) -> Option<ApplyTo> {
    Some(match apply_to {
        api::ApplyTo::Invalid => return None,
        api::ApplyTo::Listener => ApplyTo::Listener,
        api::ApplyTo::FilterChain => ApplyTo::FilterChain,
        api::ApplyTo::NetworkFilter => ApplyTo::NetworkFilter,
        api::ApplyTo::HttpFilter => ApplyTo::HttpFilter,
        api::ApplyTo::RouteConfiguration => ApplyTo::RouteConfiguration,
        api::ApplyTo::VirtualHost => ApplyTo::VirtualHost,
        api::ApplyTo::HttpRoute => ApplyTo::HttpRoute,
        api::ApplyTo::Cluster => ApplyTo::Cluster,
        api::ApplyTo::ExtensionConfig => ApplyTo::ExtensionConfig,
        api::ApplyTo::Bootstrap => ApplyTo::Bootstrap,
        api::ApplyTo::ListenerFilter => ApplyTo::ListenerFilter,
    })
}

fn operation(operation: api::PatchOperation) -> Option<Operation> {
    Some(match operation {
        api::PatchOperation::Invalid => return None,
        api::PatchOperation::Merge => Operation::Merge,
        api::PatchOperation::Add => Operation::Add,
        api::PatchOperation::Remove => Operation::Remove,
        api::PatchOperation::InsertBefore => Operation::InsertBefore,
        api::PatchOperation::InsertAfter => Operation::InsertAfter,
        api::PatchOperation::InsertFirst => Operation::InsertFirst,
        api::PatchOperation::Replace => Operation::Replace,
        api::PatchOperation::MergeAndReplaceList => Operation::MergeAndReplaceList,
    })
}

fn target(m: &api::EnvoyConfigObjectMatch) -> Target {
    Target {
        listener: m.listener.as_ref().map(listener),
        route: m.route_configuration.as_ref().map(route),
        cluster: m.cluster.as_ref().map(|c| ClusterTarget {
            port: c.port_number,
            service: c.service.as_str().into(),
            subset: c.subset.as_str().into(),
            name: c.name.as_str().into(),
        }),
    }
}

fn listener(m: &api::ListenerMatch) -> ListenerTarget {
    let chain = m.filter_chain.clone().unwrap_or_default();
    let filter = chain.filter.unwrap_or_default();
    ListenerTarget {
        port: m.port_number,
        name: m.name.as_str().into(),
        listener_filter: m.listener_filter.as_str().into(),
        chain_name: chain.name.as_str().into(),
        sni: chain.sni.as_str().into(),
        transport_protocol: chain.transport_protocol.as_str().into(),
        application_protocols: chain.application_protocols.as_str().into(),
        destination_port: chain.destination_port,
        filter: filter.name.as_str().into(),
        sub_filter: filter
            .sub_filter
            .map(|s| s.name.as_str().into())
            .unwrap_or_default(),
    }
}

fn route(m: &api::RouteConfigurationMatch) -> RouteTarget {
    let vhost = m.vhost.clone().unwrap_or_default();
    let route = vhost.route.unwrap_or_default();
    RouteTarget {
        port: m.port_number,
        port_name: m.port_name.as_str().into(),
        gateway: m.gateway.as_str().into(),
        name: m.name.as_str().into(),
        vhost: vhost.name.as_str().into(),
        domain: vhost.domain_name.as_str().into(),
        route: route.name.as_str().into(),
        action: match route.action {
            api::RouteAction::Any => Str::default(),
            other => other.as_str().into(),
        },
    }
}
