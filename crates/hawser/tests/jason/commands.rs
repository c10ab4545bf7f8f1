//! What a user asks of the running mesh, by the commands known from istioctl.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hawser_testkit::lab::{Lab, ok};
use serde_json::Value;

/// What a command prints that asks the lab.
fn hawser(lab: &Lab, args: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser"));
    ok(command.args(args).arg("--dir").arg(&lab.dir))
}

/// The lines of a table without its heading, as words.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table
        .lines()
        .skip(1)
        .map(|l| l.split_whitespace().collect());
    rows.filter(|r: &Vec<&str>| !r.is_empty()).collect()
}

/// `proxy-status`: every proxy of both clusters, and none behind.
pub fn proxy_status(lab: &mut Lab) -> Result<()> {
    for (cluster, pod) in [("cluster1", "productpage"), ("cluster2", "reviews")] {
        let table = hawser(lab, &["proxy-status", "--cluster", cluster])?;
        ensure!(table.starts_with("NAME "), "no heading:\n{table}");
        let all = rows(&table);
        ensure!(
            all.iter().any(|r| r[0].starts_with(pod)),
            "{cluster}: no {pod}:\n{table}"
        );
        for row in all {
            let states = row.get(2..6).context("a short line")?;
            ensure!(
                states.iter().all(|s| ["SYNCED", "IGNORED"].contains(s)),
                "{cluster}: {row:?}"
            );
        }
    }
    Ok(())
}

/// `proxy-config`: the clusters of productpage, with the subsets that its rule has, and the endpoint of one of them.
pub fn proxy_config(lab: &mut Lab) -> Result<()> {
    let table = hawser(lab, &["proxy-status"])?;
    let all = rows(&table);
    let name = all
        .iter()
        .map(|r| r[0])
        .find(|n| n.starts_with("productpage"));
    let name = name.context("productpage is not connected")?;
    let table = hawser(lab, &["proxy-config", "cluster", name])?;
    for subset in ["v2", "v3"] {
        let wanted = ["reviews.default.global", "9080", subset, "outbound"];
        ensure!(
            rows(&table).iter().any(|r| r.starts_with(&wanted)),
            "no {wanted:?}:\n{table}"
        );
    }
    let json = hawser(lab, &["proxy-config", "endpoint", name, "-o", "json"])?;
    let endpoints: Value = serde_json::from_str(&json).context("not JSON")?;
    let details = "outbound|9080||details.default.svc.cluster.local";
    let details = endpoints
        .as_array()
        .into_iter()
        .flatten()
        .find(|e| e["cluster_name"] == details);
    let address = details.map(|d| {
        &d["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"]
    });
    ensure!(
        address.is_some_and(|a| a.as_str().is_some_and(|a| a.starts_with("10.1."))),
        "details has no address: {details:#?}"
    );
    Ok(())
}

/// `analyze` over both live clusters at once. The scenario's subsets of a ServiceEntry are its endpoints', which istioctl
/// and so we report (IST0173) with the reason; which cluster has which subset is seen only by looking at both.
pub fn analyze(lab: &mut Lab) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser"));
    command
        .arg("analyze")
        .arg("--kubeconfig")
        .arg(lab.dir.join("kubeconfig"))
        .args(["--context", "cluster1", "--remote-contexts", "cluster2"])
        .args(["-A", "-o", "json"]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).context("not JSON")?;
    let of_level = |level: &str| -> BTreeSet<(&str, &str)> {
        let of_level = found.iter().filter(|f| f["level"] == level);
        of_level
            .filter_map(|f| Some((f["code"].as_str()?, f["origin"].as_str()?)))
            .collect()
    };
    let errors = of_level("Error");
    let expected = ("IST0173", "DestinationRule default/reviews-global");
    ensure!(
        errors.len() == 1
            && errors
                .iter()
                .all(|(c, o)| *c == expected.0 && o.starts_with(expected.1)),
        "{errors:#?}"
    );
    let subsets = found.iter().filter(|f| f["code"] == "HWS0201");
    let subsets: Vec<&str> = subsets.filter_map(|f| f["message"].as_str()).collect();
    ensure!(
        subsets
            .iter()
            .any(|m| m.contains("v2") && m.contains("cluster2")),
        "nothing of v2: {subsets:#?}"
    );
    Ok(())
}
