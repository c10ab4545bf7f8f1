//! Whether an EnvoyFilter's patch holds what Envoy calls by that name: the part of its validation that needs Envoy's types.

use hawser_api::Resource;
use hawser_api::networking::{ApplyTo, PatchOperation};
use hawser_api::validate::{Finding, SCHEMA_ERROR, SCHEMA_WARNING, Severity};
use serde_json::Value;

/// The type of what a patch of this class holds.
fn message(apply_to: ApplyTo) -> Option<&'static str> {
    Some(match apply_to {
        ApplyTo::Invalid => return None,
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
        ApplyTo::HttpFilter => {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
        }
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
        ApplyTo::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        ApplyTo::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
    })
}

/// What is wrong with the patches of an EnvoyFilter; nothing for other kinds. A value that cannot be read is an error, a
/// field that the type does not have a warning, as with Istio.
pub fn check(resource: &Resource) -> Vec<Finding> {
    let Resource::EnvoyFilter(filter) = resource else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (i, patch) in filter.spec.config_patches.iter().enumerate() {
        let (Some(name), Some(content)) = (message(patch.apply_to), &patch.patch) else {
            continue;
        };
        let Some(value) = &content.value else {
            continue;
        };
        if content.operation == PatchOperation::Remove {
            continue;
        }
        let value = Value::Object(value.clone());
        let mut find = |code, severity, message: String, help: &str| {
            out.push(Finding {
                code,
                severity,
                object: resource.object_ref(),
                path: format!("spec.configPatches[{i}].patch.value"),
                message,
                help: help.to_owned(),
            });
        };
        if let Err(error) = hawser_proto::json::parse_lenient(name, &value) {
            find(
                SCHEMA_ERROR,
                Severity::Error,
                reason(&error),
                "write it as Envoy's v3 API has it; extensions that only Istio's own proxy has do not exist here",
            );
        } else if let Err(error) = hawser_proto::json::parse(name, &value) {
            find(
                SCHEMA_WARNING,
                Severity::Warning,
                format!("not all of it is understood: {}", reason(&error)),
                "",
            );
        }
    }
    out
}

/// The error with its causes, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
