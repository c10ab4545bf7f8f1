//! Telemetry objects.

use std::collections::BTreeMap;

use hawser_api::telemetry as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::matching::Fraction;
use hawser_model::mesh::Mesh;
use hawser_model::telemetry::{AccessLogging, Mode, Tag, Telemetry, Tracing};
use hawser_model::{ClusterId, Problem, Str};

use crate::mesh_config::scrapes;
use crate::names;
use crate::notes::{Notes, UNSUPPORTED};
use crate::security::{check_targets, selector};

/// Lowers one Telemetry.
pub fn telemetry(
    object: &Object<api::Telemetry, IstioStatus>,
    cluster: &ClusterId,
    mesh: &Mesh,
    problems: &mut Vec<Problem>,
) -> Telemetry {
    let mut notes = Notes::new(problems, cluster, Kind::Telemetry, &object.meta);
    let spec = &object.spec;
    check_targets(spec.target_ref.as_ref(), &spec.target_refs, &mut notes);
    for (i, metrics) in spec.metrics.iter().enumerate() {
        tell(metrics, &format!("spec.metrics[{i}]"), mesh, &mut notes);
    }
    Telemetry {
        meta: names::meta(&object.meta),
        selector: selector(
            spec.selector.as_ref(),
            spec.target_ref.as_ref(),
            &spec.target_refs,
        ),
        tracing: spec.tracing.iter().map(tracing).collect(),
        access_logging: spec
            .access_logging
            .iter()
            .map(|l| AccessLogging {
                mode: mode(l.match_.as_ref().map(|m| m.mode)),
                providers: providers(&l.providers),
                disabled: l.disabled,
                filter: l
                    .filter
                    .as_ref()
                    .map(|f| f.expression.as_str().into())
                    .unwrap_or_default(),
            })
            .collect(),
    }
}

fn providers(refs: &[api::ProviderRef]) -> Vec<Str> {
    refs.iter().map(|p| p.name.as_str().into()).collect()
}

fn mode(mode: Option<api::WorkloadMode>) -> Mode {
    match mode {
        None | Some(api::WorkloadMode::ClientAndServer) => Mode::ClientAndServer,
        Some(api::WorkloadMode::Client) => Mode::Client,
        Some(api::WorkloadMode::Server) => Mode::Server,
    }
}

fn tracing(tracing: &api::Tracing) -> Tracing {
    Tracing {
        mode: mode(tracing.match_.as_ref().map(|m| m.mode)),
        providers: providers(&tracing.providers),
        sampling: tracing
            .random_sampling_percentage
            .map(Fraction::from_percent),
        disabled: tracing.disable_span_reporting,
        tags: tags(&tracing.custom_tags),
        use_request_id: tracing.use_request_id_for_trace_sampling,
        istio_tags: tracing.enable_istio_tags,
        no_propagation: tracing.disable_context_propagation,
    }
}

/// Further tags of spans.
pub fn tags(tags: &BTreeMap<String, api::CustomTag>) -> BTreeMap<Str, Tag> {
    tags.iter()
        .filter_map(|(name, tag)| Some((name.as_str().into(), self::tag(tag)?)))
        .collect()
}

fn tag(tag: &api::CustomTag) -> Option<Tag> {
    Some(match tag {
        api::CustomTag::Unset => return None,
        api::CustomTag::Literal(l) => Tag::Literal(l.value.as_str().into()),
        api::CustomTag::Environment(e) => {
            Tag::Environment(e.name.as_str().into(), e.default_value.as_str().into())
        }
        api::CustomTag::Header(h) => {
            Tag::Header(h.name.as_str().into(), h.default_value.as_str().into())
        }
        api::CustomTag::Formatter(f) => Tag::Formatter(f.value.as_str().into()),
    })
}

/// Tells of what is said of metrics, which are those of stock Envoy. That Prometheus collects them needs no saying.
fn tell(metrics: &api::Metrics, field: &str, mesh: &Mesh, notes: &mut Notes<'_>) {
    let mut warn = |field: String| {
        notes.warn(
            UNSUPPORTED,
            field,
            "has no effect: metrics are those of stock Envoy",
            "choose Envoy's own by the annotations sidecar.istio.io/statsInclusion…",
        );
    };
    for (i, provider) in metrics.providers.iter().enumerate() {
        if !scrapes(&mesh.providers, &provider.name) {
            warn(format!("{field}.providers[{i}]"));
        }
    }
    if !metrics.overrides.is_empty() {
        warn(format!("{field}.overrides"));
    }
    if metrics.reporting_interval.is_some() {
        warn(format!("{field}.reportingInterval"));
    }
}
