//! Which kinds a control plane follows, and how the client names them.

use std::borrow::Cow;

use hawser_api::Kind;
use hawser_kube::{Resource, Selection};

/// Kinds that make up the mesh, followed in the control plane's own cluster.
pub(crate) const CONFIGURATION: &[Kind] = &[
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
    Kind::Sidecar,
    Kind::EnvoyFilter,
    Kind::ProxyConfig,
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::AuthorizationPolicy,
    Kind::Telemetry,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::GatewayClass,
    Kind::K8sGateway,
    Kind::ListenerSet,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::ReferenceGrant,
    Kind::BackendTlsPolicy,
    Kind::Ingress,
    Kind::IngressClass,
    Kind::ConfigMap,
];

/// Kinds that say what runs where, followed in every cluster.
pub(crate) const WORKLOADS: &[Kind] = &[
    Kind::Namespace,
    Kind::Node,
    Kind::Service,
    Kind::Pod,
    Kind::EndpointSlice,
    Kind::Secret,
];

/// How the client names a kind.
pub(crate) fn resource(kind: Kind) -> Resource {
    let info = kind.info();
    Resource {
        group: Cow::Borrowed(info.group),
        version: Cow::Borrowed(info.version()),
        kind: Cow::Borrowed(info.name),
        plural: Cow::Borrowed(info.plural),
        namespaced: info.namespaced,
    }
}

/// Which objects of a kind, and how much of them: of ConfigMaps and Secrets only the names, and not those of Helm and of
/// service accounts.
pub(crate) fn selection(kind: Kind) -> Selection {
    match kind {
        Kind::Secret => Selection {
            fields: Some(
                "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token".to_owned(),
            ),
            metadata_only: true,
            ..Selection::all()
        },
        Kind::ConfigMap => Selection {
            metadata_only: true,
            ..Selection::all()
        },
        _ => Selection::all(),
    }
}
