//! The main job, asserted against a running lab with real Envoys: version routing across clusters by user.
//!
//! One lab serves all steps, in order; the later ones break things and watch them heal.

mod commands;
mod patches;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hawser_testkit::http::{self, Answer};
use hawser_testkit::lab::{Lab, RECOVERY, kill_9, ok};
use hawser_testkit::scenario::{self, Step};
use hawser_testkit::{place, wait};
use serde_json::Value;

const REVIEWS: &str = "/api/v1/products/0/reviews";
const PRODUCTPAGE: &str = "default/productpage-v1";
const GATEWAY: &str = "istio-system/istio-ingressgateway";
const V2_AT_GATEWAY: &str = "outbound_.9080_.v2_.reviews.default.svc.cluster.local";

const STEPS: &[Step<Lab>] = &[
    (
        "jason_gets_v2_and_v3_of_the_other_cluster",
        jason_gets_v2_and_v3,
    ),
    ("everyone_else_gets_v1", everyone_else_gets_v1),
    (
        "in_a_browser_stars_come_and_go_with_the_login",
        in_a_browser,
    ),
    (
        "requests_cross_by_the_gateway_which_does_not_decrypt",
        by_the_gateway,
    ),
    ("the_name_resolves_for_applications_240", |lab| {
        calls_by_name(lab, "240.0.0.3")
    }),
    (
        "a_client_without_a_certificate_gets_nowhere",
        without_certificate,
    ),
    (
        "a_certificate_of_another_root_is_refused",
        foreign_certificate,
    ),
    (
        "no_proxy_refused_anything_and_all_are_up_to_date",
        nothing_refused,
    ),
    (
        "proxy_status_shows_all_of_both_clusters",
        commands::proxy_status,
    ),
    (
        "proxy_config_shows_what_one_was_given",
        commands::proxy_config,
    ),
    ("analyze_looks_at_both_clusters", commands::analyze),
    ("a_misspelt_field_is_named_by_kubectl", misspelt_field),
    ("a_bad_weight_is_refused_and_changes_nothing", bad_weight),
    (
        "a_missing_subset_is_a_problem_that_names_it",
        missing_subset,
    ),
    (
        "a_patch_that_envoy_refuses_is_named_and_left_out",
        patches::refused_by_envoy,
    ),
    ("by_host_address_and_node_port_127", by_node_port),
    ("a_killed_envoy_comes_back", killed_envoy),
    (
        "traffic_goes_on_without_a_control_plane",
        killed_control_plane,
    ),
    ("a_killed_api_server_keeps_its_data", killed_api_server),
    (
        "the_gateway_may_be_deleted_and_made_again",
        gateway_made_again,
    ),
    ("still_nothing_refused", nothing_refused),
    ("lab_down_leaves_nothing", leaves_nothing),
];

fn main() -> ExitCode {
    match Lab::up(Path::new(env!("CARGO_BIN_EXE_hawser")), "jason", &[]) {
        Ok(mut lab) => scenario::run(&mut lab, STEPS),
        Err(error) => {
            println!(
                "test lab_up ... FAILED\n    {error:#}\n\ntest result: FAILED. 0 passed; 1 failed"
            );
            ExitCode::FAILURE
        }
    }
}

/// A session of a user, by the login form; `None` is nobody.
fn session(ingress: SocketAddr, user: Option<&str>) -> Result<Vec<String>> {
    let Some(user) = user else {
        return Ok(Vec::new());
    };
    let form = ["content-type: application/x-www-form-urlencoded".to_owned()];
    let answer = http::request(
        ingress,
        "POST",
        "/login",
        &form,
        &format!("username={user}&passwd="),
    )?;
    let cookie = answer
        .header("set-cookie")
        .with_context(|| format!("no cookie: {} {}", answer.status, answer.body))?;
    let pair = cookie.split(';').next().unwrap_or_default();
    Ok(vec![format!("cookie: {pair}")])
}

