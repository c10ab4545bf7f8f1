//! The real kubectl.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::client::Cluster;

/// Runs kubectl and returns what it printed; fails with its complaint when it fails.
fn kubectl(kubeconfig: &std::path::Path, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .env("HOME", kubeconfig.parent().expect("a folder"));
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap_or_else(|error| {
        panic!("kubectl cannot be run ({error}); install kubectl 1.32 and put it on PATH, these tests need the real one")
    });
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(input.as_bytes())
        .expect("input is taken");
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "kubectl {}: {}{text}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_with_kubectl() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.handle.kubeconfig()).expect("the kubeconfig is written");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1'}\n";
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
                      template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: i}]}\n";
    let legacy = "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: old}\nspec:\n  template:\n    \
                  metadata: {labels: {a: old}}\n    spec: {containers: [{name: c, image: i}]}\n";
    // Arguments, input, and a part of what must be printed.
    let cases: &[(&[&str], &str, &str)] = &[
        (&["api-resources"], "", "configmaps"),
        (&["create", "namespace", "shop"], "", "created"),
        (&["apply", "-f", "-"], map, "configmap/m created"),
        (&["apply", "-f", "-"], map, "unchanged"),
        (
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            map,
            "serverside-applied",
        ),
        (
            &["get", "configmap", "m", "-o", "jsonpath={.data.a}"],
            "",
            "1",
        ),
        (
            &["get", "configmap", "m", "-o", "yaml"],
            "",
            "kind: ConfigMap",
        ),
        (&["get", "configmaps", "-A", "-o", "wide"], "", "NAMESPACE"),
        (&["label", "configmap", "m", "color=red"], "", "labeled"),
        (
            &["get", "configmap", "-l", "color=red", "-o", "name"],
            "",
            "configmap/m",
        ),
        (&["annotate", "configmap", "m", "note=x"], "", "annotated"),
        (
            &["patch", "configmap", "m", "-p", r#"{"data":{"b":"2"}}"#],
            "",
            "patched",
        ),
        (
            &["create", "secret", "generic", "s", "--from-literal=k=v"],
            "",
            "secret/s created",
        ),
        (
            &["create", "configmap", "c2", "--from-literal=k=v"],
            "",
            "configmap/c2 created",
        ),
        (
            &["create", "serviceaccount", "bob"],
            "",
            "serviceaccount/bob created",
        ),
        (&["create", "token", "bob"], "", "."),
        (
            &["create", "role", "r", "--verb=get", "--resource=pods"],
            "",
            "role.rbac.authorization.k8s.io/r created",
        ),
        (&["auth", "can-i", "delete", "pods"], "", "yes"),
        (&["auth", "whoami"], "", "kubernetes-admin"),
        (
            &["apply", "-f", "-"],
            deployment,
            "deployment.apps/d created",
        ),
        (&["scale", "deployment", "d", "--replicas=3"], "", "scaled"),
        (&["get", "deployment", "d"], "", "0/3"),
        (
            &["apply", "-f", "-"],
            legacy,
            "deployment.extensions/old created",
        ),
        (
            &[
                "get",
                "deployments.apps",
                "old",
                "-o",
                "jsonpath={.spec.selector.matchLabels.a}",
            ],
            "",
            "old",
        ),
        (&["explain", "configmap.data"], "", "FIELD: data"),
        (&["run", "p", "--image=i"], "", "pod/p created"),
        (&["describe", "pod", "p"], "", "Service Account:  default"),
        (&["delete", "pod", "p"], "", "deleted"),
        (&["delete", "deployment", "d", "old"], "", "deleted"),
        (&["delete", "configmap", "m", "c2"], "", "deleted"),
        (&["delete", "namespace", "shop"], "", "deleted"),
    ];
    for (arguments, input, expected) in cases {
        let arguments: Vec<&str> = arguments.to_vec();
        let printed = tokio::task::block_in_place(|| kubectl(&kubeconfig, &arguments, input));
        assert!(
            printed.contains(expected),
            "kubectl {}: {printed:?} lacks {expected:?}",
            arguments.join(" ")
        );
    }
}
