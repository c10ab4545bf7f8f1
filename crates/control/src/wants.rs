//! What the mesh as it is asks of the world outside: the writer says it, tasks of their own see to it.

use std::collections::BTreeSet;

use hawser_lower::{Allocation, Lowerer, StatusUpdate};

/// What to fetch, resolve and write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wants {
    /// URIs of keys that tokens are checked by.
    pub keys: BTreeSet<String>,
    /// Host names of gateways to other networks.
    pub names: BTreeSet<String>,
    /// Statuses of the own cluster's objects that are not what they should be.
    pub statuses: Vec<StatusUpdate>,
    /// Addresses of ServiceEntries that their statuses lack.
    pub allocations: Vec<Allocation>,
}

impl Wants {
    /// All of it, as of the last snapshot.
    pub fn of(lowerer: &Lowerer) -> Self {
        Self {
            keys: lowerer.keys_wanted(),
            names: lowerer.names_wanted(),
            statuses: lowerer.statuses().to_vec(),
            allocations: lowerer.allocations(),
        }
    }

    /// The same where the configuration is: only statuses, which are objects' own, may differ then.
    pub fn next(&self, lowerer: &Lowerer) -> Self {
        Self {
            statuses: lowerer.statuses().to_vec(),
            ..self.clone()
        }
    }
}
