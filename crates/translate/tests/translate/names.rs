//! The name table that sidecars answer DNS from.

use crate::check;
use crate::mesh::{Mesh, app, gateway, istio, sidecar};
use crate::text::View::Names;

#[test]
fn table() {
    let yaml = app("a", "web", "10.96.0.1", &["http 80 8080"], &["10.1.0.1"])
        + &istio(
            "ServiceEntry",
            "a",
            "global",
            "{hosts: [web.a.global, '*.wild.example.com'], addresses: [240.0.0.9], resolution: STATIC, location: MESH_INTERNAL, \
             ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 203.0.113.2, ports: {http: 15443}}]}",
        )
        + &istio("Sidecar", "b", "default", "{egress: [{hosts: ['./*']}]}");
    let mesh = Mesh::of(&yaml);
    check(
        "all that is visible",
        &mesh,
        &sidecar("10.1.0.9 client.a"),
        Names,
        "*.wild.example.com [240.0.0.9]
         web.a.global [240.0.0.9]
         web.a.svc.cluster.local [10.96.0.1]",
    );
    check(
        "only what is imported",
        &mesh,
        &sidecar("10.1.0.9 client.b"),
        Names,
        "",
    );
    check("gateways have none", &mesh, &gateway(), Names, "none");
}
