//! A gateway whose certificate is in a Secret: embedded API server, control plane, agent and Envoy together.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hawser_agent::ProxyRole;
use hawser_apiserver::{Config as ApiConfig, Server};
use hawser_base::tls;
use hawser_control::ControlPlaneArgs;
use hawser_kube::{Client, Resource};
use hawser_proto::envoy::config::core::v3::Node;
use hawser_proto::envoy::service::discovery::v3::DiscoveryRequest;
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hawser_proto::type_url;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{self, Ca, free_port};
use crate::{http, start_agent, until};

const NAMESPACE: &str = "istio-system";
const HOST: &str = "web.example";
const SECRETS: Resource = Resource::namespaced("", "v1", "Secret", "secrets");
const ACCOUNTS: Resource = Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    control: ControlPlaneArgs,
}

/// The kind of an object, as the API server has it.
fn resource(object: &Value) -> Resource {
    let (group, version) = object["apiVersion"]
        .as_str()
        .unwrap()
        .split_once('/')
        .unwrap_or(("", "v1"));
    let kind = object["kind"].as_str().unwrap().to_owned();
    Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: format!("{}s", kind.to_lowercase()).into(),
        namespaced: !["Namespace", "CustomResourceDefinition"].contains(&kind.as_str()),
        kind: kind.into(),
    }
}

fn documents(text: &str) -> Vec<Value> {
    let manifest = hawser_api::manifest::read("test", text.as_bytes());
    manifest
        .docs
        .into_iter()
        .map(|document| document.value)
        .collect()
}

fn secret(ca: &Ca) -> Value {
    let (certificate, key) = ca.issue(&[HOST]);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "web-certificate", "namespace": NAMESPACE},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    })
}

