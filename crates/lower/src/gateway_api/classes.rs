//! Which GatewayClasses are ours.

use hawser_model::Problem;

use super::Context;
use crate::notes::{Notes, UNSUPPORTED};

/// The controller of gateways that Hawser configures: Istio's name, so that existing classes keep working.
pub const CONTROLLER: &str = "istio.io/gateway-controller";
/// The controller of gateways that stand for others, elsewhere.
const REMOTE: &str = "istio.io/unmanaged-gateway";
/// The controllers of waypoints.
pub(super) const WAYPOINTS: [&str; 2] =
    ["istio.io/mesh-controller", "istio.io/eastwest-controller"];

/// Whom the entries of ours in statuses name: for gateways, and (as with Istio) for services of the mesh.
pub(crate) const CONTROLLERS: [&str; 2] = [CONTROLLER, WAYPOINTS[0]];

/// What we do with Gateways of a class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// They are configured.
    Istio,
    /// They stand for a gateway of another mesh or cluster: only their status says that they were seen.
    Remote,
}

/// The controller of a class: of the GatewayClass, or of Istio's classes by name.
fn controller<'a>(context: &Context<'a>, class: &str) -> Option<&'a str> {
    match context.view.objects.gateway_classes.get("", class) {
        Some(object) => Some(&object.spec.controller_name),
        None => match class {
            "istio" => Some(CONTROLLER),
            "istio-remote" => Some(REMOTE),
            "istio-waypoint" => Some(WAYPOINTS[0]),
            "istio-east-west" => Some(WAYPOINTS[1]),
            _ => None,
        },
    }
}

/// What a class means to us; `None` if it is another controller's.
pub(super) fn class(context: &Context<'_>, name: &str) -> Option<Class> {
    match controller(context, name)? {
        CONTROLLER => Some(Class::Istio),
        REMOTE => Some(Class::Remote),
        _ => None,
    }
}

/// Says of waypoints that they have no effect.
pub(super) fn note_waypoints(context: &Context<'_>, problems: &mut Vec<Problem>) {
    for gateway in super::sorted(&context.view.objects.k8s_gateways, context.view) {
        let class = &gateway.spec.gateway_class_name;
        if controller(context, class).is_some_and(|c| WAYPOINTS.contains(&c)) {
            let kind = hawser_api::Kind::K8sGateway;
            Notes::new(problems, context.view.id, kind, &gateway.meta).warn(
                UNSUPPORTED,
                "spec.gatewayClassName",
                format!("waypoints are not served: a Gateway of class {class} has no effect"),
                "use class istio, or give the workloads sidecars",
            );
        }
    }
}

/// Says of certificates that Gateways are to show to backends that nobody shows them.
pub(super) fn note_client_certificates(context: &Context<'_>, problems: &mut Vec<Problem>) {
    for gateway in super::sorted(&context.view.objects.k8s_gateways, context.view) {
        if class(context, &gateway.spec.gateway_class_name) != Some(Class::Istio) {
            continue;
        }
        let tls = gateway.spec.tls.as_ref().and_then(|t| t.backend.as_ref());
        for (field, of) in [
            ("spec.tls.backend", tls),
            ("spec.backendTLS", gateway.spec.backend_tls.as_ref()),
        ] {
            if of.is_some_and(|b| b.client_certificate_ref.is_some()) {
                let kind = hawser_api::Kind::K8sGateway;
                Notes::new(problems, context.view.id, kind, &gateway.meta).warn(
                    UNSUPPORTED,
                    format!("{field}.clientCertificateRef"),
                    "backends are not shown this certificate, as with Istio",
                    "a DestinationRule for the backend with tls.mode MUTUAL and a credentialName shows one",
                );
            }
        }
    }
}
