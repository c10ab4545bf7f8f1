//! The agent with the real Envoy 1.40 and a control plane of the test's own.

#[path = "envoy/gateway.rs"]
mod gateway;
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hawser_agent::{Config, run_with};
use hawser_base::tls;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Ca, free_port, names, resource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and says which one did not.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn http(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Some((answer.split(' ').nth(1)?.parse().ok()?, answer))
}

async fn is_ready(port: u16) -> bool {
    http(port, "/healthz/ready")
        .await
        .is_some_and(|(status, _)| status == 200)
}

/// A server that sends back what it gets.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    port
}

async fn ping(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4];
    stream.write_all(b"ping").await.is_ok()
        && stream.read_exact(&mut buffer).await.is_ok()
        && &buffer == b"ping"
}

fn sds(name: &str, delta: bool) -> Value {
    json!({"name": name, "sds_config": {"resource_api_version": "V3", "api_config_source": {
        "api_type": if delta { "DELTA_GRPC" } else { "GRPC" }, "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    }}})
}

fn tls_context(kind: &str, delta: bool) -> Value {
    let common = json!({
        "tls_certificate_sds_secret_configs": [sds("default", delta)],
        "validation_context_sds_secret_config": sds("ROOTCA", delta),
    });
    let mut context = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"),
        "common_tls_context": common,
    });
    if kind == "DownstreamTlsContext" {
        context["require_client_certificate"] = json!(true);
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

fn listener(name: &str, port: u16, to: &str, transport: Option<Value>) -> Value {
    let mut chain = json!({"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name, "cluster": to,
    }}]});
    if let Some(transport) = transport {
        chain["transport_socket"] = transport;
    }
    json!({"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [chain]})
}

fn cluster(name: &str, port: u16, transport: Option<Value>) -> Value {
    let mut cluster = json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": "127.0.0.1", "port_value": port}}}}]}]},
    });
    if let Some(transport) = transport {
        cluster["transport_socket"] = transport;
    }
    cluster
}

/// A mesh in one Envoy: plain TCP at `outbound` goes by mutual TLS to `inbound`, and from there to an echo.
fn resources(outbound: u16, inbound: u16, application: u16, delta: bool) -> support::Resources {
    use hawser_proto::type_url::{BOOTSTRAP, CLUSTER, LISTENER};
    vec![
        resource(CLUSTER, cluster("application", application, None)),
        resource(
            CLUSTER,
            cluster(
                "mesh",
                inbound,
                Some(tls_context("UpstreamTlsContext", delta)),
            ),
        ),
        resource(
            LISTENER,
            listener(
                "inbound",
                inbound,
                "application",
                Some(tls_context("DownstreamTlsContext", delta)),
            ),
        ),
        resource(LISTENER, listener("outbound", outbound, "mesh", None)),
        names(&[("reviews.default.global", "240.0.0.3")]),
        resource(
            BOOTSTRAP,
            json!({"static_resources": {"clusters": [cluster("of-the-bootstrap", application, None)]}}),
        ),
    ]
}

/// The serial number of the certificate that a server shows to a client with a certificate of the CA.
async fn serial_shown(port: u16, ca: &Ca) -> Option<String> {
    #[derive(Debug)]
    struct Anyone;
    impl rustls::client::danger::ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            tls::provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    let (chain, key) = ca.issue(&["client"]);
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_auth_cert(
            tls::certificates(chain.as_bytes()).ok()?,
            tls::private_key(key.as_bytes()).ok()?,
        )
        .ok()?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect("any".try_into().ok()?, stream)
        .await
        .ok()?;
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    Some(certificate.raw_serial_as_string())
}

/// The process whose command line names this test's bootstrap.
fn envoy_pid(bootstrap: &Path) -> Option<i32> {
    let wanted = bootstrap.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").ok()?;
    entries.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line)
            .split('\0')
            .any(|word| word == wanted)
            .then_some(pid)
    })
}

async fn address_of(server: u16, name: &str) -> Option<String> {
    let mut query = Message::new(1, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await.ok()?;
    socket
        .send_to(&query.to_vec().ok()?, (Ipv4Addr::LOCALHOST, server))
        .await
        .ok()?;
    let mut buffer = [0; 512];
    let length = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer))
        .await
        .ok()?
        .ok()?;
    let answer = Message::from_vec(buffer.get(..length)?).ok()?;
    Some(answer.answers.first()?.data.to_string())
}

struct Agent {
    config: Config,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), hawser_agent::AgentError>>,
}

fn start_agent(config: Config) -> Agent {
    let stop = CancellationToken::new();
    let task = tokio::spawn(run_with(config.clone(), stop.clone()));
    Agent { config, stop, task }
}

