//! Programs written with Go's client library; tests/client-go says what they do.

use std::process::Command;

use crate::client::Cluster;
use crate::tools;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client-go");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_go_programs_do() {
    let Some(go) = tools::find("go") else {
        return tools::skipped("client-go against the API server, for there is no Go");
    };
    let go = |arguments: &[&str]| {
        let mut command = Command::new(&go);
        command.args(arguments).current_dir(SOURCES);
        tokio::task::block_in_place(|| tools::run(&mut command, ""))
    };
    if let Err(why) = go(&["mod", "download"]) {
        return tools::skipped(&format!(
            "client-go against the API server, for its modules cannot be had: {why}"
        ));
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = dir.path().join("client-go");
    go(&["build", "-o", &program.to_string_lossy(), "."]).expect("it builds");
    // Informers ask for a stream of the initial list, or for pages of it, by a switch of the library.
    for streaming in ["true", "false"] {
        let cluster = Cluster::start().await;
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.handle.kubeconfig())
            .expect("the kubeconfig is written");
        let mut command = Command::new(&program);
        command
            .arg(&kubeconfig)
            .env("KUBE_FEATURE_WatchListClient", streaming);
        let outcome = tokio::task::block_in_place(|| tools::run(&mut command, ""));
        assert!(outcome.is_ok(), "streaming {streaming}: {outcome:?}");
    }
}
