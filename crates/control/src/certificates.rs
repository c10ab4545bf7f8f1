//! The control plane's own certificates.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hawser_ca::Authority;
use hawser_serve::server;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::run::SERVICE;
use crate::webhook;

/// The control plane's own certificates, for proxies and for the API server; renewed before they end and whenever the
/// authority changes.
pub(crate) struct Certificates {
    names: Vec<String>,
    authority: watch::Receiver<Arc<Authority>>,
    pub(crate) discovery: watch::Receiver<Arc<ServerConfig>>,
    pub(crate) webhook: watch::Receiver<Arc<ServerConfig>>,
    senders: (
        watch::Sender<Arc<ServerConfig>>,
        watch::Sender<Arc<ServerConfig>>,
    ),
}

/// How often to look whether the certificates are near their end.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);

impl Certificates {
    pub(crate) fn new(
        namespace: &str,
        domain: &str,
        mut authority: watch::Receiver<Arc<Authority>>,
    ) -> Result<Self> {
        let names = vec![
            format!("{SERVICE}.{namespace}.svc"),
            format!("{SERVICE}.{namespace}"),
            format!("{SERVICE}.{namespace}.svc.{domain}"),
            format!("istio-pilot.{namespace}.svc"),
            SERVICE.to_owned(),
            "localhost".to_owned(),
        ];
        let (discovery, webhook) = Self::make(&names, &authority.borrow_and_update())?;
        let (discovery_sender, discovery) = watch::channel(Arc::new(discovery));
        let (webhook_sender, webhook) = watch::channel(Arc::new(webhook));
        Ok(Self {
            names,
            authority,
            discovery,
            webhook,
            senders: (discovery_sender, webhook_sender),
        })
    }

    fn make(names: &[String], authority: &Authority) -> Result<(ServerConfig, ServerConfig)> {
        let key = rcgen::KeyPair::generate().context("generating a key")?;
        let serial = uuid::Uuid::new_v4().as_u128();
        let issued = authority.server(&key, names, time::OffsetDateTime::now_utc(), serial)?;
        let key_pem = key.serialize_pem();
        let discovery = server::tls_config(&issued.pem, &key_pem, authority.roots())?;
        let webhook = webhook::tls_config(&issued.pem, &key_pem)?;
        Ok((discovery, webhook))
    }

    pub(crate) async fn keep(mut self, drain: CancellationToken) {
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                changed = self.authority.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(RENEWAL) => {}
            }
            let authority = Arc::clone(&self.authority.borrow_and_update());
            match Self::make(&self.names, &authority) {
                Ok((discovery, webhook)) => {
                    self.senders.0.send_replace(Arc::new(discovery));
                    self.senders.1.send_replace(Arc::new(webhook));
                }
                Err(error) => tracing::error!("the certificates before stay: {error:#}"),
            }
        }
    }
}
