//! Service account tokens: RS256 JWTs signed with the cluster's own key, and the key's public side for OIDC.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("the service account key is not ready")]
    NotReady,
    #[error("the service account key is not usable: {0}")]
    Key(String),
    #[error("signing failed")]
    Signing,
}

/// The issuer's key; generating an RSA key takes long, so a fresh cluster starts without waiting for it.
pub struct Issuer {
    key: OnceLock<SigningKey>,
    url: String,
}

struct SigningKey {
    pair: KeyPair,
    id: String,
}

/// The claims that this server puts into a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: u64,
    pub iat: u64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    pub nbf: u64,
    pub sub: String,
}

/// What a token is bound to: it is void once one of these is gone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    pub serviceaccount: ObjectName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectName>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ObjectName {
    pub name: String,
    pub uid: String,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    pub bound: Bound,
    pub audiences: Vec<String>,
    /// Seconds since 1970.
    pub now: u64,
    /// Seconds.
    pub lifetime: u64,
}

impl Issuer {
    /// The issuer named in tokens and the audience of tokens for this server; as kubeadm has it.
    pub const URL: &'static str = "https://kubernetes.default.svc.cluster.local";

    pub fn new() -> Issuer {
        Issuer {
            key: OnceLock::new(),
            url: Issuer::URL.to_owned(),
        }
    }

    /// A new key as PKCS #8 DER. Takes some hundred milliseconds of computing.
    ///
    /// # Errors
    /// When the random number generator fails.
    pub fn generate() -> Result<Vec<u8>, IssuerError> {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .map_err(|error| IssuerError::Key(error.to_string()))?;
        let der = pair
            .as_der()
            .map_err(|error| IssuerError::Key(error.to_string()))?;
        Ok(der.as_ref().to_vec())
    }

    /// Sets the key; later calls change nothing.
    ///
    /// # Errors
    /// When the bytes are no RSA key.
    pub fn load(&self, pkcs8: &[u8]) -> Result<(), IssuerError> {
        let pair =
            KeyPair::from_pkcs8(pkcs8).map_err(|error| IssuerError::Key(error.to_string()))?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()));
        self.key.get_or_init(|| SigningKey { pair, id });
        Ok(())
    }

    fn key(&self) -> Result<&SigningKey, IssuerError> {
        self.key.get().ok_or(IssuerError::NotReady)
    }

    pub fn ready(&self) -> bool {
        self.key.get().is_some()
    }

    /// Signs a token for a service account.
    ///
    /// # Errors
    /// When there is no key yet, or signing fails.
    pub fn sign(&self, spec: TokenSpec) -> Result<String, IssuerError> {
        let claims = Claims {
            aud: spec.audiences,
            exp: spec.now + spec.lifetime,
            iat: spec.now,
            iss: self.url.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: spec.now,
            sub: format!(
                "system:serviceaccount:{}:{}",
                spec.bound.namespace, spec.bound.serviceaccount.name
            ),
            kubernetes: spec.bound,
        };
        self.sign_claims(&json!(claims))
    }

    /// The token of a `kubernetes.io/service-account-token` Secret: it never expires and has no audience.
    ///
    /// # Errors
    /// As [`Issuer::sign`].
    pub fn sign_legacy(
        &self,
        namespace: &str,
        secret: &str,
        account: &ObjectName,
    ) -> Result<String, IssuerError> {
        self.sign_claims(&json!({
            "iss": LEGACY_ISSUER,
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": account.name,
            "kubernetes.io/serviceaccount/service-account.uid": account.uid,
            "sub": format!("system:serviceaccount:{namespace}:{}", account.name),
        }))
    }

    fn sign_claims(&self, claims: &Value) -> Result<String, IssuerError> {
        let key = self.key()?;
        let header = json!({"alg": "RS256", "kid": key.id});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; key.pair.public_modulus_len()];
        key.pair
            .sign(
                &signature::RSA_PKCS1_SHA256,
                &aws_lc_rs::rand::SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| IssuerError::Signing)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this issuer signed; says nothing about time, audience or bound objects.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let key = self.key.get()?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header["alg"] != "RS256" {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        signature::UnparsedPublicKey::new(
            &signature::RSA_PKCS1_2048_8192_SHA256,
            key.pair.public_key(),
        )
        .verify(signed.as_bytes(), &signature)
        .ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// The key set that verifies the tokens (RFC 7517).
    ///
    /// # Errors
    /// When there is no key yet.
    pub fn jwks(&self) -> Result<Value, IssuerError> {
        use x509_parser::prelude::FromDer;
        let key = self.key()?;
        let der = key.pair.public_key().as_ref().to_vec();
        let (_, parts) = x509_parser::public_key::RSAPublicKey::from_der(&der)
            .map_err(|error| IssuerError::Key(error.to_string()))?;
        let number = |bytes: &[u8]| {
            let start = bytes
                .iter()
                .position(|&byte| byte != 0)
                .unwrap_or(bytes.len());
            URL_SAFE_NO_PAD.encode(bytes.get(start..).unwrap_or_default())
        };
        Ok(json!({"keys": [{
            "use": "sig", "kty": "RSA", "kid": key.id, "alg": "RS256",
            "n": number(parts.modulus), "e": number(parts.exponent),
        }]}))
    }
}

/// `iss` of tokens in Secrets, as the real server has it.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
