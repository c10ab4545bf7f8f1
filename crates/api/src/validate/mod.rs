//! Validation of Istio's objects: one implementation for the webhook, `hawser validate` and `hawser analyze`.
//!
//! The rules are those of Istio's own validation; what Istio refuses is an error here, what it warns of a warning. Every
//! finding names the field, and says what to do where that is not plain from the message.

mod cel;
mod check;
mod destination_rule;
mod envoy_filter;
mod extensions;
mod gateway;
mod gateway_api;
mod gateway_routes;
mod http_route;
mod ingress;
mod mesh;
mod metadata;
pub mod names;
mod policy;
pub mod re2;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod unreachable;
mod virtual_service;

use check::{Check, sentence};

use crate::kinds::{Kind, ObjectRef, Origin, ParseError, Resource, parse};
use crate::message::{Fault, FaultKind, nearest};
use crate::schema;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        })
    }
}

/// Istio's code for what its validation refuses.
pub const SCHEMA_ERROR: &str = "IST0106";
/// Istio's code for what its validation warns of.
pub const SCHEMA_WARNING: &str = "IST0133";
/// A route rule that no request reaches.
pub const UNREACHABLE_RULE: &str = "IST0130";
/// A match that an earlier one makes useless.
pub const INEFFECTIVE_MATCH: &str = "IST0131";

/// Our code for mistakes that Istio's own validation lets pass without a word.
pub const UNSEEN_BY_ISTIO: &str = "HWS0004";
/// Our code for objects of Kubernetes and the Gateway API that a cluster refuses.
pub const REFUSED_BY_CLUSTER: &str = "HWS0005";
/// Our code for settings of the mesh that the control plane refuses.
pub const MESH_SETTINGS: &str = "HWS0006";

/// One thing found in one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    pub object: ObjectRef,
    /// The field, such as `spec.http[0].route[0].weight`; empty for the object as a whole.
    pub path: String,
    pub message: String,
    /// The way out; empty where the message says it.
    pub help: String,
}

/// What there is to say of one document, and the object if it is usable.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub object: Option<Resource>,
    pub findings: Vec<Finding>,
    /// Set if the document is not an object of a kind that is known; then there are no findings.
    pub unknown: Option<ParseError>,
}

impl Report {
    /// Whether Istio or a cluster with its CRDs would refuse the object.
    pub fn refused(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }
}

/// Checks a document in full: its types, the schema of its CRD, and Istio's rules. `namespace` is that of objects which
/// name none.
pub fn check_document(mut value: Value, namespace: &str) -> Report {
    set_namespace(&mut value, namespace);
    let schema_faults = schema_faults(&value);
    let (resource, object, faults) = match parse(value) {
        Ok(parsed) => {
            let object = parsed.resource.object_ref();
            (Some(parsed.resource), object, parsed.faults)
        }
        Err(ParseError::Invalid { object, faults }) => (None, object, faults),
        Err(unknown) => {
            return Report {
                unknown: Some(unknown),
                ..Report::default()
            };
        }
    };
    let mistyped: Vec<String> = faults
        .iter()
        .filter(|f| f.kind == FaultKind::UnknownField)
        .map(|f| f.path.clone())
        .collect();
    let mut findings: Vec<Finding> = faults
        .into_iter()
        .map(|fault| from_fault(fault, &object))
        .collect();
    let mut said = BTreeSet::new();
    findings.extend(resource.iter().flat_map(validate).filter(|f| {
        !mistyped.iter().any(|m| follows(&f.path, m))
            && said.insert((f.path.clone(), f.message.clone()))
    }));
    for fault in schema_faults {
        // One mistake, one message: Istio's rules and the types say more than the schema.
        let said = |f: &Finding| f.path == fault.path || is_child(&f.path, &fault.path);
        let follows = mistyped.iter().any(|m| follows(&fault.path, m));
        if !follows
            && !findings
                .iter()
                .any(|f| f.severity == Severity::Error && said(f))
        {
            findings.push(from_fault(fault, &object));
        }
    }
    Report {
        object: resource,
        findings,
        unknown: None,
    }
}

/// Whether what is found at `path` comes of the unknown field `mistyped`: it is about the object that has the field, or about
/// the field that was meant.
fn follows(path: &str, mistyped: &str) -> bool {
    let Some((parent, key)) = mistyped.rsplit_once('.') else {
        return false;
    };
    path == parent
        || path
            .rsplit_once('.')
            .is_some_and(|(of, field)| of == parent && nearest(key, &[field]).is_some())
}

/// Whether `path` names a field or an item of what `parent` names, or a field of an item.
fn is_child(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| {
        let item = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
        let rest = item.map_or(rest, |(_, after)| after);
        let field = rest.strip_prefix('.').unwrap_or(rest);
        path.len() > parent.len() && !field.contains(['.', '['])
    })
}

