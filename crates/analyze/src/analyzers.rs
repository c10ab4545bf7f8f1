//! The analyzers, by the names that istioctl has for them where it has them.

use crate::finding::Finding;
use crate::world::World;

/// How an analyzer runs.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Over each cluster.
    Each(fn(&World) -> Vec<Finding>),
    /// Over all clusters at once.
    All(fn(&[World]) -> Vec<Finding>),
    /// By `hawser_api::validate`, when an object is read.
    Validation,
}

/// One row of the table.
pub struct Analyzer {
    /// As `istioctl analyze --list-analyzers` prints it.
    pub name: &'static str,
    pub description: &'static str,
    pub(crate) run: Run,
}

const fn each(
    name: &'static str,
    description: &'static str,
    run: fn(&World) -> Vec<Finding>,
) -> Analyzer {
    Analyzer {
        name,
        description,
        run: Run::Each(run),
    }
}

const fn all(
    name: &'static str,
    description: &'static str,
    run: fn(&[World]) -> Vec<Finding>,
) -> Analyzer {
    Analyzer {
        name,
        description,
        run: Run::All(run),
    }
}

const fn validation(name: &'static str) -> Analyzer {
    Analyzer {
        name,
        description: "Each object by itself, by the rules of Istio and its CRDs",
        run: Run::Validation,
    }
}

