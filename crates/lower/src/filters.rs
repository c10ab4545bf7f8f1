//! EnvoyFilters and WasmPlugins.

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::filter::{
    ApplyTo, ClusterTarget, Context, EnvoyFilter, FilterClass, ListenerTarget, Operation, Patch,
    RouteTarget, Target,
};
use hawser_model::{ClusterId, Problem, Selector, Str};

use crate::names::{self, labels};
use crate::notes::{Notes, SCHEMA};
use crate::security::selector;

/// Lowers one EnvoyFilter; patches that say nothing are left out.
pub fn envoy_filter(
    object: &Object<api::EnvoyFilter, IstioStatus>,
    cluster: &ClusterId,
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
    let patches = spec
        .config_patches
        .iter()
        .enumerate()
        .filter_map(|(i, p)| patch(i, p, &mut notes))
        .collect();
    EnvoyFilter {
        meta: names::meta(&object.meta),
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
        value: json(&what.value),
        filter_class: match what.filter_class {
            api::FilterClass::Unspecified => FilterClass::Unspecified,
            api::FilterClass::Authn => FilterClass::Authn,
            api::FilterClass::Authz => FilterClass::Authz,
            api::FilterClass::Stats => FilterClass::Stats,
        },
    })
}

/// The JSON text of an object; empty if it has no members.
fn json(value: &serde_json::Map<String, serde_json::Value>) -> Str {
    if value.is_empty() {
        return Str::default();
    }
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
