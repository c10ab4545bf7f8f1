//! VirtualService (`networking/v1alpha3/virtual_service.proto`).

use crate::message::{choice, message, one_of};
use crate::meta::Labels;
use crate::scalar::{Bytes, Duration};
use std::collections::BTreeMap;

message! {
    pub struct VirtualService {
        hosts: Vec<String>,
        /// Gateways by name or `namespace/name`; `mesh` means sidecars. Empty means `mesh`.
        gateways: Vec<String>,
        http: Vec<HttpRoute>,
        tls: Vec<TlsRoute>,
        tcp: Vec<TcpRoute>,
        export_to: Vec<String>,
    }

    /// `HTTPRoute`: the first whose match holds decides.
    pub struct HttpRoute {
        name: String,
        match_: Vec<HttpMatchRequest>,
        route: Vec<HttpRouteDestination>,
        redirect: Option<HttpRedirect>,
        direct_response: Option<HttpDirectResponse>,
        delegate: Option<Delegate>,
        rewrite: Option<HttpRewrite>,
        timeout: Option<Duration>,
        retries: Option<HttpRetry>,
        fault: Option<HttpFaultInjection>,
        mirror: Option<Destination>,
        mirrors: Vec<HttpMirrorPolicy>,
        /// Deprecated, in percent.
        mirror_percent: Option<u32> [Alias("mirror_percent")],
        mirror_percentage: Option<Percent>,
        cors_policy: Option<CorsPolicy>,
        headers: Option<Headers>,
    }

    pub struct TlsRoute {
        match_: Vec<TlsMatchAttributes> [Required],
        route: Vec<RouteDestination>,
    }

    pub struct TcpRoute {
        match_: Vec<L4MatchAttributes>,
        route: Vec<RouteDestination>,
    }

    /// A VirtualService whose routes take this one's place.
    pub struct Delegate {
        name: String,
        namespace: String,
    }

    pub struct Destination {
        host: String [Required],
        subset: String,
        port: Option<PortSelector>,
    }

    pub struct PortSelector {
        number: u32,
    }

    pub struct Headers {
        request: Option<HeaderOperations>,
        response: Option<HeaderOperations>,
    }

    pub struct HeaderOperations {
        set: BTreeMap<String, String>,
        add: BTreeMap<String, String>,
        remove: Vec<String>,
    }

    /// `HTTPMatchRequest`: all that is set must hold.
    pub struct HttpMatchRequest {
        name: String,
        uri: Option<StringMatch>,
        scheme: Option<StringMatch>,
        method: Option<StringMatch>,
        authority: Option<StringMatch>,
        headers: BTreeMap<String, StringMatch>,
        port: u32,
        source_labels: Labels,
        gateways: Vec<String>,
        query_params: BTreeMap<String, StringMatch>,
        ignore_uri_case: bool,
        without_headers: BTreeMap<String, StringMatch>,
        source_namespace: String,
        stat_prefix: String,
    }

    pub struct L4MatchAttributes {
        destination_subnets: Vec<String>,
        port: u32,
        source_subnet: String,
        source_labels: Labels,
        gateways: Vec<String>,
        source_namespace: String,
    }

    pub struct TlsMatchAttributes {
        sni_hosts: Vec<String> [Required],
        destination_subnets: Vec<String>,
        port: u32,
        source_labels: Labels,
        gateways: Vec<String>,
        source_namespace: String,
    }

    pub struct HttpRouteDestination {
        destination: Option<Destination> [Required],
        weight: i32,
        headers: Option<Headers>,
    }

    pub struct RouteDestination {
        destination: Option<Destination> [Required],
        weight: i32,
    }

    pub struct HttpRedirect {
        uri: String,
        authority: String,
        port: Option<u32>,
        derive_port: Option<RedirectPortSelection>,
        scheme: String,
        redirect_code: u32,
        /// Takes the place of the matched prefix; excludes `uri`.
        prefix_rewrite: String,
    }
    oneof [port, derive_port]

    pub struct HttpDirectResponse {
        status: u32 [Required],
        body: Option<HttpBody>,
    }

    pub struct HttpRewrite {
        uri: String,
        authority: String,
        uri_regex_rewrite: Option<RegexRewrite>,
    }

    pub struct RegexRewrite {
        match_: String,
        rewrite: String,
    }

    pub struct HttpRetry {
        attempts: i32,
        per_try_timeout: Option<Duration>,
        /// Envoy's conditions, comma separated.
        retry_on: String,
        retry_remote_localities: Option<bool>,
        retry_ignore_previous_hosts: Option<bool>,
        backoff: Option<Duration>,
    }

    pub struct CorsPolicy {
        /// Deprecated: exact origins.
        allow_origin: Vec<String>,
        allow_origins: Vec<StringMatch>,
        allow_methods: Vec<String>,
        allow_headers: Vec<String>,
        expose_headers: Vec<String>,
        max_age: Option<Duration>,
        allow_credentials: Option<bool>,
        unmatched_preflights: UnmatchedPreflights,
    }

    pub struct HttpFaultInjection {
        delay: Option<FaultDelay>,
        abort: Option<FaultAbort>,
    }

    pub struct FaultDelay {
        /// Deprecated, in percent.
        percent: i32,
        fixed_delay: Option<Duration>,
        exponential_delay: Option<Duration>,
        percentage: Option<Percent>,
    }
    oneof [fixed_delay, exponential_delay]

    pub struct FaultAbort {
        http_status: Option<i32>,
        grpc_status: Option<String>,
        http2_error: Option<String>,
        percentage: Option<Percent>,
    }
    oneof [http_status, grpc_status, http2_error]

    pub struct HttpMirrorPolicy {
        destination: Option<Destination> [Required],
        percentage: Option<Percent>,
    }

    /// From 0 to 100, in steps of 0.0001.
    pub struct Percent {
        value: f64,
    }
}

one_of! {
    /// How a string is compared; `Present` (nothing set) only asks that it be there.
    pub enum StringMatch {
        Present,
        Exact(String) = "exact",
        Prefix(String) = "prefix",
        /// RE2, of the whole value.
        Regex(String) = "regex",
    }

    pub enum HttpBody {
        Empty,
        String(String) = "string",
        Bytes(Bytes) = "bytes",
    }
}

choice! {
    pub enum RedirectPortSelection {
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        FromRequestPort = "FROM_REQUEST_PORT",
    }

    pub enum UnmatchedPreflights {
        Unspecified = "UNSPECIFIED",
        Forward = "FORWARD",
        Ignore = "IGNORE",
    }
}
