//! The codes of findings, with their severities (Istio `pkg/config/analysis/msg/messages.yaml`); `HWS` codes are our own.

use hawser_api::validate::Severity;

/// What kind of mistake a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// As in `IST0101`.
    pub id: &'static str,
    pub severity: Severity,
}

macro_rules! codes {
    ($($name:ident = $id:literal $severity:ident;)*) => {
        $(pub const $name: Code = Code { id: $id, severity: Severity::$severity };)*
    };
}

codes! {
    DEPRECATED = "IST0002" Warning;
    NOT_FOUND = "IST0101" Error;
    NAMESPACE_NOT_INJECTED = "IST0102" Info;
    POD_MISSING_PROXY = "IST0103" Warning;
    MISPLACED_ANNOTATION = "IST0107" Warning;
    UNKNOWN_ANNOTATION = "IST0108" Warning;
    CONFLICTING_HOSTS = "IST0109" Error;
    CONFLICTING_SIDECARS = "IST0110" Error;
    SEVERAL_DEFAULT_SIDECARS = "IST0111" Error;
    PORT_REQUIRED = "IST0112" Error;
    PROTOCOLS_OF_ONE_PORT = "IST0116" Warning;
    PORT_NAME = "IST0118" Info;
    SEVERAL_INJECTION_LABELS = "IST0123" Warning;
    INVALID_ANNOTATION = "IST0125" Warning;
    UNKNOWN_REGISTRY = "IST0126" Error;
    NO_WORKLOADS = "IST0127" Warning;
    NO_VERIFICATION = "IST0128" Warning;
    NO_VERIFICATION_ON_PORT = "IST0129" Warning;
    HOST_NOT_IN_GATEWAY = "IST0132" Warning;
    ADDRESSES_REQUIRED = "IST0134" Warning;
    DEPRECATED_ANNOTATION = "IST0135" Info;
    PORTS_OF_ONE_TARGET = "IST0137" Warning;
    DUPLICATE_CERTIFICATE = "IST0138" Warning;
    INVALID_WEBHOOK = "IST0139" Error;
    SUBSET_WITHOUT_EFFECT = "IST0140" Warning;
    PROXY_UID = "IST0144" Warning;
    CONFLICTING_GATEWAYS = "IST0145" Error;
    IMAGE_AUTO_DEPLOYMENT = "IST0146" Warning;
    IMAGE_AUTO_POD = "IST0147" Error;
    INJECTED_BY_DEFAULT = "IST0148" Info;
    CLAIM_WITHOUT_AUTHENTICATION = "IST0149" Error;
    EXTERNAL_NAME_PORT = "IST0150" Warning;
    RELATIVE_PATCH = "IST0151" Warning;
    REPLACE_INEFFECTIVE = "IST0152" Error;
    ADD_INEFFECTIVE = "IST0153" Error;
    REMOVE_INEFFECTIVE = "IST0154" Error;
    RELATIVE_PATCH_WITH_VERSION = "IST0155" Warning;
    TELEMETRY_WITHOUT_PROVIDER = "IST0157" Warning;
    PROXY_IMAGES_DIFFER = "IST0158" Warning;
    CONFLICTING_TELEMETRIES = "IST0159" Error;
    SEVERAL_DEFAULT_TELEMETRIES = "IST0160" Error;
    INVALID_CREDENTIAL = "IST0161" Error;
    PORT_NOT_ON_SERVICE = "IST0162" Warning;
    INVALID_CONTROL_PLANE = "IST0163" Warning;
    CONTROL_PLANE_BY_ADDRESS = "IST0164" Info;
    INTERNAL_GATEWAY = "IST0165" Warning;
    SELECTOR_WITHOUT_EFFECT = "IST0166" Warning;
    POLICY_WITHOUT_EFFECT = "IST0167" Warning;
    SERVICES_DIFFER = "IST0170" Warning;
    NEGATIVE_CONDITION = "IST0171" Warning;
    SUBSET_WITHOUT_PODS = "IST0173" Error;
    UNKNOWN_RULE_HOST = "IST0174" Warning;
    KEYS_FROM_ANYWHERE = "IST0175" Warning;
    OLD_GATEWAY_API = "IST0176" Warning;
    CONFLICTING_PROTOCOLS = "IST0177" Warning;

    UNREADABLE = "HWS0001" Error;
    DUPLICATE_OBJECT = "HWS0002" Warning;
    DUPLICATE_KEY = "HWS0003" Warning;
    SUBSET_IN_SOME_CLUSTERS = "HWS0201" Info;
    RULES_DIFFER = "HWS0202" Warning;
    NOBODY_SERVES = "HWS0203" Warning;
    NETWORK_WITHOUT_GATEWAY = "HWS0204" Error;
    SUBSET_OF_ANOTHER = "HWS0205" Warning;
}
