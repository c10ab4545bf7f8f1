//! The rules of CRDs that types alone do not say: CEL expressions with their meaning in Rust, and patterns.

use crate::scalar::Duration;
use crate::shape::Cel;
use crate::uri;
use serde_json::Value;

/// An API group, or nothing.
pub const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
pub const KIND: &str = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_object()
        .into_iter()
        .flat_map(|m| m.keys().map(String::as_str))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The text of a member; empty if absent.
fn member<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).map_or("", text)
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|v| !v.is_null())
}

pub static NO_WILDCARD_VALUE: Cel = Cel {
    rule: "!self.contains(\"*\")",
    message: "wildcard not allowed in label value match",
    holds: |v| !text(v).contains('*'),
};

pub static NO_WILDCARD_KEY: Cel = Cel {
    rule: "self.all(key, !key.contains(\"*\"))",
    message: "wildcard not allowed in label key match",
    holds: |v| keys(v).all(|k| !k.contains('*')),
};

pub static KEY_NOT_EMPTY: Cel = Cel {
    rule: "self.all(key, key.size() != 0)",
    message: "key must not be empty",
    holds: |v| keys(v).all(|k| !k.is_empty()),
};

pub static NO_CROSS_NAMESPACE: Cel = Cel {
    rule: "self.size() == 0",
    message: "cross namespace referencing is not currently supported",
    holds: |v| text(v).is_empty(),
};

pub static SELECTOR_OR_TARGET_REFS: Cel = Cel {
    rule: "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    message: "only one of targetRefs or selector can be set",
    holds: |v| {
        ["selector", "targetRef", "targetRefs"]
            .iter()
            .filter(|k| has(v, k))
            .count()
            <= 1
    },
};

pub static LABELS_OR_TARGET_REFS: Cel = Cel {
    rule: "(has(self.selector) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    message: "only one of targetRefs or selector can be set",
    holds: |v| !(has(v, "selector") && has(v, "targetRefs")),
};

pub static MILLISECOND: Cel = Cel {
    rule: "duration(self) >= duration('1ms')",
    message: "must be a valid duration greater than 1ms",
    holds: |v| Duration::parse(text(v)).is_ok_and(|d| d.nanos() >= 1_000_000),
};

pub static WORKLOAD_SELECTOR_OR_TARGET_REFS: Cel = Cel {
    rule: "(has(self.workloadSelector) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    message: "only one of targetRefs or workloadSelector can be set",
    holds: |v| !(has(v, "workloadSelector") && has(v, "targetRefs")),
};

pub static TAG_VALUE_FOR_UPSERT: Cel = Cel {
    rule: "((has(self.operation) ? self.operation : \"\") == \"UPSERT\") ? (self.value != \"\") : true",
    message: "value must be set when operation is UPSERT",
    holds: |v| {
        v.get("operation").map(text) != Some("UPSERT")
            || v.get("value").is_some_and(|v| !text(v).is_empty())
    },
};

pub static NO_TAG_VALUE_FOR_REMOVE: Cel = Cel {
    rule: "((has(self.operation) ? self.operation : \"\") == \"REMOVE\") ? !has(self.value) : true",
    message: "value must not be set when operation is REMOVE",
    holds: |v| v.get("operation").map(text) != Some("REMOVE") || !has(v, "value"),
};

pub static ENV_VALUE_INLINE: Cel = Cel {
    rule: "(has(self.valueFrom) ? self.valueFrom : \"\") != \"HOST\" || !has(self.value)",
    message: "value may only be set when valueFrom is INLINE",
    holds: |v| v.get("valueFrom").map(text) != Some("HOST") || !has(v, "value"),
};

pub static WASM_OR_LUA: Cel = Cel {
    rule: "has(self.wasm) != has(self.lua)",
    message: "exactly one of wasm or lua must be set",
    holds: |v| has(v, "wasm") != has(v, "lua"),
};

pub static WASM_URL: Cel = Cel {
    rule: "isURL(self) ? (url(self).getScheme() in [\"\", \"http\", \"https\", \"oci\", \"file\"]) : (isURL(\"http://\" + self) && \
           url(\"http://\" + self).getScheme() in [\"\", \"http\", \"https\", \"oci\", \"file\"])",
    message: "url must have schema one of [http, https, file, oci]",
    holds: |v| match uri::parse(text(v)) {
        Ok(uri) => ["", "http", "https", "oci", "file"].contains(&uri.scheme.as_str()),
        Err(_) => uri::parse(&format!("http://{}", text(v))).is_ok(),
    },
};

