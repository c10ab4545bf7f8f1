//! A `Status` in Kubernetes' protobuf, for clients that take nothing else; byte for byte as Go's encoder writes it.

use serde_json::Value;

use crate::object::text;
use crate::protobuf::Message;

/// The envelope with the message in it. Plain fields are written even when empty, pointers only when set.
pub fn encode(status: &Value) -> Vec<u8> {
    let mut message = Message::default();
    // `ListMeta`, whose fields of a `Status` are all empty.
    let mut list_meta = Message::default();
    for tag in 1..=3 {
        list_meta.text(tag, "");
    }
    message.nested(1, &list_meta);
    message.text(2, text(status, "/status"));
    message.text(3, text(status, "/message"));
    message.text(4, text(status, "/reason"));
    if let Some(of) = status.get("details") {
        message.nested(5, &details(of));
    }
    message.number(6, status["code"].as_u64().unwrap_or(0));

    let mut type_meta = Message::default();
    type_meta.text(1, text(status, "/apiVersion"));
    type_meta.text(2, text(status, "/kind"));
    let mut envelope = Message::after(b"k8s\0");
    envelope.nested(1, &type_meta);
    envelope.nested(2, &message);
    // Content encoding and content type.
    envelope.text(3, "");
    envelope.text(4, "");
    envelope.into_bytes()
}

fn details(of: &Value) -> Message {
    let mut message = Message::default();
    for (tag, field) in [(1, "/name"), (2, "/group"), (3, "/kind")] {
        message.text(tag, text(of, field));
    }
    for cause in of["causes"].as_array().into_iter().flatten() {
        let mut one = Message::default();
        for (tag, field) in [(1, "/reason"), (2, "/message"), (3, "/field")] {
            one.text(tag, text(cause, field));
        }
        message.nested(4, &one);
    }
    message.number(5, of["retryAfterSeconds"].as_u64().unwrap_or(0));
    message.text(6, text(of, "/uid"));
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_status_is_written_as_by_the_real_server() {
        let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "m", "reason": "R", "code": 406});
        let expected = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12\x1a\x0a\x06\x0a\x00\x12\x00\x1a\x00\x12\x07Failure\x1a\x01m\x22\x01R\x30\x96\x03\x1a\x00\x22\x00";
        assert_eq!(super::encode(&status), expected);
    }
}
