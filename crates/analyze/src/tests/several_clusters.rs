//! What only shows between clusters.

use super::check_clusters;

fn service(port: u32) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: till, namespace: shop}}
spec: {{selector: {{app: till}}, ports: [{{name: http, port: {port}}}]}}
---"
    )
}

fn pod(version: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: till-{version}, namespace: shop, labels: {{app: till, version: {version}}}}}
spec: {{containers: [{{name: istio-proxy, image: proxy}}]}}
---"
    )
}

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: till, namespace: shop}
spec: {host: till, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---";

const ROUTE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: till, namespace: shop}
spec: {hosts: [till], http: [{route: [{destination: {host: till}}]}]}
---";

#[test]
fn services() {
    check_clusters(
        "alike",
        &[("east", &service(80)), ("west", &service(80))],
        &[],
    );
    check_clusters(
        "other ports",
        &[("east", &service(80)), ("west", &service(81))],
        &["IST0170 Service shop/till spec.ports"],
    );
}

#[test]
fn subsets() {
    let east = service(80) + &pod("v1") + RULE;
    let west = service(80) + &pod("v2");
    check_clusters(
        "each has one",
        &[("east", &east), ("west", &west)],
        &[
            "HWS0201 DestinationRule shop/till spec.subsets[0]",
            "HWS0201 DestinationRule shop/till spec.subsets[1]",
        ],
    );
    let both = service(80) + &pod("v1") + &pod("v2");
    check_clusters(
        "both have both",
        &[("east", &(both.clone() + RULE)), ("west", &both)],
        &[],
    );
    let less = RULE.replace(", {name: v2, labels: {version: v2}}", "");
    check_clusters(
        "one rule has less",
        &[("east", &(both.clone() + RULE)), ("west", &(both + &less))],
        &["HWS0202 DestinationRule shop/till spec.subsets[1]"],
    );
}

#[test]
fn routes() {
    check_clusters(
        "served elsewhere",
        &[("east", ROUTE), ("west", &(service(80) + &pod("v1")))],
        &[],
    );
    let other = pod("v1").replace("app: till", "app: other");
    check_clusters(
        "served nowhere",
        &[("east", &(service(80) + ROUTE)), ("west", &other)],
        &["HWS0203 VirtualService shop/till spec.http[0].route[0].destination.host"],
    );
    check_clusters(
        "known nowhere",
        &[("east", ROUTE), ("west", &other)],
        &["IST0101 VirtualService shop/till spec.http[0].route[0].destination.host"],
    );
}

#[test]
fn networks() {
    let on = |network: &str| {
        format!(
            "
apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: {network}}}}}
---"
        )
    };
    let gateway = |network: &str| {
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: eastwest, namespace: istio-system, labels: {{topology.istio.io/network: {network}}}}}
spec: {{selector: {{app: eastwest}}, ports: [{{name: tls, port: 15443}}]}}
---"
        )
    };
    let twice = "HWS0002 Namespace istio-system metadata.name";
    let east = on("one") + &gateway("one");
    check_clusters(
        "one without",
        &[("east", &east), ("west", &on("two"))],
        &[
            "HWS0204 Namespace istio-system metadata.labels[topology.istio.io/network]",
            twice,
            twice,
        ],
    );
    check_clusters(
        "both have one",
        &[
            ("east", &east),
            (
                "west",
                &(on("two") + &gateway("two").replace("eastwest", "ew")),
            ),
        ],
        &[twice, twice],
    );
    check_clusters(
        "the same network",
        &[("east", &on("one")), ("west", &on("one"))],
        &[twice, twice],
    );
}
