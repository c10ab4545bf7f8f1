//! Traces.

use std::collections::BTreeMap;

use hawser_model::matching::Fraction;
use hawser_model::provider::Provider;
use hawser_model::telemetry::Tag;
use hawser_model::{ProxyKind, Shared, Str};
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hawser_proto::envoy::r#type::tracing::v3 as tags;
use hawser_proto::envoy::r#type::v3::Percent;

use super::{Subject, tracer};
use crate::wire;

/// Istio traces one request in a hundred unless told otherwise.
const DEFAULT_SAMPLING: Fraction = Fraction(10_000);

/// What is traced, and to where.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tracing {
    pub use_request_id: bool,
    provider: Provider,
    sampling: Fraction,
    tags: BTreeMap<Str, Tag>,
    /// Tags of the proxy itself, and of policies that are only tried out.
    istio_tags: Option<Vec<(&'static str, Str)>>,
    /// 0 is Envoy's.
    max_path_tag_length: u32,
    no_propagation: bool,
    /// The call upstream is a span of its own, rather than part of the request's.
    upstream_span: bool,
    /// Name under which spans appear: application and namespace.
    service: Str,
}

/// The traces of a subject's traffic; `None` where nothing is traced.
pub(crate) fn plan(subject: &Subject<'_>) -> Option<Shared<Tracing>> {
    let mesh = &subject.snapshot.mesh;
    let mut provider = mesh.default_tracing.first().cloned();
    let mut sampling = mesh.tracing.sampling.unwrap_or(DEFAULT_SAMPLING);
    let mut tags = mesh.tracing.tags.clone();
    let (mut istio_tags, mut no_propagation) = (true, false);
    let mut disabled = false;
    let mut use_request_id = true;
    for telemetry in subject.levels() {
        for entry in telemetry
            .tracing
            .iter()
            .filter(|t| subject.concerns(t.mode))
        {
            provider = entry.providers.first().cloned().or(provider);
            sampling = entry.sampling.unwrap_or(sampling);
            disabled = entry.disabled.unwrap_or(disabled);
            use_request_id = entry.use_request_id.unwrap_or(use_request_id);
            istio_tags = entry.istio_tags.unwrap_or(istio_tags);
            no_propagation = entry.no_propagation.unwrap_or(no_propagation);
            if !entry.tags.is_empty() {
                tags = entry.tags.clone();
            }
        }
    }
    let provider = mesh.providers.get(&provider?)?;
    let collector = tracer::collector(provider)?;
    if disabled || !provider.services().all(|(h, p)| subject.reaches(h, p)) {
        return None;
    }
    if collector.samples {
        // All spans have to reach who decides.
        sampling = Fraction::from_percent(100.0);
    }
    Some(Shared::new(Tracing {
        istio_tags: istio_tags.then(|| own_tags(subject)),
        max_path_tag_length: match collector.max_tag_length {
            0 => mesh.tracing.max_path_tag_length,
            length => length,
        },
        no_propagation,
        use_request_id,
        upstream_span: subject.proxy.kind == ProxyKind::Router
            || matches!(provider, Provider::SkyWalking { .. }),
        provider: provider.clone(),
        sampling,
        tags,
        service: service_name(subject),
    }))
}

/// The name that the node has as its cluster, as Istio has it; of nodes without, what an agent would have put there.
fn service_name(subject: &Subject<'_>) -> Str {
    let proxy = subject.proxy;
    if !proxy.service_name.is_empty() {
        return proxy.service_name.clone();
    }
    let label = |key: &str| subject.labels.get(key).filter(|v| !v.is_empty());
    let name = label("app").unwrap_or(&proxy.workload);
    format!("{name}.{}", proxy.namespace).into()
}

