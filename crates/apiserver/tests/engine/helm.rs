//! The real helm: releases kept in Secrets, hooks, lookups, waiting, upgrades and rollbacks.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::client::{Client, Cluster, MERGE, namespace};
use crate::tools;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/shop");

/// Makes every pod of a namespace ready, as a node would, until the server ends.
async fn node(client: Client) {
    let pods = "/api/v1/namespaces/shop/pods";
    let mut events = client.watch(&format!("{pods}?watch=1")).await;
    while let Some(event) = events.next().await {
        if event["type"] != "ADDED" {
            continue;
        }
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("");
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let reply = client
            .patch(&format!("{pods}/{name}/status"), MERGE, &status)
            .await;
        assert_eq!(reply.code, 200, "{}", reply.body);
    }
}

/// One command: helm or kubectl, its arguments, and a part of what must be printed.
type Step<'a> = (&'a str, &'a [&'a str], &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_with_helm() {
    let Some(helm) = tools::find("helm") else {
        return tools::skipped(
            "helm against the API server; `scripts/setup --test` installs helm where Go is there",
        );
    };
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.handle.kubeconfig()).expect("the kubeconfig is written");
    cluster
        .client
        .post("/api/v1/namespaces", &namespace("shop"))
        .await;
    let node = tokio::spawn(node(cluster.client.clone()));

    let run = |program: &Path, arguments: &[&str], input: &str| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("KUBECONFIG", &kubeconfig)
            .env("HOME", dir.path());
        tokio::task::block_in_place(|| tools::run(&mut command, input))
            .unwrap_or_else(|complaint| panic!("{complaint}"))
    };
    // A template applied by kubectl: the kinds first, then what is of them.
    let kubectl = Path::new("kubectl");
    let crds = run(&helm, &["show", "crds", CHART], "");
    let applied = run(kubectl, &["apply", "-f", "-"], &crds);
    assert!(
        applied.contains("colours.shop.example created"),
        "{applied}"
    );
    let template = ["template", "plain", CHART, "--set", "deployment=true"];
    let manifests = run(&helm, &template, "");
    for expected in ["created", "unchanged"] {
        let applied = run(kubectl, &["apply", "-f", "-"], &manifests);
        let deployment = format!("deployment.apps/plain {expected}");
        assert!(applied.contains(&deployment), "{applied}");
    }
    run(kubectl, &["delete", "--wait=false", "-f", "-"], &manifests);

    let settings = "jsonpath={.data.colour} {.data.before} {.data.deployments}";
    let seen: &[&str] = &[
        "get",
        "configmap",
        "r-settings",
        "-n",
        "shop",
        "-o",
        settings,
    ];
    let wait = ["-n", "shop", "--wait", "--timeout", "60s"];
    let with_wait = |words: &[&'static str]| [words, &wait].concat();
    let install = with_wait(&["install", "r", CHART]);
    let upgrade = with_wait(&["upgrade", "r", CHART, "--set", "colour=blue"]);
    let rollback = with_wait(&["rollback", "r", "1"]);
    let uninstall = with_wait(&["uninstall", "r"]);
    let dry = [
        "upgrade",
        "r",
        CHART,
        "-n",
        "shop",
        "--dry-run=server",
        "--set",
        "deployment=true",
    ];
    let both = [
        "install",
        "both",
        CHART,
        "-n",
        "shop",
        "--set",
        "deployment=true",
    ];
    let both_upgrade = [
        "upgrade",
        "both",
        CHART,
        "-n",
        "shop",
        "--reuse-values",
        "--description",
        "again",
    ];
    let colour = [
        "get",
        "colour",
        "r",
        "-n",
        "shop",
        "-o",
        "jsonpath={.spec.name}",
    ];
    let steps: &[Step<'_>] = &[
        ("helm", &install, "STATUS: deployed"),
        ("helm", &["list", "-A"], "deployed"),
        ("helm", &["status", "r", "-n", "shop"], "REVISION: 1"),
        ("kubectl", seen, "red none true"),
        ("helm", &dry, "kind: Deployment"),
        ("helm", &upgrade, "REVISION: 2"),
        ("kubectl", seen, "blue red true"),
        ("kubectl", &colour, "blue"),
        ("helm", &["history", "r", "-n", "shop"], "superseded"),
        ("helm", &rollback, "Rollback was a success"),
        ("kubectl", &colour, "red"),
        ("helm", &both, "STATUS: deployed"),
        ("helm", &both_upgrade, "REVISION: 2"),
        (
            "helm",
            &["get", "values", "both", "-n", "shop"],
            "deployment: true",
        ),
        ("helm", &uninstall, "uninstalled"),
        ("helm", &["uninstall", "both", "-n", "shop"], "uninstalled"),
        (
            "kubectl",
            &[
                "get",
                "configmap,service,colour,deployment",
                "-n",
                "shop",
                "-o",
                "name",
            ],
            "configmap/kube-root-ca.crt\n",
        ),
    ];
    for (program, arguments, expected) in steps {
        let file = if *program == "helm" { &*helm } else { kubectl };
        let printed = run(file, arguments, "");
        assert!(
            printed.contains(expected),
            "{program} {}: {printed:?} lacks {expected:?}",
            arguments.join(" ")
        );
    }
    let left = run(
        kubectl,
        &[
            "get",
            "secret,configmap,service,colour",
            "-n",
            "shop",
            "-o",
            "name",
        ],
        "",
    );
    assert_eq!(
        left, "configmap/kube-root-ca.crt\n",
        "helm leaves nothing of its releases"
    );
    node.abort();
}
