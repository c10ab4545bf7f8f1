//! `hawser analyze` and `validate` as users run them: over live clusters, folders, standard input, and with istioctl's flags.

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use hawser_api::{Kind, crd, manifest};
use hawser_apiserver::{Config, Handle, Server};
use hawser_kube::{Client, Resource};
use serde_json::{Value, json};

/// What the two clusters hold: the same service with other ports, a subset in one of them only, a route that nobody serves,
/// and a gateway to only one of their networks.
const EAST: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: net-east}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Service, metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: net-east}},
  spec: {selector: {app: eastwest}, ports: [{name: tls, port: 15443}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: till, namespace: shop}, spec: {selector: {app: till}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ghost, namespace: shop}, spec: {selector: {app: ghost}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: till-1, namespace: shop, labels: {app: till, version: v1}},
  spec: {containers: [{name: istio-proxy, image: proxy}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: till, namespace: shop},
  spec: {host: till, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: till, namespace: shop},
  spec: {hosts: [till], http: [{match: [{uri: {prefix: /ghost}}], route: [{destination: {host: ghost}}]},
    {route: [{destination: {host: till, subset: v2}}]}]}}
";
const WEST: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: net-west}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Service, metadata: {name: till, namespace: shop}, spec: {selector: {app: till}, ports: [{name: http, port: 81}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: till-2, namespace: shop, labels: {app: till, version: v2}},
  spec: {containers: [{name: istio-proxy, image: proxy}]}}
";

