//! TrafficExtensions as HTTP filters, and their places among those of policies (Istio's `InsertedExtensionConfigurations`).

use hawser_model::extension::{Phase, TrafficExtension};
use hawser_model::telemetry::Mode;
use hawser_model::{Shared, Snapshot};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::filters::http::lua::v3 as lua;

use crate::authz::{HttpFilters, Workload};
use crate::listener::spec::Encoded;

/// The extensions of one workload's traffic in one direction, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Extensions {
    all: Vec<Extension>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Extension {
    phase: Phase,
    /// Empty is all.
    ports: Vec<u16>,
    filter: Encoded,
}

impl Extensions {
    /// Those that hold for a workload: inbound, or outbound and at gateways.
    pub(crate) fn of(snapshot: &Snapshot, workload: &Workload<'_>, inbound: bool) -> Self {
        let mut chosen: Vec<&Shared<TrafficExtension>> = snapshot
            .extensions
            .iter()
            .filter(|e| workload.selected(snapshot, &e.meta.namespace, &e.selector))
            .collect();
        // Those of the workload's own namespace come before those of the whole mesh.
        chosen.sort_by_key(|e| {
            let own = &*e.meta.namespace == workload.namespace;
            (e.phase, std::cmp::Reverse(e.priority), !own)
        });
        Self {
            all: chosen
                .into_iter()
                .filter_map(|e| extension(e, inbound))
                .collect(),
        }
    }

    /// True if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn at(&self, phase: Phase, port: u16) -> impl Iterator<Item = &Encoded> {
        let here = move |e: &&Extension| {
            e.phase == phase && (e.ports.is_empty() || e.ports.contains(&port))
        };
        self.all.iter().filter(here).map(|e| &e.filter)
    }

    /// Policies and extensions in the order in which requests to a port pass them.
    pub(crate) fn among(&self, policies: &HttpFilters, port: u16) -> Vec<Encoded> {
        let asked = policies.asked.iter();
        asked
            .chain(self.at(Phase::Authn, port))
            .chain(&policies.tokens)
            .chain(self.at(Phase::Authz, port))
            .chain(&policies.decided)
            .chain(self.at(Phase::Stats, port))
            .chain(self.at(Phase::Unspecified, port))
            .cloned()
            .collect()
    }
}

fn extension(extension: &TrafficExtension, inbound: bool) -> Option<Extension> {
    let concerns = |mode: Mode| match mode {
        Mode::ClientAndServer => true,
        Mode::Client => !inbound,
        Mode::Server => inbound,
    };
    let mut matching = extension.matches.iter().filter(|m| concerns(m.mode));
    let all = extension.matches.is_empty() || matching.clone().any(|m| m.ports.is_empty());
    let ports: Vec<u16> = match all {
        true => Vec::new(),
        false => matching.by_ref().flat_map(|m| m.ports.clone()).collect(),
    };
    (all || !ports.is_empty()).then(|| Extension {
        phase: extension.phase,
        ports,
        filter: Encoded::new(
            &format!(
                "extensions.istio.io/trafficextension/{}.{}",
                extension.meta.namespace, extension.meta.name
            ),
            &lua::Lua {
                default_source_code: Some(core::DataSource {
                    specifier: Some(core::data_source::Specifier::InlineString(
                        extension.lua.to_string(),
                    )),
                    ..Default::default()
                }),
                ..Default::default()
            },
        ),
    })
}
