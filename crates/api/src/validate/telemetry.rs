//! Telemetry.

use super::{Check, cel, policy};
use crate::telemetry::{CustomTag, Metrics, ProviderRef, TagOperation, Telemetry, Tracing};

pub(super) fn check(c: &mut Check, t: &Telemetry) {
    policy::targets(
        c,
        t.selector.as_ref(),
        t.target_ref.as_ref(),
        &t.target_refs,
    );
    c.each("metrics", &t.metrics, metrics);
    if t.tracing.len() > 1 {
        c.within("tracing", |c| {
            c.warn("only the first entry has an effect", "merge them into one")
        });
    }
    c.each("tracing", &t.tracing, tracing);
    c.each("accessLogging", &t.access_logging, |c, logging| {
        if let Some(filter) = &logging.filter
            && let Err(why) = cel::parse(&filter.expression)
        {
            c.within("filter", |c| {
                c.error_at(
                    "expression",
                    format!("not a CEL expression: {why}"),
                    "write one such as response.code >= 400",
                );
            });
        }
        providers(c, &logging.providers);
    });
}

fn providers(c: &mut Check, providers: &[ProviderRef]) {
    c.each("providers", providers, |c, provider| {
        if provider.name.is_empty() {
            c.error_at(
                "name",
                "must not be empty",
                "name one of meshConfig.extensionProviders",
            );
        }
    });
}

fn tracing(c: &mut Check, t: &Tracing) {
    if t.providers.len() > 1 {
        c.within("providers", |c| {
            c.warn("only one tracing provider is supported", "keep one")
        });
    }
    providers(c, &t.providers);
    if let Some(percent) = t
        .random_sampling_percentage
        .filter(|p| !(0.0..=100.0).contains(p))
    {
        c.error_at(
            "randomSamplingPercentage",
            format!("{percent} percent is not from 0 to 100"),
            "",
        );
    }
    c.entries("customTags", &t.custom_tags, |c, name, tag| {
        if name.is_empty() {
            c.error("a tag's name must not be empty", "");
        }
        let (key, field, value) = match tag {
            CustomTag::Unset => return,
            CustomTag::Literal(t) => ("literal", "value", &t.value),
            CustomTag::Environment(t) => ("environment", "name", &t.name),
            CustomTag::Header(t) => ("header", "name", &t.name),
            CustomTag::Formatter(t) => ("formatter", "value", &t.value),
        };
        if value.is_empty() {
            c.within(key, |c| c.error_at(field, "must not be empty", ""));
        }
    });
}

fn metrics(c: &mut Check, m: &Metrics) {
    providers(c, &m.providers);
    c.each("overrides", &m.overrides, |c, o| {
        c.entries("tagOverrides", &o.tag_overrides, |c, name, tag| {
            if name.is_empty() {
                c.warn("a tag's name should not be empty", "");
            }
            match tag.operation {
                TagOperation::Upsert if tag.value.is_empty() => {
                    c.error_at(
                        "value",
                        "is required for operation UPSERT",
                        "give an expression, or use REMOVE",
                    );
                }
                TagOperation::Remove if !tag.value.is_empty() => {
                    c.error_at(
                        "value",
                        "contradicts operation REMOVE",
                        "remove it, or use UPSERT",
                    );
                }
                _ => {}
            }
        });
        if o.match_
            .as_ref()
            .is_some_and(|m| m.custom_metric.as_deref() == Some(""))
        {
            c.within("match", |c| {
                c.error_at("customMetric", "must not be empty", "")
            });
        }
    });
}
