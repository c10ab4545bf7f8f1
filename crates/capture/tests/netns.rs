//! Real redirection, in network namespaces of the test's own. Needs root, nft and ip.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use hawser_capture::{DnsCapture, Ports, Ranges, Settings, apply, removal, ruleset};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, gettid, setfsuid};
use socket2::SockRef;

const PATIENCE: Duration = Duration::from_secs(5);
const POD: &str = "10.9.0.1";
const PEER: &str = "10.9.0.2";

fn ip(words: &str) {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .expect("the program ip");
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `body` on a thread in a network namespace of its own, which ends with it.
fn in_namespace(body: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test needs root (CAP_SYS_ADMIN) to make a network namespace");
        ip("link set lo up");
        body();
    })
}

/// Makes sockets as the proxy's user would: the owner is who opened the socket's file.
fn as_proxy<T>(body: impl FnOnce() -> T) -> T {
    setfsuid(Uid::from_raw(1337));
    let out = body();
    setfsuid(Uid::from_raw(0));
    out
}

/// Accepts one connection; where it was going before it was redirected, and what was sent.
fn accepted(listener: &TcpListener) -> (SocketAddr, TcpStream) {
    let (stream, _) = listener.accept().unwrap();
    let original = SockRef::from(&stream)
        .original_dst_v4()
        .unwrap()
        .as_socket()
        .unwrap();
    (original, stream)
}

fn connect(address: &str) -> TcpStream {
    TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE)
        .unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// Asserts that a connection to `address` arrives at `listener` with `expected` as its destination.
fn check(listener: &TcpListener, address: &str, expected: &str) {
    let _stream = connect(address);
    assert_eq!(accepted(listener).0, expected.parse().unwrap(), "{address}");
}

#[test]
fn tcp_and_dns_are_redirected() {
    let (to_pod, from_peer) = mpsc::channel();
    let (to_peer, from_pod) = mpsc::channel::<()>();
    // The peer: answers on port 80, and calls the pod when told.
    let peer = in_namespace(move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap();
        to_pod.send(gettid()).unwrap();
        from_pod.recv().unwrap();
        ip(&format!("addr add {PEER}/24 dev v1"));
        ip("link set v1 up");
        to_pod.send(gettid()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"peer").unwrap();
        drop(stream);
        from_pod.recv().unwrap();
        let mut text = String::new();
        connect(&format!("{POD}:9080"))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "inbound");
        let mut text = String::new();
        connect(&format!("{POD}:15021"))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "left alone");
    });
    let pod = in_namespace(move || {
        let peer_thread = from_peer.recv().unwrap();
        ip(&format!(
            "link add v0 type veth peer name v1 netns {peer_thread}"
        ));
        ip(&format!("addr add {POD}/24 dev v0"));
        ip("link set v0 up");
        to_peer.send(()).unwrap();
        from_peer.recv().unwrap();

        let dns = DnsCapture {
            port: 15053,
            servers: Some(vec![PEER.parse().unwrap()]),
        };
        let rules = ruleset(&Settings {
            dns: Some(dns),
            ipv6: true,
            ..Settings::default()
        });
        apply(&rules).unwrap();
        apply(&rules).expect("a second run replaces the first");

        let outbound = TcpListener::bind((Ipv4Addr::LOCALHOST, 15001)).unwrap();
        let inbound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 15006)).unwrap();
        let left_alone = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 15021)).unwrap();
        check(&outbound, "10.9.0.77:80", "10.9.0.77:80");
        check(&outbound, "127.255.0.2:9080", "127.255.0.2:9080");
        let application = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).unwrap();
        let _stream = connect("127.0.0.1:8080");
        application.accept().expect("loopback passes");

        // The proxy's own calls are not captured.
        let mut text = String::new();
        as_proxy(|| connect(&format!("{PEER}:80")))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "peer");
        // The proxy's call to its own pod arrives as inbound traffic.
        let own = as_proxy(|| connect(&format!("{POD}:9080")));
        assert_eq!(accepted(&inbound).0, format!("{POD}:9080").parse().unwrap());
        drop(own);

        to_peer.send(()).unwrap();
        let (original, mut stream) = accepted(&inbound);
        assert_eq!(original, format!("{POD}:9080").parse().unwrap());
        stream.write_all(b"inbound").unwrap();
        drop(stream);
        left_alone
            .accept()
            .unwrap()
            .0
            .write_all(b"left alone")
            .unwrap();

        dns_is_answered_by_the_proxy();

        apply(&removal()).unwrap();
        let refused = TcpStream::connect_timeout(&"127.255.0.2:9080".parse().unwrap(), PATIENCE);
        assert!(refused.is_err(), "removed rules no longer redirect");
    });
    pod.join().expect("the pod's side");
    peer.join().expect("the peer's side");
}

