//! EnvoyFilters.

use hawser_translate::{Patched, Translator};

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::{Cluster, ClusterPart, ListenerPart, Problems, RoutePart};

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
    let client = sidecar("10.1.0.1 web-0.a");
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
            "inserted at the first place of a cluster: added",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: INSERT_FIRST, value: {name: mine, type: STATIC}}}",
            Cluster("mine"),
            "STATIC ROUND_ROBIN",
        ),
        (
            "an inbound cluster is not known by another's service",
            "{applyTo: CLUSTER, match: {context: SIDECAR_INBOUND, cluster: {service: other.a.svc.cluster.local}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}",
            ClusterPart("inbound|8080||", "/connect_timeout"),
            "10s",
        ),
        (
            "a socket is merged into the one that the cluster chooses",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {service: web.a.svc.cluster.local}}, patch: {operation: MERGE, value: \
              {transport_socket: {name: envoy.transport_sockets.tls, typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, max_session_keys: 3}}}}}",
            ClusterPart(
                WEB,
                "/transport_socket_matches/0/transport_socket/typed_config/max_session_keys",
            ),
            "3",
        ),
        (
            "a route removed is a route less",
            "{applyTo: HTTP_ROUTE, match: {context: SIDECAR_OUTBOUND, routeConfiguration: {portNumber: 80, vhost: {name: 'web.a.svc.cluster.local:80'}}}, patch: {operation: REMOVE}}",
            RoutePart("80", "/virtual_hosts/0/routes"),
            "nothing at /virtual_hosts/0/routes",
        ),
        (
            "the first place is for a route that is there",
            "{applyTo: HTTP_ROUTE, match: {context: SIDECAR_OUTBOUND, routeConfiguration: {name: '80', vhost: {name: 'web.a.svc.cluster.local:80', route: {name: other}}}}, \
              patch: {operation: INSERT_FIRST, value: {name: mine, direct_response: {status: 200}}}}",
            RoutePart("80", "/virtual_hosts/0/routes/0/name"),
            "default",
        ),
        (
            "all filters are meant where none is named, and merged after others were inserted",
            "{applyTo: HTTP_FILTER, match: {context: SIDECAR_INBOUND}, patch: {operation: MERGE, value: {disabled: true}}}, \
              {applyTo: HTTP_FILTER, match: {context: SIDECAR_INBOUND}, patch: {operation: INSERT_FIRST, value: {name: mine}}}",
            ListenerPart(
                "virtualInbound",
                "/filter_chains/6/filters/0/typed_config/http_filters/0",
            ),
            "{disabled:true,name:mine}",
        ),
        (
            "an empty value is a value",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {}}}",
            Problems,
            "",
        ),
        (
            "what Envoy does not know is the user's to read",
            "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {no_such_field: 1}}}",
            Problems,
            "HWS0601 EnvoyFilter f.a spec.configPatches[0].patch.value: not a valid envoy.config.cluster.v3.Cluster: \
             unrecognized field name 'no_such_field'; the rest is applied (see Envoy's API of version 1.40)",
        ),
    ] {
        check(name, &patched(patch), &client, view, expected);
    }
}

#[test]
fn patches_that_a_proxy_refuses_are_left_out_for_it_and_those_that_change_nothing_are_no_suspects()
{
    let here = "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}";
    let elsewhere = "{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {portNumber: 81}}, patch: {operation: MERGE, value: {connect_timeout: 4s}}}";
    let gateways = "{applyTo: CLUSTER, match: {context: GATEWAY}, patch: {operation: MERGE, value: {connect_timeout: 5s}}}";
    let mesh = patched(&format!("{here}, {elsewhere}, {gateways}"));
    let mut client = sidecar("10.1.0.1 web-0.a");
    let translator = Translator::new(mesh.snapshot());
    let patches = translator.patches(&client, Patched::Clusters);
    let found: Vec<_> = patches
        .iter()
        .map(|p| {
            (
                p.patch.index,
                translator.matters(&client, Patched::Clusters, p),
            )
        })
        .collect();
    assert_eq!(found, [(0, true), (1, false)]);
    assert!(translator.patches(&client, Patched::Listeners).is_empty());
    client.refused = patches;
    check(
        "left out",
        &mesh,
        &client,
        ClusterPart(WEB, "/connect_timeout"),
        "10s",
    );
    assert!(translator.patches(&client, Patched::Clusters).is_empty());
}
