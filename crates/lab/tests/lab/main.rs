//! A lab as its users have it: this program plays `hawser`, with its roles lab and apiserver.
//! Needs root, `ip` and `nft`.

mod scene;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::json;

use scene::{Scene, gone, own_folder, pod, run_self, wait};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Lab(hawser_lab::LabArgs),
    Apiserver(hawser_apiserver::ApiserverArgs),
}

fn main() -> ExitCode {
    if let Some(code) = hawser_lab::main_if_asked() {
        return code;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match std::env::args().nth(1).as_deref() {
        Some("lab" | "apiserver") => runtime.block_on(async {
            match Cli::parse().command {
                Command::Lab(args) => hawser_lab::run(args).await.unwrap_or_else(|error| {
                    eprintln!("{error:#}");
                    ExitCode::from(1)
                }),
                Command::Apiserver(args) => match hawser_apiserver::run(args).await {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => {
                        eprintln!("{error:#}");
                        ExitCode::from(1)
                    }
                },
            }
        }),
        Some("--list") => ExitCode::SUCCESS,
        _ => {
            assert!(
                nix::unistd::geteuid().is_root(),
                "these tests make network namespaces: run them as root"
            );
            runtime.block_on(tests());
            ExitCode::SUCCESS
        }
    }
}

async fn tests() {
    refusals().await;
    let scene = Scene::up("lab").await;
    status(&scene).await;
    // Pods take their time; they do so side by side.
    tokio::join!(
        a_pod_with_everything(&scene),
        the_same_address_twice(&scene),
        probes(&scene),
        ends_and_restarts(&scene),
        what_cannot_start_says_why(&scene),
    );
    deletion_is_graceful(&scene).await;
    an_api_server_that_is_killed(&scene).await;
    a_lab_that_is_killed(scene).await;
    interrupted().await;
    println!("lab: 10 tests passed");
}

async fn refusals() {
    for (args, code, part) in [
        (
            &["lab", "up", "--topology", "external"][..],
            2,
            "external is not built yet",
        ),
        (
            &["lab", "status", "--dir", "/nonexistent/lab"],
            1,
            "no lab is up",
        ),
        (
            &["lab", "down", "--dir", "/nonexistent/lab"],
            0,
            "no lab is up",
        ),
        (
            &[
                "lab",
                "exec",
                "--dir",
                "/nonexistent/lab",
                "cluster1",
                "default/x",
                "--",
                "true",
            ],
            1,
            "no lab is up",
        ),
    ] {
        let (given, said) = run_self(args).await;
        assert_eq!(given, code, "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

async fn status(scene: &Scene) {
    let names: Vec<_> = scene.state["clusters"]
        .as_array()
        .expect("clusters")
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["cluster1", "cluster2"]);
    let ingress = scene.state["clusters"][0]["ingress"]
        .as_str()
        .expect("an ingress");
    assert!(ingress.starts_with("http://127.0.0.1:"), "{ingress}");
    let (code, kubeconfig) = scene.lab(&["kubeconfig"]).await;
    assert!(
        code == 0 && kubeconfig.contains("current-context: cluster1"),
        "{kubeconfig}"
    );
    let (code, said) = scene
        .lab(&["up", "--topology", "none", "--app", "none"])
        .await;
    assert!(code == 1 && said.contains("a lab is up"), "{code} {said}");
    for cluster in &scene.clusters {
        let node = cluster
            .get("nodes", None, &format!("{}-node", cluster.name))
            .await
            .expect("a node");
        let labels = &node["metadata"]["labels"];
        assert_eq!(
            labels["topology.kubernetes.io/region"],
            cluster.name.as_str()
        );
    }
}

/// Init container, native sidecar, environment, volumes of each kind, user, names.
async fn a_pod_with_everything(scene: &Scene) {
    let cluster = &scene.clusters[0];
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "default"}, "data": {"colour": "black", "size": "7"}}))
        .await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "keys", "namespace": "default"}, "stringData": {"key": "s3cret"}}))
        .await;
    let mut object = pod(
        "everything",
        "cluster1-node",
        "echo $COLOUR $NAME $IP; cat /config/colour /keys/key /shared/init; \
        test -s /tokens/token && echo token; cat /labels/labels; id -u; touch /config/x 2>/dev/null || echo read-only; exec sleep 600",
    );
    object["metadata"]["labels"] = json!({"app": "everything"});
    object["spec"]["initContainers"] = json!([
        {"name": "first", "image": "none", "command": ["sh", "-c", "echo from-init > /shared/init"],
         "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
        {"name": "beside", "image": "none", "restartPolicy": "Always", "command": ["sh", "-c", "sleep 1; echo up > /shared/beside; exec sleep 600"],
         "startupProbe": {"exec": {"command": ["test", "-f", "/shared/beside"]}, "periodSeconds": 1, "failureThreshold": 20},
         "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
    ]);
    let main = &mut object["spec"]["containers"][0];
    main["env"] = json!([
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]);
    main["securityContext"] = json!({"runAsUser": 1337, "runAsGroup": 1337});
    main["volumeMounts"] = json!([
        {"name": "shared", "mountPath": "/shared"},
        {"name": "config", "mountPath": "/config", "readOnly": true},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "tokens", "mountPath": "/tokens"},
        {"name": "labels", "mountPath": "/labels"},
    ]);
    object["spec"]["volumes"] = json!([
        {"name": "shared", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys", "items": [{"key": "key", "path": "key"}]}},
        {"name": "tokens", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "istio-ca"}}]}},
        {"name": "labels", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]);
    cluster.create(object).await;
    let running = cluster.ready("everything").await;
    let status = &running["status"];
    let ip = status["podIP"].as_str().expect("an address");
    assert!(ip.starts_with("10.1."), "{ip}");
    assert_eq!(status["hostIP"], "172.30.0.11");
    assert_eq!(
        status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"],
        0
    );
    assert_eq!(status["initContainerStatuses"][1]["started"], true);
    let expected = format!(
        "black everything {ip}\nblacks3cretfrom-init\ntoken\napp=\"everything\"1337\nread-only\n"
    );
    wait("the pod's output", async || {
        let (_, said) = scene
            .lab(&["logs", "cluster1", "default/everything", "-c", "main"])
            .await;
        if said == expected { Ok(()) } else { Err(said) }
    })
    .await;

    // The same through the API, and what the node cannot answer.
    for (arguments, said) in [
        (&["-c", "main"][..], expected.as_str()),
        (&["-c", "main", "--tail=1"], "read-only\n"),
        (&["-c", "main", "--limit-bytes=5"], "black"),
        // It has ended, so there is nothing to wait for.
        (&["-c", "first", "--follow"], ""),
    ] {
        assert_eq!(kubectl_logs(scene, arguments), (true, said.to_string()));
    }
    let (ok, said) = kubectl_logs(scene, &["-c", "main", "--previous"]);
    assert!(
        !ok && said.contains("previous terminated container"),
        "{said}"
    );

    let (code, resolv) = scene
        .lab(&[
            "exec",
            "cluster1",
            "everything",
            "--",
            "cat",
            "/etc/resolv.conf",
        ])
        .await;
    assert_eq!(code, 0, "{resolv}");
    assert!(
        resolv.contains("search default.svc.cluster.local")
            && resolv.contains("nameserver 10.96.0.10"),
        "{resolv}"
    );
    let (_, said) = scene
        .lab(&[
            "exec",
            "cluster1",
            "default/everything",
            "--",
            "sh",
            "-c",
            "id -u; ip -br addr show eth0; exit 7",
        ])
        .await;
    assert!(said.starts_with("0\n") && said.contains(ip), "{said}");
    let (code, _) = scene
        .lab(&[
            "exec",
            "cluster1",
            "default/everything",
            "--",
            "sh",
            "-c",
            "exit 7",
        ])
        .await;
    assert_eq!(code, 7);
    let (code, said) = scene
        .lab(&["exec", "cluster1", "nothing", "--", "true"])
        .await;
    assert!(
        code == 1 && said.contains("default/everything"),
        "{code} {said}"
    );
}

