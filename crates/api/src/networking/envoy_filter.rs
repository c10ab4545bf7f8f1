//! EnvoyFilter (`networking/v1alpha3/envoy_filter.proto`).

use crate::message::{Struct, choice, message};
use crate::rules;
use crate::selector::{TargetRef, WorkloadSelector};
use std::collections::BTreeMap;

message! {
    pub struct EnvoyFilter {
        workload_selector: Option<WorkloadSelector>,
        target_refs: Vec<TargetRef> [MaxItems(16)],
        config_patches: Vec<EnvoyConfigObjectPatch>,
        /// Lower first; may be negative.
        priority: i32,
    }
    rule Cel(&rules::WORKLOAD_SELECTOR_OR_TARGET_REFS);

    pub struct EnvoyConfigObjectPatch {
        apply_to: ApplyTo,
        match_: Option<EnvoyConfigObjectMatch>,
        patch: Option<Patch>,
    }

    pub struct EnvoyConfigObjectMatch {
        context: PatchContext,
        proxy: Option<ProxyMatch>,
        listener: Option<ListenerMatch>,
        route_configuration: Option<RouteConfigurationMatch>,
        cluster: Option<ClusterMatch>,
        waypoint: Option<WaypointMatch>,
    }
    oneof [listener, route_configuration, cluster, waypoint]
    rule Cel(&rules::WAYPOINT_MATCH);

    pub struct ProxyMatch {
        /// A regular expression over the proxy's Istio version.
        proxy_version: String,
        metadata: BTreeMap<String, String>,
    }

    pub struct ClusterMatch {
        port_number: u32,
        service: String,
        subset: String,
        name: String,
    }

    pub struct RouteConfigurationMatch {
        port_number: u32,
        port_name: String,
        gateway: String,
        vhost: Option<VirtualHostMatch>,
        name: String,
    }

    pub struct VirtualHostMatch {
        name: String,
        domain_name: String,
        route: Option<RouteMatch>,
    }

    pub struct RouteMatch {
        name: String,
        action: RouteAction,
    }

    pub struct ListenerMatch {
        port_number: u32,
        port_name: String,
        filter_chain: Option<FilterChainMatch>,
        listener_filter: String,
        name: String,
    }

    pub struct FilterChainMatch {
        name: String,
        sni: String,
        transport_protocol: String,
        application_protocols: String,
        filter: Option<FilterMatch>,
        destination_port: u32,
    }

    pub struct FilterMatch {
        name: String,
        sub_filter: Option<SubFilterMatch>,
    }

    pub struct SubFilterMatch {
        name: String,
    }

    pub struct WaypointMatch {
        port_number: u32 [Cel(&rules::PORT)],
        filter: Option<FilterMatch>,
        route: Option<WaypointRouteMatch>,
    }

    pub struct WaypointRouteMatch {
        name: String,
    }

    pub struct Patch {
        operation: PatchOperation,
        /// Envoy's protobuf JSON; an empty object is a value too.
        value: Option<Struct>,
        filter_class: FilterClass,
    }
}

choice! {
    pub enum ApplyTo {
        Invalid = "INVALID",
        Listener = "LISTENER",
        FilterChain = "FILTER_CHAIN",
        NetworkFilter = "NETWORK_FILTER",
        HttpFilter = "HTTP_FILTER",
        RouteConfiguration = "ROUTE_CONFIGURATION",
        VirtualHost = "VIRTUAL_HOST",
        HttpRoute = "HTTP_ROUTE",
        Cluster = "CLUSTER",
        ExtensionConfig = "EXTENSION_CONFIG",
        Bootstrap = "BOOTSTRAP",
        ListenerFilter = "LISTENER_FILTER",
    }

    pub enum PatchContext {
        Any = "ANY",
        SidecarInbound = "SIDECAR_INBOUND",
        SidecarOutbound = "SIDECAR_OUTBOUND",
        Gateway = "GATEWAY",
        Waypoint = "WAYPOINT",
    }

    pub enum PatchOperation {
        Invalid = "INVALID",
        Merge = "MERGE",
        Add = "ADD",
        Remove = "REMOVE",
        InsertBefore = "INSERT_BEFORE",
        InsertAfter = "INSERT_AFTER",
        InsertFirst = "INSERT_FIRST",
        Replace = "REPLACE",
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST",
    }

    pub enum RouteAction {
        Any = "ANY",
        Route = "ROUTE",
        Redirect = "REDIRECT",
        DirectResponse = "DIRECT_RESPONSE",
    }

    pub enum FilterClass {
        Unspecified = "UNSPECIFIED",
        Authn = "AUTHN",
        Authz = "AUTHZ",
        Stats = "STATS",
    }
}
