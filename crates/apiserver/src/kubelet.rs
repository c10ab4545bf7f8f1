//! Asking the kubelet of a pod's node, which its Node object names: address, port and the certificate to expect.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::cluster::Cluster;
use crate::netns;
use crate::object::text;

/// The annotation of a Node with the certificate, PEM, that its kubelet shows. Without it the kubelet could be anyone,
/// and it is not asked.
const CERTIFICATE: &str = "/metadata/annotations/kubelet.hawser.io~1certificate";
/// How long a kubelet may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The certificate and key, PEM, by which kubelets know this server.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Where the kubelet of a node is.
pub struct Endpoint {
    addr: SocketAddr,
    certificate: String,
}

impl Endpoint {
    /// Reads a Node; `None` when it names no kubelet that can be asked.
    pub fn of(node: &Value) -> Option<Endpoint> {
        let addresses = node.pointer("/status/addresses")?.as_array()?;
        let address = addresses
            .iter()
            .find(|address| address["type"] == "InternalIP")?;
        let ip: IpAddr = text(address, "/address").parse().ok()?;
        let port = node
            .pointer("/status/daemonEndpoints/kubeletEndpoint/Port")?
            .as_u64()?;
        let certificate = text(node, CERTIFICATE);
        (!certificate.is_empty()).then_some(Endpoint {
            addr: SocketAddr::new(ip, u16::try_from(port).ok()?),
            certificate: certificate.to_owned(),
        })
    }
}

/// Gets a path from a kubelet; the body comes as the kubelet sends it.
///
/// # Errors
/// Says what went wrong, as people read it.
pub async fn get(
    cluster: &Cluster,
    endpoint: &Endpoint,
    path: &str,
) -> Result<Response<Incoming>, String> {
    let asked = tokio::time::timeout(PATIENCE, exchange(cluster, endpoint, path)).await;
    let url = format!("https://{}{path}", endpoint.addr);
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(format!("Get {url:?}: {why}")),
        Err(_) => Err(format!("Get {url:?}: context deadline exceeded")),
    }
}

async fn exchange(
    cluster: &Cluster,
    endpoint: &Endpoint,
    path: &str,
) -> Result<Response<Incoming>, String> {
    let tls = tls_config(&cluster.kubelet_identity, &endpoint.certificate)?;
    let stream = netns::connect(cluster.netns.clone(), endpoint.addr, PATIENCE)
        .await
        .map_err(|error| format!("dial tcp {}: connect: {error}", endpoint.addr))?;
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(ServerName::from(endpoint.addr.ip()), stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Whoever reads the body learns that the connection broke.
        let _ = connection.await;
    });
    let request = Request::get(path)
        .header(header::HOST, endpoint.addr.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}

fn tls_config(identity: &Identity, certificate: &str) -> Result<ClientConfig, String> {
    let broken = |error: &dyn std::fmt::Display| format!("tls: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(certificate.as_bytes()) {
        let certificate = certificate.map_err(|error| broken(&error))?;
        roots.add(certificate).map_err(|error| broken(&error))?;
    }
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(&error))?;
    let key =
        PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| broken(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| broken(&error))
}
