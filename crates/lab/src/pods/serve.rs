//! The kubelet's own port: the API server asks here for what containers wrote.

use std::io::{self, Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use hawser_kube::{Client, Resource};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{NodeContext, logs, record};

/// The annotation of the node's object by which the API server knows what certificate to expect here.
pub(crate) const CERTIFICATE: &str = "kubelet.hawser.io/certificate";
/// The kubelet's usual port.
pub(crate) const PORT: u16 = 10250;
/// The common name of the certificate by which the API server shows itself; nobody else may ask.
const ASKER: &str = "kube-apiserver-kubelet-client";
/// How long a caller may take for the handshake, and for the head of a request.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Between looks at a log that is followed.
const POLL: Duration = Duration::from_millis(200);
/// Between attempts to learn the cluster's CA, and after an error of accepting.
const RETRY: Duration = Duration::from_millis(500);
/// Bytes read at once.
const CHUNK: usize = 32 << 10;

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");

/// The certificate that the node's object announces, and its key; both live as long as the process.
#[derive(Debug)]
pub(crate) struct Identity {
    /// PEM.
    pub certificate: String,
    der: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    /// Makes one for the node's address.
    pub(crate) fn make(node: &NodeContext) -> Result<Identity, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(node.net.node_ip.into())];
        let certificate = params.self_signed(&key)?;
        Ok(Identity {
            certificate: certificate.pem(),
            der: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        })
    }

    /// TLS that takes callers with a certificate of the cluster's CA alone.
    fn tls(&self, ca: &str) -> anyhow::Result<TlsAcceptor> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = hawser_base::tls::provider();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![self.der.clone()],
                PrivateKeyDer::Pkcs8(self.key.clone_key()),
            )?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Serves until `stop`.
pub(crate) async fn run(node: Arc<NodeContext>, identity: Arc<Identity>, stop: CancellationToken) {
    let served = async {
        let ca = cluster_ca(&node.client).await;
        let tls = identity.tls(&ca)?;
        let addr = SocketAddr::new(node.net.node_ip.into(), PORT);
        let listener = node.netns.run(|| StdListener::bind(addr))?;
        listener.set_nonblocking(true)?;
        accept(TcpListener::from_std(listener)?, tls, &node).await;
        anyhow::Ok(())
    };
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::warn!(%error, node = node.node_name, "kubectl logs will not work");
        },
        () = stop.cancelled() => {}
    }
}

/// The CA's certificate, as every namespace is given it.
async fn cluster_ca(client: &Client) -> String {
    loop {
        let map = client
            .get(&CONFIG_MAPS, Some("kube-system"), "kube-root-ca.crt")
            .await;
        let ca = map
            .ok()
            .and_then(|map| Some(map.pointer("/data/ca.crt")?.as_str()?.to_string()));
        match ca {
            Some(ca) => return ca,
            None => sleep(RETRY).await,
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, node: &Arc<NodeContext>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let (tls, node) = (tls.clone(), node.clone());
        tokio::spawn(async move {
            let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await else {
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            if !certificates.is_some_and(|chain| chain.first().is_some_and(is_asker)) {
                return;
            }
            let service = service_fn(move |request| {
                let node = node.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(&node, &request)) }
            });
            // A caller that goes away ends the connection, which is no error.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HANDSHAKE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn is_asker(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| {
        let mut names = certificate.subject().iter_common_name();
        names.any(|name| name.as_str().is_ok_and(|name| name == ASKER))
    })
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

fn refused(code: StatusCode, why: String) -> Response<Body> {
    let mut answer = Response::new(
        http_body_util::Full::from(why)
            .map_err(|e| match e {})
            .boxed_unsync(),
    );
    *answer.status_mut() = code;
    answer
}

fn answer(node: &NodeContext, request: &Request<Incoming>) -> Response<Body> {
    let parts: Vec<&str> = request.uri().path().split('/').collect();
    let ["", "containerLogs", namespace, pod, container] = parts.as_slice() else {
        return refused(StatusCode::NOT_FOUND, "only logs are served".into());
    };
    let plain = |name: &&str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(known)
    };
    if request.method() != Method::GET || ![namespace, pod, container].into_iter().all(plain) {
        return refused(
            StatusCode::BAD_REQUEST,
            "this is no request for a log".into(),
        );
    }
    let options = match Options::parse(request.uri().query().unwrap_or_default(), pod, container) {
        Ok(options) => options,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let log = Log {
        path: logs::path(&node.dirs.logs, &node.cluster, namespace, pod, container),
        records: node.dirs.records.clone(),
        of: [&node.cluster, *namespace, *pod, *container].map(str::to_string),
    };
    if !log.path.exists() {
        let why = format!("container {container:?} in pod {pod:?} is waiting to start");
        return refused(StatusCode::BAD_REQUEST, why);
    }
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = log.send(&options, &sender).await {
            // The caller may have gone already.
            let _ = sender.send(Err(error)).await;
        }
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(frames(receiver))))
}