/// What `kubectl logs` says of the pod, and whether it is content.
fn kubectl_logs(scene: &Scene, arguments: &[&str]) -> (bool, String) {
    let kubeconfig = scene.state["clusters"][0]["kubeconfig"]
        .as_str()
        .expect("a kubeconfig");
    let output = std::process::Command::new("kubectl")
        .args(["--kubeconfig", kubeconfig, "logs", "everything"])
        .args(arguments)
        .output()
        .expect("kubectl is on PATH");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

async fn the_same_address_twice(scene: &Scene) {
    let mut addresses = Vec::new();
    for cluster in &scene.clusters {
        let name = format!("{}-node", cluster.name);
        cluster.create(pod("twin", &name, "exec sleep 600")).await;
    }
    for cluster in &scene.clusters {
        let running = cluster.ready("twin").await;
        addresses.push(
            running["status"]["podIP"]
                .as_str()
                .expect("an address")
                .to_string(),
        );
        assert_eq!(running["status"]["phase"], "Running");
    }
    assert!(
        addresses.iter().all(|ip| ip.starts_with("10.1.0.")),
        "{addresses:?}"
    );
}

async fn probes(scene: &Scene) {
    let cluster = &scene.clusters[0];
    let mut object = pod(
        "unready",
        "cluster1-node",
        "while ! [ -f /tmp/go ]; do sleep 0.1; done; exec sleep 600",
    );
    let main = &mut object["spec"]["containers"][0];
    main["readinessProbe"] =
        json!({"exec": {"command": ["test", "-f", "/tmp/go"]}, "periodSeconds": 1});
    main["lifecycle"] =
        json!({"postStart": {"exec": {"command": ["sh", "-c", "sleep 0.5; touch /tmp/go"]}}});
    cluster.create(object).await;
    let mut object = pod(
        "dying",
        "cluster1-node",
        "touch /tmp/alive; sleep 1; rm /tmp/alive; exec sleep 600",
    );
    let main = &mut object["spec"]["containers"][0];
    main["livenessProbe"] = json!({"exec": {"command": ["test", "-f", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1});
    object["spec"]["terminationGracePeriodSeconds"] = json!(1);
    cluster.create(object).await;
    cluster.ready("unready").await;
    let restarted = cluster
        .pod_when("dying", |pod| {
            pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1)
        })
        .await;
    let last = &restarted["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert!(
        last["message"]
            .as_str()
            .is_some_and(|m| m.contains("liveness probe failed")),
        "{last}"
    );

    // A server of the pod itself, asked over its network.
    let mut object = pod("server", "cluster1-node", "");
    let main = &mut object["spec"]["containers"][0];
    main["command"] = json!([
        "python3",
        "-m",
        "http.server",
        "8000",
        "--directory",
        "/etc"
    ]);
    main["ports"] = json!([{"name": "web", "containerPort": 8000}]);
    main["readinessProbe"] = json!({"httpGet": {"path": "/hosts", "port": "web"}});
    main["livenessProbe"] = json!({"tcpSocket": {"port": 8000}, "initialDelaySeconds": 2});
    cluster.create(object).await;
    cluster.ready("server").await;
}

async fn ends_and_restarts(scene: &Scene) {
    let cluster = &scene.clusters[1];
    let policy = |name: &str, policy: &str, script: &str| {
        let mut object = pod(name, "cluster2-node", script);
        object["spec"]["restartPolicy"] = json!(policy);
        object
    };
    cluster.create(policy("done", "Never", "exit 0")).await;
    cluster.create(policy("broken", "Never", "exit 3")).await;
    cluster
        .create(policy(
            "again",
            "OnFailure",
            "[ -f /dev/shm/x ] && exit 0; exit 4",
        ))
        .await;
    cluster.create(policy("crashing", "Always", "exit 5")).await;
    let done = cluster
        .pod_when("done", |pod| pod["status"]["phase"] == "Succeeded")
        .await;
    assert_eq!(
        done["status"]["containerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    let broken = cluster
        .pod_when("broken", |pod| pod["status"]["phase"] == "Failed")
        .await;
    assert_eq!(
        broken["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
    for name in ["again", "crashing"] {
        let crashing = cluster
            .pod_when(name, |pod| {
                let status = &pod["status"]["containerStatuses"][0];
                status["restartCount"].as_i64() >= Some(2)
                    && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            })
            .await;
        assert_eq!(crashing["status"]["phase"], "Running");
    }
}

async fn what_cannot_start_says_why(scene: &Scene) {
    let cluster = &scene.clusters[1];
    let mut unknown = pod("unknown-image", "cluster2-node", "");
    unknown["spec"]["containers"][0] = json!({"name": "main", "image": "redis:7"});
    let mut no_config = pod("no-config", "cluster2-node", "exec sleep 600");
    no_config["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": "later"}}]);
    let mut no_command = pod("no-command", "cluster2-node", "");
    no_command["spec"]["containers"][0]["command"] = json!(["no-such-program"]);
    for object in [unknown, no_config, no_command] {
        cluster.create(object).await;
    }
    for (name, reason, part) in [
        ("unknown-image", "ErrImagePull", "redis:7"),
        (
            "no-config",
            "ContainerCreating",
            "configmap \"later\" not found",
        ),
    ] {
        // A pod is first said to be in creation, and why it stays so a moment later.
        cluster
            .pod_when(name, |pod| {
                let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
                let message = waiting["message"].as_str().unwrap_or_default();
                waiting["reason"] == reason && message.contains(part)
            })
            .await;
    }
    cluster
        .pod_when("no-command", |pod| {
            let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
            last["message"]
                .as_str()
                .is_some_and(|message| message.contains("no-such-program"))
        })
        .await;
    // What was missing comes, and the pod goes on by itself.
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "later", "namespace": "default"}, "data": {}}))
        .await;
    cluster.ready("no-config").await;
}