/// What Istio tells of the proxy in each span.
fn own_tags(subject: &Subject<'_>) -> Vec<(&'static str, Str)> {
    let proxy = subject.proxy;
    let label = |key: &str, default: &str| -> Str {
        match subject.labels.get(key) {
            Some(value) if !value.is_empty() => value.into(),
            _ => default.into(),
        }
    };
    let mesh = proxy.metadata.get("MESH_ID").filter(|id| !id.is_empty());
    vec![
        (
            "istio.canonical_revision",
            label("service.istio.io/canonical-revision", "latest"),
        ),
        (
            "istio.canonical_service",
            label("service.istio.io/canonical-name", "unknown"),
        ),
        ("istio.cluster_id", proxy.cluster.as_str().into()),
        ("istio.mesh_id", mesh.cloned().unwrap_or("unknown".into())),
        ("istio.namespace", proxy.namespace.clone()),
    ]
}

/// Tags of policies that are only tried out, by what the RBAC filter leaves in the request's metadata.
const DRY_RUN_TAGS: &[(&str, &str)] = &[
    (
        "istio.authorization.dry_run.allow_policy.name",
        "istio_dry_run_allow_shadow_effective_policy_id",
    ),
    (
        "istio.authorization.dry_run.allow_policy.result",
        "istio_dry_run_allow_shadow_engine_result",
    ),
    (
        "istio.authorization.dry_run.deny_policy.name",
        "istio_dry_run_deny_shadow_effective_policy_id",
    ),
    (
        "istio.authorization.dry_run.deny_policy.result",
        "istio_dry_run_deny_shadow_engine_result",
    ),
];

fn metadata_tag(name: &str, key: &str) -> tags::CustomTag {
    use hawser_proto::envoy::r#type::metadata::v3 as metadata;
    use metadata::metadata_key::{PathSegment, path_segment::Segment};
    tags::CustomTag {
        tag: name.to_owned(),
        r#type: Some(tags::custom_tag::Type::Metadata(
            tags::custom_tag::Metadata {
                kind: Some(metadata::MetadataKind {
                    kind: Some(metadata::metadata_kind::Kind::Request(Default::default())),
                }),
                metadata_key: Some(metadata::MetadataKey {
                    key: crate::authz::HTTP_RBAC.to_owned(),
                    path: vec![PathSegment {
                        segment: Some(Segment::Key(key.to_owned())),
                    }],
                }),
                default_value: String::new(),
            },
        )),
    }
}

fn all_tags(plan: &Tracing) -> Vec<tags::CustomTag> {
    let mut out: Vec<_> = plan
        .tags
        .iter()
        .map(|(name, tag)| custom_tag(name, tag))
        .collect();
    if let Some(own) = &plan.istio_tags {
        let literals = own
            .iter()
            .map(|(name, value)| custom_tag(name, &Tag::Literal(value.clone())));
        out.extend(literals);
        out.extend(
            DRY_RUN_TAGS
                .iter()
                .map(|(name, key)| metadata_tag(name, key)),
        );
    }
    out.sort_by(|a, b| a.tag.cmp(&b.tag));
    out
}

pub(crate) fn tracing(plan: &Tracing) -> hcm::http_connection_manager::Tracing {
    let percent = |value: f64| Some(Percent { value });
    hcm::http_connection_manager::Tracing {
        client_sampling: percent(100.0),
        random_sampling: percent(f64::from(plan.sampling.0) / 10_000.0),
        overall_sampling: percent(100.0),
        custom_tags: all_tags(plan),
        max_path_tag_length: (plan.max_path_tag_length > 0)
            .then(|| wire::u32v(plan.max_path_tag_length)),
        no_context_propagation: plan.no_propagation,
        spawn_upstream_span: plan.upstream_span.then(|| wire::boolv(true)),
        provider: tracer::tracer(&plan.provider, &plan.service),
        ..Default::default()
    }
}

fn custom_tag(name: &str, tag: &Tag) -> tags::CustomTag {
    use tags::custom_tag::{Environment, Header, Literal, Type};
    tags::CustomTag {
        tag: name.to_owned(),
        r#type: Some(match tag {
            Tag::Literal(value) => Type::Literal(Literal {
                value: value.to_string(),
            }),
            Tag::Environment(name, default) => Type::Environment(Environment {
                name: name.to_string(),
                default_value: default.to_string(),
            }),
            Tag::Header(name, default) => Type::RequestHeader(Header {
                name: name.to_string(),
                default_value: default.to_string(),
            }),
            Tag::Formatter(format) => Type::Value(format.to_string()),
        }),
    }
}
