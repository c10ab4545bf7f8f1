//! How an endpoint is chosen, and when one is set aside.

use hawser_model::mesh::Mesh;
use hawser_model::traffic::{
    ConnectionPool, H2Upgrade, HashAlgorithm, LbPolicy, OutlierDetection, TrafficPolicy,
    Utilization, Warmup,
};
use hawser_model::{Port, Service};
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::load_balancing_policies::client_side_weighted_round_robin::v3 as weighted;
use hawser_proto::envoy::r#type::v3::Percent;
use hawser_proto::google::protobuf::FloatValue;

use super::Builder;
use super::outbound::OutboundCluster;
use crate::endpoints::{build::least_health, locality};
use crate::wire;

/// True if HTTP/1.1 towards the endpoints becomes HTTP/2 (Istio's `shouldH2Upgrade`).
pub(super) fn upgrades_to_http2(port: &Port, mesh: &Mesh, pool: Option<&ConnectionPool>) -> bool {
    if pool.is_some_and(|p| p.use_client_protocol) {
        return false;
    }
    match pool.map(|p| p.h2_upgrade).unwrap_or_default() {
        H2Upgrade::Upgrade => true,
        H2Upgrade::DoNotUpgrade => false,
        H2Upgrade::Default => port.protocol.is_http() && mesh.h2_upgrade == H2Upgrade::Upgrade,
    }
}

/// Outlier detection, by consecutive errors only (Istio's `applyOutlierDetection`).
pub(super) fn outlier(b: &mut Builder, service: &Service, outlier: Option<&OutlierDetection>) {
    let Some(o) = outlier else { return };
    let enforcing = |given: Option<u32>| given.map(|n| wire::u32v(if n > 0 { 100 } else { 0 }));
    let mut out = cds::OutlierDetection {
        enforcing_success_rate: Some(wire::u32v(0)),
        consecutive_5xx: o.consecutive_5xx.map(wire::u32v),
        enforcing_consecutive_5xx: enforcing(o.consecutive_5xx),
        consecutive_gateway_failure: o.consecutive_gateway.map(wire::u32v),
        enforcing_consecutive_gateway_failure: enforcing(o.consecutive_gateway),
        interval: o.interval.map(wire::duration),
        base_ejection_time: o.base_ejection.map(wire::duration),
        max_ejection_percent: o.max_ejection_percent.filter(|n| *n > 0).map(wire::u32v),
        ..Default::default()
    };
    if o.split_local {
        out.split_external_local_origin_errors = true;
        let consecutive = o.consecutive_local.filter(|n| *n > 0);
        out.consecutive_local_origin_failure = consecutive.map(wire::u32v);
        out.enforcing_consecutive_local_origin_failure = enforcing(consecutive);
        out.enforcing_local_origin_success_rate = Some(wire::u32v(0));
    }
    b.cluster.outlier_detection = Some(out);
    b.http.outlier_errors.clone_from(&o.http_errors);
    common(b).healthy_panic_threshold = Some(Percent {
        value: f64::from(least_health(service, outlier)),
    });
}

fn common(b: &mut Builder) -> &mut cds::cluster::CommonLbConfig {
    b.cluster
        .common_lb_config
        .get_or_insert_with(|| cds::cluster::CommonLbConfig {
            // Of few endpoints many may be ill: never send to ill ones because too few are well.
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..Default::default()
        })
}

