//! Preferring near endpoints: weights and priorities of localities (Istio's `loadbalancer` package).

use std::collections::{BTreeMap, BTreeSet};

use hawser_model::mesh::Mesh;
use hawser_model::traffic::{
    Distribute, LocalityPreference, LocalitySettings, TrafficPolicy, ZoneAware,
};
use hawser_model::{Labels, Locality, Proxy, Service, Str};

use super::build::Group;
use crate::view::Near;

/// Labels that stand for a proxy's own place, among those that `failoverPriority` may name.
const NETWORK: &str = "topology.istio.io/network";
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUB_ZONE: &str = "topology.istio.io/subzone";
const NODE: &str = "kubernetes.io/hostname";
const CLUSTER: &str = "topology.istio.io/cluster";

/// The setting in force for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// `None` is off.
    settings: Option<LocalitySettings>,
    /// Fails over even without outlier detection.
    forced: bool,
    /// In place of `settings`.
    zones: Option<ZoneAware>,
    /// Zones are not to be weighed against each other, though the proxy knows its own cluster.
    no_zones: bool,
}

impl Setting {
    /// The DestinationRule's setting, else the Service's `trafficDistribution`, else the mesh's (Istio's
    /// `GetEffectiveLbSetting`): the first that is given counts, though it be to turn all off.
    pub(crate) fn of(mesh: &Mesh, service: &Service, policy: &TrafficPolicy) -> Self {
        let on = |s: &LocalitySettings| (s.enabled != Some(false)).then(|| s.clone());
        let only = |settings| Self {
            settings,
            forced: false,
            zones: None,
            no_zones: false,
        };
        let balancer = policy.load_balancer.as_ref();
        if let Some(own) = balancer.and_then(|l| l.locality.as_ref()) {
            return only(on(own));
        }
        let by_zone = |zones: &ZoneAware| Self {
            zones: zones.enabled.then(|| zones.clone()),
            no_zones: !zones.enabled,
            ..only(None)
        };
        if let Some(zones) = balancer.and_then(|l| l.zone_aware.as_ref()) {
            return by_zone(zones);
        }
        let near: &[&str] = match service.traffic_distribution {
            Some(LocalityPreference::SameZone) => &[NETWORK, REGION, ZONE],
            Some(LocalityPreference::SameNode) => &[NETWORK, REGION, ZONE, SUB_ZONE, NODE],
            Some(LocalityPreference::Any) | None => &[],
        };
        if !near.is_empty() {
            return Self {
                settings: Some(LocalitySettings {
                    enabled: Some(true),
                    failover_priority: near.iter().map(|s| (*s).into()).collect(),
                    ..Default::default()
                }),
                forced: true,
                ..only(None)
            };
        }
        match &mesh.zone_aware {
            Some(zones) => by_zone(zones),
            None => only(on(&mesh.locality)),
        }
    }

    /// The setting that leaves the choice of zones to Envoy.
    pub(crate) fn zone_aware(&self) -> Option<&ZoneAware> {
        self.zones.as_ref()
    }

    /// True if Envoy shall not do by itself what it does wherever it knows its own cluster.
    pub(crate) fn without_zones(&self) -> bool {
        self.no_zones
    }

    /// True if Envoy shall weigh localities: where that was asked for, since it takes the place of the balancer's own
    /// choice among all endpoints (Istio's `applyLocalityLoadBalancer`).
    pub(crate) fn weighted(&self, outlier: bool) -> bool {
        let fails_over = outlier || self.forced;
        self.settings.as_ref().is_some_and(|s| {
            !s.distribute.is_empty()
                || (fails_over && !(s.failover.is_empty() && s.failover_priority.is_empty()))
        })
    }

    /// What endpoints are compared with; `None` if nothing is compared.
    pub(crate) fn near(&self, proxy: &Proxy, outlier: bool) -> Option<Near> {
        let priorities = match (&self.zones, &self.settings) {
            (Some(zones), _) => &zones.failover_priority,
            (None, Some(s)) if !s.distribute.is_empty() || outlier || self.forced => {
                &s.failover_priority
            }
            _ => return None,
        };
        let wanted = priorities
            .iter()
            .map(|l| l.split('=').next().unwrap_or_default());
        let labels = wanted.filter_map(|key| {
            let place = match key {
                NETWORK => proxy.network.as_str(),
                REGION => &proxy.locality.region,
                ZONE => &proxy.locality.zone,
                SUB_ZONE => &proxy.locality.sub_zone,
                NODE => &proxy.node,
                CLUSTER => proxy.cluster.as_str(),
                _ => "",
            };
            match proxy.labels.get(key) {
                Some(own) => Some((key, own)),
                None => (!place.is_empty()).then_some((key, place)),
            }
        });
        Some(Near {
            locality: proxy.locality.clone(),
            labels: labels.collect(),
        })
    }