/// Every analyzer, by name.
pub const ALL: &[Analyzer] = &[
    each(
        "annotations.K8sAnalyzer",
        "Istio's annotations: unknown, misplaced, deprecated or without meaning",
        crate::annotations::annotations,
    ),
    each(
        "applicationUID.Analyzer",
        "Applications that run as the proxy's user",
        crate::deployments::proxy_uid,
    ),
    each(
        "auth.AuthorizationPoliciesAnalyzer",
        "AuthorizationPolicies that select nobody or name missing namespaces",
        crate::authorization::authorization_policies,
    ),
    each(
        "authn.BlockedCIDRsAnalyzer",
        "Control planes that fetch keys from any address",
        crate::authentication::keys_from_anywhere,
    ),
    each(
        "conditions.ConditionAnalyzer",
        "Conditions by which a controller says no",
        crate::conditions::conditions,
    ),
    each(
        "deployment.MultiServiceAnalyzer",
        "Services that disagree about the ports of the same pods",
        crate::deployments::services_of_deployments,
    ),
    each(
        "deprecation.DeprecationAnalyzer",
        "Deprecated fields and kinds",
        crate::deprecation::deprecated,
    ),
    each(
        "destinationrule.CaCertificateAnalyzer",
        "TLS without verification of the server",
        crate::destination_rules::verification,
    ),
    each(
        "destinationrule.SubsetSelectPodAnalyzer",
        "Subsets that select no pods, and hosts that are nobody's",
        crate::destination_rules::subsets,
    ),
    each(
        "envoyfilter.EnvoyPatchAnalyzer",
        "Patches that do nothing, or depend on the order of filters",
        crate::envoy_filters::patches,
    ),
    each(
        "externalcontrolplane.ExternalControlPlaneAnalyzer",
        "Addresses of control planes outside the cluster",
        crate::webhooks::control_planes,
    ),
    each(
        "gateway.CertificateAnalyzer",
        "Certificates that several gateways have",
        crate::gateways::certificates,
    ),
    each(
        "gateway.ConflictingGatewayAnalyzer",
        "Gateways with the same pods, port and host",
        crate::gateways::conflicts,
    ),
    each(
        "gateway.IngressGatewayPortAnalyzer",
        "Ports of gateways that no Service reaches",
        crate::gateways::ports,
    ),
    each(
        "gateway.SecretAnalyzer",
        "Secrets of gateways that are missing or not usable",
        crate::gateway_secrets::secrets,
    ),
    all(
        "hawser.DestinationRulesDiffer",
        "DestinationRules that differ between clusters",
        crate::clusters::rules_that_differ,
    ),
    all(
        "hawser.NetworkGateways",
        "Networks that no gateway leads into",
        crate::clusters::networks,
    ),
    all(
        "hawser.NobodyServes",
        "Routes to Services without pods in any cluster",
        crate::clusters::nobody_serves,
    ),
    all(
        "hawser.SubsetsOfSomeClusters",
        "Subsets that have pods in some clusters only",
        crate::clusters::subsets_of_some,
    ),
    each(
        "injection.Analyzer",
        "Namespaces and pods without a proxy",
        crate::injection::injection,
    ),
    each(
        "injection.ImageAnalyzer",
        "Pods with another proxy than the injector gives now",
        crate::proxy_image::proxy_images,
    ),
    each(
        "injection.ImageAutoAnalyzer",
        "Pods with image auto that nobody injects",
        crate::injection::image_auto,
    ),
    each(
        "k8sgateway.CRDVersionAnalyzer",
        "Definitions of the Gateway API that are too old",
        crate::gateway_api::versions,
    ),
    each(
        "k8sgateway.SelectorAnalyzer",
        "Selectors that take pods of a Kubernetes Gateway",
        crate::gateway_api::selectors,
    ),
    each(
        "meshnetworks.MeshNetworksAnalyzer",
        "MeshNetworks that name unknown clusters",
        crate::mesh_networks::registries,
    ),
    validation("schema.ValidationAnalyzer.AuthorizationPolicy"),
    validation("schema.ValidationAnalyzer.DestinationRule"),
    validation("schema.ValidationAnalyzer.EnvoyFilter"),
    validation("schema.ValidationAnalyzer.Gateway"),
    validation("schema.ValidationAnalyzer.PeerAuthentication"),
    validation("schema.ValidationAnalyzer.ProxyConfig"),
    validation("schema.ValidationAnalyzer.RequestAuthentication"),
    validation("schema.ValidationAnalyzer.ServiceEntry"),
    validation("schema.ValidationAnalyzer.Sidecar"),
    validation("schema.ValidationAnalyzer.Telemetry"),
    validation("schema.ValidationAnalyzer.TrafficExtension"),
    validation("schema.ValidationAnalyzer.VirtualService"),
    validation("schema.ValidationAnalyzer.WasmPlugin"),
    validation("schema.ValidationAnalyzer.WorkloadEntry"),
    validation("schema.ValidationAnalyzer.WorkloadGroup"),
    each(
        "service.PortNameAnalyzer",
        "Names of Service ports that do not say the protocol",
        crate::services::port_names,
    ),
    each(
        "serviceentry.Analyzer",
        "ServiceEntries for TCP without addresses",
        crate::service_entries::addresses,
    ),
    each(
        "serviceentry.ConflictingServiceEntryProtocolAnalyzer",
        "ServiceEntries with different protocols for one port",
        crate::service_entries::protocols,
    ),
    all(
        "services.MultiClusterServiceAnalyzer",
        "Services that differ between clusters",
        crate::clusters::services,
    ),
    each(
        "sidecar.SelectorAnalyzer",
        "Sidecars that select no pods, or the same ones",
        crate::selectors::sidecars,
    ),
    each(
        "telemetry.LightstepAnalyzer",
        "Telemetries with a lightstep provider",
        crate::telemetry::lightstep,
    ),
    each(
        "telemetry.ProviderAnalyzer",
        "Telemetries without providers",
        crate::telemetry::providers,
    ),
    each(
        "telemetry.SelectorAnalyzer",
        "Telemetries that select no pods, or the same ones",
        crate::selectors::telemetries,
    ),
    each(
        "virtualservice.ConflictingMeshGatewayHostsAnalyzer",
        "VirtualServices that define the same host",
        crate::route_hosts::conflicting_hosts,
    ),
    each(
        "virtualservice.DestinationHostAnalyzer",
        "Destinations whose host or port does not exist",
        crate::route_hosts::destinations,
    ),
    each(
        "virtualservice.DestinationRuleAnalyzer",
        "Subsets that no DestinationRule defines",
        crate::route_hosts::subsets,
    ),
    each(
        "virtualservice.GatewayAnalyzer",
        "Gateways that do not exist or do not have the host",
        crate::route_gateways::gateways,
    ),
    each(
        "virtualservice.IngressSubsetAnalyzer",
        "Subsets that have no effect behind a gateway",
        crate::route_hosts::subsets_behind_gateways,
    ),
    each(
        "virtualservice.JWTClaimRouteAnalyzer",
        "Routes by claims that nobody checks",
        crate::authentication::claim_routes,
    ),
    each(
        "webhook.Analyzer",
        "Injectors that overlap or lead nowhere",
        crate::webhooks::injectors,
    ),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_in_order() {
        assert!(super::ALL.is_sorted_by(|a, b| a.name < b.name));
    }
}
