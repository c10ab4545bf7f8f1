//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

type Labels = BTreeMap<String, String>;

/// Whether a Service's selector picks these labels. A Service without selector picks nothing.
pub(super) fn service_picks(selector: Option<&Labels>, labels: &Labels) -> bool {
    selector.is_some_and(|selector| !selector.is_empty() && covers(selector, labels))
}

/// Whether a workload's selector picks these labels. An operator that we do not know picks nothing.
pub(super) fn picks(selector: &LabelSelector, labels: &Labels) -> bool {
    let exact = selector
        .match_labels
        .as_ref()
        .is_none_or(|wanted| covers(wanted, labels));
    exact
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| {
                let value = labels.get(&requirement.key);
                let listed = value
                    .is_some_and(|value| requirement.values.iter().flatten().any(|v| v == value));
                match requirement.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
}

/// Whether `labels` has every entry of `wanted`.
pub(super) fn covers(wanted: &Labels, labels: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