/// The algorithm, its settings and localities (Istio's `applyLoadBalancer`).
pub(super) fn balancer(b: &mut Builder, input: &OutboundCluster, policy: &TrafficPolicy) {
    use cds::cluster::LbPolicy as Envoy;
    let none = Default::default();
    let balancer = policy.load_balancer.as_ref().unwrap_or(&none);
    common(b);
    let setting = locality::Setting::of(&input.mesh, &input.service, policy);
    if setting.weighted(policy.outlier.is_some()) {
        common(b).locality_config_specifier = Some(
            cds::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                Default::default(),
            ),
        );
    }
    if let Some(zones) = setting.zone_aware() {
        common(b).locality_config_specifier = Some(
            cds::cluster::common_lb_config::LocalityConfigSpecifier::ZoneAwareLbConfig(
                cds::cluster::common_lb_config::ZoneAwareLbConfig {
                    min_cluster_size: zones.min_cluster_size.map(wire::u64v),
                    ..Default::default()
                },
            ),
        );
    }
    if setting.without_zones() {
        common(b).locality_config_specifier = Some(
            cds::cluster::common_lb_config::LocalityConfigSpecifier::ZoneAwareLbConfig(
                cds::cluster::common_lb_config::ZoneAwareLbConfig {
                    routing_enabled: Some(Percent { value: 0.0 }),
                    ..Default::default()
                },
            ),
        );
    }
    if b.is(cds::cluster::DiscoveryType::OriginalDst) {
        b.cluster.lb_policy = Envoy::ClusterProvided as i32;
        let port = input.service.port(input.port);
        // Callers name the port of the service; the pods of a headless service listen on another.
        if let Some(target) = port.and_then(|p| p.target_port)
            && target != input.port
        {
            b.cluster.lb_config = Some(cds::cluster::LbConfig::OriginalDstLbConfig(
                cds::cluster::OriginalDstLbConfig {
                    upstream_port_override: Some(wire::u32v(u32::from(target))),
                    ..Default::default()
                },
            ));
        }
        return;
    }
    let slow = balancer.warmup.as_ref().map(slow_start);
    match &balancer.policy {
        LbPolicy::Utilization(reported) => {
            b.cluster.lb_policy = Envoy::LoadBalancingPolicyConfig as i32;
            b.cluster.load_balancing_policy = Some(by_utilization(reported));
        }
        LbPolicy::Random => b.cluster.lb_policy = Envoy::Random as i32,
        LbPolicy::RoundRobin => {
            b.cluster.lb_policy = Envoy::RoundRobin as i32;
            if slow.is_some() {
                b.cluster.lb_config = Some(cds::cluster::LbConfig::RoundRobinLbConfig(
                    cds::cluster::RoundRobinLbConfig {
                        slow_start_config: slow,
                    },
                ));
            }
        }
        LbPolicy::Passthrough => {
            b.cluster.lb_policy = Envoy::ClusterProvided as i32;
            b.discovery(cds::cluster::DiscoveryType::OriginalDst);
            b.cluster.load_assignment = None;
        }
        LbPolicy::Unspecified | LbPolicy::LeastRequest => {
            b.cluster.lb_policy = Envoy::LeastRequest as i32;
            if slow.is_some() {
                b.cluster.lb_config = Some(cds::cluster::LbConfig::LeastRequestLbConfig(
                    cds::cluster::LeastRequestLbConfig {
                        slow_start_config: slow,
                        ..Default::default()
                    },
                ));
            }
        }
        LbPolicy::ConsistentHash(hash) => match &hash.algorithm {
            HashAlgorithm::RingHash(size) => {
                b.cluster.lb_policy = Envoy::RingHash as i32;
                if let Some(size) = size {
                    b.cluster.lb_config = Some(cds::cluster::LbConfig::RingHashLbConfig(
                        cds::cluster::RingHashLbConfig {
                            minimum_ring_size: Some(wire::u64v(*size)),
                            ..Default::default()
                        },
                    ));
                }
            }
            HashAlgorithm::Maglev(size) => {
                b.cluster.lb_policy = Envoy::Maglev as i32;
                if let Some(size) = size {
                    b.cluster.lb_config = Some(cds::cluster::LbConfig::MaglevLbConfig(
                        cds::cluster::MaglevLbConfig {
                            table_size: Some(wire::u64v(*size)),
                        },
                    ));
                }
            }
        },
    }
}

fn by_utilization(reported: &Utilization) -> cds::LoadBalancingPolicy {
    let policy = weighted::ClientSideWeightedRoundRobin {
        blackout_period: reported.blackout.map(wire::duration),
        weight_expiration_period: reported.expiration.map(wire::duration),
        weight_update_period: reported.update.map(wire::duration),
        // Thousandths of small numbers lose nothing that matters.
        error_utilization_penalty: reported.error_penalty_milli.map(|p| FloatValue {
            value: p as f32 / 1000.0,
        }),
        metric_names_for_computing_utilization: wire::strings(&reported.metrics),
        ..Default::default()
    };
    cds::LoadBalancingPolicy {
        policies: vec![cds::load_balancing_policy::Policy {
            typed_extension_config: Some(wire::extension(
                "envoy.load_balancing_policies.client_side_weighted_round_robin",
                &policy,
            )),
        }],
    }
}

fn slow_start(warmup: &Warmup) -> cds::cluster::SlowStartConfig {
    cds::cluster::SlowStartConfig {
        slow_start_window: Some(wire::duration(warmup.duration)),
        aggression: warmup.aggression_milli.map(|a| core::RuntimeDouble {
            // Thousandths of small numbers lose nothing that matters.
            default_value: a as f64 / 1000.0,
            // Envoy demands a key; none is meant, so one that nobody sets, the same as Istio's.
            runtime_key: "(".to_owned(),
        }),
        min_weight_percent: warmup.minimum_percent_milli.map(|p| Percent {
            value: p as f64 / 1000.0,
        }),
    }
}
