//! Writing protobuf messages field by field.

/// A message as it is written; the order of calls is the order of fields.
#[derive(Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// A message that is written after these bytes.
    pub fn after(prefix: &[u8]) -> Message {
        Message(prefix.to_vec())
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn text(&mut self, tag: u64, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    pub fn nested(&mut self, tag: u64, message: &Message) {
        self.bytes(tag, &message.0);
    }

    pub fn number(&mut self, tag: u64, value: u64) {
        self.varint(tag << 3);
        self.varint(value);
    }

    fn bytes(&mut self, tag: u64, bytes: &[u8]) {
        self.varint(tag << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}
