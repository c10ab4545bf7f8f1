//! `istio.v1.auth.IstioCertificateService`: certificates for callers that proved who they are.

use std::sync::Arc;
use std::time::Duration;

use hawser_ca::Authority;
use hawser_proto::istio::ca::service::istio_certificate_service_server::IstioCertificateService;
use hawser_proto::istio::ca::{IstioCertificateRequest, IstioCertificateResponse};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::auth::{Authenticator, Peer};
use crate::metrics::{Metrics, OutcomeLabel};

/// The certificate service.
#[derive(Clone)]
pub struct CaService {
    authority: watch::Receiver<Arc<Authority>>,
    authenticator: Authenticator,
    metrics: Metrics,
}

impl CaService {
    /// Signs with whatever authority is current.
    pub fn new(
        authority: watch::Receiver<Arc<Authority>>,
        authenticator: Authenticator,
        metrics: Metrics,
    ) -> Self {
        Self {
            authority,
            authenticator,
            metrics,
        }
    }

    async fn sign(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<IstioCertificateResponse, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer
            .filter(|p| !p.plaintext)
            .ok_or_else(|| Status::unauthenticated("certificates are given over TLS alone"))?;
        let identity = self
            .authenticator
            .identify(&peer, request.metadata())
            .await?;
        let message = request.into_inner();
        let asked = u64::try_from(message.validity_duration)
            .ok()
            .filter(|s| *s > 0)
            .map(Duration::from_secs);
        let authority = Arc::clone(&self.authority.borrow());
        let chain = authority
            .sign(
                &message.csr,
                &identity,
                asked,
                time::OffsetDateTime::now_utc(),
                uuid::Uuid::new_v4().as_u128(),
            )
            .map_err(|e| match e {
                hawser_ca::IssueError::Csr(_) => Status::invalid_argument(e.to_string()),
                _ => Status::internal(e.to_string()),
            })?;
        tracing::info!(%identity, "signed a certificate");
        Ok(IstioCertificateResponse { cert_chain: chain })
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CaService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let result = self.sign(request).await;
        let outcome = if result.is_ok() { "signed" } else { "refused" };
        self.metrics
            .csrs
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
        if let Err(status) = &result {
            tracing::warn!(reason = status.message(), "refused a certificate request");
        }
        result.map(Response::new)
    }
}
