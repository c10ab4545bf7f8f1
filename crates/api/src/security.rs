//! `security.istio.io`: PeerAuthentication, RequestAuthentication, AuthorizationPolicy.

use crate::message::{choice, message};
use crate::rules;
use crate::scalar::Duration;
use crate::selector::{LabelSelector, TargetRef};
use std::collections::BTreeMap;

message! {
    pub struct PeerAuthentication {
        selector: Option<LabelSelector>,
        mtls: Option<MutualTls>,
        /// By the port of the workload, not of the service.
        port_level_mtls: BTreeMap<u32, MutualTls> [MinProperties(1), Cel(&rules::PORT_KEYS)],
    }
    rule Cel(&rules::PORT_LEVEL_NEEDS_SELECTOR);

    pub struct MutualTls {
        mode: MutualTlsMode,
    }

    pub struct RequestAuthentication {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef> [MaxItems(16)],
        jwt_rules: Vec<JwtRule> [MaxItems(4096)],
    }
    rule Cel(&rules::SELECTOR_OR_TARGET_REFS);

    pub struct JwtRule {
        issuer: String [MinLength(1)],
        audiences: Vec<String> [Each(&[MinLength(1)])],
        jwks_uri: String [MinLength(1), MaxLength(2048), Cel(&rules::HTTP_URL), Alias("jwks_uri")],
        jwks: String,
        from_headers: Vec<JwtHeader>,
        from_params: Vec<String> [Each(&[MinLength(1)])],
        from_cookies: Vec<String> [Each(&[MinLength(1)])],
        output_payload_to_header: String,
        forward_original_token: bool,
        output_claim_to_headers: Vec<ClaimToHeader>,
        /// For fetching the keys; 5 s if absent.
        timeout: Option<Duration>,
        space_delimited_claims: Vec<String> [MaxItems(64), Each(&[MinLength(1)])],
        presence: JwtPresence,
    }
    rule Cel(&rules::JWKS_ONCE);

    pub struct JwtHeader {
        name: String [Required, MinLength(1)],
        prefix: String,
    }

    pub struct ClaimToHeader {
        header: String [Required, MinLength(1), Pattern("^[-_A-Za-z0-9]+$")],
        claim: String [Required, MinLength(1)],
    }

    pub struct AuthorizationPolicy {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef> [MaxItems(16)],
        rules: Vec<Rule> [MaxItems(512)],
        action: Action,
        provider: Option<ExtensionProvider>,
    }
    rule Cel(&rules::SELECTOR_OR_TARGET_REFS);

    pub struct ExtensionProvider {
        name: String,
    }

    /// Holds if one of `from`, one of `to` and all of `when` hold; an empty list holds always.
    pub struct Rule {
        from: Vec<From> [MaxItems(512)],
        to: Vec<To>,
        when: Vec<Condition>,
    }

    pub struct From {
        source: Option<Source>,
    }

    pub struct Source {
        principals: Vec<String>,
        not_principals: Vec<String>,
        request_principals: Vec<String>,
        not_request_principals: Vec<String>,
        namespaces: Vec<String>,
        not_namespaces: Vec<String>,
        service_accounts: Vec<String> [MaxItems(16), Each(&[MaxLength(320)])],
        not_service_accounts: Vec<String> [MaxItems(16), Each(&[MaxLength(320)])],
        ip_blocks: Vec<String>,
        not_ip_blocks: Vec<String>,
        remote_ip_blocks: Vec<String>,
        not_remote_ip_blocks: Vec<String>,
        trust_domains: Vec<String>,
        not_trust_domains: Vec<String>,
    }
    rule Cel(&rules::ACCOUNTS_OR_PRINCIPALS);

    pub struct To {
        operation: Option<Operation>,
    }

    pub struct Operation {
        hosts: Vec<String>,
        not_hosts: Vec<String>,
        ports: Vec<String>,
        not_ports: Vec<String>,
        methods: Vec<String>,
        not_methods: Vec<String>,
        paths: Vec<String>,
        not_paths: Vec<String>,
    }

    pub struct Condition {
        key: String [Required],
        values: Vec<String>,
        not_values: Vec<String>,
    }
}

choice! {
    pub enum MutualTlsMode {
        Unset = "UNSET",
        Disable = "DISABLE",
        Permissive = "PERMISSIVE",
        Strict = "STRICT",
    }

    pub enum Action {
        Allow = "ALLOW",
        Deny = "DENY",
        Audit = "AUDIT",
        Custom = "CUSTOM",
    }

    /// Whether a request must carry a token of the rule.
    pub enum JwtPresence {
        Unspecified = "UNSPECIFIED",
        Optional = "OPTIONAL",
        Required = "REQUIRED",
    }
}