async fn deletion_is_graceful(scene: &Scene) {
    let cluster = &scene.clusters[0];
    let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    cluster.create(pod("polite", "cluster1-node", script)).await;
    cluster
        .create(pod(
            "deaf",
            "cluster1-node",
            "trap '' TERM; while :; do sleep 0.05; done",
        ))
        .await;
    cluster.ready("polite").await;
    cluster.ready("deaf").await;
    cluster.delete("polite", 20).await;
    cluster.delete("deaf", 1).await;
    for name in ["polite", "deaf"] {
        cluster.pod_gone(name).await;
    }
    let log = std::fs::read_to_string(scene.dir.join("logs/cluster1/default_polite_main.log"))
        .expect("its log");
    assert!(log.ends_with("bye\n"), "{log}");
}

async fn an_api_server_that_is_killed(scene: &Scene) {
    let cluster = &scene.clusters[0];
    let before = cluster.ready("twin").await;
    let server = scene.process("apiserver");
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL)
        .expect("killing the API server");
    gone("the killed API server", server).await;
    wait("the API server to be back", async || {
        cluster
            .try_get("pods", Some("default"), "twin")
            .await
            .map(drop)
    })
    .await;
    let after = cluster.ready("twin").await;
    assert_eq!(
        before["metadata"]["uid"], after["metadata"]["uid"],
        "data is intact"
    );
    assert_eq!(
        before["status"]["containerStatuses"], after["status"]["containerStatuses"],
        "the pod has run on"
    );
    cluster
        .create(pod("later", "cluster1-node", "exec sleep 600"))
        .await;
    cluster.ready("later").await;
}

