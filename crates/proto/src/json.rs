//! Protobuf JSON in snake_case, by descriptors; `Any` is expanded where its type is known.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions,
};
use serde_json::Value;

use crate::google::protobuf::Any;
use crate::istio::nds::NameTable;
use crate::type_url;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::global();
    // The bytes are made by this crate's build script and checked there.
    pool.decode_file_descriptor_set(
        include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin")).as_slice(),
    )
    .expect("descriptors made at build time");
    pool
});

/// Why a message could not be read or printed.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// No descriptor has this name.
    #[error("unknown message type {0}")]
    UnknownType(String),
    /// The bytes are not of that type.
    #[error("not a valid {name}: {source}")]
    Decode {
        /// The message type.
        name: String,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// The JSON does not fit the type.
    #[error("not a valid {name}: {source}")]
    Parse {
        /// The message type.
        name: String,
        /// What the parser said, with the field's name.
        source: serde_json::Error,
    },
    /// The message holds what JSON cannot say (an `Any` of an unknown type).
    #[error("cannot print {name}: {source}")]
    Print {
        /// The message type.
        name: String,
        /// What the printer said.
        source: serde_json::Error,
    },
}

/// All of Envoy's and xDS's message types, well-known types included.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The descriptor of a type by its full name (`envoy.config.cluster.v3.Cluster`) or type URL.
pub fn descriptor(name: &str) -> Result<MessageDescriptor, JsonError> {
    let name = name.rsplit('/').next().unwrap_or(name);
    POOL.get_message_by_name(name)
        .ok_or_else(|| JsonError::UnknownType(name.to_owned()))
}

/// Encoded bytes of a known type as a dynamic message.
pub fn decode(name: &str, bytes: &[u8]) -> Result<DynamicMessage, JsonError> {
    let descriptor = descriptor(name)?;
    DynamicMessage::decode(descriptor, bytes).map_err(|source| JsonError::Decode {
        name: name.to_owned(),
        source,
    })
}

/// A message as protobuf JSON with the proto's own field names.
pub fn print<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    print_dynamic(&decode(&M::full_name(), &message.encode_to_vec())?)
}

/// A dynamic message as protobuf JSON with the proto's own field names.
pub fn print_dynamic(message: &DynamicMessage) -> Result<Value, JsonError> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map(whole_numbers)
        .map_err(|source| JsonError::Print {
            name: message.descriptor().full_name().to_owned(),
            source,
        })
}

/// Doubles without a fraction print as other protobuf libraries print them: `20`, not `20.0`.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(n) => match n
            .as_f64()
            .filter(|f| n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15)
        {
            // Exact: below 2^53 and without a fraction.
            Some(whole) => Value::from(whole as i64),
            None => Value::Number(n),
        },
        Value::Array(list) => list.into_iter().map(whole_numbers).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(k, v)| (k, whole_numbers(v)))
            .collect(),
        other => other,
    }
}

/// A packed resource as protobuf JSON, the name table included.
pub fn print_any(any: &Any) -> Result<Value, JsonError> {
    if any.type_url == type_url::NAME_TABLE {
        let table =
            NameTable::decode(any.value.as_slice()).map_err(|source| JsonError::Decode {
                name: any.type_url.clone(),
                source,
            })?;
        let hosts = table
            .table
            .into_iter()
            .map(|(host, info)| (host, serde_json::json!({ "ips": info.ips })));
        return Ok(serde_json::json!({ "table": hosts.collect::<serde_json::Map<_, _>>() }));
    }
    print_dynamic(&decode(&any.type_url, &any.value)?)
}

/// Reads protobuf JSON of a named type; unknown fields are errors.
pub fn parse(name: &str, json: &Value) -> Result<DynamicMessage, JsonError> {
    let descriptor = descriptor(name)?;
    DynamicMessage::deserialize(descriptor, json).map_err(|source| JsonError::Parse {
        name: name.to_owned(),
        source,
    })
}

/// As [`parse`], letting unknown fields pass: what a newer or an older Envoy might know.
pub fn parse_lenient(name: &str, json: &Value) -> Result<DynamicMessage, JsonError> {
    let descriptor = descriptor(name)?;
    let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(descriptor, json, &options).map_err(|source| {
        JsonError::Parse {
            name: name.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::cluster::v3::Cluster;

    #[test]
    fn a_cluster_survives_the_round_trip_through_json() {
        let json = serde_json::json!({
            "name": "c", "type": "EDS", "connect_timeout": "10s",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": { "max_concurrent_streams": 7 } } } } });
        let bytes = parse("envoy.config.cluster.v3.Cluster", &json)
            .unwrap()
            .encode_to_vec();
        let cluster = Cluster::decode(bytes.as_slice()).unwrap();
        assert_eq!(print(&cluster).unwrap(), json);
    }

    #[test]
    fn every_shipped_file_is_in_the_pool() {
        assert!(pool().files().count() > 400);
        assert!(descriptor("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication").is_ok());
        assert!(matches!(
            descriptor("no.such.Type"),
            Err(JsonError::UnknownType(_))
        ));
    }
}