fn hawser(args: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hawser"))
        .args(args)
        .env_remove("KUBECONFIG")
        .env_remove("HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The findings of `analyze -o json`, as `CODE origin cluster`, those of namespace `default` and the like left out.
fn found(args: &[&str]) -> Result<Vec<String>> {
    let output = hawser(args, "")?;
    let list: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}{}", text(&output.stdout), text(&output.stderr)))?;
    let text = |m: &Value, key: &str| m[key].as_str().unwrap_or_default().to_owned();
    Ok(list
        .as_array()
        .context("no list")?
        .iter()
        .filter(|m| m["level"] != "Info" || m["code"] != "IST0102")
        .map(|m| [text(m, "code"), text(m, "origin"), text(m, "cluster")].join(" "))
        .collect())
}

async fn create(client: &Client, object: &Value) -> Result<()> {
    let field = |key: &str| object[key].as_str().unwrap_or_default();
    let kind = Kind::of(field("apiVersion"), field("kind"))?;
    let info = kind.info();
    let resource = Resource {
        group: Cow::Borrowed(info.group),
        version: Cow::Borrowed(info.version()),
        kind: Cow::Borrowed(info.name),
        plural: Cow::Borrowed(info.plural),
        namespaced: info.namespaced,
    };
    // A kind is there a moment after its definition, a namespace's account likewise.
    let begun = Instant::now();
    loop {
        match client.create(&resource, object).await {
            Ok(_) | Err(hawser_kube::Error::AlreadyExists(_)) => return Ok(()),
            Err(error) if begun.elapsed() > Duration::from_secs(20) => bail!("{object}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn cluster(name: &str, data: &Path, objects: &str) -> Result<Handle> {
    let server = Server::start(Config::new(name, data)).await?;
    let client = Client::from_kubeconfig(&server.kubeconfig(), None).await?;
    for definition in [Kind::VirtualService, Kind::DestinationRule] {
        create(&client, &crd::crd(definition)).await?;
    }
    for doc in manifest::read(name, objects.as_bytes()).docs {
        create(&client, &doc.value).await?;
    }
    Ok(server)
}

fn parsed(kubeconfig: &str) -> Result<Value> {
    let docs = manifest::read("kubeconfig", kubeconfig.as_bytes()).docs;
    Ok(docs.into_iter().next().context("empty kubeconfig")?.value)
}

/// One kubeconfig with the contexts of both, as `kubectl config view` would merge them.
fn merged(a: &str, b: &str) -> Result<String> {
    let (mut a, b) = (parsed(a)?, parsed(b)?);
    for key in ["clusters", "contexts", "users"] {
        let more = b[key].as_array().cloned().unwrap_or_default();
        a[key]
            .as_array_mut()
            .with_context(|| format!("no {key}"))?
            .extend(more);
    }
    Ok(a.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_live_clusters() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let east = cluster("east", &folder.path().join("east"), EAST).await?;
    let west = cluster("west", &folder.path().join("west"), WEST).await?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, merged(&east.kubeconfig(), &west.kubeconfig())?)?;
    let kubeconfig = kubeconfig.to_str().context("path")?;

    // By itself, cluster east has a subset without pods, and knows nothing of the other's ports and network.
    let alone = found(&[
        "analyze",
        "-A",
        "-o",
        "json",
        "-c",
        kubeconfig,
        "--context",
        "east",
    ])?;
    ensure!(
        alone
            .iter()
            .any(|f| f.starts_with("IST0173 DestinationRule shop/till"))
            && !alone
                .iter()
                .any(|f| f.contains("IST0170") || f.contains("HWS0204")),
        "{alone:#?}"
    );

    let expected = [
        "HWS0204 Namespace istio-system west",
        "IST0170 Service shop/till east",
        "HWS0203 VirtualService shop/till east",
        "HWS0201 DestinationRule shop/till east",
        "HWS0201 DestinationRule shop/till east",
    ];
    let check = |what: &str, mut got: Vec<String>| -> Result<()> {
        let mut expected: Vec<String> = expected.iter().map(|e| (*e).to_owned()).collect();
        got.sort();
        expected.sort();
        ensure!(got == expected, "{what}: {got:#?}");
        Ok(())
    };
    let both = [
        "analyze",
        "-A",
        "-o",
        "json",
        "-c",
        kubeconfig,
        "--context",
        "east",
        "--context",
        "west",
    ];
    check("two contexts", found(&both)?)?;

    // The same by way of the secret that the control plane reads.
    let client = Client::from_kubeconfig(&east.kubeconfig(), None).await?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(west.kubeconfig());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "istio-remote-secret-west", "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}},
        "data": {"west": encoded},
    });
    create(&client, &secret).await?;
    let remote = [
        "analyze",
        "-A",
        "-o",
        "json",
        "-c",
        kubeconfig,
        "--context",
        "east",
        "--multi-cluster",
    ];
    check("remote secret", found(&remote)?)?;

    // A file is what is about to be applied: here what mends the route.
    let mended = folder.path().join("mended.yaml");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: ghost-1, namespace: shop, labels: {app: ghost}}, \
               spec: {containers: [{name: istio-proxy, image: proxy}]}}";
    std::fs::write(&mended, pod)?;
    let with_file = [&both[..], &[mended.to_str().context("path")?]].concat();
    let got = found(&with_file)?;
    ensure!(!got.iter().any(|f| f.contains("HWS0203")), "{got:#?}");

    // A cluster that is not there is an error that names it, soon.
    west.shutdown();
    let output = hawser(&[&both[..], &["--timeout", "2s"]].concat(), "")?;
    ensure!(
        output.status.code() != Some(0) && text(&output.stderr).contains("west"),
        "{}",
        text(&output.stderr)
    );
    Ok(())
}

/// Arguments, standard input, the exit status, and what is (or with `!` is not) in the output.
type Run = (
    &'static [&'static str],
    &'static str,
    i32,
    &'static [&'static str],
);

