//! Selectors that several of Istio's APIs share (`istio.type.v1beta1`, and networking's own).

use crate::message::message;
use crate::meta::Labels;
use crate::rules;

message! {
    /// `type.v1beta1.WorkloadSelector`: pods by labels.
    pub struct LabelSelector {
        match_labels: Labels [MaxProperties(4096), Each(&[MaxLength(63), Cel(&rules::NO_WILDCARD_VALUE)]), Cel(&rules::NO_WILDCARD_KEY), Cel(&rules::KEY_NOT_EMPTY)],
    }

    /// `networking.v1alpha3.WorkloadSelector`, whose field is called `labels`.
    pub struct WorkloadSelector {
        labels: Labels [MaxProperties(256), Each(&[MaxLength(63), Cel(&rules::NO_WILDCARD_SELECTOR)])],
    }

    /// `type.v1beta1.PolicyTargetReference`.
    pub struct TargetRef {
        group: String [MaxLength(253), Pattern(rules::GROUP)],
        kind: String [Required, MinLength(1), MaxLength(63), Pattern(rules::KIND)],
        name: String [Required, MinLength(1), MaxLength(253)],
        namespace: String [Cel(&rules::NO_CROSS_NAMESPACE)],
    }

    /// A `metav1.LabelSelector`: both parts must hold.
    pub struct KubeSelector {
        match_labels: Labels,
        match_expressions: Vec<SelectorRequirement>,
    }

    pub struct SelectorRequirement {
        key: String [Required],
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        operator: String [Required],
        values: Vec<String>,
    }
}

impl KubeSelector {
    /// Whether the labels satisfy the selector; an empty one matches everything, an unknown operator nothing.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(k, v)| labels.get(k) == Some(v))
            && self.match_expressions.iter().all(|e| {
                let value = labels.get(&e.key);
                match e.operator.as_str() {
                    "In" => value.is_some_and(|v| e.values.contains(v)),
                    "NotIn" => value.is_none_or(|v| !e.values.contains(v)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}