fn frames(
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next.map(Frame::data), receiver))
    })
}

/// What of a log is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    follow: bool,
    tail: Option<usize>,
    limit: Option<u64>,
}

impl Options {
    fn parse(query: &str, pod: &str, container: &str) -> Result<Options, String> {
        let mut options = Options::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = || {
                value
                    .parse()
                    .map_err(|_| format!("{name}: {value:?} is no number"))
            };
            let yes = matches!(value, "true" | "1");
            match name {
                "follow" => options.follow = yes,
                "tailLines" => options.tail = Some(number()?),
                "limitBytes" => options.limit = Some(number()? as u64),
                "previous" if yes => {
                    return Err(format!(
                        "previous terminated container {container:?} in pod {pod:?} not found"
                    ));
                }
                "sinceSeconds" | "sinceTime" => {
                    return Err("a lab's logs keep no times: use --tail instead of --since".into());
                }
                "timestamps" if yes => return Err("a lab's logs keep no times".into()),
                _ => {}
            }
        }
        Ok(options)
    }
}

/// The log of one container.
struct Log {
    path: PathBuf,
    records: PathBuf,
    /// Cluster, namespace, pod, container.
    of: [String; 4],
}

impl Log {
    async fn send(
        &self,
        options: &Options,
        to: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<()> {
        let mut at = match options.tail {
            None => 0,
            Some(lines) => tail(&self.path, lines)?,
        };
        let mut left = options.limit.unwrap_or(u64::MAX);
        loop {
            let runs = options.follow && self.runs();
            loop {
                let bytes = read(&self.path, &mut at, left)?;
                if bytes.is_empty() {
                    break;
                }
                left = left.saturating_sub(bytes.len() as u64);
                if to.send(Ok(bytes)).await.is_err() {
                    return Ok(());
                }
            }
            if !runs || left == 0 {
                return Ok(());
            }
            tokio::select! {
                () = sleep(POLL) => {}
                () = to.closed() => return Ok(()),
            }
        }
    }

    /// Whether more may be written.
    fn runs(&self) -> bool {
        let [cluster, namespace, pod, container] = &self.of;
        let records = record::read_all(&self.records).unwrap_or_default();
        records.iter().any(|record| {
            record.cluster == *cluster
                && record.namespace == *namespace
                && record.name == *pod
                && record
                    .containers
                    .iter()
                    .any(|c| c.name == *container && c.pid.is_some())
        })
    }
}

/// Some bytes at a place, which moves on. A shorter file is a new one: the old was set aside.
fn read(path: &Path, at: &mut u64, most: u64) -> io::Result<Bytes> {
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.len() < *at {
        *at = 0;
    }
    file.seek(SeekFrom::Start(*at))?;
    let mut bytes = Vec::new();
    let count = file.take(most.min(CHUNK as u64)).read_to_end(&mut bytes)?;
    *at += count as u64;
    Ok(bytes.into())
}

/// Where the last lines begin.
fn tail(path: &Path, lines: usize) -> io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let mut end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let (mut last, mut found) = (true, 0);
    let mut chunk = vec![0; CHUNK];
    while end > 0 {
        let size = end.min(CHUNK as u64);
        let start = end - size;
        file.seek(SeekFrom::Start(start))?;
        let part = &mut chunk[..size as usize];
        file.read_exact(part)?;
        for (offset, byte) in part.iter().enumerate().rev() {
            // The end of the last line is no beginning of another.
            if *byte == b'\n' && !std::mem::take(&mut last) {
                found += 1;
                if found == lines {
                    return Ok(start + offset as u64 + 1);
                }
            }
            last = false;
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_begin_where_they_do() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let cases = [
            ("", 3, ""),
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("a\n\n\n", 2, "\n\n"),
        ];
        for (text, lines, expected) in cases {
            std::fs::write(&path, text).expect("a log");
            let mut at = tail(&path, lines).expect("a place");
            let rest = read(&path, &mut at, u64::MAX).expect("the rest");
            assert_eq!(rest, expected.as_bytes(), "{text:?} {lines}");
        }
    }

    #[test]
    fn options_that_cannot_be_honoured_are_refused() {
        let parse = |query| Options::parse(query, "p", "c");
        let wanted = Options {
            follow: true,
            tail: Some(2),
            limit: Some(9),
        };
        assert_eq!(
            parse("follow=true&tailLines=2&limitBytes=9&previous=false"),
            Ok(wanted)
        );
        for query in [
            "previous=true",
            "sinceSeconds=5",
            "timestamps=true",
            "tailLines=x",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }
}