async fn a_proxy_lives(delta: bool) {
    // Short-lived certificates: they are renewed every two seconds.
    let ca = Arc::new(Ca::new(time::Duration::seconds(4)));
    let (outbound, inbound) = (free_port(), free_port());
    let resources = resources(outbound, inbound, echo().await, delta);
    let control = support::start(
        Arc::clone(&ca),
        resources.clone(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let agent = start_agent(support::config(
        directory.path(),
        control.address,
        &ca.root,
        delta,
    ));
    let ports = agent.config.ports;

    until("ready", || is_ready(ports.readiness)).await;
    let mut first = TcpStream::connect((Ipv4Addr::LOCALHOST, outbound))
        .await
        .unwrap();
    assert!(
        ping(&mut first).await,
        "mutual TLS with the certificate from SDS"
    );
    assert_eq!(
        address_of(ports.dns, "reviews.default.global.")
            .await
            .as_deref(),
        Some("240.0.0.3")
    );
    assert_eq!(address_of(ports.dns, "nowhere.example.").await, None);
    let (_, clusters) = http(ports.admin, "/clusters").await.unwrap();
    assert!(
        clusters.contains("of-the-bootstrap::"),
        "what the control plane merges into the bootstrap: {clusters}"
    );

    for (file, mode) in [("SDS", 0o600), ("XDS", 0o600), ("envoy-rev.json", 0o600)] {
        let found = std::fs::metadata(agent.config.proxy_dir.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }

    // The certificate changes under the connection, which lives on.
    let serial = serial_shown(inbound, &ca).await.expect("a handshake");
    until("another certificate", || async {
        serial_shown(inbound, &ca)
            .await
            .is_some_and(|now| now != serial)
    })
    .await;
    assert!(
        ping(&mut first).await,
        "the connection from before the rotation"
    );
    let mut second = TcpStream::connect((Ipv4Addr::LOCALHOST, outbound))
        .await
        .unwrap();
    assert!(
        ping(&mut second).await,
        "a connection with the new certificate"
    );

    let (_, statistics) = http(ports.status, "/stats/prometheus").await.unwrap();
    for name in [
        "istio_agent_cert_expiry_seconds",
        "envoy_server_state",
        "envoy_cluster_manager_cds_update_success",
    ] {
        assert!(
            statistics.contains(name),
            "no {name} in the merged statistics"
        );
    }
    assert!(
        !statistics.contains("istio_agent_xds_rejects_total{"),
        "Envoy refused something"
    );

    // Killed, Envoy comes back.
    let pid = envoy_pid(&agent.config.bootstrap()).expect("Envoy runs");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    until("another Envoy", || async {
        envoy_pid(&agent.config.bootstrap()).is_some_and(|now| now != pid)
    })
    .await;
    until("ready again", || is_ready(ports.readiness)).await;
    let mut third = TcpStream::connect((Ipv4Addr::LOCALHOST, outbound))
        .await
        .unwrap();
    assert!(ping(&mut third).await, "after the restart");

    // Without a control plane traffic goes on; once it is back, the proxy is, too.
    let address = control.address;
    drop(control);
    assert!(ping(&mut third).await, "without a control plane");
    let control = support::start(Arc::clone(&ca), resources, address).await;
    until("reconnected", || async {
        control.streams.load(Ordering::SeqCst) > 0
    })
    .await;
    assert!(ping(&mut third).await, "after the control plane's restart");
    assert_eq!(
        address_of(ports.dns, "reviews.default.global.")
            .await
            .as_deref(),
        Some("240.0.0.3")
    );

    // Told to end, the proxy waits for the open connection, but not for long.
    agent.stop.cancel();
    until("not ready", || async { !is_ready(ports.status).await }).await;
    assert!(ping(&mut third).await, "while draining");
    drop((first, second, third));
    let ended = tokio::time::timeout(PATIENCE, agent.task)
        .await
        .expect("the agent ends")
        .unwrap();
    ended.unwrap();
    assert_eq!(
        envoy_pid(&agent.config.bootstrap()),
        None,
        "Envoy has ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_lives_with_delta() {
    a_proxy_lives(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_lives_with_the_state_of_the_world() {
    a_proxy_lives(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_of_another_root_is_refused() {
    let ca = Arc::new(Ca::new(time::Duration::hours(1)));
    let other = Ca::new(time::Duration::hours(1));
    let control = support::start(
        Arc::clone(&ca),
        Vec::new(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let config = support::config(directory.path(), control.address, &other.root, true);
    let plane = hawser_agent::ControlPlane {
        address: config.discovery_address.clone(),
        name: config.discovery_name.clone(),
        root_cert: config.root_cert.clone(),
        token: config.token.clone(),
        cluster_id: "c".into(),
    };
    let error = plane.connect(None).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    std::fs::write(&config.root_cert, &ca.root).unwrap();
    plane.connect(None).await.expect("the right root");
    let elsewhere = hawser_agent::ControlPlane {
        name: "elsewhere.example".into(),
        ..plane
    };
    let error = elsewhere.connect(None).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}