pub static NO_WILDCARD_SELECTOR: Cel = Cel {
    rule: "!self.contains(\"*\")",
    message: "wildcard is not supported in selector",
    holds: |v| !text(v).contains('*'),
};

pub static PORT: Cel = Cel {
    rule: "0 < self && self <= 65535",
    message: "port must be between 1-65535",
    // 80.0 is 80.
    holds: |v| {
        v.as_f64()
            .is_some_and(|n| n.fract() == 0.0 && (1.0..=65535.0).contains(&n))
    },
};

pub static PORT_KEYS: Cel = Cel {
    rule: "self.all(key, 0 < int(key) && int(key) <= 65535)",
    message: "port must be between 1-65535",
    holds: |v| keys(v).all(|k| k.parse::<i64>().is_ok_and(|n| (1..=65535).contains(&n))),
};

pub static PORT_NAMES: Cel = Cel {
    rule: "self.all(key, size(key) < 63 && key.matches(\"^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$\"))",
    message: "port name must be valid",
    holds: |v| {
        keys(v).all(|k| {
            k.len() < 63
                && !k.is_empty()
                && k.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !k.starts_with('-')
                && !k.ends_with('-')
        })
    },
};

pub static PORT_NUMBERS_ONCE: Cel = Cel {
    rule: "self.all(l1, self.exists_one(l2, l1.number == l2.number))",
    message: "port number cannot be duplicated",
    holds: |v| {
        let mut numbers: Vec<_> = items(v).filter_map(|p| p.get("number")?.as_f64()).collect();
        let all = numbers.len();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        numbers.len() == all
    },
};

pub static UDS_ABSOLUTE: Cel = Cel {
    rule: "self.startsWith(\"unix://\") ? (self.substring(7, 8) == \"/\" || self.substring(7, 8) == \"@\") : true",
    message: "UDS must be an absolute path or abstract socket",
    holds: |v| {
        text(v)
            .strip_prefix("unix://")
            .is_none_or(|path| path.starts_with(['/', '@']))
    },
};

pub static UDS_NOT_DIR: Cel = Cel {
    rule: "self.startsWith(\"unix://\") ? !self.endsWith(\"/\") : true",
    message: "UDS may not be a dir",
    holds: |v| {
        text(v)
            .strip_prefix("unix://")
            .is_none_or(|path| !path.ends_with('/'))
    },
};

pub static UDS_WITHOUT_PORTS: Cel = Cel {
    rule: "(has(self.address) ? self.address : \"\").startsWith(\"unix://\") ? !has(self.ports) : true",
    message: "UDS may not include ports",
    holds: |v| !(member(v, "address").starts_with("unix://") && has(v, "ports")),
};

pub static ADDRESS_OR_NETWORK: Cel = Cel {
    rule: "has(self.address) || has(self.network)",
    message: "Address is required",
    holds: |v| has(v, "address") || has(v, "network"),
};

pub static HOST_NOT_WILDCARD: Cel = Cel {
    rule: "self != \"*\"",
    message: "hostname cannot be wildcard",
    holds: |v| text(v) != "*",
};

pub static SELECTOR_OR_ENDPOINTS: Cel = Cel {
    rule: "(has(self.workloadSelector) ? 1 : 0) + (has(self.endpoints) ? 1 : 0) <= 1",
    message: "only one of WorkloadSelector or Endpoints can be set",
    holds: |v| !(has(v, "workloadSelector") && has(v, "endpoints")),
};

pub static CIDR_ADDRESSES: Cel = Cel {
    rule: "!((has(self.addresses) ? self.addresses : []).exists(k, k.contains(\"/\")) && \
           !((has(self.resolution) ? self.resolution : \"NONE\") in [\"STATIC\", \"NONE\"]))",
    message: "CIDR addresses are allowed only for NONE/STATIC resolution types",
    holds: |v| {
        let cidr = v
            .get("addresses")
            .into_iter()
            .flat_map(items)
            .any(|a| text(a).contains('/'));
        !cidr || matches!(member(v, "resolution"), "" | "NONE" | "STATIC")
    },
};

