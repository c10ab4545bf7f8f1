//! `gateway.networking.k8s.io`: gateways and routes. Types are shared between the routes where their fields are.

use crate::message::message;
use crate::meta::Labels;
use crate::selector::KubeSelector;
use crate::status::Condition;
use std::collections::BTreeMap;

/// Option of a listener's TLS (Istio's): ciphers, comma-separated.
pub const CIPHERS: &str = "gateway.istio.io/tls-cipher-suites";

message! {
    pub struct GatewayClassSpec {
        controller_name: String [Required, MinLength(1), MaxLength(253)],
        parameters_ref: Option<ParametersReference>,
        description: Option<String> [MaxLength(64)],
    }

    pub struct ParametersReference {
        group: String,
        kind: String,
        name: String,
        namespace: Option<String>,
    }

    pub struct GatewayClassStatus (slim) {
        conditions: Vec<Condition>,
    }

    pub struct GatewaySpec {
        gateway_class_name: String [Required, MinLength(1), MaxLength(253)],
        listeners: Vec<Listener> [Required, MinItems(1), MaxItems(64), MapKeys(&["name"])],
        addresses: Vec<GatewayAddress> [MaxItems(16)],
        infrastructure: Option<GatewayInfrastructure>,
        allowed_listeners: Option<AllowedListeners>,
        tls: Option<GatewayTls>,
        backend_tls as "backendTLS": Option<GatewayBackendTls>,
        default_scope: Option<String>,
    }

    pub struct Listener {
        name: String [Required, MinLength(1), MaxLength(253)],
        hostname: Option<String> [MinLength(1), MaxLength(253)],
        port: i32 [Required, Min(1), Max(65535)],
        /// HTTP, HTTPS, TLS, TCP or UDP.
        protocol: String [Required, MinLength(1), MaxLength(255)],
        tls: Option<ListenerTls>,
        allowed_routes: Option<AllowedRoutes>,
    }

    pub struct ListenerTls {
        /// `Terminate` (if absent) or `Passthrough`.
        mode: Option<String>,
        certificate_refs: Vec<SecretObjectReference> [MaxItems(64)],
        options: BTreeMap<String, String> [MaxProperties(16)],
    }

    pub struct FrontendTlsValidation {
        ca_certificate_refs as "caCertificateRefs": Vec<ParametersReference> [MaxItems(8)],
        /// `AllowValidOnly` (if absent) or `AllowInsecureFallback`.
        mode: Option<String>,
    }

    pub struct SecretObjectReference {
        group: Option<String>,
        kind: Option<String>,
        name: String [Required],
        namespace: Option<String>,
    }

    pub struct AllowedRoutes {
        namespaces: Option<RouteNamespaces>,
        kinds: Vec<RouteGroupKind> [MaxItems(8)],
    }

    pub struct RouteNamespaces {
        /// `All`, `Selector`, `Same` (if absent) or `None`.
        from: Option<String>,
        selector: Option<KubeSelector>,
    }

    pub struct RouteGroupKind {
        group: Option<String>,
        kind: String [Required],
    }

    pub struct GatewayAddress {
        /// `IPAddress` (if absent) or `Hostname`.
        type_: Option<String>,
        value: String,
    }

    pub struct GatewayInfrastructure {
        labels: Labels [MaxProperties(8)],
        annotations: Labels [MaxProperties(8)],
        parameters_ref: Option<ParametersReference>,
    }

    pub struct AllowedListeners {
        namespaces: Option<RouteNamespaces>,
    }

    pub struct GatewayTls {
        backend: Option<GatewayBackendTls>,
        frontend: Option<FrontendTls>,
    }

    pub struct FrontendTls {
        default: FrontendTlsConfig [Required],
        per_port: Vec<FrontendTlsPort> [MaxItems(64), MapKeys(&["port"])],
    }

    pub struct FrontendTlsPort {
        port: i32 [Required, Min(1), Max(65535)],
        tls: FrontendTlsConfig [Required],
    }

    pub struct FrontendTlsConfig {
        validation: Option<FrontendTlsValidation>,
    }

    pub struct GatewayBackendTls (slim) {
        client_certificate_ref: Option<SecretObjectReference>,
    }

    pub struct GatewayStatus (slim) {
        addresses: Vec<GatewayAddress>,
        conditions: Vec<Condition>,
        listeners: Vec<ListenerStatus>,
        attached_listener_sets: Option<i32>,
    }

    pub struct ListenerSetSpec {
        parent_ref: ParentGatewayReference [Required],
        listeners: Vec<ListenerEntry> [Required, MinItems(1), MaxItems(64), MapKeys(&["name"])],
    }

    pub struct ParentGatewayReference {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String [Required, MinLength(1), MaxLength(253)],
    }

    pub struct ListenerEntry {
        name: String [Required, MinLength(1), MaxLength(253)],
        hostname: Option<String> [MinLength(1), MaxLength(253)],
        /// 80 or 443 by protocol, if absent.
        port: Option<i32> [Min(0), Max(65535)],
        /// HTTP, HTTPS, TLS, TCP or UDP.
        protocol: String [Required, MinLength(1), MaxLength(255)],
        tls: Option<ListenerTls>,
        allowed_routes: Option<AllowedRoutes>,
    }

    pub struct ListenerSetStatus (slim) {
        conditions: Vec<Condition>,
        listeners: Vec<ListenerStatus>,
    }

    pub struct ListenerStatus (slim) {
        name: String,
        supported_kinds: Vec<RouteGroupKind>,
        attached_routes: i32,
        conditions: Vec<Condition>,
    }

    pub struct ParentReference {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String [Required],
        section_name: Option<String>,
        port: Option<i32> [Min(1), Max(65535)],
    }

    pub struct RouteStatus (slim) {
        parents: Vec<RouteParentStatus>,
    }

    pub struct RouteParentStatus (slim) {
        parent_ref: ParentReference,
        controller_name: String,
        conditions: Vec<Condition>,
    }

    pub struct BackendRef {
        group: Option<String>,
        kind: Option<String>,
        name: String [Required],
        namespace: Option<String>,
        port: Option<i32> [Min(1), Max(65535)],
        /// 1 if absent.
        weight: Option<i32> [Min(0), Max(1_000_000)],
    }

    pub struct HttpRouteSpec {
        parent_refs: Vec<ParentReference> [MaxItems(32)],
        hostnames: Vec<String> [MaxItems(16)],
        rules: Vec<HttpRouteRule> [MaxItems(16)],
        use_default_gateways: Option<String>,
    }

    pub struct HttpRouteRule {
        name: Option<String>,
        matches: Vec<HttpRouteMatch> [MaxItems(64)],
        filters: Vec<HttpRouteFilter> [MaxItems(16)],
        backend_refs: Vec<HttpBackendRef> [MaxItems(16)],
        timeouts: Option<HttpRouteTimeouts>,
        retry: Option<HttpRouteRetry>,
        session_persistence: Option<SessionPersistence>,
    }

    pub struct HttpRouteMatch {
        path: Option<HttpPathMatch>,
        headers: Vec<HttpValueMatch> [MaxItems(16), MapKeys(&["name"])],
        query_params: Vec<HttpValueMatch> [MaxItems(16), MapKeys(&["name"])],
        method: Option<String>,
    }

    pub struct HttpPathMatch {
        /// `Exact`, `PathPrefix` (if absent) or `RegularExpression`.
        type_: Option<String>,
        value: Option<String> [MaxLength(1024)],
    }

    /// A header or query parameter.
    pub struct HttpValueMatch {
        /// `Exact` (if absent) or `RegularExpression`.
        type_: Option<String>,
        name: String [Required],
        value: String [Required],
    }

    pub struct HttpRouteFilter {
        /// RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, CORS, ExtensionRef.
        type_: String [Required],
        request_header_modifier: Option<HttpHeaderFilter>,
        response_header_modifier: Option<HttpHeaderFilter>,
        request_mirror: Option<HttpRequestMirrorFilter>,
        request_redirect: Option<HttpRequestRedirectFilter>,
        url_rewrite: Option<HttpUrlRewriteFilter>,
        cors: Option<HttpCorsFilter>,
        external_auth: Option<serde_json::Value>,
        extension_ref: Option<LocalObjectReference>,
    }

    pub struct HttpHeaderFilter {
        set: Vec<HttpHeader> [MaxItems(16), MapKeys(&["name"])],
        add: Vec<HttpHeader> [MaxItems(16), MapKeys(&["name"])],
        remove: Vec<String> [MaxItems(16)],
    }

    pub struct HttpHeader {
        name: String [Required],
        value: String [Required],
    }

    pub struct HttpRequestMirrorFilter {
        backend_ref: BackendRef,
        percent: Option<i32> [Min(0), Max(100)],
        fraction: Option<Fraction>,
    }

    pub struct Fraction {
        numerator: i32 [Min(0)],
        /// 100 if absent.
        denominator: Option<i32> [Min(1)],
    }

    pub struct HttpRequestRedirectFilter {
        scheme: Option<String>,
        hostname: Option<String>,
        path: Option<HttpPathModifier>,
        port: Option<i32> [Min(1), Max(65535)],
        status_code: Option<i32>,
    }

    pub struct HttpUrlRewriteFilter {
        hostname: Option<String>,
        path: Option<HttpPathModifier>,
    }

    pub struct HttpPathModifier {
        /// `ReplaceFullPath` or `ReplacePrefixMatch`.
        type_: String [Required],
        replace_full_path: Option<String>,
        replace_prefix_match: Option<String>,
    }

    pub struct HttpCorsFilter {
        allow_origins: Vec<String> [MaxItems(64)],
        allow_credentials: Option<bool>,
        allow_methods: Vec<String> [MaxItems(9)],
        allow_headers: Vec<String> [MaxItems(64)],
        expose_headers: Vec<String> [MaxItems(64)],
        /// Seconds; 5 if absent.
        max_age: Option<i32> [Min(1)],
    }

    pub struct LocalObjectReference {
        group: String,
        kind: String [Required],
        name: String [Required],
    }

    pub struct HttpBackendRef {
        group: Option<String>,
        kind: Option<String>,
        name: String [Required],
        namespace: Option<String>,
        port: Option<i32> [Min(1), Max(65535)],
        /// 1 if absent.
        weight: Option<i32> [Min(0), Max(1_000_000)],
        filters: Vec<HttpRouteFilter> [MaxItems(16)],
    }

    pub struct HttpRouteTimeouts {
        /// A Gateway API duration: `1h30m`, `500ms`; zero switches it off.
        request: Option<String>,
        backend_request: Option<String>,
    }

    pub struct HttpRouteRetry {
        codes: Vec<i32>,
        attempts: Option<i32>,
        backoff: Option<String>,
    }

    pub struct SessionPersistence {
        session_name: Option<String>,
        absolute_timeout: Option<String>,
        idle_timeout: Option<String>,
        /// `Cookie` (if absent) or `Header`.
        type_: Option<String>,
        cookie_config: Option<CookieConfig>,
    }

    pub struct CookieConfig {
        lifetime_type: Option<String>,
    }

    pub struct GrpcRouteSpec {
        parent_refs: Vec<ParentReference> [MaxItems(32)],
        hostnames: Vec<String> [MaxItems(16)],
        rules: Vec<GrpcRouteRule> [MaxItems(16)],
        use_default_gateways: Option<String>,
    }

    pub struct GrpcRouteRule {
        name: Option<String>,
        matches: Vec<GrpcRouteMatch> [MaxItems(64)],
        filters: Vec<HttpRouteFilter> [MaxItems(16)],
        backend_refs: Vec<HttpBackendRef> [MaxItems(16)],
        session_persistence: Option<SessionPersistence>,
    }

    pub struct GrpcRouteMatch {
        method: Option<GrpcMethodMatch>,
        headers: Vec<HttpValueMatch> [MaxItems(16), MapKeys(&["name"])],
    }

    pub struct GrpcMethodMatch {
        /// `Exact` (if absent) or `RegularExpression`.
        type_: Option<String>,
        service: Option<String>,
        method: Option<String>,
    }

    pub struct TlsRouteSpec {
        parent_refs: Vec<ParentReference> [MaxItems(32)],
        hostnames: Vec<String> [MaxItems(16)],
        rules: Vec<L4RouteRule> [Required, MinItems(1), MaxItems(16)],
        use_default_gateways: Option<String>,
    }

    pub struct TcpRouteSpec {
        parent_refs: Vec<ParentReference> [MaxItems(32)],
        rules: Vec<L4RouteRule> [Required, MinItems(1), MaxItems(16)],
        use_default_gateways: Option<String>,
    }

    pub struct L4RouteRule {
        name: Option<String>,
        backend_refs: Vec<BackendRef> [MaxItems(16)],
    }

    pub struct ReferenceGrantSpec {
        from: Vec<ReferenceGrantFrom> [Required, MinItems(1), MaxItems(16)],
        to: Vec<ReferenceGrantTo> [Required, MinItems(1), MaxItems(16)],
    }

    pub struct ReferenceGrantFrom {
        group: String,
        kind: String [Required],
        namespace: String [Required],
    }

    pub struct ReferenceGrantTo {
        group: String,
        kind: String [Required],
        /// All objects of the kind if absent.
        name: Option<String>,
    }

    pub struct BackendTlsPolicySpec {
        target_refs: Vec<PolicyTargetReference> [Required, MinItems(1), MaxItems(16)],
        validation: BackendTlsPolicyValidation [Required],
        options: BTreeMap<String, String> [MaxProperties(16)],
    }

    pub struct PolicyTargetReference {
        group: String,
        kind: String [Required],
        name: String [Required],
        section_name: Option<String>,
    }

    pub struct BackendTlsPolicyValidation {
        ca_certificate_refs: Vec<LocalObjectReference> [MaxItems(8)],
        /// `System`.
        well_known_ca_certificates as "wellKnownCACertificates": Option<String>,
        hostname: String [Required],
        subject_alt_names: Vec<BackendSubjectAltName> [MaxItems(5)],
    }

    pub struct BackendSubjectAltName {
        /// `Hostname` or `URI`.
        type_: String [Required],
        hostname: Option<String>,
        uri: Option<String>,
    }

    pub struct PolicyStatus (slim) {
        ancestors: Vec<PolicyAncestorStatus>,
    }

    pub struct PolicyAncestorStatus (slim) {
        ancestor_ref: ParentReference,
        controller_name: String,
        conditions: Vec<Condition>,
    }
}
