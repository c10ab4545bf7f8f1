//! The real kubectl.

use std::path::Path;
use std::process::Command;

use crate::client::Cluster;
use crate::tools;

/// Runs kubectl and returns what it printed; fails with its complaint when it fails.
fn kubectl(kubeconfig: &Path, arguments: &[&str], input: &str) -> String {
    let Some(program) = tools::find("kubectl") else {
        panic!(
            "kubectl is not on PATH; install kubectl 1.32 and put it there, these tests need the real one"
        )
    };
    let mut command = Command::new(program);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .env("HOME", kubeconfig.parent().expect("a folder"));
    tools::run(&mut command, input).unwrap_or_else(|complaint| panic!("{complaint}"))
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
        (
            &["wait", "--for=jsonpath={.status.phase}=Pending", "pod/p"],
            "",
            "condition met",
        ),
        (&["wait", "--for=create", "pod/p"], "", "condition met"),
        (&["rollout", "restart", "deployment", "d"], "", "restarted"),
        (&["rollout", "pause", "deployment", "d"], "", "paused"),
        (
            &["set", "image", "deployment/d", "c=j"],
            "",
            "image updated",
        ),
        (&["set", "env", "deployment/d", "A=b"], "", "env updated"),
        (
            &["autoscale", "deployment", "d", "--max=3"],
            "",
            "autoscaled",
        ),
        (&["expose", "deployment", "d", "--port=80"], "", "exposed"),
        (
            &["create", "ingress", "i", "--rule=a/b=d:80"],
            "",
            "created",
        ),
        (
            &["auth", "can-i", "--list", "--as=system:masters-not"],
            "",
            "/version",
        ),
        (&["events"], "", ""),
        (
            &["get", "--raw", "/readyz?verbose"],
            "",
            "readyz check passed",
        ),
        (
            &["explain", "deployment.spec.strategy"],
            "",
            "<DeploymentStrategy>",
        ),
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
    // What is refused, and the words that tell why.
    let unknown = "apiVersion: none.example/v1\nkind: None\nmetadata: {name: none}\n";
    let refusals: &[(&[&str], &str, &str)] = &[
        (
            &["apply", "-f", "-"],
            unknown,
            "no matches for kind \"None\" in version \"none.example/v1\"",
        ),
        (&["top", "pods"], "", "Metrics API not available"),
        (&["exec", "left", "--", "ls"], "", "hawser lab exec"),
        (
            &["diff", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n",
            "+  name: new",
        ),
    ];
    tokio::task::block_in_place(|| kubectl(&kubeconfig, &["run", "left", "--image=i"], ""));
    for (arguments, input, expected) in refusals {
        let mut command = Command::new("kubectl");
        command
            .args(*arguments)
            .env("KUBECONFIG", &kubeconfig)
            .env("HOME", dir.path());
        let refused = tokio::task::block_in_place(|| tools::run(&mut command, input));
        let words = refused.expect_err("a refusal");
        assert!(words.contains(expected), "{words:?} lacks {expected:?}");
    }
}