/// An object without a namespace belongs to the one that the user is in.
fn set_namespace(value: &mut Value, namespace: &str) {
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let namespaced = Kind::of(&text(value, "apiVersion"), &text(value, "kind"))
        .is_ok_and(|k| k.info().namespaced);
    if namespaced && let Some(Value::Object(meta)) = value.get_mut("metadata") {
        meta.entry("namespace")
            .or_insert_with(|| Value::String(namespace.to_owned()));
    }
}

fn schema_faults(value: &Value) -> Vec<Fault> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let Ok(kind) = Kind::of(text("apiVersion"), text("kind")) else {
        return Vec::new();
    };
    if kind.info().origin == Origin::Kubernetes {
        return Vec::new();
    }
    let mut faults = metadata::faults(value);
    match value.get("spec") {
        Some(spec) if !spec.is_null() => {
            let rules = crate::crd::spec_rules(kind);
            faults.extend(schema::check(kind.spec_shape(), rules, spec, "spec"))
        }
        _ if crate::crd::spec_required(kind) => {
            faults.push(metadata::rule("spec", "is required", ""))
        }
        _ => {}
    }
    faults
}

/// A fault of reading or of the schema, as a finding. An unknown field of the Gateway API, which grows without Hawser, is
/// only a warning.
pub fn from_fault(fault: Fault, object: &ObjectRef) -> Finding {
    let (code, severity) = match object.kind.info().origin {
        Origin::GatewayApi if fault.harmless() => (REFUSED_BY_CLUSTER, Severity::Warning),
        Origin::GatewayApi => (REFUSED_BY_CLUSTER, Severity::Error),
        _ => (SCHEMA_ERROR, Severity::Error),
    };
    Finding {
        code,
        severity,
        object: object.clone(),
        message: sentence(&fault.path, fault.message),
        path: fault.path,
        help: fault.help,
    }
}

/// Checks an object that could be read: against Istio's rules, those of the Gateway API's CRDs, and those of Kubernetes for
/// what the mesh reads of it.
pub fn validate(resource: &Resource) -> Vec<Finding> {
    let mut check = Check {
        object: resource.object_ref(),
        path: String::new(),
        findings: Vec::new(),
        unseen: false,
        own: None,
    };
    match resource.kind().info().origin {
        Origin::Istio if check.annotations(resource) => {
            check.within("spec", |c| istio(c, resource));
        }
        Origin::Istio => {}
        Origin::GatewayApi => {
            check.own = Some(REFUSED_BY_CLUSTER);
            check.within("spec", |c| match resource {
                Resource::K8sGateway(o) => gateway_api::check_gateway(c, &o.spec),
                Resource::HttpRoute(o) => gateway_routes::check_http_route(c, &o.spec),
                Resource::GrpcRoute(o) => gateway_routes::check_grpc_route(c, &o.spec),
                Resource::TlsRoute(o) => gateway_routes::check_tls_route(c, &o.spec),
                Resource::TcpRoute(o) => gateway_routes::l4_rules(c, &o.spec.rules),
                Resource::BackendTlsPolicy(o) => gateway_api::check_backend_tls(c, &o.spec),
                _ => {}
            });
        }
        Origin::Kubernetes => match resource {
            Resource::Ingress(o) => {
                check.own = Some(REFUSED_BY_CLUSTER);
                check.within("spec", |c| ingress::check(c, &o.spec));
            }
            Resource::ConfigMap(o)
                if o.meta.name == "istio" || o.meta.name.starts_with("istio-") =>
            {
                check.own = Some(MESH_SETTINGS);
                mesh::check_config_map(&mut check, &o.spec);
            }
            _ => {}
        },
    }
    check.findings
}

fn istio(c: &mut Check, resource: &Resource) {
    match resource {
        Resource::VirtualService(o) => {
            virtual_service::check(c, &o.spec);
            unreachable::check(c, &o.spec);
        }
        Resource::DestinationRule(o) => destination_rule::check(c, &o.spec),
        Resource::Gateway(o) => gateway::check(c, &o.spec),
        Resource::ServiceEntry(o) => service_entry::check(c, &o.spec, &o.meta.labels),
        Resource::WorkloadEntry(o) => service_entry::check_workload_entry(c, &o.spec, None, true),
        Resource::WorkloadGroup(o) => service_entry::check_workload_group(c, &o.spec),
        Resource::Sidecar(o) => sidecar::check(c, &o.spec),
        Resource::EnvoyFilter(o) => envoy_filter::check(c, &o.spec),
        Resource::ProxyConfig(o) => policy::selector(c, o.spec.selector.as_ref()),
        Resource::PeerAuthentication(o) => security::check_peer_authentication(c, &o.spec),
        Resource::RequestAuthentication(o) => security::check_request_authentication(c, &o.spec),
        Resource::AuthorizationPolicy(o) => security::check_authorization_policy(c, &o.spec),
        Resource::Telemetry(o) => telemetry::check(c, &o.spec),
        Resource::WasmPlugin(o) => extensions::check_wasm_plugin(c, &o.spec),
        Resource::TrafficExtension(o) => extensions::check_traffic_extension(c, &o.spec),
        _ => {}
    }
}
