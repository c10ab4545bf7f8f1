//! DestinationRules.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::matching::Fraction;
use hawser_model::traffic::{
    ClientTls, ClientTlsMode, ConnectionPool, ConsistentHash, DestinationRule, Distribute,
    H2Upgrade, HashAlgorithm, HashKey, Http2Keepalive, LbPolicy, LoadBalancer, LocalitySettings,
    OutlierDetection, RetryBudget, Subset, TcpKeepalive, TrafficPolicy, Tunnel, Utilization,
    Warmup, ZoneAware,
};
use hawser_model::{ClusterId, Problem, Shared, Str, Visibility};

use crate::names::{self, duration, host, labels, port, strs};
use crate::notes::{CONFLICT, Notes, SCHEMA};
use hawser_model::mesh::Mesh;

/// Virtual nodes of a ring hash where nothing is said of the ring, as in Istio.
const MIN_RING_SIZE: u64 = 1024;

/// How long the answer to a PING may take where nothing is said of it: gRPC's default, since Envoy demands a value.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Lowers one DestinationRule; `None` if its host is none.
pub fn destination_rule(
    object: &Object<api::DestinationRule, IstioStatus>,
    cluster: &ClusterId,
    mesh: &Mesh,
    problems: &mut Vec<Problem>,
) -> Option<DestinationRule> {
    let mut notes = Notes::new(problems, cluster, Kind::DestinationRule, &object.meta);
    let spec = &object.spec;
    let namespace = &object.meta.namespace;
    let host = host(
        &spec.host,
        namespace,
        &mesh.dns_domain,
        "spec.host",
        &mut notes,
    )?;
    let mut subsets: Vec<Subset> = Vec::with_capacity(spec.subsets.len());
    for (i, subset) in spec.subsets.iter().enumerate() {
        let field = format!("spec.subsets[{i}]");
        if subsets.iter().any(|s| *s.name == *subset.name) {
            notes.error(
                SCHEMA,
                format!("{field}.name"),
                format!("the subset {:?} is defined twice", subset.name),
                "give each subset its own name; the first one counts",
            );
            continue;
        }
        subsets.push(Subset {
            name: subset.name.as_str().into(),
            labels: labels(&subset.labels),
            policy: subset.traffic_policy.as_ref().map(|p| {
                Shared::new(traffic_policy(
                    p,
                    &format!("{field}.trafficPolicy"),
                    &mut notes,
                ))
            }),
        });
    }
    Some(DestinationRule {
        meta: names::meta(&object.meta),
        host,
        visibility: match spec.workload_selector {
            // A rule for some workloads of its namespace is nobody else's business.
            Some(_) => Visibility::Namespaces([namespace.as_str().into()].into()),
            None => names::visibility(&spec.export_to, namespace, &mesh.default_rule_visibility),
        },
        workload_selector: spec
            .workload_selector
            .as_ref()
            .map(|s| labels(&s.match_labels))
            .unwrap_or_default(),
        by_policy: false,
        policy: spec
            .traffic_policy
            .as_ref()
            .map(|p| Shared::new(traffic_policy(p, "spec.trafficPolicy", &mut notes))),
        subsets,
    })
}

fn traffic_policy(
    policy: &api::TrafficPolicy,
    field: &str,
    notes: &mut Notes<'_>,
) -> TrafficPolicy {
    let mut ports = BTreeMap::new();
    for (i, settings) in policy.port_level_settings.iter().enumerate() {
        let field = format!("{field}.portLevelSettings[{i}]");
        let Some(number) = settings.port.as_ref().and_then(|p| port(p.number)) else {
            notes.error(
                SCHEMA,
                format!("{field}.port"),
                "the settings do not say for which port they are",
                "set port.number to a port of the service",
            );
            continue;
        };
        ports.insert(
            number,
            TrafficPolicy {
                load_balancer: settings
                    .load_balancer
                    .as_ref()
                    .map(|lb| load_balancer(lb, &format!("{field}.loadBalancer"), notes)),
                connection_pool: settings.connection_pool.as_ref().map(connection_pool),
                outlier: settings.outlier_detection.as_ref().map(outlier),
                tls: settings.tls.as_ref().map(client_tls),
                ..TrafficPolicy::default()
            },
        );
    }
    TrafficPolicy {
        load_balancer: policy
            .load_balancer
            .as_ref()
            .map(|lb| load_balancer(lb, &format!("{field}.loadBalancer"), notes)),
        connection_pool: policy.connection_pool.as_ref().map(connection_pool),
        outlier: policy.outlier_detection.as_ref().map(outlier),
        tls: policy.tls.as_ref().map(client_tls),
        ports,
        tunnel: policy.tunnel.as_ref().map(|t| Tunnel {
            protocol: if t.protocol.is_empty() {
                "CONNECT".into()
            } else {
                t.protocol.as_str().into()
            },
            host: t.target_host.as_str().into(),
            port: t.target_port,
        }),
        proxy_protocol: policy.proxy_protocol.as_ref().map(|p| match p.version {
            api::ProxyProtocolVersion::V1 => 1,
            api::ProxyProtocolVersion::V2 => 2,
        }),
        retry_budget: policy.retry_budget.as_ref().map(|b| RetryBudget {
            percent: b.percent.map(Fraction::from_percent),
            // Envoy's default, which Istio documents as its own.
            min_concurrency: if b.min_retry_concurrency == 0 {
                3
            } else {
                b.min_retry_concurrency
            },
        }),
    }
}

