//! Protobuf JSON in snake_case, by descriptors; `Any` is expanded where its type is known.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

use crate::google::protobuf::Any;

mod print;
mod types;

pub use print::Printed;

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

/// A packed resource as protobuf JSON, the name table included.
pub fn print_any(any: &Any) -> Result<Value, JsonError> {
    serde_json::to_value(Printed(any)).map_err(|source| JsonError::Print {
        name: any.type_url.clone(),
        source,
    })
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
    use prost::Message;
    use serde_json::json;

    use crate::envoy::config::cluster::v3::Cluster;

    /// JSON as `prost-reflect` reads it comes back as it was.
    #[test]
    fn what_was_read_is_printed_the_same() {
        let any = |name: &str, fields: Value| {
            let mut any = json!({ "@type": format!("type.googleapis.com/{name}") });
            any.as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            json!({ "name": "n", "typed_config": any })
        };
        for (name, json) in [
            (
                "envoy.config.cluster.v3.Cluster",
                json!({
                    "name": "c", "type": "EDS", "connect_timeout": "10s",
                    "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": { "max_concurrent_streams": 7 } } } } }),
            ),
            ("envoy.config.cluster.v3.Cluster", json!({})),
            (
                "envoy.config.core.v3.Metadata",
                json!({ "filter_metadata": { "b": {}, "a": {
                    "list": [1, -0.5, "x", null, true, [], { "deep": {} }], "empty": "" } } }),
            ),
            ("envoy.type.v3.Percent", json!({ "value": 12.25 })),
            ("envoy.type.v3.Percent", json!({ "value": 1e300 })),
            ("envoy.type.v3.Percent", json!({ "value": "NaN" })),
            ("envoy.type.v3.Percent", json!({ "value": "-Infinity" })),
            (
                "envoy.type.v3.Int64Range",
                json!({ "start": "-9223372036854775808", "end": "7" }),
            ),
            ("envoy.type.v3.Int32Range", json!({ "start": -7 })),
            (
                "envoy.config.core.v3.DataSource",
                json!({ "inline_bytes": "AAH/" }),
            ),
            (
                "envoy.config.core.v3.DataSource",
                json!({ "inline_string": "" }),
            ),
            (
                "google.protobuf.FileDescriptorProto",
                json!({ "public_dependency": [3, 0, 300], "dependency": ["", "a"] }),
            ),
            (
                "envoy.config.core.v3.TypedExtensionConfig",
                any("google.protobuf.Duration", json!({ "value": "0.250s" })),
            ),
            (
                "envoy.config.core.v3.TypedExtensionConfig",
                any("google.protobuf.Empty", json!({ "value": {} })),
            ),
            (
                "envoy.config.core.v3.TypedExtensionConfig",
                any("google.protobuf.UInt64Value", json!({ "value": "0" })),
            ),
            (
                "envoy.config.core.v3.TypedExtensionConfig",
                any(
                    "google.protobuf.Timestamp",
                    json!({ "value": "2026-01-31T12:00:00Z" }),
                ),
            ),
            (
                "envoy.config.core.v3.TypedExtensionConfig",
                any("envoy.type.v3.Percent", json!({ "value": 5 })),
            ),
        ] {
            let message = parse(name, &json).unwrap_or_else(|e| panic!("{json}: {e}"));
            assert_eq!(
                print_any(&packed(name, message.encode_to_vec())).unwrap(),
                json
            );
        }
    }

    #[test]
    fn bytes_that_cannot_be_printed_are_errors() {
        let cluster = "envoy.config.cluster.v3.Cluster";
        for (name, bytes, expected) in [
            (cluster, &b"\x0a\x05short"[..4], "malformed protobuf"),
            (cluster, b"\x0a\x01\xff", "malformed protobuf"),
            (cluster, b"\x08\x01", "malformed protobuf"),
            (
                "google.protobuf.Any",
                b"\x0a\x07x/no.No",
                "message 'no.No' not found",
            ),
            ("no.No", b"", "message 'no.No' not found"),
        ] {
            let error = print_any(&packed(name, bytes.to_vec()))
                .unwrap_err()
                .to_string();
            assert!(error.ends_with(expected), "{name} {bytes:?}: {error}");
        }
        let mut deep = Vec::new();
        for _ in 0..200 {
            let mut list = Vec::new();
            crate::wire::write_bytes(&mut list, 1, &deep);
            deep.clear();
            crate::wire::write_bytes(&mut deep, 6, &list);
        }
        let error = print_any(&packed("google.protobuf.Value", deep)).unwrap_err();
        assert!(error.to_string().contains("nested deeper"), "{error}");
    }

    #[test]
    fn of_values_of_one_field_the_last_counts_and_messages_add_up() {
        let mut bytes = Cluster {
            name: "a".to_owned(),
            ..Default::default()
        }
        .encode_to_vec();
        let thresholds = |n| Cluster {
            per_connection_buffer_limit_bytes: Some(crate::google::protobuf::UInt32Value {
                value: n,
            }),
            name: format!("n{n}"),
            ..Default::default()
        };
        for part in [thresholds(1), thresholds(2)] {
            bytes.extend(part.encode_to_vec());
        }
        assert_eq!(
            print_any(&packed("envoy.config.cluster.v3.Cluster", bytes)).unwrap(),
            json!({ "name": "n2", "per_connection_buffer_limit_bytes": 2 })
        );
    }

    fn packed(name: &str, value: Vec<u8>) -> Any {
        Any {
            type_url: format!("type.googleapis.com/{name}"),
            value,
        }
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
