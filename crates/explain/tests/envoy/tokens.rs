//! Tokens of two issuers, good ones and bad ones.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

/// Far in the future.
const EXPIRES: u64 = 4_000_000_000;

/// Tokens by name, and the issuers' keys.
pub struct Tokens {
    tokens: BTreeMap<&'static str, String>,
    /// The key documents of `https://a.example` and `https://b.example`.
    pub keys: [String; 2],
}

impl Tokens {
    pub fn new() -> Result<Self> {
        let (a, b) = (KeyPair::generate()?, KeyPair::generate()?);
        let (issuer_a, issuer_b) = ("https://a.example", "https://b.example");
        let mut tokens = BTreeMap::new();
        let mut add = |name, key: &KeyPair, kid: &str, claims: Value| -> Result<()> {
            let header = Header {
                kid: Some(kid.to_owned()),
                ..Header::new(Algorithm::ES256)
            };
            let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes())?;
            tokens.insert(name, jsonwebtoken::encode(&header, &claims, &key)?);
            Ok(())
        };
        let claims =
            |issuer: &str, subject: &str| json!({"iss": issuer, "sub": subject, "exp": EXPIRES});
        let with = |mut claims: Value, key: &str, value: Value| {
            claims[key] = value;
            claims
        };
        add(
            "alice",
            &a,
            "a",
            with(claims(issuer_a, "alice"), "groups", json!(["admin", "dev"])),
        )?;
        add(
            "bob",
            &a,
            "a",
            with(claims(issuer_a, "bob"), "groups", json!("dev")),
        )?;
        add(
            "scoped",
            &a,
            "a",
            with(claims(issuer_a, "carol"), "scope", json!("read write")),
        )?;
        add(
            "nested",
            &a,
            "a",
            with(
                claims(issuer_a, "dan"),
                "realm",
                json!({"roles": ["editor"]}),
            ),
        )?;
        add(
            "audience",
            &a,
            "a",
            with(claims(issuer_a, "eve"), "aud", json!("shop")),
        )?;
        add(
            "alice-of-b",
            &b,
            "b",
            with(claims(issuer_b, "alice"), "groups", json!(["admin"])),
        )?;
        // Signed by b, says it is of a.
        add(
            "forged",
            &b,
            "a",
            with(claims(issuer_a, "alice"), "groups", json!(["admin"])),
        )?;
        add("other-key", &b, "b", claims(issuer_a, "alice"))?;
        add(
            "unknown-issuer",
            &a,
            "a",
            claims("https://c.example", "alice"),
        )?;
        add(
            "expired",
            &a,
            "a",
            json!({"iss": issuer_a, "sub": "alice", "exp": 1_000_000_000}),
        )?;
        tokens.insert("garbage", "not.a.token".to_owned());
        Ok(Self {
            tokens,
            keys: [document(&a, "a"), document(&b, "b")],
        })
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        self.tokens
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("no token {name}"))
    }
}

fn document(key: &KeyPair, kid: &str) -> String {
    // An uncompressed point: 4, then both coordinates.
    let point = key.der_bytes();
    let text = |bytes: &[u8]| encode(bytes);
    json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..65])}]}).to_string()
}

/// Base64 for URLs, without padding.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |chunk: &[u8]| {
        let word =
            chunk.iter().fold(0_u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        (0..=chunk.len())
            .map(|i| char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