pub static NONE_WITHOUT_ENDPOINTS: Cel = Cel {
    rule: "((has(self.resolution) ? self.resolution : \"NONE\") == \"NONE\") ? !has(self.endpoints) : true",
    message: "NONE mode cannot set endpoints",
    holds: |v| !(matches!(member(v, "resolution"), "" | "NONE") && has(v, "endpoints")),
};

pub static ROUND_ROBIN_ONE_ENDPOINT: Cel = Cel {
    rule: "((has(self.resolution) ? self.resolution : \"\") == \"DNS_ROUND_ROBIN\") ? \
           ((has(self.endpoints) ? self.endpoints : []).size() <= 1) : true",
    message: "DNS_ROUND_ROBIN mode cannot have multiple endpoints",
    holds: |v| {
        member(v, "resolution") != "DNS_ROUND_ROBIN"
            || v.get("endpoints").into_iter().flat_map(items).count() <= 1
    },
};

pub static PROBE_SCHEME: Cel = Cel {
    rule: "self in [\"\", \"HTTP\", \"HTTPS\"]",
    message: "scheme must be one of [HTTP, HTTPS]",
    holds: |v| ["", "HTTP", "HTTPS"].contains(&text(v)),
};

pub static NAMES_OR_CERTIFICATES: Cel = Cel {
    rule: "(has(self.tlsCertificates) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1",
    message: "only one of credentialNames or tlsCertificates can be set",
    holds: |v| !(has(v, "tlsCertificates") && has(v, "credentialNames")),
};

pub static NAMES_OR_FILES: Cel = Cel {
    rule: "(has(self.credentialNames) ? 1 : 0) + (has(self.tlsCertificates) ? 1 : 0) <= 1",
    message: "only one of credentialName or tlsCertificates can be set",
    holds: |v| !(has(v, "credentialNames") && has(v, "tlsCertificates")),
};

pub static NAME_OR_NAMES: Cel = Cel {
    rule: "(has(self.credentialName) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1",
    message: "only one of credentialName or credentialNames can be set",
    holds: |v| !(has(v, "credentialName") && has(v, "credentialNames")),
};

pub static WAYPOINT_MATCH: Cel = Cel {
    rule: "has(self.context) ? ((self.context == \"WAYPOINT\") ? has(self.waypoint) : !has(self.waypoint)) : !has(self.waypoint)",
    message: "only support waypointMatch when context is WAYPOINT",
    holds: |v| (member(v, "context") == "WAYPOINT") == has(v, "waypoint"),
};

pub static PORT_LEVEL_NEEDS_SELECTOR: Cel = Cel {
    rule: "has(self.portLevelMtls) ? (((has(self.selector) && has(self.selector.matchLabels)) ? \
           self.selector.matchLabels : {}).size() > 0) : true",
    message: "portLevelMtls requires selector",
    holds: |v| {
        !has(v, "portLevelMtls")
            || v.pointer("/selector/matchLabels")
                .is_some_and(|l| keys(l).next().is_some())
    },
};

pub static HTTP_URL: Cel = Cel {
    rule: "url(self).getScheme() in [\"http\", \"https\"]",
    message: "url must have scheme http:// or https://",
    holds: |v| {
        uri::parse(text(v)).is_ok_and(|uri| ["http", "https"].contains(&uri.scheme.as_str()))
    },
};

pub static JWKS_ONCE: Cel = Cel {
    rule: "(has(self.jwksUri) ? 1 : 0) + (has(self.jwks_uri) ? 1 : 0) + (has(self.jwks) ? 1 : 0) <= 1",
    message: "only one of jwks or jwksUri can be set",
    holds: |v| {
        ["jwksUri", "jwks_uri", "jwks"]
            .iter()
            .filter(|k| has(v, k))
            .count()
            <= 1
    },
};

pub static ACCOUNTS_OR_PRINCIPALS: Cel = Cel {
    rule: "(has(self.serviceAccounts) || has(self.notServiceAccounts)) ? (!has(self.principals) && \
           !has(self.notPrincipals) && !has(self.namespaces) && !has(self.notNamespaces)) : true",
    message: "Cannot set serviceAccounts with namespaces or principals",
    holds: |v| {
        let any = |names: &[&str]| names.iter().any(|k| has(v, k));
        !any(&["serviceAccounts", "notServiceAccounts"])
            || !any(&["principals", "notPrincipals", "namespaces", "notNamespaces"])
    },
};
