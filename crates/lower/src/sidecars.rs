//! Sidecar resources.

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::mesh::Mesh;
use hawser_model::sidecar::{
    CaptureMode, EgressListener, EgressNamespace, EgressPort, IngressListener, OutboundPolicy,
    Sidecar,
};
use hawser_model::{ClusterId, Hostname, Problem, Protocol};

use crate::destination_rules::connection_pool;
use crate::gateways::server_tls;
use crate::names::{self, labels, namespace_match, port, protocol};
use crate::notes::{Notes, SCHEMA};

/// Lowers one Sidecar.
pub fn sidecar(
    object: &Object<api::Sidecar, IstioStatus>,
    cluster: &ClusterId,
    mesh: &Mesh,
    problems: &mut Vec<Problem>,
) -> Sidecar {
    let mut notes = Notes::new(problems, cluster, Kind::Sidecar, &object.meta);
    let spec = &object.spec;
    let namespace = &object.meta.namespace;
    let ingress = spec
        .ingress
        .iter()
        .enumerate()
        .filter_map(|(i, l)| ingress(l, &format!("spec.ingress[{i}]"), &mut notes))
        .collect();
    let egress = spec
        .egress
        .iter()
        .enumerate()
        .map(|(i, l)| egress(l, namespace, &format!("spec.egress[{i}]"), &mut notes))
        .collect();
    let outbound_policy = spec.outbound_traffic_policy.as_ref().map(|p| {
        let proxy = p.egress_proxy.as_ref().and_then(|d| {
            names::destination(
                d,
                namespace,
                &mesh.dns_domain,
                "spec.outboundTrafficPolicy.egressProxy",
                &mut notes,
            )
        });
        match (p.mode, proxy) {
            (api::OutboundMode::RegistryOnly, _) => OutboundPolicy::RegistryOnly,
            (api::OutboundMode::AllowAny, Some(proxy)) => OutboundPolicy::EgressProxy(proxy),
            (api::OutboundMode::AllowAny, None) => OutboundPolicy::AllowAny,
        }
    });
    Sidecar {
        meta: names::meta(&object.meta),
        selector: spec
            .workload_selector
            .as_ref()
            .map(|s| labels(&s.labels))
            .unwrap_or_default(),
        ingress,
        egress,
        inbound_pool: spec.inbound_connection_pool.as_ref().map(connection_pool),
        outbound_policy,
    }
}

fn capture(mode: api::CaptureMode) -> CaptureMode {
    match mode {
        api::CaptureMode::Default => CaptureMode::Default,
        api::CaptureMode::Iptables => CaptureMode::Iptables,
        api::CaptureMode::None => CaptureMode::None,
    }
}

fn port_protocol(text: &str, field: &str, notes: &mut Notes<'_>) -> Protocol {
    protocol(text).unwrap_or_else(|| {
        if !text.is_empty() {
            notes.error(
                SCHEMA,
                format!("{field}.port.protocol"),
                format!("{text:?} is not a protocol"),
                "use one of HTTP, HTTPS, GRPC, GRPC-Web, HTTP2, MONGO, TCP, TLS",
            );
        }
        Protocol::Unknown
    })
}

fn ingress(
    listener: &api::IstioIngressListener,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<IngressListener> {
    let Some((written, number)) = listener
        .port
        .as_ref()
        .and_then(|p| Some((p, port(p.number)?)))
    else {
        notes.error(
            SCHEMA,
            format!("{field}.port"),
            "the listener has no port",
            "set port.number, port.name and port.protocol",
        );
        return None;
    };
    Some(IngressListener {
        port: number,
        port_name: written.name.as_str().into(),
        protocol: port_protocol(&written.protocol, field, notes),
        bind: listener.bind.as_str().into(),
        capture: capture(listener.capture_mode),
        default_endpoint: listener.default_endpoint.as_str().into(),
        tls: (listener.tls.as_ref()).map(|tls| server_tls(tls, &format!("{field}.tls"), notes)),
        pool: listener.connection_pool.as_ref().map(connection_pool),
    })
}

fn egress(
    listener: &api::IstioEgressListener,
    namespace: &str,
    field: &str,
    notes: &mut Notes<'_>,
) -> EgressListener {
    let written = listener
        .port
        .as_ref()
        .and_then(|p| Some((p, port(p.number)?)));
    EgressListener {
        port: written.map(|(p, number)| EgressPort {
            number,
            name: p.name.as_str().into(),
            protocol: port_protocol(&p.protocol, field, notes),
        }),
        bind: listener.bind.as_str().into(),
        capture: capture(listener.capture_mode),
        hosts: listener
            .hosts
            .iter()
            .enumerate()
            .filter_map(|(i, text)| host(text, namespace, &format!("{field}.hosts[{i}]"), notes))
            .collect(),
    }
}

fn host(
    text: &str,
    namespace: &str,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<(EgressNamespace, Hostname)> {
    let parsed = text
        .split_once('/')
        .and_then(|(ns, host)| Some((namespace_match(ns, namespace), Hostname::parse(host).ok()?)));
    if parsed.is_none() {
        notes.error(
            SCHEMA,
            field,
            format!("{text:?} is not of the form namespace/host"),
            "write it as ./*, */*, prod/* or */reviews.default.svc.cluster.local",
        );
    }
    parsed
}
