//! DestinationRule and the traffic policies that others share.

use super::{Check, names, policy};
use crate::networking::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, DestinationRule, H2UpgradePolicy,
    LoadBalancerSettings, LocalityLoadBalancerSetting, OutlierDetection, TrafficPolicy,
    TunnelSettings,
};
use std::collections::BTreeSet;

pub(super) fn check(c: &mut Check, rule: &DestinationRule) {
    c.require("host", names::wildcard_domain(&rule.host));
    if let Some(p) = &rule.traffic_policy {
        c.within("trafficPolicy", |c| traffic_policy(c, p));
    }
    let mut seen = BTreeSet::new();
    c.each("subsets", &rule.subsets, |c, subset| {
        if !seen.insert(subset.name.clone()) {
            c.error_at(
                "name",
                format!("subset \"{}\" is defined twice", subset.name),
                "rename or remove one",
            );
        }
        c.require("name", names::subset(&subset.name));
        policy::labels(c, "labels", &subset.labels);
        if let Some(p) = &subset.traffic_policy {
            c.within("trafficPolicy", |c| {
                c.unseen_by_istio(|c| traffic_policy(c, p))
            });
        }
    });
    policy::export_to(c, &rule.export_to, false, rule.workload_selector.is_some());
    // DestinationRules call the field workloadSelector, though its shape is that of selector.
    if let Some(selector) = &rule.workload_selector {
        c.within("workloadSelector", |c| {
            policy::label_selector(c, "matchLabels", &selector.match_labels);
            if selector.match_labels.is_empty() {
                c.warn(
                    "the selector has no labels, so it selects everything in the namespace",
                    "remove it, or add matchLabels",
                );
            }
        });
    }
}

fn traffic_policy(c: &mut Check, p: &TrafficPolicy) {
    let empty = p.load_balancer.is_none()
        && p.connection_pool.is_none()
        && p.outlier_detection.is_none()
        && p.tls.is_none()
        && p.port_level_settings.is_empty()
        && p.tunnel.is_none()
        && p.proxy_protocol.is_none()
        && p.retry_budget.is_none();
    if empty {
        c.error(
            "a traffic policy must have at least one field",
            "remove it, or fill it in",
        );
        return;
    }
    if p.tunnel.is_some() && p.proxy_protocol.is_some() {
        c.error(
            "tunnel and proxyProtocol exclude each other",
            "keep one of them",
        );
        return;
    }
    common(
        c,
        p.outlier_detection.as_ref(),
        p.connection_pool.as_ref(),
        p.load_balancer.as_ref(),
        p.tls.as_ref(),
    );
    c.each("portLevelSettings", &p.port_level_settings, |c, port| {
        if port.port.is_none() {
            c.error_at("port", "is required", "");
        }
        if port.load_balancer.is_none()
            && port.connection_pool.is_none()
            && port.outlier_detection.is_none()
            && port.tls.is_none()
        {
            c.error(
                "a port's policy must have at least one field besides the port",
                "remove it, or fill it in",
            );
        } else {
            c.unseen_by_istio(|c| {
                common(
                    c,
                    port.outlier_detection.as_ref(),
                    port.connection_pool.as_ref(),
                    port.load_balancer.as_ref(),
                    port.tls.as_ref(),
                );
            });
        }
    });
    if let Some(t) = &p.tunnel {
        c.within("tunnel", |c| tunnel(c, t));
    }
}

fn common(
    c: &mut Check,
    outlier: Option<&OutlierDetection>,
    pool: Option<&ConnectionPoolSettings>,
    lb: Option<&LoadBalancerSettings>,
    tls: Option<&ClientTlsSettings>,
) {
    if let Some(outlier) = outlier {
        c.within("outlierDetection", |c| outlier_detection(c, outlier));
    }
    if let Some(pool) = pool {
        c.within("connectionPool", |c| connection_pool(c, pool));
    }
    if let Some(lb) = lb {
        c.within("loadBalancer", |c| load_balancer(c, lb, outlier));
    }
    if let Some(tls) = tls {
        c.within("tls", |c| {
            if let Some(place) = tls.credential_name.strip_prefix("configmap://") {
                config_map(c, place);
            }
            client_tls(c, tls)
        });
    }
}

/// A ConfigMap with the roots to verify by (`configmap://NAMESPACE/NAME`), which is of the rule's own namespace.
fn config_map(c: &mut Check, place: &str) {
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let own = c.namespace().to_owned();
    if namespace.is_empty() || name.is_empty() || name.starts_with('/') {
        c.error_at(
            "credentialName",
            format!("\"configmap://{place}\" has no namespace or no name"),
            format!("write configmap://{own}/NAME"),
        );
    } else if namespace != own {
        c.error_at(
            "credentialName",
            format!("a ConfigMap of another namespace ({namespace}) cannot be used"),
            format!("use one of namespace {own}"),
        );
    }
}

