//! Who is calling: a client certificate of the mesh, or a Kubernetes service account token.

use std::sync::Arc;

use hawser_model::{Identity, Proxy, Str};
use tonic::metadata::MetadataMap;

/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Checks service account tokens; the real one asks the Kubernetes API (TokenReview).
#[async_trait::async_trait]
pub trait TokenReviewer: Send + Sync {
    /// The `(namespace, service account)` that a token was given to. `cluster` is the caller's `clusterid` header.
    async fn review(
        &self,
        token: &str,
        cluster: Option<&str>,
    ) -> Result<(String, String), ReviewError>;
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is not a valid token for us.
    #[error("the token was refused: {0}")]
    Refused(String),
    /// Nobody could be asked; the caller should try again.
    #[error("the token could not be checked: {0}")]
    Unavailable(String),
}

/// The caller's certificate chain as verified by TLS, put into each request by [`crate::server`].
#[derive(Clone, Debug)]
pub struct Peer {
    /// The URI names of its certificate; empty without a client certificate.
    pub uris: Vec<Str>,
    /// True for connections that are neither encrypted nor authenticated (port 15010).
    pub plaintext: bool,
}

/// Why a caller was turned away.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Neither certificate nor token.
    #[error(
        "no credentials: a client certificate of the mesh or a service account token is needed"
    )]
    Missing,
    /// A certificate without an identity of this mesh.
    #[error("the client certificate names no identity of trust domain {0}")]
    ForeignCertificate(Str),
    /// The token is no good.
    #[error(transparent)]
    Token(#[from] ReviewError),
    /// A proxy that says it is someone else.
    #[error(
        "{identity} may not act for a proxy of namespace {namespace}, service account {service_account}"
    )]
    NotThatProxy {
        /// Who it is.
        identity: Identity,
        /// Namespace that the proxy claims.
        namespace: Str,
        /// Service account that the proxy claims.
        service_account: Str,
    },
}

impl From<AuthError> for tonic::Status {
    fn from(error: AuthError) -> Self {
        let text = error.to_string();
        match error {
            AuthError::Token(ReviewError::Unavailable(_)) => Self::unavailable(text),
            AuthError::NotThatProxy { .. } => Self::permission_denied(text),
            _ => Self::unauthenticated(text),
        }
    }
}

/// Finds out who is calling.
#[derive(Clone)]
pub struct Authenticator {
    reviewer: Arc<dyn TokenReviewer>,
    trust_domain: Str,
}

impl Authenticator {
    /// Identities are of this trust domain.
    pub fn new(reviewer: Arc<dyn TokenReviewer>, trust_domain: Str) -> Self {
        Self {
            reviewer,
            trust_domain,
        }
    }

    /// The caller's identity: by certificate if there is one, else by token.
    pub async fn identify(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
    ) -> Result<Identity, AuthError> {
        if !peer.uris.is_empty() {
            let ours = peer
                .uris
                .iter()
                .filter_map(|u| Identity::parse(u))
                .find(|i| i.trust_domain == self.trust_domain);
            return ours.ok_or_else(|| AuthError::ForeignCertificate(self.trust_domain.clone()));
        }
        let header = metadata.get("authorization").and_then(|v| v.to_str().ok());
        let token = header.and_then(|h| {
            h.strip_prefix("Bearer ")
                .or_else(|| h.strip_prefix("bearer "))
        });
        let token = token
            .filter(|t| !t.is_empty() && t.len() <= MAX_TOKEN_BYTES)
            .ok_or(AuthError::Missing)?;
        let cluster = metadata.get("clusterid").and_then(|v| v.to_str().ok());
        let (namespace, service_account) = self.reviewer.review(token, cluster).await?;
        Ok(Identity {
            trust_domain: self.trust_domain.clone(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        })
    }
}

/// A proxy may only ask for the configuration of its own namespace and service account (CVE-2026-31838 is what happens
/// without).
pub fn may_act_for(identity: &Identity, proxy: &Proxy) -> Result<(), AuthError> {
    let account = proxy
        .identity
        .as_ref()
        .map(|i| i.service_account.clone())
        .unwrap_or_default();
    if identity.namespace == proxy.namespace
        && (account.is_empty() || account == identity.service_account)
    {
        return Ok(());
    }
    Err(AuthError::NotThatProxy {
        identity: identity.clone(),
        namespace: proxy.namespace.clone(),
        service_account: account,
    })
}
