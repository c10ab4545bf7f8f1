//! EnvoyFilters.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::{Cluster, ClusterPart, Problems, RoutePart};

const WEB: &str = "outbound|80||web.a.svc.cluster.local";

fn patched(patch: &str) -> Mesh {
    let web = app("a", "web", "10.96.0.1", &["http 80 8080"], &["10.1.0.1"]);
    Mesh::of(
        &(web
            + &istio(
                "EnvoyFilter",
                "a",
                "f",
                &format!("{{configPatches: [{patch}]}}"),
            )),
    )
}

#[test]
fn patches() {
    let client = sidecar("10.1.0.9 client.a");
    for (name, patch, view, expected) in [
        (
            "a duration is replaced, not merged",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {service: web.a.svc.cluster.local}}, \
              patch: {operation: MERGE, value: {connect_timeout: 3.5s}}}",
            ClusterPart(WEB, "/connect_timeout"),
            "3.500s",
        ),
        (
            "others stay as they are",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {portNumber: 81}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}",
            ClusterPart(WEB, "/connect_timeout"),
            "10s",
        ),
        (
            "removed",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {name: 'outbound|80||web.a.svc.cluster.local'}}, patch: {operation: REMOVE}}",
            Cluster(WEB),
            "none",
        ),
        (
            "added",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: ADD, value: {name: mine, type: STATIC, lb_policy: RANDOM}}}",
            Cluster("mine"),
            "STATIC RANDOM",
        ),
        (
            "a route's action",
            "{applyTo: HTTP_ROUTE, match: {context: SIDECAR_OUTBOUND, routeConfiguration: {name: '80', vhost: {name: 'web.a.svc.cluster.local:80'}}}, \
              patch: {operation: MERGE, value: {route: {timeout: 7s}}}}",
            RoutePart("80", "/virtual_hosts/0/routes/0/route/timeout"),
            "7s",
        ),
        (
            "what Envoy does not know is the user's to read",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {no_such_field: 1}}}",
            Problems,
            "HWS0601 EnvoyFilter f.a spec.configPatches[0].patch.value: not a valid envoy.config.cluster.v3.Cluster: \
             unrecognized field name 'no_such_field' (see Envoy's API of version 1.40)",
        ),
    ] {
        check(name, &patched(patch), &client, view, expected);
    }
}