fn tunnel(c: &mut Check, t: &TunnelSettings) {
    if !matches!(t.protocol.as_str(), "" | "CONNECT" | "POST") {
        c.error_at(
            "protocol",
            format!("\"{}\" is neither CONNECT nor POST", t.protocol),
            "",
        );
    }
    if names::fqdn(&t.target_host).is_err() && !names::is_ip(&t.target_host) {
        c.error_at(
            "targetHost",
            format!(
                "\"{}\" is neither a host name nor an IP address",
                t.target_host
            ),
            "",
        );
    }
    c.require("targetPort", names::port(t.target_port));
}

fn outlier_detection(c: &mut Check, o: &OutlierDetection) {
    c.duration("baseEjectionTime", o.base_ejection_time);
    c.duration("interval", o.interval);
    if o.consecutive_errors != 0 {
        c.within("consecutiveErrors", |c| {
            c.warn(
                "consecutiveErrors is deprecated",
                "use consecutiveGatewayErrors or consecutive5xxErrors",
            );
        });
    }
    if !o.split_external_local_origin_errors
        && o.consecutive_local_origin_failures.is_some_and(|n| n > 0)
    {
        c.error_at(
            "consecutiveLocalOriginFailures",
            "has no effect without splitExternalLocalOriginErrors",
            "set splitExternalLocalOriginErrors: true",
        );
    }
    for (key, percent) in [
        ("maxEjectionPercent", o.max_ejection_percent),
        ("minHealthPercent", o.min_health_percent),
    ] {
        if !(0..=100).contains(&percent) {
            c.error_at(key, format!("{percent} percent is not from 0 to 100"), "");
        }
    }
}

pub(super) fn connection_pool(c: &mut Check, pool: &ConnectionPoolSettings) {
    if pool.tcp.is_none() && pool.http.is_none() {
        c.error(
            "a connection pool must have tcp or http",
            "remove it, or fill it in",
        );
    }
    if let Some(http) = &pool.http {
        c.within("http", |c| {
            c.non_negative("http1MaxPendingRequests", http.http1_max_pending_requests);
            c.non_negative("http2MaxRequests", http.http2_max_requests);
            c.non_negative("maxRequestsPerConnection", http.max_requests_per_connection);
            c.non_negative("maxRetries", http.max_retries);
            c.non_negative("maxConcurrentStreams", http.max_concurrent_streams);
            c.duration("idleTimeout", http.idle_timeout);
            if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol {
                c.error_at(
                    "useClientProtocol",
                    "contradicts h2UpgradePolicy: UPGRADE",
                    "keep one of them",
                );
            }
        });
    }
    if let Some(tcp) = &pool.tcp {
        c.within("tcp", |c| {
            c.non_negative("maxConnections", tcp.max_connections);
            c.duration("connectTimeout", tcp.connect_timeout);
            c.duration("maxConnectionDuration", tcp.max_connection_duration);
            // Zero switches the timeout off.
            c.duration(
                "idleTimeout",
                tcp.idle_timeout
                    .filter(|t| t.nanos().unsigned_abs() >= 1_000_000),
            );
            if let Some(keepalive) = &tcp.tcp_keepalive {
                c.within("tcpKeepalive", |c| {
                    c.duration("time", keepalive.time);
                    c.duration("interval", keepalive.interval);
                });
            }
        });
    }
}

fn load_balancer(c: &mut Check, lb: &LoadBalancerSettings, outlier: Option<&OutlierDetection>) {
    if let Some(hash) = &lb.consistent_hash {
        c.within("consistentHash", |c| {
            if hash
                .http_cookie
                .as_ref()
                .is_some_and(|cookie| cookie.name.is_empty())
            {
                c.within("httpCookie", |c| c.error_at("name", "is required", ""));
            }
            if hash.minimum_ring_size != 0 {
                c.within("minimumRingSize", |c| {
                    c.warn(
                        "minimumRingSize is deprecated here",
                        "use ringHash: {minimumRingSize: …}",
                    );
                    if hash.ring_hash.is_some() || hash.maglev.is_some() {
                        c.error("excludes ringHash and maglev", "keep ringHash or maglev");
                    }
                });
            }
            if let Some(maglev) = &hash.maglev {
                let size = maglev.table_size;
                let wrong = if size == 0 {
                    Some("is required".to_owned())
                } else if size >= 5_000_011 {
                    Some(format!("{size} is not less than 5000011"))
                } else if !is_prime(size) {
                    Some(format!("{size} is not a prime number"))
                } else {
                    None
                };
                if let Some(wrong) = wrong {
                    c.within("maglev", |c| {
                        c.error_at("tableSize", wrong, "use a prime number, such as 65537")
                    });
                }
            }
        });
    }
    if let Some(locality) = &lb.locality_lb_setting {
        c.within("localityLbSetting", |c| {
            locality_lb(c, locality, outlier.is_some())
        });
    }
    if let Some(warmup) = &lb.warmup {
        c.within("warmup", |c| {
            match warmup.duration {
                Some(duration) => c.duration("duration", Some(duration)),
                None => c.error_at("duration", "is required", ""),
            }
            if warmup.minimum_percent.is_some_and(|p| p > 100.0) {
                c.error_at("minimumPercent", "is more than 100", "");
            }
            if warmup.aggression.is_some_and(|a| a < 1.0) {
                c.error_at("aggression", "must be at least 1", "");
            }
        });
    }
    c.duration("warmupDurationSecs", lb.warmup_duration_secs);
}