async fn a_lab_that_is_killed(scene: Scene) {
    let id = scene.state["id"].as_str().expect("an id").to_string();
    assert!(scene::carriers(&id) > 5);
    let pid = i32::try_from(scene.state["pid"].as_i64().expect("a pid")).expect("a pid");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("killing");
    wait(
        "every process of the killed lab to end",
        async || match scene::carriers(&id) {
            0 => Ok(()),
            count => Err(format!("{count} live on")),
        },
    )
    .await;
    let (code, said) = scene.lab(&["down"]).await;
    assert!(
        code == 0 && said.contains("removed what a killed lab left"),
        "{said}"
    );
    let left: Vec<_> = std::fs::read_dir(&scene.dir)
        .expect("the folder")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert!(
        left.iter().all(|name| name == "lock" || name == "logs"),
        "{left:?}"
    );
}

/// Ctrl-C in the middle of everything: nothing stays, and the exit status is 0.
async fn interrupted() {
    let dir = own_folder("interrupted");
    let mut lab = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args([
            "lab",
            "up",
            "--topology",
            "none",
            "--app",
            "none",
            "--clusters",
            "1",
            "--dir",
        ])
        .arg(&dir)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a lab");
    let state = wait("the lab", async || {
        let state = std::fs::read(dir.join("lab.json")).map_err(|error| error.to_string())?;
        let state: serde_json::Value =
            serde_json::from_slice(&state).map_err(|error| error.to_string())?;
        if state["phase"] == "ready" {
            Ok(state)
        } else {
            Err(state.to_string())
        }
    })
    .await;
    let pid = i32::try_from(lab.id().expect("a pid")).expect("a pid");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("Ctrl-C");
    let status = tokio::time::timeout(Duration::from_secs(30), lab.wait())
        .await
        .expect("an end")
        .expect("a status");
    assert!(status.success(), "{status}");
    assert_eq!(scene::carriers(state["id"].as_str().expect("an id")), 0);
    assert!(!dir.join("lab.json").exists());
    std::fs::remove_dir_all(&dir).expect("removing");
}
