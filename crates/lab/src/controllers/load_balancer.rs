//! Services of type LoadBalancer get an address of the lab's network between clusters.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use super::action::Action;
use super::engine::Surroundings;
use super::world::{Key, Kind, Meta, World};

/// Gives the Service an address, or takes it back.
pub(super) fn reconcile(world: &World, key: &Key, around: &Surroundings<'_>) -> Vec<Action> {
    let Some(service) = world.services.get(key) else {
        return Vec::new();
    };
    let mut held = addresses(service);
    if !wants_address(service) {
        if held.is_empty() {
            return Vec::new();
        }
        return vec![set(key, json!(null))];
    }
    // Two that were decided at once may have got the same: the one that comes first keeps it.
    let earlier = world
        .services
        .all()
        .take_while(|other| other.uid() != service.uid());
    let theirs: BTreeSet<Ipv4Addr> = earlier.flat_map(addresses).collect();
    held.retain(|address| !theirs.contains(address));
    if !held.is_empty() {
        return Vec::new();
    }
    let pool = around.facts.lb_pool;
    let Some(address) = choose(world, service, pool) else {
        let message = format!(
            "no free address in {pool}: delete a LoadBalancer service, or ask for another address"
        );
        return vec![Action::Tell {
            reason: "AllocationFailed",
            message,
        }];
    };
    vec![set(
        key,
        json!([{"ip": address.to_string(), "ipMode": "VIP"}]),
    )]
}

fn set(key: &Key, ingress: serde_json::Value) -> Action {
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}});
    Action::Patch {
        kind: Kind::Service,
        key: key.clone(),
        status: true,
        patch,
    }
}

fn wants_address(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        // A class names another implementation.
        spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
    }) && !service.is_going()
}

/// The load balancer addresses of a Service.
pub(super) fn addresses(service: &Service) -> Vec<Ipv4Addr> {
    let status = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref());
    ingress
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
        .collect()
}

/// The address asked for if it is free, else the lowest free one that nobody else asks for. One engine decides for all
/// Services, one after another, and knows its own answers.
fn choose(world: &World, service: &Service, pool: Ipv4Net) -> Option<Ipv4Addr> {
    let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
    // Those without an address that come earlier take theirs first, and in this very round.
    let mut earlier = 0;
    let mut reached = false;
    for other in world.services.all() {
        let me = other.uid() == service.uid();
        reached |= me;
        taken.extend(addresses(other));
        if me {
            continue;
        }
        match requested(other, pool) {
            Some(address) if wants_address(other) => {
                taken.insert(address);
            }
            None if wants_address(other) && addresses(other).is_empty() && !reached => earlier += 1,
            _ => {}
        }
    }
    if let Some(address) = requested(service, pool) {
        return (!taken.contains(&address)).then_some(address);
    }
    pool.hosts()
        .filter(|address| !taken.contains(address))
        .nth(earlier)
}

fn requested(service: &Service, pool: Ipv4Net) -> Option<Ipv4Addr> {
    let asked = service.spec.as_ref()?.load_balancer_ip.as_ref()?;
    asked.parse().ok().filter(|address| pool.contains(address))
}