/// Which version of reviews answered: by the stars that it gives.
fn version(answer: &Answer) -> Result<&'static str> {
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    match (
        answer.body.contains("reviewer"),
        answer.body.contains("black"),
        answer.body.contains("red"),
    ) {
        (true, false, false) => Ok("v1"),
        (true, true, false) => Ok("v2"),
        (true, false, true) => Ok("v3"),
        _ => bail!("no reviews: {}", answer.body),
    }
}

/// How many of `n` requests each version answered.
fn versions(lab: &Lab, user: Option<&str>, n: usize) -> Result<[usize; 3]> {
    let ingress = lab.ingress("cluster1")?;
    let headers = session(ingress, user)?;
    let mut counts = [0; 3];
    for i in 0..n {
        let answer = http::request(ingress, "GET", REVIEWS, &headers, "")
            .with_context(|| format!("request {i}"))?;
        match version(&answer).with_context(|| format!("request {i}"))? {
            "v1" => counts[0] += 1,
            "v2" => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    Ok(counts)
}

fn jason_gets_v2_and_v3(lab: &mut Lab) -> Result<()> {
    let [v1, v2, v3] = versions(lab, Some("jason"), 100)?;
    ensure!(
        v1 == 0 && (35..=65).contains(&v2) && (35..=65).contains(&v3),
        "v1 {v1}, v2 {v2}, v3 {v3} of 100"
    );
    Ok(())
}

fn everyone_else_gets_v1(lab: &mut Lab) -> Result<()> {
    for user in [None, Some("alice")] {
        let counts = versions(lab, user, 100)?;
        ensure!(counts == [100, 0, 0], "{user:?}: {counts:?} of 100");
    }
    Ok(())
}

fn in_a_browser(lab: &mut Lab) -> Result<()> {
    let modules = place::root().join(".cache/browser/node_modules");
    ensure!(
        modules.is_dir(),
        "playwright-core is missing: run scripts/setup --test"
    );
    let url = format!("http://{}/productpage", lab.ingress("cluster1")?);
    let script = place::root().join("crates/hawser/tests/browser/product-page.mjs");
    let screenshot = place::root().join("target/product-page.png");
    let said = ok(Command::new("node")
        .arg(script)
        .arg(modules)
        .arg(url)
        .arg(screenshot))?;
    let saw: Value = serde_json::from_str(said.trim()).with_context(|| said.clone())?;
    let stars = |key: &str| saw[key].as_u64().unwrap_or_default();
    ensure!(
        stars("before") == 0
            && stars("asJason") > 0
            && stars("after") == 0
            && saw["greetsJason"] == true,
        "{saw}"
    );
    Ok(())
}

fn by_the_gateway(lab: &mut Lab) -> Result<()> {
    versions(lab, Some("jason"), 10)?;
    ensure!(
        lab.connections("cluster2", GATEWAY, V2_AT_GATEWAY)? > 0,
        "no connection of the gateway to {V2_AT_GATEWAY}"
    );
    let subset = "outbound|9080|v2|reviews.default.global";
    ensure!(
        lab.connections("cluster1", PRODUCTPAGE, subset)? > 0,
        "no connection of productpage's proxy to {subset}"
    );
    let stats = lab.get(
        "cluster2",
        GATEWAY,
        "127.0.0.1",
        15000,
        "/stats?filter=listener.*15443.*ssl.handshake",
    )?;
    let terminated = stats
        .body
        .lines()
        .any(|l| l.rsplit_once(": ").is_some_and(|(_, n)| n.trim() != "0"));
    ensure!(
        !terminated,
        "the gateway terminated TLS on 15443:\n{}",
        stats.body
    );
    let config = lab.get(
        "cluster2",
        GATEWAY,
        "127.0.0.1",
        15000,
        "/config_dump?resource=dynamic_listeners",
    )?;
    ensure!(
        config
            .body
            .contains("outbound_.9080_.v2_.reviews.default.global"),
        "the gateway has no chain for that SNI"
    );
    Ok(())
}

fn calls_by_name(lab: &mut Lab, expected: &str) -> Result<()> {
    let hosts = lab.sh(
        "cluster1",
        PRODUCTPAGE,
        "getent hosts reviews.default.global",
    )?;
    ensure!(
        hosts.split_whitespace().next() == Some(expected),
        "reviews.default.global is {hosts:?}, not {expected}"
    );
    let answer = lab.get(
        "cluster1",
        PRODUCTPAGE,
        "reviews.default.global",
        9080,
        "/reviews/0",
    )?;
    let version = version(&answer)?;
    ensure!(
        version != "v1",
        "{version} answered, which is not in cluster2"
    );
    Ok(())
}

/// What `openssl s_client` says on the way to a pod of cluster2, from a pod of cluster1 but around its proxy.
fn handshake(lab: &Lab, flags: &str) -> Result<String> {
    let gateway = lab.kubectl(
        "cluster2",
        &[
            "-n",
            "istio-system",
            "get",
            "service",
            "istio-ingressgateway",
            "-o",
            "jsonpath={.status.loadBalancer.ingress[0].ip}",
        ],
    )?;
    let sni = "outbound_.9080_.v2_.reviews.default.global";
    // An HTTP request inside: a handshake of TLS 1.3 looks complete to a client before the server has judged it.
    let script = format!(
        "printf 'GET /reviews/0 HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n' | timeout 10 openssl s_client -quiet -alpn istio-http/1.1 \
         -connect {gateway}:15443 -servername {sni} {flags} 2>&1; true"
    );
    lab.sh("cluster1", PRODUCTPAGE, &script)
}

/// The server ends the handshake: with an alert, or with the connection closed before the alert is read.
fn is_refusal(said: &str) -> bool {
    ["alert", "unexpected eof", "errno"]
        .iter()
        .any(|w| said.contains(w))
}

fn without_certificate(lab: &mut Lab) -> Result<()> {
    let said = handshake(lab, "")?;
    ensure!(!said.contains("reviewer"), "it got an answer:\n{said}");
    ensure!(is_refusal(&said), "no refusal seen:\n{said}");
    Ok(())
}

fn foreign_certificate(lab: &mut Lab) -> Result<()> {
    let folder = lab.dir.join("foreign");
    let bin = env!("CARGO_BIN_EXE_hawser");
    std::fs::create_dir_all(&folder)?;
    ok(Command::new(bin).args(["ca", "init", "--dir"]).arg(&folder))?;
    ok(Command::new(bin)
        .args(["ca", "intermediate", "mallory", "--dir"])
        .arg(&folder))?;
    let (cert, key) = (
        folder.join("mallory/ca-cert.pem"),
        folder.join("mallory/ca-key.pem"),
    );
    let said = handshake(
        lab,
        &format!("-cert {} -key {}", cert.display(), key.display()),
    )?;
    ensure!(!said.contains("reviewer"), "it got an answer:\n{said}");
    ensure!(is_refusal(&said), "no refusal seen:\n{said}");
    Ok(())
}

fn nothing_refused(lab: &mut Lab) -> Result<()> {
    for cluster in ["cluster1", "cluster2"] {
        wait::until("every proxy up to date", RECOVERY, || {
            let proxies = lab.debug(cluster, "/debug/syncz")?;
            let proxies = proxies.as_array().context("syncz is no list")?;
            ensure!(
                proxies.len() >= 4,
                "{cluster}: only {} proxies are connected",
                proxies.len()
            );
            for proxy in proxies {
                let nacks: u64 = proxy["types"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter_map(|(_, t)| t["nacks"].as_u64())
                    .sum();
                ensure!(
                    nacks == 0 && proxy["up_to_date"] == true,
                    "{cluster}: {proxy:#}"
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

const MISTAKE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: mistake, namespace: default}\nspec:\n";

/// Applies a mistaken VirtualService, which must be refused with these words, and changes nothing for others.
fn refused(lab: &Lab, spec: &str, words: &[&str]) -> Result<()> {
    let output = lab.kubectl_apply("cluster1", &format!("{MISTAKE}{spec}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    ensure!(!output.status.success(), "it was accepted: {said}");
    for word in words {
        ensure!(
            said.contains(word),
            "the refusal does not say {word:?}: {said}"
        );
    }
    ensure!(
        lab.kubectl("cluster1", &["get", "virtualservice", "mistake"])
            .is_err(),
        "the mistake is there all the same"
    );
    let counts = versions(lab, None, 10)?;
    ensure!(counts == [10, 0, 0], "others were affected: {counts:?}");
    Ok(())
}

fn misspelt_field(lab: &mut Lab) -> Result<()> {
    refused(
        lab,
        "  hosts: [details]\n  htttp: []\n",
        &["htttp", "unknown field"],
    )
}

fn bad_weight(lab: &mut Lab) -> Result<()> {
    let spec = "  hosts: [details]\n  http:\n  - route:\n    - {destination: {host: details, subset: a}, weight: -3}\n    - {destination: {host: details, subset: b}, weight: 70}\n";
    refused(lab, spec, &["mistake", "weight"])
}

fn missing_subset(lab: &mut Lab) -> Result<()> {
    let spec = "  hosts: [ghost.default.svc.cluster.local]\n  http:\n  - route:\n    - destination: {host: reviews, subset: v9}\n";
    let output = lab.kubectl_apply("cluster1", &format!("{MISTAKE}{spec}"))?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found = wait::until("a problem that names the subset", RECOVERY, || {
        let problems = lab.debug("cluster1", "/debug/problems")?;
        let one = problems
            .as_array()
            .into_iter()
            .flatten()
            .find(|p| p["object"]["name"] == "mistake" && p.to_string().contains("v9"));
        one.cloned().with_context(|| format!("{problems:#}"))
    });
    lab.kubectl("cluster1", &["delete", "virtualservice", "mistake"])?;
    let found = found?;
    ensure!(
        found["field"]
            .as_str()
            .is_some_and(|f| f.contains("http[0]")),
        "the field is not named: {found:#}"
    );
    let counts = versions(lab, None, 10)?;
    ensure!(counts == [10, 0, 0], "others were affected: {counts:?}");
    Ok(())
}

fn by_node_port(lab: &mut Lab) -> Result<()> {
    let pick = |path: &str, what: &[&str]| {
        let mut args = vec!["-n", "istio-system", "get"];
        args.extend(what);
        let path = format!("jsonpath={path}");
        args.extend(["-o", &path]);
        lab.kubectl("cluster2", &args)
    };
    let host = pick(
        "{.items[0].status.hostIP}",
        &["pods", "-l", "istio=ingressgateway"],
    )?;
    let port = pick(
        "{.spec.ports[?(@.port==15443)].nodePort}",
        &["service", "istio-ingressgateway"],
    )?;
    let manifest = std::fs::read_to_string(
        place::root().join("samples/bookinfo/reviews-global-nodeport.yaml"),
    )?;
    let manifest = manifest
        .replace("${CLUSTER2_GW_HOST}", &host)
        .replace("${CLUSTER2_GW_PORT}", &port);
    let output = lab.kubectl_apply("cluster1", &manifest)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    wait::until("the name's new address", RECOVERY, || {
        calls_by_name_now(lab)
    })?;
    calls_by_name(lab, "127.255.0.2")?;
    jason_gets_v2_and_v3(lab)?;
    everyone_else_gets_v1(lab)
}

fn calls_by_name_now(lab: &Lab) -> Result<()> {
    let hosts = lab.sh(
        "cluster1",
        PRODUCTPAGE,
        "getent hosts reviews.default.global",
    )?;
    ensure!(hosts.starts_with("127.255.0.2"), "{hosts}");
    let answer = lab.get(
        "cluster1",
        PRODUCTPAGE,
        "reviews.default.global",
        9080,
        "/reviews/0",
    )?;
    version(&answer).map(drop)
}

/// Both users are served right, again.
fn healed(lab: &Lab, what: &str) -> Result<()> {
    wait::until(what, Duration::from_secs(60), || {
        let jason = versions(lab, Some("jason"), 20)?;
        ensure!(
            jason[0] == 0 && jason[1] > 0 && jason[2] > 0,
            "jason: {jason:?}"
        );
        let others = versions(lab, None, 20)?;
        ensure!(others == [20, 0, 0], "others: {others:?}");
        Ok(())
    })
}

fn killed_envoy(lab: &mut Lab) -> Result<()> {
    for pid in lab.pids("cluster1", PRODUCTPAGE, "envoy")? {
        kill_9(pid)?;
    }
    healed(lab, "productpage after its Envoy was killed")
}

fn killed_control_plane(lab: &mut Lab) -> Result<()> {
    let pids = lab.pids("cluster1", "istio-system/istiod", "hawser")?;
    for pid in &pids {
        kill_9(*pid)?;
    }
    let jason = versions(lab, Some("jason"), 50)?;
    let others = versions(lab, None, 50)?;
    ensure!(
        jason[0] == 0 && others == [50, 0, 0],
        "while it was gone: jason {jason:?}, others {others:?}"
    );
    wait::until(
        "the control plane back, with its proxies",
        Duration::from_secs(60),
        || {
            ensure!(
                lab.pids("cluster1", "istio-system/istiod", "hawser")? != pids,
                "still the old process"
            );
            let proxies = lab.debug("cluster1", "/debug/syncz")?;
            let n = proxies.as_array().map_or(0, Vec::len);
            ensure!(n >= 4, "{n} proxies are back");
            Ok(())
        },
    )
}

fn killed_api_server(lab: &mut Lab) -> Result<()> {
    let list = |lab: &Lab| {
        lab.kubectl(
            "cluster2",
            &[
                "get",
                "deployments,services,destinationrules",
                "-A",
                "-o",
                "name",
            ],
        )
    };
    let before = list(lab)?;
    let supervisor = lab.status()["pid"]
        .as_i64()
        .context("no pid in the status")?;
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<i32>().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i64>().ok());
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if parent == Some(supervisor) && command.split('\0').any(|word| word == "apiserver") {
            kill_9(pid)?;
            killed += 1;
        }
    }
    ensure!(killed > 0, "no API server found under process {supervisor}");
    let after = wait::until("the API server back", RECOVERY, || list(lab))?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    healed(lab, "after the API server was killed")
}

fn gateway_made_again(lab: &mut Lab) -> Result<()> {
    let deployment = lab.kubectl(
        "cluster2",
        &[
            "-n",
            "istio-system",
            "get",
            "deployment",
            "istio-ingressgateway",
            "-o",
            "json",
        ],
    )?;
    let mut deployment: Value = serde_json::from_str(&deployment)?;
    lab.kubectl(
        "cluster2",
        &[
            "-n",
            "istio-system",
            "delete",
            "deployment",
            "istio-ingressgateway",
            "--wait",
        ],
    )?;
    wait::until("no gateway in cluster2", RECOVERY, || {
        let pods = lab.kubectl(
            "cluster2",
            &[
                "-n",
                "istio-system",
                "get",
                "pods",
                "-l",
                "istio=ingressgateway",
                "-o",
                "name",
            ],
        )?;
        ensure!(pods.trim().is_empty(), "{pods}");
        Ok(())
    })?;
    for key in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        deployment["metadata"]
            .as_object_mut()
            .context("no metadata")?
            .remove(key);
    }
    let output = lab.kubectl_apply("cluster2", &deployment.to_string())?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    healed(lab, "after the gateway was made again")
}

fn leaves_nothing(lab: &mut Lab) -> Result<()> {
    let id = lab.status()["id"]
        .as_str()
        .context("no id in the status")?
        .to_owned();
    let pid = lab.status()["pid"]
        .as_i64()
        .context("no pid in the status")?;
    lab.down()?;
    // A process that has ended but was not yet waited for by its parent is a zombie.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let gone = stat.is_empty()
        || stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
    ensure!(gone, "the lab's process {pid} is still there: {stat}");
    let spaces = ok(Command::new("ip").args(["netns", "list"]))?;
    ensure!(
        !spaces.contains(&id),
        "network namespaces are left:\n{spaces}"
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let dir = lab.dir.display().to_string();
    ensure!(
        !mounts.contains(&dir) && !mounts.contains(&id),
        "mounts are left:\n{mounts}"
    );
    let links = ok(Command::new("ip").args(["-o", "link"]))?;
    ensure!(
        !links.contains("hawser"),
        "network devices are left:\n{links}"
    );
    Ok(())
}
