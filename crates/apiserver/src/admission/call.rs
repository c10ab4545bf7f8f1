//! Calling a webhook: by URL, or as a Service of the cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request as HttpRequest, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::cluster::Cluster;
use crate::netns;
use crate::object::text;
use crate::store::{Key, ResourceId};

/// The largest answer taken from a webhook, in bytes.
const ANSWER_LIMIT: usize = 4 << 20;

/// Where a webhook is.
#[derive(Debug, Clone)]
pub struct Target {
    place: Place,
    /// PEM, from `caBundle`.
    ca: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Place {
    Url(String),
    Service {
        namespace: String,
        name: String,
        path: String,
        port: u16,
    },
}

impl Target {
    /// Reads a `clientConfig`.
    pub fn read(config: &Value) -> Target {
        let service = &config["service"];
        let place = if service.is_object() {
            Place::Service {
                namespace: text(service, "/namespace").to_owned(),
                name: text(service, "/name").to_owned(),
                path: text(service, "/path").to_owned(),
                port: service["port"]
                    .as_u64()
                    .and_then(|port| u16::try_from(port).ok())
                    .unwrap_or(443),
            }
        } else {
            Place::Url(text(config, "/url").to_owned())
        };
        Target {
            place,
            ca: STANDARD
                .decode(text(config, "/caBundle"))
                .unwrap_or_default(),
        }
    }
}

/// Where to connect, and as what.
struct Destination {
    addresses: Vec<SocketAddr>,
    server_name: String,
    host: String,
    path: String,
    inside: bool,
}

/// Posts a review and returns the body of the answer.
///
/// # Errors
/// Says what went wrong, as people read it in the refused request.
pub async fn post(
    cluster: &Arc<Cluster>,
    target: &Target,
    timeout: Duration,
    body: String,
) -> Result<Bytes, String> {
    let destination = match &target.place {
        Place::Url(url) => by_url(url).await?,
        Place::Service {
            namespace,
            name,
            path,
            port,
        } => by_service(cluster, namespace, name, path, *port)?,
    };
    let url = format!(
        "https://{}{}?timeout={}s",
        destination.host,
        destination.path,
        timeout.as_secs()
    );
    match tokio::time::timeout(
        timeout,
        exchange(cluster, target, &destination, timeout, body),
    )
    .await
    {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(format!("Post {url:?}: {why}")),
        Err(_) => Err(format!("Post {url:?}: context deadline exceeded")),
    }
}

async fn by_url(url: &str) -> Result<Destination, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("the url {url:?} cannot be read: {error}"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("the url {url:?} is not https"));
    }
    let host = uri
        .host()
        .ok_or_else(|| format!("the url {url:?} has no host"))?;
    let port = uri.port_u16().unwrap_or(443);
    let server_name = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let addresses = tokio::net::lookup_host((server_name.as_str(), port))
        .await
        .map_err(|error| format!("dial tcp: lookup {host}: {error}"))?;
    Ok(Destination {
        addresses: addresses.collect(),
        host: uri.authority().map(ToString::to_string).unwrap_or_default(),
        server_name,
        path: uri.path().to_owned(),
        inside: false,
    })
}

fn by_service(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    path: &str,
    port: u16,
) -> Result<Destination, String> {
    let service = cluster
        .store
        .get(&ResourceId::new("services", ""), &Key::new(namespace, name));
    let service = service
        .ok_or_else(|| format!("service {name:?} not found"))?
        .value();
    let entry = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["port"] == port);
    let entry =
        entry.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let address = text(&service, "/spec/clusterIP").parse::<IpAddr>();
    let addresses = match (address, &cluster.netns) {
        (Ok(ip), Some(_)) => vec![SocketAddr::new(ip, port)],
        // Where service addresses lead nowhere, the endpoints may still be reached.
        _ => endpoints(cluster, namespace, name, text(entry, "/name")),
    };
    if addresses.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    let host = format!("{name}.{namespace}.svc");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok(Destination {
        addresses,
        host: format!("{host}:{port}"),
        server_name: host,
        path,
        inside: true,
    })
}

/// The ready endpoints of one port of a Service.
fn endpoints(cluster: &Cluster, namespace: &str, name: &str, port_name: &str) -> Vec<SocketAddr> {
    let (slices, _) = cluster
        .store
        .read(&ResourceId::new("endpointslices", "discovery.k8s.io"));
    let mut found = Vec::new();
    for slice in slices.iter(Some(namespace)) {
        if slice.label("kubernetes.io/service-name") != Some(name) {
            continue;
        }
        let slice = slice.value();
        let ports = slice["ports"].as_array().into_iter().flatten();
        let port = ports
            .filter(|port| text(port, "/name") == port_name)
            .find_map(|port| port["port"].as_u64());
        let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint.pointer("/conditions/ready") == Some(&Value::Bool(false)) {
                continue;
            }
            let addresses = crate::object::strings(endpoint.get("addresses"));
            found.extend(
                addresses
                    .into_iter()
                    .filter_map(|ip| ip.parse().ok())
                    .map(|ip| SocketAddr::new(ip, port)),
            );
        }
    }
    found
}

async fn exchange(
    cluster: &Arc<Cluster>,
    target: &Target,
    destination: &Destination,
    timeout: Duration,
    body: String,
) -> Result<Bytes, String> {
    let netns = if destination.inside {
        cluster.netns.clone()
    } else {
        None
    };
    let mut failure = "no address".to_owned();
    let mut connected = None;
    for &address in &destination.addresses {
        match netns::connect(netns.clone(), address, timeout).await {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => failure = format!("dial tcp {address}: connect: {error}"),
        }
    }
    let stream = connected.ok_or(failure)?;
    let name = ServerName::try_from(destination.server_name.clone())
        .map_err(|error| format!("{:?} is no server name: {error}", destination.server_name))?;
    let config = Arc::new(tls_config(&target.ca)?);
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // The exchange below tells of a connection that breaks.
        let _ = connection.await;
    });
    let request = HttpRequest::post(format!(
        "{}?timeout={}s",
        destination.path,
        timeout.as_secs()
    ))
    .header(header::HOST, &destination.host)
    .header(header::CONTENT_TYPE, "application/json")
    .header(header::ACCEPT, "application/json")
    .header(header::USER_AGENT, "kube-apiserver-admission")
    .body(Full::new(Bytes::from(body)))
    .map_err(|error| error.to_string())?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), ANSWER_LIMIT)
        .collect()
        .await
        .map_err(|error| format!("reading the answer: {error}"))?
        .to_bytes();
    if !status.is_success() {
        return Err(format!("the server responded with status {status}"));
    }
    Ok(bytes)
}

fn tls_config(ca: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("caBundle: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
