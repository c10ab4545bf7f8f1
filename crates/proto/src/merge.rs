//! Merging one message into another, field by field, as Istio merges the patches of EnvoyFilters.

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::json::{self, JsonError};

/// A message with another of its type merged in. With `replace_lists`, lists take each other's place instead of being
/// joined.
pub fn merged<M: Message + Name + Default>(
    message: &M,
    patch: DynamicMessage,
    replace_lists: bool,
) -> Result<M, JsonError> {
    let mut out = json::decode(&M::full_name(), &message.encode_to_vec())?;
    merge(&mut out, patch, replace_lists, 0);
    typed(&out)
}

/// Merges `from` into `into`, both of one type.
pub fn merge_into(into: &mut DynamicMessage, from: DynamicMessage) {
    merge(into, from, false, 0);
}

/// A dynamic message as one of a known type.
pub fn typed<M: Message + Name + Default>(message: &DynamicMessage) -> Result<M, JsonError> {
    M::decode(message.encode_to_vec().as_slice()).map_err(|source| JsonError::Decode {
        name: M::full_name(),
        source,
    })
}

/// Depth at which merging stops; Envoy's messages have less.
const MAX_DEPTH: usize = 64;

/// Messages whose packed configuration is merged within, as Istio does; any other packed message is replaced.
const MERGED_WITHIN: &[&str] = &[
    "envoy.config.core.v3.TransportSocket",
    "envoy.config.listener.v3.Filter",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
];

/// Merges `from` into `into`: scalars and entries of maps are replaced, messages merged, lists joined (or replaced).
/// Durations and wrapped scalars count as scalars: `false` in a patch means `false`.
fn merge(into: &mut DynamicMessage, mut from: DynamicMessage, replace_lists: bool, depth: usize) {
    let within = MERGED_WITHIN.contains(&into.descriptor().full_name());
    let fields: Vec<_> = from.take_fields().collect();
    for (field, value) in fields {
        if depth >= MAX_DEPTH || !into.has_field(&field) {
            into.set_field(&field, value);
            continue;
        }
        match (into.get_field_mut(&field), value) {
            (Value::Map(own), Value::Map(more)) => own.extend(more),
            (Value::List(own), Value::List(more)) if !replace_lists => own.extend(more),
            (Value::Message(own), Value::Message(value)) => {
                let name = value.descriptor().full_name().to_owned();
                let packed = name == "google.protobuf.Any";
                if packed && within && merge_any(own, &value, replace_lists, depth + 1) {
                    continue;
                }
                if packed || is_scalar(&name) {
                    *own = value;
                } else {
                    merge(own, value, replace_lists, depth + 1);
                }
            }
            (own, value) => *own = value,
        }
    }
}

fn is_scalar(message: &str) -> bool {
    message == "google.protobuf.Duration"
        || (message.starts_with("google.protobuf.")
            && message.ends_with("Value")
            && !matches!(
                message,
                "google.protobuf.Value" | "google.protobuf.ListValue"
            ))
}

/// Merges what two packed messages of one type hold; false if they are of different or unknown types.
fn merge_any(
    into: &mut DynamicMessage,
    from: &DynamicMessage,
    replace_lists: bool,
    depth: usize,
) -> bool {
    let text = |m: &DynamicMessage| m.get_field_by_name("type_url")?.as_str().map(str::to_owned);
    let bytes = |m: &DynamicMessage| m.get_field_by_name("value")?.as_bytes().cloned();
    let (Some(own_type), Some(type_url)) = (text(into), text(from)) else {
        return false;
    };
    if own_type != type_url {
        return false;
    }
    let decode = |m: &DynamicMessage| json::decode(&type_url, &bytes(m)?).ok();
    let (Some(mut inner), Some(patch)) = (decode(into), decode(from)) else {
        return false;
    };
    merge(&mut inner, patch, replace_lists, depth);
    into.set_field_by_name("value", Value::Bytes(inner.encode_to_vec().into()));
    true
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_reflect::{DynamicMessage, ReflectMessage};
    use serde_json::{Value, json};

    use super::merge;
    use crate::json::{parse, print_any};

    const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

    #[track_caller]
    fn check(name: &str, replace_lists: bool, into: Value, from: Value, expected: Value) {
        let mut out = parse(BOOTSTRAP, &into).unwrap();
        merge(&mut out, parse(BOOTSTRAP, &from).unwrap(), replace_lists, 0);
        assert_eq!(printed(&out), expected, "{name}");
    }

    fn printed(message: &DynamicMessage) -> Value {
        let any = crate::google::protobuf::Any {
            type_url: message.descriptor().full_name().to_owned(),
            value: message.encode_to_vec(),
        };
        print_any(&any).unwrap()
    }

    #[test]
    fn merging() {
        let cluster = |name: &str| json!({"static_resources": {"clusters": [{"name": name}]}});
        check(
            "messages are merged, durations and wrapped scalars replaced",
            false,
            json!({"stats_flush_interval": "5.500s", "node": {"id": "a"}, "stats_config": {"use_all_default_tags": true}}),
            json!({"stats_flush_interval": "2s", "node": {"cluster": "c"}, "stats_config": {"use_all_default_tags": false}}),
            json!({"stats_flush_interval": "2s", "node": {"id": "a", "cluster": "c"}, "stats_config": {"use_all_default_tags": false}}),
        );
        check(
            "lists are joined",
            false,
            cluster("a"),
            cluster("b"),
            json!({"static_resources": {"clusters": [{"name": "a"}, {"name": "b"}]}}),
        );
        check(
            "lists are replaced",
            true,
            cluster("a"),
            cluster("b"),
            cluster("b"),
        );
        let tracer = |inner: Value| {
            let mut config = json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"});
            config
                .as_object_mut()
                .unwrap()
                .extend(inner.as_object().unwrap().clone());
            json!({"tracing": {"http": {"name": "x", "typed_config": config}}})
        };
        check(
            "what is packed is replaced",
            false,
            tracer(json!({"sni": "a"})),
            tracer(json!({"max_session_keys": 2})),
            tracer(json!({"max_session_keys": 2})),
        );
    }

    #[test]
    fn the_configuration_of_a_filter_is_merged_within() {
        const FILTER: &str = "envoy.config.listener.v3.Filter";
        let filter = |more: Value| {
            let mut config = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"});
            config
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({"name": "f", "typed_config": config})
        };
        let mut out = parse(FILTER, &filter(json!({"stat_prefix": "p"}))).unwrap();
        merge(
            &mut out,
            parse(FILTER, &filter(json!({"idle_timeout": "3s"}))).unwrap(),
            false,
            0,
        );
        assert_eq!(
            printed(&out),
            filter(json!({"stat_prefix": "p", "idle_timeout": "3s"}))
        );
    }
}
