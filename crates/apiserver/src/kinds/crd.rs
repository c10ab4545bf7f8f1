//! Kinds that CustomResourceDefinitions add.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::{Kind, Scope};
use crate::schema::{CrdSchema, Invalid};
use crate::store::{ResourceId, Stored};

/// What one version of a CRD brings beside its names.
pub struct Custom {
    /// The CRD as it was when its spec was last written.
    definition: Arc<Stored>,
    version: Arc<str>,
    schema: OnceLock<Option<CrdSchema>>,
    /// `additionalPrinterColumns`, or null.
    pub columns: Value,
    /// `subresources.scale`, or null.
    pub scale: Value,
    /// Another one for every spec that there was.
    pub spec_id: Arc<str>,
}

impl Custom {
    /// The version's schema. It is read when first asked for: of the kinds that a mesh brings most have no objects.
    pub fn schema(&self) -> Option<&CrdSchema> {
        let read = || {
            let spec = self.spec();
            let mut versions = spec["versions"].as_array().into_iter().flatten();
            let version = versions.find(|version| version["name"] == *self.version)?;
            CrdSchema::parse(version.pointer("/schema/openAPIV3Schema")?).ok()
        };
        self.schema.get_or_init(read).as_ref()
    }

    /// The CRD's spec, for OpenAPI.
    pub fn spec(&self) -> Value {
        self.definition.value()["spec"].take()
    }
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom")
            .field("spec_id", &self.spec_id)
            .finish_non_exhaustive()
    }
}

/// Fills in what the API fills in for a CRD: names and conversion.
pub fn default_spec(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if text(names.get("singular")).is_empty() {
            names.insert("singular".into(), kind.to_lowercase().into());
        }
        if text(names.get("listKind")).is_empty() {
            names.insert("listKind".into(), format!("{kind}List").into());
        }
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({}));
    if let Some(conversion) = conversion.as_object_mut() {
        conversion
            .entry("strategy")
            .or_insert_with(|| "None".into());
    }
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// What is wrong with a CRD: its name, versions and schemas.
pub fn validate(crd: &Value, old: Option<&Value>) -> Vec<Invalid> {
    let mut problems = Vec::new();
    let spec = &crd["spec"];
    let (group, plural) = (text(spec.get("group")), text(spec["names"].get("plural")));
    let name = text(crd["metadata"].get("name"));
    let mut add = |reason: &'static str, field: &str, message: String| {
        problems.push(Invalid {
            reason,
            field: field.to_owned(),
            message,
        });
    };
    for (field, value) in [
        ("spec.group", group),
        ("spec.names.plural", plural),
        ("spec.names.kind", text(spec["names"].get("kind"))),
    ] {
        if value.is_empty() {
            add("FieldValueRequired", field, "Required value".into());
        }
    }
    if !group.is_empty() && !plural.is_empty() && name != format!("{plural}.{group}") {
        add(
            "FieldValueInvalid",
            "metadata.name",
            format!("Invalid value: {name:?}: must be spec.names.plural+\".\"+spec.group"),
        );
    }
    match text(spec.get("scope")) {
        "Namespaced" | "Cluster" => {}
        "" => add("FieldValueRequired", "spec.scope", "Required value".into()),
        other => add(
            "FieldValueNotSupported",
            "spec.scope",
            format!("Unsupported value: {other:?}: supported values: \"Cluster\", \"Namespaced\""),
        ),
    }
    let no_versions = Vec::new();
    let versions = spec["versions"].as_array().unwrap_or(&no_versions);
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if stored != 1 {
        add(
            "FieldValueInvalid",
            "spec.versions",
            format!(
                "Invalid value: {}: must have exactly one version marked as storage version",
                spec["versions"]
            ),
        );
    }
    if let Some(old) = old {
        for field in ["group", "scope"] {
            if old["spec"][field] != spec[field] {
                let message = format!("Invalid value: {}: field is immutable", spec[field]);
                add("FieldValueInvalid", &format!("spec.{field}"), message);
            }
        }
    }
    if old.is_some_and(|old| old["spec"]["versions"] == spec["versions"]) {
        return problems;
    }
    for (at, version) in versions.iter().enumerate() {
        match version.pointer("/schema/openAPIV3Schema") {
            None => add(
                "FieldValueRequired",
                &format!("spec.versions[{at}].schema.openAPIV3Schema"),
                "Required value: schemas are required".into(),
            ),
            Some(openapi) => {
                if let Err(found) = CrdSchema::parse(openapi) {
                    // With one version the real server speaks of `spec.validation`, with several of the version.
                    for mut problem in found {
                        if versions.len() > 1 {
                            let path = format!("spec.versions[{at}].schema");
                            problem.field = problem.field.replacen("spec.validation", &path, 1);
                        }
                        problems.push(problem);
                    }
                    return problems;
                }
            }
        }
    }
    problems
}

