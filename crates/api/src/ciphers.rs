//! Names of ciphers for TLS 1.2: a listener with one that Envoy does not know is refused as a whole.

use std::collections::BTreeSet;

/// What Envoy's BoringSSL knows (`bssl ciphers -openssl-name ALL`, without pre-shared keys).
const KNOWN: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// True for a name that Envoy takes; what begins with an operator is BoringSSL's own language, and is not judged here.
pub fn is_known(cipher: &str) -> bool {
    let operator = !cipher.starts_with(|ch: char| ch.is_ascii_alphanumeric());
    operator || cipher == "ALL" || KNOWN.contains(&cipher)
}

/// Those of a list that Envoy takes, each once, in order (Istio's `FilterCipherSuites`).
pub fn usable(written: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = BTreeSet::new();
    let names = written.iter().map(String::as_str);
    names.filter(move |cipher| is_known(cipher) && seen.insert(*cipher))
}