/// As Envoy counts, to which 1 is one as well.
fn is_prime(n: u64) -> bool {
    n > 0
        && (n < 4
            || (n % 2 == 1
                && (3..)
                    .step_by(2)
                    .take_while(|f| f * f <= n)
                    .all(|f| !n.is_multiple_of(f))))
}

pub(super) fn locality_lb(c: &mut Check, lb: &LocalityLoadBalancerSetting, outlier: bool) {
    if !lb.distribute.is_empty() && !lb.failover.is_empty() {
        c.error(
            "distribute and failover exclude each other",
            "keep one of them",
        );
        return;
    }
    if !lb.failover.is_empty()
        && let Some(label) = lb.failover_priority.iter().find(|l| {
            matches!(
                l.as_str(),
                "topology.kubernetes.io/region"
                    | "topology.kubernetes.io/zone"
                    | "topology.istio.io/subzone"
            )
        })
    {
        c.error_at(
            "failoverPriority",
            format!("\"{label}\" contradicts failover"),
            "keep failover, or the label",
        );
        return;
    }
    let from: Vec<&str> = lb.distribute.iter().map(|d| d.from.as_str()).collect();
    c.each("distribute", &lb.distribute, |c, d| {
        if d.to.values().any(|w| !(1..=100).contains(w)) {
            c.error_at("to", "each weight must be from 1 to 100", "");
            return;
        }
        let total: u64 = d.to.values().map(|w| u64::from(*w)).sum();
        if total != 100 {
            c.error_at("to", format!("the weights add up to {total}, not 100"), "");
            return;
        }
        let to: Vec<&str> = d.to.keys().map(String::as_str).collect();
        c.within("to", |c| localities(c, &to));
    });
    c.within("distribute", |c| localities(c, &from));
    if !outlier && (!lb.failover.is_empty() || !lb.failover_priority.is_empty()) {
        c.warn(
            "failover has no effect without outlierDetection",
            "add outlierDetection to the policy",
        );
    }
    c.each("failover", &lb.failover, |c, f| {
        if f.from == f.to {
            c.error("from and to are the same region", "");
        }
        if f.from.contains('/') || f.to.contains('/') {
            c.error("failover is between regions", "write regions without zones");
        }
        if f.from.contains('*') || f.to.contains('*') {
            c.error("a region cannot be a wildcard here", "");
        }
    });
}

/// Localities are `region/zone/subzone` with a wildcard only at the end, and do not overlap in the order given.
fn localities(c: &mut Check, localities: &[&str]) {
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for locality in localities {
        if locality.matches('*').count() > 1 || (locality.contains('*') && !locality.ends_with('*'))
        {
            c.error(
                format!("locality \"{locality}\" has a wildcard that is not at its end"),
                "",
            );
            return;
        }
        let parts: Vec<&str> = locality.splitn(3, '/').collect();
        if parts.iter().any(|p| p.is_empty()) {
            c.error(
                format!("locality \"{locality}\" has an empty part"),
                "write region/zone/subzone",
            );
            return;
        }
        // A wildcard stands for everything below what is before it.
        let key: Vec<&str> = parts.into_iter().filter(|p| *p != "*").collect();
        let overlaps = seen.iter().any(|s| {
            let n = s.len().min(key.len());
            s[..n] == key[..n]
        });
        if overlaps {
            c.error(
                format!("locality \"{locality}\" overlaps with another one"),
                "remove one",
            );
            return;
        }
        seen.push(key);
    }
}

/// TLS from a client's proxy.
pub(super) fn client_tls(c: &mut Check, tls: &ClientTlsSettings) {
    let verifies = tls.insecure_skip_verify != Some(true);
    let remote = matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual);
    if !verifies && remote {
        let simple = tls.mode == ClientTlsMode::Simple;
        let contradicts = !tls.ca_certificates.is_empty()
            || !tls.subject_alt_names.is_empty()
            || (simple && !tls.credential_name.is_empty());
        if contradicts {
            c.error_at(
                "insecureSkipVerify",
                "contradicts what is to be verified",
                "remove it, or the certificates and names",
            );
        }
    }
    if remote && !tls.credential_name.is_empty() {
        let files = [
            &tls.client_certificate,
            &tls.private_key,
            &tls.ca_certificates,
            &tls.ca_crl,
        ];
        if files.iter().any(|f| !f.is_empty()) {
            c.error_at(
                "credentialName",
                "excludes certificate files",
                "keep credentialName, or the files",
            );
        }
        return;
    }
    if tls.mode == ClientTlsMode::Mutual {
        if tls.client_certificate.is_empty() {
            c.error_at(
                "clientCertificate",
                "is required for mode MUTUAL",
                "set it, or credentialName",
            );
        }
        if tls.private_key.is_empty() {
            c.error_at(
                "privateKey",
                "is required for mode MUTUAL",
                "set it, or credentialName",
            );
        }
    }
}
