//! A cluster that also listens in a network namespace, as the lab's do.

use std::process::Command;

use hawser_apiserver::{Config, Server};

/// A named network namespace that goes with the test.
struct Netns(String);

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("ip cannot be run ({error}); install iproute2"));
    assert!(
        output.status.success(),
        "ip {}: {}; this test makes a network namespace and needs root",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Netns {
    fn new() -> Netns {
        let name = format!("hawser-apiserver-{}", std::process::id());
        ip(&["netns", "add", &name]);
        let netns = Netns(name);
        ip(&["-n", &netns.0, "link", "set", "lo", "up"]);
        ip(&["-n", &netns.0, "addr", "add", "192.0.2.1/32", "dev", "lo"]);
        netns
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // A namespace that is gone already is as good.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cluster_two_networks() {
    let netns = Netns::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut config = Config::new("inner", dir.path().join("data"));
    let path = std::path::PathBuf::from(format!("/var/run/netns/{}", netns.0));
    config.netns = Some((path, "192.0.2.1:0".parse().expect("an address")));
    let handle = Server::start(config).await.expect("it starts");
    let inside = dir.path().join("inside");
    std::fs::write(
        &inside,
        handle
            .netns_kubeconfig()
            .expect("a kubeconfig for the namespace"),
    )
    .expect("written");
    let get = [
        "kubectl",
        "--kubeconfig",
        inside.to_str().expect("a path"),
        "get",
        "endpointslices",
        "kubernetes",
    ];
    let output = tokio::task::block_in_place(|| {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &netns.0])
            .args(get)
            .env("HOME", dir.path())
            .output()
            .expect("ip and kubectl run")
    });
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("192.0.2.1"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
