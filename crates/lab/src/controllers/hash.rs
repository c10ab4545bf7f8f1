//! Short, stable suffixes for names.

use serde_json::Value;

/// Letters and digits that spell no words, as Kubernetes uses them (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A suffix of at most ten characters for what is said by `value`; maps are ordered, so equal values have equal suffixes.
pub(super) fn suffix(value: &Value) -> String {
    let mut rest = fnv(value.to_string().as_bytes());
    let mut text = String::new();
    while rest > 0 && text.len() < 10 {
        let index = (rest % ALPHABET.len() as u64) as usize;
        text.extend(ALPHABET.get(index).map(|byte| char::from(*byte)));
        rest /= ALPHABET.len() as u64;
    }
    text
}

/// FNV-1a, 64 bits: for names, not for security.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