/// The kinds that a CRD serves, one per served version; `crd` is what is stored, read.
pub fn kinds(definition: &Arc<Stored>, crd: &Value) -> Vec<Kind> {
    let spec = &crd["spec"];
    let generation = &crd["metadata"]["generation"];
    let spec_id: Arc<str> = format!("{} {generation}", definition.uid).into();
    let names = &spec["names"];
    let strings = |value: &Value| -> Vec<Arc<str>> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Arc::from)
            .collect()
    };
    let group: Arc<str> = text(spec.get("group")).into();
    let plural: Arc<str> = text(names.get("plural")).into();
    let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
    let storage: Arc<str> = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map_or("", |version| text(version.get("name")))
        .into();
    versions
        .into_iter()
        .filter(|version| version["served"] == true)
        .map(|version| {
            let selectable = version["selectableFields"].as_array().into_iter().flatten();
            Kind {
                group: group.clone(),
                version: text(version.get("name")).into(),
                kind: text(names.get("kind")).into(),
                plural: plural.clone(),
                singular: text(names.get("singular")).into(),
                list_kind: text(names.get("listKind")).into(),
                short_names: strings(&names["shortNames"]),
                categories: strings(&names["categories"]),
                scope: if spec["scope"] == "Cluster" {
                    Scope::Cluster
                } else {
                    Scope::Namespaced
                },
                status: version.pointer("/subresources/status").is_some(),
                scale: version.pointer("/subresources/scale").is_some(),
                generation: true,
                create_on_update: false,
                returns_deleted: false,
                virtual_only: false,
                selectable: selectable
                    .filter_map(|field| field["jsonPath"].as_str())
                    .map(|path| path.trim_start_matches('.').into())
                    .collect(),
                resource: ResourceId::new(&plural, &group),
                storage_group: group.clone(),
                storage_version: storage.clone(),
                custom: Some(Arc::new(Custom {
                    definition: definition.clone(),
                    version: text(version.get("name")).into(),
                    schema: OnceLock::new(),
                    columns: version["additionalPrinterColumns"].clone(),
                    scale: version
                        .pointer("/subresources/scale")
                        .cloned()
                        .unwrap_or(Value::Null),
                    spec_id: spec_id.clone(),
                })),
            }
        })
        .collect()
}

/// Kubernetes' order of versions: stable before beta before alpha, then by number, then anything else by name.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    fn rank(version: &str) -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (major, rest) = rest.split_at(digits);
        let major = major.parse().ok()?;
        for (name, stage) in [("alpha", 0), ("beta", 1)] {
            if let Some(minor) = rest.strip_prefix(name) {
                return Some((stage, major, minor.parse().ok()?));
            }
        }
        rest.is_empty().then_some((2, major, 0))
    }
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

#[cfg(test)]
mod tests {
    use super::compare_versions;

    #[test]
    fn versions_in_kubernetes_order() {
        let mut versions = [
            "v1alpha1",
            "foo1",
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v11alpha2",
            "v3beta1",
        ];
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v11beta2",
                "v3beta1",
                "v11alpha2",
                "v1alpha1",
                "foo1"
            ]
        );
    }
}
