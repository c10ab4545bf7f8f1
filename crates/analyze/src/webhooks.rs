//! Webhooks of Istio: injectors that overlap or lead nowhere, and control planes outside the cluster.

use crate::codes::{CONTROL_PLANE_BY_ADDRESS, INVALID_CONTROL_PLANE, INVALID_WEBHOOK};
use crate::finding::{Finding, full_name, list, on};
use crate::injection::{INJECTION, REVISION};
use crate::world::{INJECT, Obj, World};
use hawser_api::apps::{Webhook, WebhookConfiguration};
use hawser_api::selector::KubeSelector;
use hawser_api::{Kind, Labels};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A webhook, its configuration, and its place there.
type Hook<'a> = (&'a Obj<WebhookConfiguration, ()>, usize, &'a Webhook);

/// Above so many revisions no more combinations of labels are tried.
const MOST_REVISIONS: usize = 32;

/// Istio `webhook.Analyzer`.
pub fn injectors(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut revisions: BTreeSet<String> = BTreeSet::new();
    let mut hooks: Vec<Hook<'_>> = Vec::new();
    for config in &world.mutating_webhooks {
        let own = revisions_of(config);
        if own.is_empty()
            && !config
                .spec
                .webhooks
                .iter()
                .any(|h| h.name.ends_with("istio.io"))
        {
            continue;
        }
        revisions.extend(own);
        hooks.extend(
            config
                .spec
                .webhooks
                .iter()
                .enumerate()
                .map(|(i, hook)| (config, i, hook)),
        );
    }
    let revisions: Vec<&str> = revisions
        .iter()
        .map(String::as_str)
        .take(MOST_REVISIONS)
        .collect();
    for namespace in combinations(INJECTION, ["enabled", "disabled"], &revisions) {
        for object in combinations(INJECT, ["true", "false"], &revisions) {
            let takes = |selector: &Option<KubeSelector>, labels: &Labels| {
                selector.as_ref().is_none_or(|s| s.matches(labels))
            };
            let taking: BTreeMap<String, &Hook<'_>> = hooks
                .iter()
                .filter(|(_, _, h)| {
                    takes(&h.namespace_selector, &namespace) && takes(&h.object_selector, &object)
                })
                .map(|hook| (format!("{}/{}", full_name(&hook.0.meta), hook.2.name), hook))
                .collect();
            for (name, (config, i, _)) in taking.iter().filter(|_| taking.len() > 1) {
                let others = list(
                    taking
                        .keys()
                        .filter(|other| *other != name)
                        .map(String::as_str),
                );
                let message = format!("webhook overlaps with {others}: pods may be injected twice");
                let found = Finding::new(
                    INVALID_WEBHOOK,
                    on(Kind::MutatingWebhookConfiguration, &config.meta),
                    format!("webhooks[{i}]"),
                    message,
                );
                out.push(found.help("change the selectors so that one webhook takes a pod, or delete the configuration of an old revision"));
            }
        }
    }
    for (config, i, hook) in hooks {
        let Some(service) = &hook.client_config.service else {
            continue;
        };
        if world
            .shared
            .services
            .named(&service.namespace, &service.name)
            .next()
            .is_none()
        {
            let message = format!(
                "the control plane's Service {}/{} does not exist: nothing is injected",
                service.namespace, service.name
            );
            let path = format!("webhooks[{i}].clientConfig.service");
            let found = Finding::new(
                INVALID_WEBHOOK,
                on(Kind::MutatingWebhookConfiguration, &config.meta),
                path,
                message,
            );
            out.push(
                found.help(
                    "install the control plane, or delete the configuration that is left of it",
                ),
            );
        }
    }
    out
}

/// The revisions that a configuration or its selectors name.
fn revisions_of(config: &Obj<WebhookConfiguration, ()>) -> BTreeSet<String> {
    let mut out: BTreeSet<String> = config
        .label(REVISION)
        .map(str::to_owned)
        .into_iter()
        .collect();
    let selectors = config
        .spec
        .webhooks
        .iter()
        .flat_map(|h| [&h.namespace_selector, &h.object_selector]);
    for selector in selectors.flatten() {
        out.extend(selector.match_labels.get(REVISION).cloned());
        for expression in selector
            .match_expressions
            .iter()
            .filter(|e| e.key == REVISION)
        {
            out.extend(expression.values.iter().cloned());
        }
    }
    out
}

/// The labels that are tried: the injection label absent or with a value, alone and with each revision.
fn combinations(key: &str, values: [&str; 2], revisions: &[&str]) -> Vec<Labels> {
    let mut base = vec![Labels::new()];
    base.extend(values.map(|v| Labels::from([(key.to_owned(), v.to_owned())])));
    let mut out = base.clone();
    for revision in revisions {
        out.extend(base.iter().map(|labels| {
            let mut labels = labels.clone();
            labels.insert(REVISION.to_owned(), (*revision).to_owned());
            labels
        }));
    }
    out
}

/// Istio `externalcontrolplane.ExternalControlPlaneAnalyzer`, without its look-up of names.
pub fn control_planes(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for config in &world.validating_webhooks {
        let name = config.meta.name.as_str();
        if name == "istiod-default-validator" || name.starts_with("istio-validator") {
            addresses(Kind::ValidatingWebhookConfiguration, config, &mut out);
        }
    }
    for config in &world.mutating_webhooks {
        if config.meta.name.starts_with("istio-sidecar-injector") {
            addresses(Kind::MutatingWebhookConfiguration, config, &mut out);
        }
    }
    out
}

fn addresses(kind: Kind, config: &Obj<WebhookConfiguration, ()>, out: &mut Vec<Finding>) {
    for (i, hook) in config.spec.webhooks.iter().enumerate() {
        let mut found = |code, message: String, help: &str| {
            let path = format!("webhooks[{i}].clientConfig.url");
            out.push(Finding::new(code, on(kind, &config.meta), path, message).help(help));
        };
        let Some(url) = &hook.client_config.url else {
            if hook.client_config.service.is_none() {
                found(
                    INVALID_CONTROL_PLANE,
                    format!("webhook {} has no address", hook.name),
                    "set clientConfig.url or clientConfig.service",
                );
            }
            continue;
        };
        match host(url) {
            None => found(
                INVALID_CONTROL_PLANE,
                format!("the address of webhook {} is no URL: {url}", hook.name),
                "write https://host:15017/inject",
            ),
            Some(host) if host.parse::<IpAddr>().is_ok() => {
                let message = format!(
                    "webhook {} reaches the control plane by IP address ({url}): not for production",
                    hook.name
                );
                found(
                    CONTROL_PLANE_BY_ADDRESS,
                    message,
                    "give the control plane's gateway a name",
                );
            }
            Some(_) => {}
        }
    }
}

/// The host of a URL, without the brackets of IPv6.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let clean = !host.is_empty() && !url.contains(|c: char| c.is_whitespace() || c.is_control());
    (scheme_ok && clean).then_some(host)
}
