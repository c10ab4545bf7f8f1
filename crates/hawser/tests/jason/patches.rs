//! EnvoyFilters of which Envoy refuses a patch.

use anyhow::{Context, Result, ensure};
use hawser_testkit::http;
use hawser_testkit::lab::{Lab, RECOVERY};
use hawser_testkit::wait;
use serde_json::Value;

/// One good patch, and one whose script only Envoy can see to be none.
const FILTER: &str = r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: scripts, namespace: default}
spec:
  workloadSelector: {labels: {app: productpage}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: &inbound
      context: SIDECAR_INBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: good
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {inline_string: "function envoy_on_response(h) h:headers():add('x-good', 'patch') end"}
  - applyTo: HTTP_FILTER
    match: *inbound
    patch:
      operation: INSERT_BEFORE
      value:
        name: other
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {inline_string: "SCRIPT"}
"#;
const BAD: &str = "this is no script (";
const MENDED: &str = "function envoy_on_response(h) h:headers():add('x-mended', 'patch') end";

/// The patch is named, with Envoy's words; the other patch and all traffic are in force; mended, it is taken.
pub fn refused_by_envoy(lab: &mut Lab) -> Result<()> {
    let outcome = steps(lab);
    lab.kubectl("cluster1", &["delete", "envoyfilter", "scripts"])?;
    outcome?;
    wait::until("productpage as it was", RECOVERY, || {
        let headers = product_page(lab)?;
        ensure!(!headers.contains("x-good"), "{headers}");
        Ok(())
    })
}

fn steps(lab: &Lab) -> Result<()> {
    apply(lab, BAD)?;
    let problem = wait::until("a problem that names the patch", RECOVERY, || {
        told(lab)?.context("no problem of the EnvoyFilter")
    })?;
    ensure!(
        problem["code"] == "HWS0105"
            && problem["field"] == "spec.configPatches[1]"
            && problem["message"]
                .as_str()
                .is_some_and(|m| m.contains("script")),
        "{problem:#}"
    );
    wait::until("the good patch in force", RECOVERY, || {
        let headers = product_page(lab)?;
        ensure!(headers.contains("x-good"), "{headers}");
        Ok(())
    })?;
    apply(lab, MENDED)?;
    wait::until("both patches in force", RECOVERY, || {
        let headers = product_page(lab)?;
        ensure!(
            headers.contains("x-good") && headers.contains("x-mended"),
            "{headers}"
        );
        let problem = told(lab)?;
        ensure!(problem.is_none(), "still a problem: {problem:#?}");
        Ok(())
    })
}

fn apply(lab: &Lab, script: &str) -> Result<()> {
    let output = lab.kubectl_apply("cluster1", &FILTER.replace("SCRIPT", script))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

fn told(lab: &Lab) -> Result<Option<Value>> {
    let problems = lab.debug("cluster1", "/debug/problems")?;
    let mut all = problems.as_array().into_iter().flatten();
    Ok(all.find(|p| p["object"]["name"] == "scripts").cloned())
}

/// The headers of the product page's answer.
fn product_page(lab: &Lab) -> Result<String> {
    let answer = http::request(lab.ingress("cluster1")?, "GET", "/productpage", &[], "")?;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(format!("{:?}", answer.headers))
}