fn objects(port: u16) -> String {
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: gateway, namespace: {NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: gateway, namespace: {NAMESPACE}}}
rules:
- {{apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: gateway, namespace: {NAMESPACE}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: gateway}}
subjects:
- {{kind: ServiceAccount, name: gateway, namespace: {NAMESPACE}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  selector: {{istio: gateway}}
  servers:
  - port: {{number: {port}, name: https, protocol: HTTPS}}
    hosts: ["{HOST}"]
    tls: {{mode: SIMPLE, credentialName: web-certificate}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  hosts: ["{HOST}"]
  gateways: [web]
  http:
  - directResponse: {{status: 200, body: {{string: ahoy}}}}
"#
    )
}

/// A request over TLS that trusts one root: the answer, if that root's certificate was shown.
async fn get(port: u16, ca: &Ca) -> Option<String> {
    let mut roots = rustls::RootCertStore::empty();
    for root in tls::certificates(ca.root.as_bytes()).ok()? {
        roots.add(root).ok()?;
    }
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(HOST.try_into().ok()?, stream)
        .await
        .ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // Envoy closes without saying so in TLS.
    let _ = stream.read_to_end(&mut answer).await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// What a plaintext stream answers first to a router that asks for a certificate and then for clusters.
async fn first_answer_in_plaintext(address: SocketAddr) -> String {
    let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let ask = |kind: &str, names: &[&str]| DiscoveryRequest {
        node: Some(Node {
            id: format!("router~127.0.0.1~gateway-1.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"),
            metadata: Some(Default::default()),
            ..Node::default()
        }),
        type_url: kind.to_owned(),
        resource_names: names.iter().map(|n| (*n).to_owned()).collect(),
        ..DiscoveryRequest::default()
    };
    let requests = [
        ask(type_url::SECRET, &["kubernetes://web-certificate"]),
        ask(type_url::CLUSTER, &[]),
    ];
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    for request in requests {
        sender.send(request).await.unwrap();
    }
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client
        .stream_aggregated_resources(requests)
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap().type_url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_shows_the_certificate_of_its_secret_and_each_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let api = Server::start(ApiConfig::new("test", directory.path().join("api")))
        .await
        .unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let client = Client::from_kubeconfig_file(&kubeconfig, None)
        .await
        .unwrap();
    let https = free_port();
    let crds = ["gateways", "virtualservices"].map(|plural| {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/crds");
        std::fs::read_to_string(format!("{place}/{plural}.networking.istio.io.yaml")).unwrap()
    });
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
    for object in crds
        .iter()
        .chain([&namespace, &objects(https)])
        .flat_map(|text| documents(text))
    {
        until("an object is stored", || async {
            client.create(&resource(&object), &object).await.is_ok()
        })
        .await;
    }
    let (first, second) = (
        Ca::new(time::Duration::hours(1)),
        Ca::new(time::Duration::hours(1)),
    );
    client.create(&SECRETS, &secret(&first)).await.unwrap();

    let (plaintext, secure, monitoring) = (free_port(), free_port(), free_port());
    let control = Line::parse_from([
        "control-plane".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--grpc-addr=127.0.0.1:{plaintext}"),
        format!("--secure-grpc-addr=127.0.0.1:{secure}"),
        "--webhook-addr=127.0.0.1:0".to_owned(),
        format!("--monitoring-addr=127.0.0.1:{monitoring}"),
    ]);
    let control = tokio::spawn(hawser_control::run(control.control));
    until("the control plane is ready", || async {
        assert!(!control.is_finished(), "the control plane ended");
        http(monitoring, "/ready")
            .await
            .is_some_and(|(status, _)| status == 200)
    })
    .await;

    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["istio-ca"]}});
    let token = client
        .create_sub(&ACCOUNTS, (Some(NAMESPACE), "gateway"), "token", &token)
        .await
        .unwrap();
    let distributed = || async {
        let map = client
            .get(&CONFIG_MAPS, Some(NAMESPACE), "istio-ca-root-cert")
            .await
            .ok()?;
        Some(map["data"]["root-cert.pem"].as_str()?.to_owned())
    };
    until("the roots are distributed", || async {
        distributed().await.is_some()
    })
    .await;
    let roots = distributed().await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, secure));
    let mut config = support::config(directory.path(), address, &roots, true);
    std::fs::write(&config.token, token["status"]["token"].as_str().unwrap()).unwrap();
    config.role = ProxyRole::Router;
    config.pod = "gateway-1".into();
    config.namespace = NAMESPACE.into();
    config.service_account = "gateway".into();
    config.cluster_id = "Kubernetes".into();
    config.drain = Duration::ZERO;
    let metadata = json!({"NAMESPACE": NAMESPACE, "CLUSTER_ID": "Kubernetes", "LABELS": {"istio": "gateway"}, "SERVICE_ACCOUNT": "gateway"});
    config.metadata = metadata.as_object().unwrap().clone();
    let agent = start_agent(config);

    let answers = |ca| async move {
        get(https, ca)
            .await
            .is_some_and(|a| a.starts_with("HTTP/1.1 200") && a.ends_with("ahoy"))
    };
    until("HTTPS with the certificate of the Secret", || {
        answers(&first)
    })
    .await;
    assert_eq!(
        get(https, &second).await,
        None,
        "another root is not trusted"
    );

    client.replace(&SECRETS, &secret(&second)).await.unwrap();
    until("HTTPS with the new certificate", || answers(&second)).await;
    assert_eq!(
        get(https, &first).await,
        None,
        "the old certificate is not shown any more"
    );

    let plaintext = SocketAddr::from((Ipv4Addr::LOCALHOST, plaintext));
    assert_eq!(
        first_answer_in_plaintext(plaintext).await,
        type_url::CLUSTER,
        "no certificate without TLS"
    );

    agent.stop.cancel();
    tokio::time::timeout(crate::PATIENCE, agent.task)
        .await
        .expect("the agent ends")
        .unwrap()
        .unwrap();
    control.abort();
}
