//! What there is to say about the sources themselves: their versions, and what they could not give us.

use std::collections::BTreeMap;

use hawser_api::{Kind, Timestamp};
use hawser_model::problem::ObjectName;
use hawser_model::snapshot::Version;
use hawser_model::{ClusterId, Problem, Severity, Str};

use crate::notes::{SCHEMA, STALE};
use crate::store::Source;
use crate::world::coarse;

/// The versions that the objects have, with sequence 0.
pub fn version(sources: &BTreeMap<ClusterId, Source>) -> Version {
    Version {
        sequence: 0,
        sources: sources
            .iter()
            .flat_map(|(id, source)| {
                source
                    .versions
                    .iter()
                    .map(move |(kind, v)| ((id.clone(), resource(*kind)), v.as_str().into()))
            })
            .collect(),
        stale: sources
            .iter()
            .filter(|(_, s)| s.lost_since.is_some())
            .map(|(id, _)| id.clone())
            .collect(),
    }
}

/// The name of a kind that tells it from all others: `pods`, `gateways.networking.istio.io`.
pub fn resource(kind: Kind) -> Str {
    let info = kind.info();
    if info.group.is_empty() {
        info.plural.into()
    } else {
        info.crd_name().into()
    }
}

/// Sources that do not answer, and objects that could not be read.
pub fn problems(sources: &BTreeMap<ClusterId, Source>, now: Timestamp) -> Vec<Problem> {
    let mut out = Vec::new();
    for (id, source) in sources {
        if let Some(since) = source.lost_since {
            let minutes = coarse(since, now).as_secs() / 60;
            out.push(Problem {
                code: STALE,
                severity: Severity::Warning,
                object: ObjectName {
                    cluster: Some(id.clone()),
                    kind: "Cluster".into(),
                    namespace: Str::default(),
                    name: id.0.clone(),
                },
                field: String::new(),
                message: if minutes == 0 {
                    "the cluster does not answer; its last known endpoints are used".to_owned()
                } else {
                    format!(
                        "the cluster has not answered for at least {minutes} minutes; its last known endpoints are used"
                    )
                },
                help: "check its API server, the network to it and the credentials in its remote secret"
                    .to_owned(),
            });
        }
        for (object, faults) in &source.refused {
            for fault in faults.iter().filter(|f| !f.harmless()) {
                out.push(Problem {
                    code: SCHEMA,
                    severity: Severity::Error,
                    object: ObjectName {
                        cluster: Some(id.clone()),
                        kind: object.kind.info().name.into(),
                        namespace: object.namespace.as_str().into(),
                        name: object.name.as_str().into(),
                    },
                    field: fault.path.clone(),
                    message: fault.message.clone(),
                    help: fault.help.clone(),
                });
            }
        }
    }
    out
}