const RUNS: &[Run] = &[
    (
        &["validate", "-"],
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {mtls: {mode: STRICT}}}",
        0,
        &["<stdin>: 1 object: valid"],
    ),
    (
        &["validate", "-"],
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {mtls: {mode: strict}}}",
        1,
        &[
            "<stdin>:1:",
            "IST0106",
            "spec.mtls.mode",
            "did you mean STRICT?",
        ],
    ),
    (
        &["validate", "-"],
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, name: b}, spec: {}}",
        1,
        &["HWS0003", "stands twice"],
    ),
    (&["validate", "-"], "a: [", 1, &["<stdin>:", "HWS0001"]),
    (&["validate", "-"], "\u{0}\u{1}\u{2}", 1, &["HWS0001"]),
    (&["validate", "-"], "just text\n", 1, &["HWS0001"]),
    (&["validate", "nowhere.yaml"], "", 2, &["nowhere.yaml"]),
    (
        &["analyze", "-k=false", "-"],
        "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
        0,
        &["Info [IST0102] (Namespace a <stdin>:1:"],
    ),
    (
        &[
            "analyze",
            "--use-kube=false",
            "--failure-threshold",
            "Info",
            "-",
        ],
        "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
        1,
        &["IST0102", "Analyzers found issues"],
    ),
    (
        &[
            "analyze",
            "--use-kube=false",
            "--output-threshold",
            "Warning",
            "-",
        ],
        "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
        0,
        &["!IST0102", "No validation issues found"],
    ),
    (
        &[
            "analyze",
            "--use-kube=false",
            "-S",
            "IST0102=Namespace a",
            "-",
        ],
        "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
        0,
        &["!IST0102"],
    ),
    (
        &[
            "analyze",
            "--use-kube=false",
            "-A",
            "-S",
            "IST0103=Pod *.shop",
            "-",
        ],
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}\n---\n{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {containers: [{name: a, image: a}]}}",
        0,
        &["!IST0103"],
    ),
    (
        &["analyze", "--use-kube=false", "-o", "yaml", "-"],
        "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
        0,
        &["- code: IST0102", "line: 1"],
    ),
    (
        &["analyze", "--use-kube=false", "--color", "-"],
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a]}}",
        1,
        &["\u{1b}[1;31mError\u{1b}[0m [IST0106]"],
    ),
    (
        &["analyze", "--use-kube=false", "-v", "-"],
        "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}",
        0,
        &["Analyzed 1 objects of files."],
    ),
    (
        &["analyze", "--use-kube=false", "--ignore-unknown", "-"],
        "just text\n",
        0,
        &["No validation issues"],
    ),
    (
        &["analyze", "--use-kube=false", "--suppress", "nonsense", "-"],
        "",
        2,
        &["write CODE=OBJECT"],
    ),
    (
        &["analyze", "--use-kube=false"],
        "",
        2,
        &["nothing to analyse"],
    ),
    (
        &["analyze", "-L"],
        "",
        0,
        &[
            "* gateway.ConflictingGatewayAnalyzer",
            "* virtualservice.DestinationHostAnalyzer",
        ],
    ),
];

#[test]
fn flags_and_exit_statuses() -> Result<()> {
    for (args, input, status, expected) in RUNS {
        let output = hawser(args, input)?;
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        ensure!(output.status.code() == Some(*status), "{args:?}: {all}");
        for part in *expected {
            let (part, wanted) = part.strip_prefix('!').map_or((*part, true), |p| (p, false));
            ensure!(all.contains(part) == wanted, "{args:?}: {part} in {all}");
        }
    }
    Ok(())
}

#[test]
fn folders_and_settings() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let below = folder.path().join("below");
    std::fs::create_dir(&below)?;
    let service = |host: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {host}}}, spec: {{hosts: [{host}], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}}}"
        )
    };
    std::fs::write(folder.path().join("a.yml"), service("one"))?;
    std::fs::write(folder.path().join("notes.txt"), "not: [yaml")?;
    std::fs::write(below.join("b.yaml"), service("two"))?;
    std::fs::write(
        below.join("c.json"),
        service("three").replace('{', "{ ").as_str(),
    )?;
    let mesh = folder.path().join("mesh.conf");
    std::fs::write(
        &mesh,
        "rootNamespace: istio-config\noutboundTrafficPolicy: {mode: REGISTRY}\n",
    )?;
    let path = folder.path().to_str().context("path")?;
    let run = |args: &[&str]| -> Result<String> {
        let output = hawser(&[&["analyze", "--use-kube=false"], args].concat(), "")?;
        Ok(format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let flat = run(&[path])?;
    ensure!(
        flat.contains("a.yml:1:") && !flat.contains("b.yaml") && !flat.contains("notes"),
        "{flat}"
    );
    let deep = run(&["-R", path])?;
    ensure!(
        deep.contains("b.yaml:1:") && deep.contains("c.json:1:"),
        "{deep}"
    );
    let settings = run(&["--meshConfigFile", mesh.to_str().context("path")?, path])?;
    ensure!(
        settings.contains("mesh.conf") && settings.contains("did you mean REGISTRY_ONLY?"),
        "{settings}"
    );
    Ok(())
}
