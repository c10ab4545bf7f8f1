//! A control plane for tests: a CA, and discovery that always gives the same few resources.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hawser_agent::{Config, Ports, ProxyRole};
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use hawser_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use hawser_proto::google::protobuf::Any;
use hawser_proto::istio::ca::service::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use hawser_proto::istio::ca::{IstioCertificateRequest, IstioCertificateResponse};
use hawser_proto::istio::nds::{NameInfo, NameTable};
use hawser_proto::{any, json, type_url};
use prost::Message;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

pub const TOKEN: &str = "a-token-of-the-test";
const NAME: &str = "istiod.istio-system.svc";

/// A CA whose certificates live for a chosen time.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub root: String,
    lifetime: time::Duration,
    pub issued: AtomicU64,
}

impl Ca {
    pub fn new(lifetime: time::Duration) -> Ca {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let root = params.self_signed(&key).unwrap().pem();
        Ca {
            issuer: Issuer::new(params, key),
            root,
            lifetime,
            issued: AtomicU64::new(0),
        }
    }

    /// A certificate (chain and key, PEM) for a DNS name or nothing but client use.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    fn sign(&self, csr: &str) -> String {
        let mut csr = CertificateSigningRequestParams::from_pem(csr).unwrap();
        let now = OffsetDateTime::now_utc();
        csr.params.not_before = now;
        csr.params.not_after = now + self.lifetime;
        csr.params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issued.fetch_add(1, Ordering::SeqCst);
        csr.signed_by(&self.issuer).unwrap().pem()
    }
}

