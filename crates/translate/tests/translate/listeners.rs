//! Listeners of sidecars.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::{Listener, Listeners};

fn services() -> String {
    app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080", "tcp 90 9090", "auto 100 1000"],
        &["10.1.0.1 mtls"],
    )
}

#[test]
fn outbound() {
    let mesh = Mesh::of(&services());
    let client = sidecar("10.1.0.9 client.a");
    for (name, view, expected) in [
        (
            "which there are",
            Listeners,
            "0.0.0.0_80
             10.96.0.1_100
             10.96.0.1_90
             virtualInbound
             virtualOutbound",
        ),
        (
            "HTTP of a port is shared",
            Listener("0.0.0.0_80"),
            "0.0.0.0:80 not bound http_inspector
             {application_protocols=[http/1.1,h2c] transport_protocol=raw_buffer} plaintext | http rds=80
             default plaintext | tcp -> PassthroughCluster",
        ),
        (
            "TCP is a service's own",
            Listener("10.96.0.1_90"),
            "10.96.0.1:90 not bound
             {} plaintext | tcp -> outbound|90||web.a.svc.cluster.local",
        ),
    ] {
        check(name, &mesh, &client, view, expected);
    }
}

#[test]
fn what_a_sidecar_lets_out() {
    for (name, policy, expected) in [
        ("all", "ALLOW_ANY", "tcp -> PassthroughCluster"),
        ("what is known", "REGISTRY_ONLY", "tcp -> BlackHoleCluster"),
    ] {
        let spec =
            format!("{{outboundTrafficPolicy: {{mode: {policy}}}, egress: [{{hosts: ['./*']}}]}}");
        check(
            name,
            &Mesh::of(&(services() + &istio("Sidecar", "a", "default", &spec))),
            &sidecar("10.1.0.9 client.a"),
            Listener("virtualOutbound"),
            &format!(
                "0.0.0.0:15001
                 {{destination_port=15001}} plaintext | tcp -> BlackHoleCluster
                 {{}} plaintext | {expected}"
            ),
        );
    }
}