#[test]
fn every_kind_of_rule_is_accepted() {
    let dns = |servers: Option<Vec<&str>>| DnsCapture {
        port: 15053,
        servers: servers.map(|all| all.iter().map(|server| server.parse().unwrap()).collect()),
    };
    let ranges = |text: &str| Ranges::parse("ranges", text).unwrap();
    let list = |text: &str| Ranges::parse_list("ranges", text).unwrap();
    let usual = Settings::default;
    let cases = [
        ("usual", usual()),
        (
            "both families",
            Settings {
                ipv6: true,
                dns: Some(dns(Some(vec!["10.0.0.10", "fd00::10"]))),
                ..usual()
            },
        ),
        (
            "all DNS",
            Settings {
                ipv6: true,
                dns: Some(dns(None)),
                ..usual()
            },
        ),
        (
            "nothing inbound",
            Settings {
                inbound_ports: Ports::Only(Vec::new()),
                ..usual()
            },
        ),
        (
            "some inbound",
            Settings {
                inbound_ports: Ports::Only(vec![80, 443]),
                ..usual()
            },
        ),
        (
            "outbound by range and port",
            Settings {
                ipv6: true,
                outbound_ranges: ranges("10.0.0.0/8,127.255.1.0/24,fd00::/8"),
                outbound_ranges_excluded: list("10.1.0.0/16,127.255.1.9,fd01::/16"),
                outbound_ports: Ports::Only(vec![9000]),
                outbound_ports_excluded: vec![53, 3306],
                ..usual()
            },
        ),
        (
            "every outbound port",
            Settings {
                outbound_ports: Ports::All,
                ..usual()
            },
        ),
        (
            "several owners",
            Settings {
                proxy_uids: vec![1337, 1338],
                proxy_gids: vec![7],
                ..usual()
            },
        ),
        (
            "interfaces",
            Settings {
                interfaces_excluded: vec!["eth-x.1@y".into()],
                virtual_interfaces: vec!["vm0".into()],
                ..usual()
            },
        ),
    ];
    let checks = in_namespace(move || {
        for (name, settings) in cases {
            let rules = ruleset(&settings);
            apply(&rules).unwrap_or_else(|error| panic!("{name}: {error}\n{rules}"));
        }
        assert!(apply("nonsense").is_err());
    });
    checks.join().expect("the rules");
}

/// A query to the server of resolv.conf is answered by the agent, and seems to come from the server.
fn dns_is_answered_by_the_proxy() {
    let agent = as_proxy(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 15053)).unwrap());
    let application = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    for socket in [&agent, &application] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    application.send_to(b"query", (PEER, 53)).unwrap();
    let mut buffer = [0; 16];
    let (length, from) = agent
        .recv_from(&mut buffer)
        .expect("the query reaches the agent");
    assert_eq!(&buffer[..length], b"query");
    agent.send_to(b"answer", from).unwrap();
    let (length, from) = application
        .recv_from(&mut buffer)
        .expect("the answer comes back");
    assert_eq!(
        (&buffer[..length], from),
        (&b"answer"[..], format!("{PEER}:53").parse().unwrap())
    );
}