fn load_balancer(
    lb: &api::LoadBalancerSettings,
    field: &str,
    notes: &mut Notes<'_>,
) -> LoadBalancer {
    let zones = lb.zone_aware_lb_setting.as_ref();
    if zones.is_some_and(|z| z.enabled != Some(false)) && lb.locality_lb_setting.is_some() {
        notes.error(
            CONFLICT,
            format!("{field}.zoneAwareLbSetting"),
            "localityLbSetting is given too, which excludes it and holds",
            "leave one of both",
        );
    }
    let policy = match (&lb.simple, &lb.consistent_hash, &lb.backend_utilization) {
        (_, Some(hash), _) => consistent_hash(hash, field, notes),
        (None, None, Some(reported)) => LbPolicy::Utilization(utilization(reported)),
        (Some(simple), None, _) => match simple {
            api::SimpleLb::Unspecified => LbPolicy::Unspecified,
            api::SimpleLb::LeastConn | api::SimpleLb::LeastRequest => LbPolicy::LeastRequest,
            api::SimpleLb::Random => LbPolicy::Random,
            api::SimpleLb::Passthrough => LbPolicy::Passthrough,
            api::SimpleLb::RoundRobin => LbPolicy::RoundRobin,
        },
        (None, None, None) => LbPolicy::Unspecified,
    };
    let warmup = match (&lb.warmup, lb.warmup_duration_secs) {
        (Some(w), _) => w.duration.map(|d| Warmup {
            duration: d.to_std(),
            minimum_percent_milli: Some(milli(w.minimum_percent.unwrap_or(10.0))),
            aggression_milli: Some(milli(w.aggression.unwrap_or(1.0))),
        }),
        (None, Some(d)) => Some(Warmup {
            duration: d.to_std(),
            minimum_percent_milli: None,
            aggression_milli: None,
        }),
        (None, None) => None,
    };
    LoadBalancer {
        policy,
        locality: lb.locality_lb_setting.as_ref().map(locality),
        warmup,
        zone_aware: zones
            .filter(|_| lb.locality_lb_setting.is_none())
            .map(zone_aware),
    }
}

/// Settings of zones, of a rule or of the mesh.
pub fn zone_aware(setting: &api::ZoneAwareLoadBalancerSetting) -> ZoneAware {
    ZoneAware {
        enabled: setting.enabled != Some(false),
        failover: failover(&setting.failover),
        failover_priority: strs(&setting.failover_priority),
        min_cluster_size: setting.min_cluster_size.map(u64::from),
    }
}

fn utilization(reported: &api::BackendUtilization) -> Utilization {
    Utilization {
        blackout: duration(reported.blackout_period),
        expiration: duration(reported.weight_expiration_period),
        update: duration(reported.weight_update_period),
        error_penalty_milli: reported.error_utilization_penalty.map(milli),
        metrics: strs(&reported.metric_names_for_computing_utilization),
    }
}

fn failover(regions: &[api::LocalityFailover]) -> Vec<(Str, Str)> {
    let pair = |f: &api::LocalityFailover| (f.from.as_str().into(), f.to.as_str().into());
    regions.iter().map(pair).collect()
}

/// Thousandths; negative and absurd values are clamped.
fn milli(value: f64) -> u64 {
    (value * 1000.0).round().clamp(0.0, 1e12) as u64
}

fn consistent_hash(hash: &api::ConsistentHashLb, field: &str, notes: &mut Notes<'_>) -> LbPolicy {
    let key = if let Some(header) = &hash.http_header_name {
        HashKey::Header(header.as_str().into())
    } else if let Some(cookie) = &hash.http_cookie {
        HashKey::Cookie {
            name: cookie.name.as_str().into(),
            path: cookie.path.as_str().into(),
            ttl: duration(cookie.ttl),
            attributes: cookie
                .attributes
                .iter()
                .map(|a| (a.name.as_str().into(), a.value.as_str().into()))
                .collect(),
        }
    } else if hash.use_source_ip == Some(true) {
        HashKey::SourceIp
    } else if let Some(parameter) = &hash.http_query_parameter_name {
        HashKey::QueryParameter(parameter.as_str().into())
    } else {
        notes.error(
            SCHEMA,
            format!("{field}.consistentHash"),
            "it does not say what is hashed",
            "set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
        );
        return LbPolicy::Unspecified;
    };
    let nonzero = |n: u64| (n != 0).then_some(n);
    let algorithm = match (&hash.ring_hash, &hash.maglev) {
        (_, Some(maglev)) => HashAlgorithm::Maglev(nonzero(maglev.table_size)),
        (Some(ring), None) => HashAlgorithm::RingHash(nonzero(ring.minimum_ring_size)),
        (None, None) => HashAlgorithm::RingHash(Some(
            nonzero(hash.minimum_ring_size).unwrap_or(MIN_RING_SIZE),
        )),
    };
    LbPolicy::ConsistentHash(ConsistentHash { key, algorithm })
}

