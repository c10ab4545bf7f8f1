//! A webhook of our own, which remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

/// The name of the Service that its certificate is for, in the namespace `court`.
pub const SERVICE: &str = "hook";

/// From the path and the review's request, the `response`; `None` never answers.
type Judge = fn(&str, &Value) -> Option<Value>;

pub struct Hook {
    pub addr: SocketAddr,
    ca: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hook {
    pub async fn serve(judge: Judge) -> Hook {
        let key = KeyPair::generate().expect("a key");
        let mut params =
            CertificateParams::new(vec![format!("{SERVICE}.court.svc")]).expect("a name");
        params
            .subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()));
        let certificate = params.self_signed(&key).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a server's TLS");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let hook = Hook {
            addr: listener.local_addr().expect("its address"),
            ca: STANDARD.encode(certificate.pem()),
            asked: Arc::default(),
        };
        let asked = hook.asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asked) = (acceptor.clone(), asked.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| answer(request, judge, asked.clone()));
                    // The client may close as it likes.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        hook
    }

    /// A `clientConfig` with its address.
    pub fn by_url(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.addr), "caBundle": self.ca})
    }

    /// A `clientConfig` with its Service.
    pub fn by_service(&self, path: &str) -> Value {
        json!({"service": {"namespace": "court", "name": SERVICE, "path": path}, "caBundle": self.ca})
    }

    /// What it was asked since the last time: paths with their queries, and requests.
    pub fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.asked.lock().expect("nobody panics holding it"))
    }
}

async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
    judge: Judge,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<hyper::Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.expect("a review");
    let mut review: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    let response = judge(path.split('?').next().unwrap_or_default(), &review);
    asked
        .lock()
        .expect("nobody panics holding it")
        .push((path, review["request"].take()));
    match response {
        None => std::future::pending().await,
        Some(response) => {
            let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
            Ok(hyper::Response::new(Full::new(answer.to_string().into())))
        }
    }
}