/// What is given to proxies: type, name, resource.
pub type Resources = Vec<(&'static str, String, Any)>;

/// A resource from protobuf JSON.
pub fn resource(kind: &'static str, value: Value) -> (&'static str, String, Any) {
    let name = value["name"].as_str().unwrap_or_default().to_owned();
    let message =
        json::parse(kind, &value).unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    (
        kind,
        name,
        Any {
            type_url: kind.to_owned(),
            value: message.encode_to_vec(),
        },
    )
}

/// A name table.
pub fn names(table: &[(&str, &str)]) -> (&'static str, String, Any) {
    let info = |ip: &str| NameInfo {
        ips: vec![ip.to_owned()],
        ..NameInfo::default()
    };
    let table = table
        .iter()
        .map(|(name, ip)| ((*name).to_owned(), info(ip)))
        .collect();
    (
        type_url::NAME_TABLE,
        String::new(),
        any(&NameTable { table }),
    )
}

struct ControlPlane {
    ca: Arc<Ca>,
    resources: Arc<Resources>,
    streams: Arc<AtomicU64>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl IstioCertificateService for ControlPlane {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let bearer = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if bearer != Some(&format!("Bearer {TOKEN}")) {
            return Err(Status::unauthenticated("not the token"));
        }
        let leaf = self.ca.sign(&request.get_ref().csr);
        Ok(Response::new(IstioCertificateResponse {
            cert_chain: vec![leaf, self.ca.root.clone()],
        }))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for ControlPlane {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        let resources = Arc::clone(&self.resources);
        let answers = request.into_inner().filter_map(move |request| {
            let request = request.ok()?;
            if !request.response_nonce.is_empty() {
                return None;
            }
            let of_kind = resources
                .iter()
                .filter(|(kind, ..)| *kind == request.type_url);
            Some(Ok(DiscoveryResponse {
                version_info: "1".to_owned(),
                resources: of_kind.map(|(.., resource)| resource.clone()).collect(),
                type_url: request.type_url,
                nonce: "1".to_owned(),
                ..DiscoveryResponse::default()
            }))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        let resources = Arc::clone(&self.resources);
        let answers = request.into_inner().filter_map(move |request| {
            let request = request.ok()?;
            if !request.response_nonce.is_empty() {
                return None;
            }
            let of_kind = resources
                .iter()
                .filter(|(kind, ..)| *kind == request.type_url);
            let resources = of_kind.map(|(_, name, resource)| Resource {
                name: name.clone(),
                version: "1".to_owned(),
                resource: Some(resource.clone()),
                ..Resource::default()
            });
            Some(Ok(DeltaDiscoveryResponse {
                resources: resources.collect(),
                type_url: request.type_url,
                nonce: "1".to_owned(),
                ..DeltaDiscoveryResponse::default()
            }))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A running control plane; it ends when this is dropped, with all its connections, as a killed process does.
pub struct Running {
    pub address: SocketAddr,
    pub streams: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a control plane that serves TLS at an address.
pub async fn start(ca: Arc<Ca>, resources: Resources, listen: SocketAddr) -> Running {
    let (chain, key) = ca.issue(&[NAME]);
    let chain = hawser_base::tls::certificates(chain.as_bytes()).unwrap();
    let key = hawser_base::tls::private_key(key.as_bytes()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(hawser_base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind(listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = listener.into_std().unwrap();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = sender.send(Ok::<_, std::io::Error>(Tls(stream))).await;
            }
        }
    });
    let streams = Arc::new(AtomicU64::new(0));
    let plane = || ControlPlane {
        ca: Arc::clone(&ca),
        resources: Arc::new(resources.clone()),
        streams: Arc::clone(&streams),
    };
    let router = Server::builder()
        .add_service(IstioCertificateServiceServer::new(plane()))
        .add_service(AggregatedDiscoveryServiceServer::new(plane()));
    runtime.spawn(async move {
        router
            .serve_with_incoming(ReceiverStream::new(receiver))
            .await
            .unwrap();
    });
    Running {
        address,
        streams,
        runtime: Some(runtime),
    }
}

/// A TLS stream in the form that tonic serves.
struct Tls(TlsStream<TcpStream>);

impl Connected for Tls {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The real Envoy: HAWSER_ENVOY, .cache/envoy/envoy in the workspace, or PATH.
pub fn envoy() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/envoy/envoy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let given = std::env::var_os("HAWSER_ENVOY").map(PathBuf::from);
    let places = given
        .into_iter()
        .chain([workspace])
        .chain(std::env::split_paths(&path).map(|dir| dir.join("envoy")));
    let found = places.into_iter().find(|place| place.is_file());
    found.expect("this test needs Envoy 1.40: run scripts/fetch-envoy, or name one in HAWSER_ENVOY")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An agent's configuration in a directory of the test's own.
pub fn config(directory: &Path, control: SocketAddr, root: &str, delta: bool) -> Config {
    std::fs::write(directory.join("root-cert.pem"), root).unwrap();
    std::fs::write(directory.join("token"), format!("{TOKEN}\n")).unwrap();
    Config {
        role: ProxyRole::Sidecar,
        addresses: vec!["127.0.0.1".parse().unwrap()],
        pod: "reviews-1".into(),
        namespace: "default".into(),
        service_account: "reviews".into(),
        trust_domain: "cluster.local".into(),
        cluster_id: "cluster1".into(),
        domain: "default.svc.cluster.local".into(),
        service_cluster: "reviews.default".into(),
        discovery_address: control.to_string(),
        discovery_name: NAME.into(),
        root_cert: directory.join("root-cert.pem"),
        token: directory.join("token"),
        proxy_dir: directory.join("proxy"),
        envoy: Some(envoy()),
        bootstrap_override: None,
        ports: Ports {
            admin: free_port(),
            status: free_port(),
            readiness: free_port(),
            dns: free_port(),
            statistics: free_port(),
        },
        dns: true,
        resolv: hawser_agent::dns::ResolvConf::default(),
        delta,
        certificate_lifetime: Duration::from_secs(3600),
        drain: Duration::from_secs(5),
        concurrency: 1,
        log_level: "warning".into(),
        component_log_level: String::new(),
        application_metrics: None,
        metadata: serde_json::Map::new(),
        locality: ["region1".into(), String::new(), String::new()],
        runtime: Default::default(),
    }
}