/// Locality settings, of a rule or of the mesh.
pub fn locality(setting: &api::LocalityLoadBalancerSetting) -> LocalitySettings {
    LocalitySettings {
        enabled: setting.enabled,
        distribute: setting
            .distribute
            .iter()
            .map(|d| Distribute {
                from: d.from.as_str().into(),
                to: d.to.iter().map(|(k, v)| (k.as_str().into(), *v)).collect(),
            })
            .collect(),
        failover: failover(&setting.failover),
        failover_priority: strs(&setting.failover_priority),
    }
}

/// Connection limits; what is 0 or less was not said.
pub fn connection_pool(pool: &api::ConnectionPoolSettings) -> ConnectionPool {
    let positive = |n: i32| u32::try_from(n).ok().filter(|n| *n != 0);
    let tcp = pool.tcp.clone().unwrap_or_default();
    let http = pool.http.clone().unwrap_or_default();
    ConnectionPool {
        max_connections: positive(tcp.max_connections),
        connect_timeout: duration(tcp.connect_timeout),
        tcp_keepalive: tcp.tcp_keepalive.as_ref().map(tcp_keepalive),
        max_connection_duration: duration(tcp.max_connection_duration),
        tcp_idle_timeout: duration(tcp.idle_timeout),
        http1_max_pending: positive(http.http1_max_pending_requests),
        http2_max_requests: positive(http.http2_max_requests),
        max_requests_per_connection: positive(http.max_requests_per_connection),
        max_retries: positive(http.max_retries),
        http_idle_timeout: duration(http.idle_timeout),
        h2_upgrade: match http.h2_upgrade_policy {
            api::H2UpgradePolicy::Default => H2Upgrade::Default,
            api::H2UpgradePolicy::DoNotUpgrade => H2Upgrade::DoNotUpgrade,
            api::H2UpgradePolicy::Upgrade => H2Upgrade::Upgrade,
        },
        use_client_protocol: http.use_client_protocol,
        max_concurrent_streams: positive(http.max_concurrent_streams),
        http2_keepalive: http.http2_keep_alive.as_ref().map(|k| Http2Keepalive {
            interval: duration(k.interval),
            timeout: duration(k.timeout).unwrap_or(PING_TIMEOUT),
        }),
    }
}

/// TCP keep-alive settings.
pub fn tcp_keepalive(keepalive: &api::TcpKeepalive) -> TcpKeepalive {
    TcpKeepalive {
        probes: (keepalive.probes != 0).then_some(keepalive.probes),
        time: duration(keepalive.time),
        interval: duration(keepalive.interval),
    }
}

/// When an endpoint is set aside; what is 0 or less was not said.
pub fn outlier(outlier: &api::OutlierDetection) -> OutlierDetection {
    let positive = |n: i32| u32::try_from(n).ok().filter(|n| *n != 0);
    OutlierDetection {
        consecutive_5xx: outlier.consecutive_5xx_errors,
        consecutive_gateway: outlier.consecutive_gateway_errors,
        consecutive_local: outlier.consecutive_local_origin_failures,
        split_local: outlier.split_external_local_origin_errors,
        interval: duration(outlier.interval),
        base_ejection: duration(outlier.base_ejection_time),
        max_ejection_percent: positive(outlier.max_ejection_percent),
        min_health_percent: positive(outlier.min_health_percent),
        http_errors: outlier
            .outlier_detection_http_error_codes
            .iter()
            .copied()
            .filter(|code| (100..600).contains(code))
            .collect(),
    }
}

/// TLS towards an endpoint.
pub fn client_tls(tls: &api::ClientTlsSettings) -> ClientTls {
    ClientTls {
        mode: match tls.mode {
            api::ClientTlsMode::Disable => ClientTlsMode::Disable,
            api::ClientTlsMode::Simple => ClientTlsMode::Simple,
            api::ClientTlsMode::Mutual => ClientTlsMode::Mutual,
            api::ClientTlsMode::IstioMutual => ClientTlsMode::IstioMutual,
        },
        client_certificate: tls.client_certificate.as_str().into(),
        private_key: tls.private_key.as_str().into(),
        ca_certificates: tls.ca_certificates.as_str().into(),
        ca_crl: tls.ca_crl.as_str().into(),
        credential_name: tls.credential_name.as_str().into(),
        subject_alt_names: strs(&tls.subject_alt_names),
        sni: tls.sni.as_str().into(),
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
    }
}
