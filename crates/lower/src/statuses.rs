//! Statuses as they are to be written: ours, with what others said beside it. A status has several authors, and none may
//! lose, double or reorder what another said (Gateway API, `GatewayPreserveForeignConditions`; Istio's `setConditions` and
//! `createRouteStatus`).

use hawser_api::{Kind, ObjectRef};
use serde_json::{Map, Value};

use crate::gateway_api::CONTROLLERS;

/// Types of conditions that are ours to say: one that we no longer say goes.
const CONDITIONS: [&str; 5] = [
    "Accepted",
    "Conflicted",
    "InsecureFrontendValidationMode",
    "Programmed",
    "ResolvedRefs",
];

/// Lists of what several controllers say, each of a reference of its own, and how many entries they can have.
const BY_CONTROLLER: [(&str, &str, usize); 2] = [
    ("parents", "parentRef", 32),
    ("ancestors", "ancestorRef", 16),
];

/// The status that an object has after we said ours.
pub fn merged(object: &ObjectRef, live: &Value, ours: &Value) -> Value {
    let mut out = match live {
        // Of a ServiceEntry we write addresses alone.
        Value::Object(live) if object.kind == Kind::ServiceEntry => live.clone(),
        _ => Map::new(),
    };
    for (key, value) in ours.as_object().into_iter().flatten() {
        let merged = match key.as_str() {
            "conditions" => conditions(&live[key], value),
            "listeners" => listeners(&live[key], value),
            _ => value.clone(),
        };
        out.insert(key.clone(), merged);
    }
    for (key, reference, most) in BY_CONTROLLER {
        if live[key].is_array() || ours[key].is_array() {
            let mut all = by_controller(&live[key], &ours[key], reference, &object.namespace);
            all.truncate(most);
            out.insert(key.to_owned(), Value::Array(all));
        }
    }
    Value::Object(out)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Conditions by type: ours take the place of those before them.
fn conditions(live: &Value, ours: &Value) -> Value {
    let of = |list, type_: &Value| items(list).any(|c| c["type"] == *type_);
    let kept = items(live).filter_map(|theirs| {
        let said = items(ours).find(|c| c["type"] == theirs["type"]);
        let free = || !CONDITIONS.iter().any(|own| theirs["type"] == *own);
        said.or_else(|| free().then_some(theirs))
    });
    let new = items(ours).filter(|c| !of(live, &c["type"]));
    kept.chain(new).cloned().collect()
}

/// Listeners are ours; others may add conditions to them.
fn listeners(live: &Value, ours: &Value) -> Value {
    let one = |listener: &Value| {
        let before = items(live).find(|l| l["name"] == listener["name"]);
        with_conditions(before, listener)
    };
    items(ours).map(one).collect()
}

/// An entry of ours, with the conditions that others added to the one before it.
fn with_conditions(before: Option<&Value>, ours: &Value) -> Value {
    let mut out = ours.clone();
    if let (Some(before), Some(fields)) = (before, out.as_object_mut()) {
        let all = conditions(&before["conditions"], &ours["conditions"]);
        fields.insert("conditions".to_owned(), all);
    }
    out
}

/// Entries of all controllers: ours take the place of those before them, and new ones follow.
fn by_controller(live: &Value, ours: &Value, reference: &str, namespace: &str) -> Vec<Value> {
    let place = |entry: &Value| {
        let controller = entry["controllerName"].clone();
        (controller, Place::of(&entry[reference], namespace))
    };
    let mut new: Vec<&Value> = items(ours).collect();
    let mut out = Vec::new();
    for before in items(live) {
        if !CONTROLLERS.iter().any(|c| before["controllerName"] == *c) {
            out.push(before.clone());
        } else if let Some(i) = new.iter().position(|o| place(o) == place(before)) {
            out.push(with_conditions(Some(before), new.remove(i)));
        }
    }
    out.extend(new.into_iter().cloned());
    out
}

/// What a reference names, whatever of it was left to defaults.
#[derive(PartialEq)]
struct Place {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    section: String,
    port: Option<i64>,
}

impl Place {
    fn of(reference: &Value, namespace: &str) -> Self {
        let text = |key: &str, otherwise: &str| {
            let said = reference[key].as_str().unwrap_or(otherwise);
            said.to_owned()
        };
        Self {
            group: text("group", "gateway.networking.k8s.io"),
            kind: text("kind", "Gateway"),
            namespace: text("namespace", namespace),
            name: text("name", ""),
            section: text("sectionName", ""),
            port: reference["port"].as_i64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: &str = "istio.io/gateway-controller";
    const MESH: &str = "istio.io/mesh-controller";
    const THEIRS: &str = "example.com/c";

    fn check(name: &str, kind: Kind, (live, ours): (Value, Value), expected: Value) {
        let object = ObjectRef {
            kind,
            namespace: "a".to_owned(),
            name: "x".to_owned(),
        };
        let got = merged(&object, &live, &ours);
        assert_eq!(got, expected, "{name}");
        assert_eq!(merged(&object, &got, &ours), got, "{name}: once more");
    }

    fn condition(type_: &str, status: &str) -> Value {
        json!({ "type": type_, "status": status })
    }

    #[test]
    fn conditions_of_others_stay_where_they_are() {
        let theirs = condition("example.com/x", "True");
        check(
            "a first status",
            Kind::K8sGateway,
            (
                Value::Null,
                json!({ "conditions": [condition("Accepted", "True")] }),
            ),
            json!({ "conditions": [condition("Accepted", "True")] }),
        );
        check(
            "ours are replaced; addresses that are no more go",
            Kind::K8sGateway,
            (
                json!({ "addresses": [1], "conditions": [condition("Accepted", "False"), theirs] }),
                json!({ "conditions": [condition("Accepted", "True"), condition("Programmed", "True")] }),
            ),
            json!({ "conditions": [condition("Accepted", "True"), theirs, condition("Programmed", "True")] }),
        );
        // Story: a Gateway told for ever that it let clients in unchecked, though it had been set right.
        check(
            "what we no longer say goes",
            Kind::K8sGateway,
            (
                json!({ "conditions": [condition("Accepted", "True"), condition("InsecureFrontendValidationMode", "True")] }),
                json!({ "conditions": [condition("Accepted", "True")] }),
            ),
            json!({ "conditions": [condition("Accepted", "True")] }),
        );
        let listener =
            |name: &str, conditions: &[Value]| json!({ "name": name, "conditions": conditions });
        check(
            "of listeners likewise",
            Kind::K8sGateway,
            (
                json!({ "listeners": [listener("gone", &[]), listener("l", &[condition("ResolvedRefs", "True"), theirs.clone()])] }),
                json!({ "listeners": [listener("l", &[condition("Conflicted", "True")])] }),
            ),
            json!({ "listeners": [listener("l", &[theirs.clone(), condition("Conflicted", "True")])] }),
        );
        check(
            "addresses beside conditions",
            Kind::ServiceEntry,
            (
                json!({ "conditions": [condition("Reconciled", "True")] }),
                json!({ "addresses": [{ "host": "a", "value": "240.240.0.1" }] }),
            ),
            json!({ "conditions": [condition("Reconciled", "True")], "addresses": [{ "host": "a", "value": "240.240.0.1" }] }),
        );
    }

    #[test]
    fn entries_of_other_controllers_stay_where_they_are() {
        let entry = |controller: &str, reference: Value, conditions: &[Value]| json!({ "controllerName": controller, "parentRef": reference, "conditions": conditions });
        let written = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "a", "name": "g" });
        let short = json!({ "name": "g" });
        let (yes, no) = (
            condition("Accepted", "True"),
            condition("Accepted", "False"),
        );
        let extra = condition("example.com/x", "True");
        // Story: two controllers that each put their own entries last would write for ever.
        check(
            "ours first, theirs second",
            Kind::HttpRoute,
            (
                json!({ "parents": [entry(OURS, written.clone(), &[no.clone(), extra.clone()]), entry(THEIRS, written.clone(), &[])] }),
                json!({ "parents": [entry(OURS, short.clone(), std::slice::from_ref(&yes))] }),
            ),
            json!({ "parents": [entry(OURS, short.clone(), &[yes.clone(), extra]), entry(THEIRS, written.clone(), &[])] }),
        );
        check(
            "theirs first; one that is no more goes, a new one comes last",
            Kind::HttpRoute,
            (
                json!({ "parents": [entry(THEIRS, short.clone(), &[]), entry(OURS, json!({ "name": "old" }), std::slice::from_ref(&yes))] }),
                json!({ "parents": [entry(OURS, short.clone(), std::slice::from_ref(&yes))] }),
            ),
            json!({ "parents": [entry(THEIRS, short.clone(), &[]), entry(OURS, short.clone(), std::slice::from_ref(&yes))] }),
        );
        check(
            "another section is another place",
            Kind::HttpRoute,
            (
                json!({ "parents": [entry(OURS, json!({ "name": "g", "sectionName": "s" }), &[])] }),
                json!({ "parents": [entry(OURS, short.clone(), &[])] }),
            ),
            json!({ "parents": [entry(OURS, short.clone(), &[])] }),
        );
        check(
            "no parent is ours any more",
            Kind::HttpRoute,
            (
                json!({ "parents": [entry(OURS, short.clone(), &[]), entry(THEIRS, short.clone(), &[])] }),
                json!({}),
            ),
            json!({ "parents": [entry(THEIRS, short.clone(), &[])] }),
        );
        let ancestor = |controller: &str, name: String| json!({ "controllerName": controller, "ancestorRef": { "name": name }, "conditions": [] });
        let own: Vec<Value> = (0..20).map(|i| ancestor(MESH, i.to_string())).collect();
        let mut most = vec![ancestor(THEIRS, "g".to_owned())];
        most.extend(own.iter().take(15).cloned());
        check(
            "as many ancestors as there can be",
            Kind::BackendTlsPolicy,
            (
                json!({ "ancestors": [ancestor(THEIRS, "g".to_owned()), ancestor(MESH, "gone".to_owned())] }),
                json!({ "ancestors": own }),
            ),
            json!({ "ancestors": most }),
        );
    }
}
