//! The controllers that a cluster of the lab needs, each a pure function from objects to actions.
//!
//! They see the cluster through the API as any client does: [`world::World`] is what the watches have said so far,
//! [`engine`] calls each controller for each object it cares for and carries out what it wants.

pub(crate) mod action;
mod deployment;
mod endpoints;
mod engine;
mod hash;
mod kubernetes;
mod load_balancer;
mod pod;
mod proxy;
mod replica_set;
mod rollout;
mod scheduler;
mod select;
pub(crate) mod slices;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod world;

use std::net::SocketAddrV4;

use hawser_kube::Client;
use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::net::NodeNet;
use engine::{Controller, Facts};
use world::Kind;

/// What the controllers of one cluster work with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster's API server.
    pub client: Client,
    /// The node's network.
    pub net: NodeNet,
    /// Where pods reach the API server: an address inside the node's namespace.
    pub apiserver: SocketAddrV4,
}

/// Runs every controller of one cluster until `shutdown`.
pub async fn run(settings: Settings, shutdown: CancellationToken) {
    let Settings {
        client,
        net,
        apiserver,
    } = settings;
    let facts = Facts {
        lb_pool: net.lb_pool,
        apiserver,
    };
    // Three engines, so that a webhook that answers late delays pods, but neither endpoints nor service rules.
    tokio::join!(
        engine::run(&client, &WORKLOADS, &facts, &shutdown),
        engine::run(&client, &SERVICES, &facts, &shutdown),
        proxy::run(&client, &net, &shutdown),
    );
}

/// The time in whole seconds, as Kubernetes writes it.
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

const WORKLOADS: [Controller; 3] = [
    Controller {
        kind: Kind::Deployment,
        needs: &[Kind::ReplicaSet, Kind::Pod],
        reconcile: deployment::reconcile,
    },
    Controller {
        kind: Kind::ReplicaSet,
        needs: &[Kind::Pod],
        reconcile: replica_set::reconcile,
    },
    Controller {
        kind: Kind::Pod,
        needs: &[Kind::Node],
        reconcile: scheduler::reconcile,
    },
];

const SERVICES: [Controller; 4] = [
    Controller {
        kind: Kind::Service,
        needs: &[Kind::Pod, Kind::Node, Kind::EndpointSlice],
        reconcile: slices::reconcile,
    },
    Controller {
        kind: Kind::Service,
        needs: &[Kind::Pod, Kind::Endpoints],
        reconcile: endpoints::reconcile,
    },
    Controller {
        kind: Kind::Service,
        needs: &[],
        reconcile: load_balancer::reconcile,
    },
    Controller {
        kind: Kind::Service,
        needs: &[Kind::EndpointSlice, Kind::Endpoints],
        reconcile: kubernetes::reconcile,
    },
];
