//! Access logs and traces: what Telemetry objects and MeshConfig ask for.

mod log_format;
mod logs;
mod tracer;
mod tracing;

use std::collections::BTreeMap;

use hawser_model::telemetry::{Mode, Telemetry};
use hawser_model::{Hostname, Labels, Proxy, Service, Shared, Snapshot};

pub(crate) use logs::{AccessLogs, listener_logs, logs, plan as logs_plan};
pub(crate) use tracing::{Tracing, plan as tracing_plan, tracing};

/// Whose traffic, and in which direction.
pub(crate) struct Subject<'a> {
    pub snapshot: &'a Snapshot,
    pub proxy: &'a Proxy,
    pub labels: &'a Labels,
    /// The services it has clusters of.
    pub services: &'a BTreeMap<Hostname, Shared<Service>>,
    /// Inbound; false is outbound, and gateways.
    pub inbound: bool,
}

impl Subject<'_> {
    /// True if the proxy has a cluster for that port of a service: Envoy refuses a listener whose collector it does not
    /// know, and with it all of the listener's traffic.
    fn reaches(&self, host: &Hostname, port: u16) -> bool {
        self.services
            .get(host)
            .is_some_and(|s| s.ports.iter().any(|p| p.number == port))
    }

    fn concerns(&self, mode: Mode) -> bool {
        match mode {
            Mode::ClientAndServer => true,
            Mode::Client => !self.inbound,
            Mode::Server => self.inbound,
        }
    }

    /// The objects that hold: of the mesh, of the namespace, of the workload; each overrides those before.
    fn levels(&self) -> impl Iterator<Item = &Shared<Telemetry>> {
        let all = &self.snapshot.telemetry;
        let root = &self.snapshot.mesh.root_namespace;
        let own = &self.proxy.namespace;
        let for_all =
            |t: &&Shared<Telemetry>| t.selector.labels.is_empty() && t.selector.targets.is_empty();
        let mesh = all
            .iter()
            .filter(for_all)
            .find(|t| t.meta.namespace == *root);
        let namespace = all
            .iter()
            .filter(for_all)
            .find(|t| own != root && t.meta.namespace == *own);
        let gateway = self.labels.get("gateway.networking.k8s.io/gateway-name");
        let workload = all.iter().find(|t| {
            t.meta.namespace == *own
                && if t.selector.targets.is_empty() {
                    !t.selector.labels.is_empty() && t.selector.labels.selects(self.labels)
                } else {
                    t.selector
                        .targets
                        .iter()
                        .any(|r| &*r.kind == "Gateway" && Some(&*r.name) == gateway)
                }
        });
        [mesh, namespace, workload].into_iter().flatten()
    }
}
