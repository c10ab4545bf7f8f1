//! Mutual TLS: what PeerAuthentications demand of a workload.

use hawser_model::authn::{MtlsMode, PeerAuthentication};
use hawser_model::{Labels, Shared, Snapshot, Str};

/// The PeerAuthentications that can hold in one namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NamespaceMtls {
    root: Str,
    default: MtlsMode,
    /// Those of the namespace and of the root namespace, in order of precedence.
    policies: Vec<Shared<PeerAuthentication>>,
}

impl NamespaceMtls {
    pub(crate) fn new(snapshot: &Snapshot, namespace: &str) -> Self {
        let root = snapshot.mesh.root_namespace.clone();
        Self {
            default: snapshot.mesh.default_mtls,
            policies: snapshot
                .peer_authn
                .iter()
                .filter(|p| {
                    &*p.meta.namespace == namespace
                        || (p.meta.namespace == root && p.selector.labels.is_empty())
                })
                .cloned()
                .collect(),
            root,
        }
    }

    /// The mode on a port of a workload: of the oldest policy that selects it, else of the namespace, else of the mesh
    /// (Istio's `ComposePeerAuthentication`).
    pub(crate) fn mode(&self, labels: &Labels, namespace: &str, port: u16) -> MtlsMode {
        let own = self.of_workload(labels, namespace);
        if let Some(own) = own {
            if let Some(Some(mode)) = own.ports.get(&port) {
                return *mode;
            }
            if let Some(mode) = own.mode
                && !matches!(own.ports.get(&port), Some(Some(_)))
            {
                return mode;
            }
        }
        self.of_namespace(namespace)
    }

    fn of_workload(&self, labels: &Labels, namespace: &str) -> Option<&PeerAuthentication> {
        // The root namespace speaks for the mesh, not for workloads of its own, as in Istio.
        self.policies
            .iter()
            .find(|p| {
                namespace != &*self.root
                    && &*p.meta.namespace == namespace
                    && !p.selector.labels.is_empty()
                    && p.selector.labels.selects(labels)
            })
            .map(|p| &**p)
    }

    /// Ports of the workload for which a policy says something of its own.
    pub(crate) fn ports(&self, labels: &Labels, namespace: &str) -> Vec<u16> {
        self.of_workload(labels, namespace)
            .map(|p| p.ports.keys().copied().collect())
            .unwrap_or_default()
    }

    /// The mode for a namespace as a whole.
    pub(crate) fn of_namespace(&self, namespace: &str) -> MtlsMode {
        let broad = |ns: &str| {
            self.policies
                .iter()
                // Only the oldest counts, even if it leaves the mode to the mesh.
                .find(|p| &*p.meta.namespace == ns && p.selector.labels.is_empty())
                .and_then(|p| p.mode)
        };
        broad(namespace)
            .or_else(|| broad(&self.root))
            .unwrap_or(self.default)
    }

    /// The mode for ports about which nothing more is said.
    pub(crate) fn of_other_ports(&self, labels: &Labels, namespace: &str) -> MtlsMode {
        self.of_workload(labels, namespace)
            .and_then(|p| p.mode)
            .unwrap_or_else(|| self.of_namespace(namespace))
    }
}
