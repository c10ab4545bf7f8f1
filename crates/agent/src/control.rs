//! The way to the control plane: TLS checked against the mesh's root, and who we are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hawser_base::tls;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::certificate::Secrets;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is tried, and how long its answer may take: a control plane that is
/// gone without a word is noticed after at most this long.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest root or token file read, in bytes.
const FILE_LIMIT: usize = 1024 * 1024;

/// Where the control plane is and how we prove to each other who we are.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// `HOST:PORT`.
    pub address: String,
    /// The name its certificate must have.
    pub name: String,
    /// The mesh's root certificates, read anew for each connection.
    pub root_cert: PathBuf,
    /// Our service account token, read anew for each call.
    pub token: PathBuf,
    /// The cluster whose API server knows the token.
    pub cluster_id: String,
}

/// Why there is no connection to the control plane.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{path} holds no usable root certificate: {reason}")]
    Root { path: PathBuf, reason: String },
    #[error("{name:?} is no name that a certificate can have: {source}")]
    Name {
        name: String,
        source: InvalidDnsNameError,
    },
    #[error("our own certificate cannot be used: {0}")]
    Own(String),
    #[error("{address:?} is no address: {source}")]
    Address {
        address: String,
        source: tonic::transport::Error,
    },
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
}

impl ControlPlane {
    /// Connects; with `own`, our certificate is shown (mutual TLS).
    pub async fn connect(&self, own: Option<&Secrets>) -> Result<Channel, ConnectError> {
        let connector = TlsConnector::from(Arc::new(self.client_config(own)?));
        let name =
            ServerName::try_from(self.name.clone()).map_err(|source| ConnectError::Name {
                name: self.name.clone(),
                source,
            })?;
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(|source| ConnectError::Address {
                address: self.address.clone(),
                source,
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let address = self.address.clone();
        let dial = tower::service_fn(move |_: http::Uri| {
            let (address, connector, name) = (address.clone(), connector.clone(), name.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                let stream = connector.connect(name, stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        endpoint
            .connect_with_connector(dial)
            .await
            .map_err(|error| ConnectError::Connect {
                address: self.address.clone(),
                reason: causes(&error),
            })
    }

    /// The headers of a call: the cluster, and the token as bearer. The token expires and is replaced by
    /// the kubelet, so the file is read each time.
    pub fn headers(&self, with_token: bool) -> Result<MetadataMap, ConnectError> {
        let mut headers = MetadataMap::new();
        let value = |text: &str| text.parse::<MetadataValue<Ascii>>().ok();
        if let Some(cluster) = value(&self.cluster_id) {
            headers.insert("clusterid", cluster);
        }
        if with_token {
            let token = self.read(&self.token)?;
            let bearer = std::str::from_utf8(&token)
                .ok()
                .and_then(|token| value(&format!("Bearer {}", token.trim())));
            let Some(mut bearer) = bearer else {
                return Err(ConnectError::File {
                    path: self.token.clone(),
                    reason: "it holds no token".to_owned(),
                });
            };
            bearer.set_sensitive(true);
            headers.insert("authorization", bearer);
        }
        Ok(headers)
    }

    /// The mesh's root certificates, as the file has them.
    pub fn roots(&self) -> Result<String, ConnectError> {
        String::from_utf8(self.read(&self.root_cert)?).map_err(|_| ConnectError::Root {
            path: self.root_cert.clone(),
            reason: "it is not PEM".to_owned(),
        })
    }

    fn client_config(&self, own: Option<&Secrets>) -> Result<ClientConfig, ConnectError> {
        let root_error = |reason: String| ConnectError::Root {
            path: self.root_cert.clone(),
            reason,
        };
        let roots = tls::certificates(self.roots()?.as_bytes())
            .map_err(|error| root_error(error.to_string()))?;
        let mut store = RootCertStore::empty();
        for root in roots {
            store
                .add(root)
                .map_err(|error| root_error(error.to_string()))?;
        }
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConnectError::Own(error.to_string()))?
            .with_root_certificates(store);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let wrong = |reason: String| ConnectError::Own(reason);
                let chain = tls::certificates(own.chain.as_bytes())
                    .map_err(|error| wrong(error.to_string()))?;
                let key = tls::private_key(own.key().as_bytes())
                    .map_err(|error| wrong(error.to_string()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong(error.to_string()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn read(&self, path: &PathBuf) -> Result<Vec<u8>, ConnectError> {
        let wrong = |reason: String| ConnectError::File {
            path: path.clone(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        if bytes.len() > FILE_LIMIT {
            return Err(wrong(format!("it has {} bytes", bytes.len())));
        }
        Ok(bytes)
    }
}

/// An error and what caused it, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !out.ends_with(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        next = cause.source();
    }
    out
}