    /// Orders groups of endpoints. Labels do not order endpoints that are found by DNS, as in Istio.
    pub(crate) fn apply(&self, groups: &mut Vec<Group>, near: &Near, dns: bool) {
        if let Some(zones) = &self.zones {
            if !zones.failover_priority.is_empty() && !dns {
                by_labels(groups, &near.labels, &zones.failover_priority);
            }
            by_region(groups, &near.locality.region, &zones.failover);
            return;
        }
        let Some(settings) = &self.settings else {
            return;
        };
        if !settings.distribute.is_empty() {
            distribute(groups, &near.locality, &settings.distribute);
            return;
        }
        if settings.failover_priority.is_empty() {
            failover(groups, near, settings);
            return;
        }
        if !dns {
            by_labels(groups, &near.labels, &settings.failover_priority);
        }
        if !settings.failover.is_empty() {
            failover(groups, near, settings);
        }
    }
}

/// True if a locality fits a pattern such as `us-east-1/*`; what a pattern does not say may be anything.
fn matches(locality: &Locality, pattern: &str) -> bool {
    let mut parts = pattern.split('/');
    let region = parts.next().unwrap_or_default();
    let mut fits = |own: &str| {
        let part = parts.next().unwrap_or_default();
        part.is_empty() || part == "*" || part == own
    };
    (region == "*" || region == &*locality.region)
        && fits(&locality.zone)
        && fits(&locality.sub_zone)
}

fn distribute(groups: &mut [Group], from: &Locality, rules: &[Distribute]) {
    let Some(rule) = rules.iter().find(|r| matches(from, &r.from)) else {
        return;
    };
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    // The most specific pattern first, so that the order of writing does not matter.
    let mut patterns: Vec<_> = rule.to.iter().collect();
    patterns.sort_by_key(|(p, _)| {
        (
            std::cmp::Reverse(p.matches('/').count()),
            p.contains('*'),
            p.to_string(),
        )
    });
    for (pattern, share) in patterns {
        let fits: Vec<usize> = left
            .iter()
            .copied()
            .filter(|i| matches(&groups[*i].locality, pattern))
            .collect();
        let total: u64 = fits.iter().map(|i| u64::from(groups[*i].weight)).sum();
        for i in fits {
            left.remove(&i);
            let part = u64::from(groups[i].weight) * u64::from(*share);
            if part > 0 {
                groups[i].weight = u32::try_from(part.div_ceil(total.max(1))).unwrap_or(u32::MAX);
            }
        }
    }
    for i in left {
        groups[i].endpoints.clear();
    }
}

fn failover(groups: &mut [Group], near: &Near, settings: &LocalitySettings) {
    let here = &near.locality;
    for group in groups.iter_mut() {
        let there = &group.locality;
        let distance = if there.region != here.region {
            let to = settings
                .failover
                .iter()
                .find(|(from, _)| *from == here.region);
            if to.is_some_and(|(_, to)| *to != there.region) {
                4
            } else {
                3
            }
        } else if there.zone != here.zone {
            2
        } else {
            u32::from(there.sub_zone != here.sub_zone)
        };
        group.priority = group.priority * 5 + distance;
    }
    compact(groups);
}

/// The caller's own region, then the one that it fails over to, then all others.
fn by_region(groups: &mut [Group], here: &str, failover: &[(Str, Str)]) {
    let to = failover.iter().find(|(from, _)| **from == *here);
    for group in groups.iter_mut() {
        let there = &group.locality.region;
        let distance = if **there == *here {
            0
        } else {
            1 + u32::from(to.is_some_and(|(_, to)| to != there))
        };
        group.priority = group.priority * 3 + distance;
    }
    compact(groups);
}

/// Priorities without gaps, as Envoy demands.
fn compact(groups: &mut [Group]) {
    let used: BTreeSet<u32> = groups.iter().map(|g| g.priority).collect();
    let rank: BTreeMap<u32, u32> = used.into_iter().zip(0..).collect();
    for group in groups {
        group.priority = rank.get(&group.priority).copied().unwrap_or_default();
    }
}

/// True for the label of the network, with or without a value.
fn is_network(label: &str) -> bool {
    label.split('=').next() == Some(NETWORK)
}

/// Splits groups by how many of the labels, from the first, their endpoints share with the proxy.
fn by_labels(groups: &mut Vec<Group>, labels: &Labels, wanted: &[Str]) {
    let mut out = Vec::new();
    for group in groups.drain(..) {
        let mut parts: BTreeMap<u32, Group> = BTreeMap::new();
        for endpoint in group.endpoints {
            let like = |label: &&Str| {
                let (key, value) = match label.split_once('=') {
                    Some((key, value)) => (key, value),
                    None => (&***label, labels.get(label).unwrap_or_default()),
                };
                endpoint.label(key) == value
            };
            let alike = wanted.iter().take_while(like).count();
            // Another network is far, but among what is far the near comes first all the same.
            let priority = match wanted.first() {
                Some(first) if alike == 0 && is_network(first) => {
                    let rest = wanted.iter().skip(1).take_while(like).count();
                    2 * wanted.len() - 1 - rest
                }
                _ => wanted.len() - alike,
            } as u32;
            parts
                .entry(priority)
                .or_insert_with(|| Group {
                    locality: group.locality.clone(),
                    endpoints: Vec::new(),
                    weight: 0,
                    priority,
                })
                .endpoints
                .push(endpoint);
        }
        for (_, mut part) in parts {
            part.weight = part
                .endpoints
                .iter()
                .fold(0, |sum: u32, e| sum.saturating_add(e.weight));
            out.push(part);
        }
    }
    compact(&mut out);
    *groups = out;
}
