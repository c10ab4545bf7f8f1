//! A server's sidecar: mutual TLS, ports, ingress listeners.

use super::{Case, case};
use crate::world::Side::Server;

pub const CASES: &[Case] = &[
    case(
        "permissive",
        Server,
        "",
        r#"
        GET http://web:9080/                          => 10.1.0.2:9080
        GET http://web:9080/  @as=default/reviews     => 10.1.0.2:9080
        GET http://anything.example:9080/             => 10.1.0.2:9080
        GET http://web:8123/                          => 10.1.0.2:8123
        TCP tcp://web:9000                            => 10.1.0.2:9000
        TCP tcp://web:9000  @as=default/reviews       => 10.1.0.2:9000
        TCP tcp://web:9091                            => 10.1.0.2:9091
        GET http://web:9091/                          => 10.1.0.2:9091
        GET http://web:9091/  @as=default/reviews     => 10.1.0.2:9091
        TCP tcp://web:9091  @as=default/reviews       => 10.1.0.2:9091
        GET https://web:9080/  @sni=web.example
        GET https://web:9000/  @sni=web.example
    "#,
    ),
    case(
        "strict",
        Server,
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
",
        "
        GET http://web:9080/                              => closed
        GET http://web:9080/  @as=default/reviews         => 10.1.0.2:9080
        GET http://web:9080/  @as=other/vault             => 10.1.0.2:9080
        GET http://web:9080/  @as=foreign.example/default/reviews  @envoy  => closed
        GET https://web:9080/                             => closed
        TCP tcp://web:9000                                => closed
        TCP tcp://web:9000  @as=default/reviews           => 10.1.0.2:9000
        GET http://web:8123/                              => closed
        GET http://web:8123/  @as=default/reviews         => 10.1.0.2:8123
        GET http://web:9091/  @as=default/reviews         => 10.1.0.2:9091
    ",
    ),
    case(
        "strict_but_for_a_port",
        Server,
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls: {9000: {mode: DISABLE}, 9091: {mode: PERMISSIVE}}
",
        "
        GET http://web:9080/                              => closed
        GET http://web:9080/  @as=default/reviews         => 10.1.0.2:9080
        TCP tcp://web:9000                                => 10.1.0.2:9000
        TCP tcp://web:9091                                => 10.1.0.2:9091
        GET http://web:9091/                              => 10.1.0.2:9091
        GET http://web:9091/  @as=default/reviews         => 10.1.0.2:9091
    ",
    ),
    case(
        // A port that no service knows: whatever is encrypted there is the application's.
        "strict_but_for_an_unknown_port",
        Server,
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls: {8123: {mode: DISABLE}}
",
        "
        GET http://web:8123/                              => 10.1.0.2:8123
        TCP tcp://web:8123                                => 10.1.0.2:8123
        GET https://web:8123/  @sni=web.example  => 10.1.0.2:8123
        GET http://web:8124/                              => closed
        GET http://web:8124/  @as=default/reviews         => 10.1.0.2:8124
    ",
    ),
    case(
        // Mutual TLS is looked for at one port alone.
        "off_but_for_an_unknown_port",
        Server,
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: DISABLE}
  portLevelMtls: {8123: {mode: STRICT}}
",
        "
        GET http://web:8123/                              => closed
        GET http://web:8123/  @as=default/reviews         => 10.1.0.2:8123
        GET http://web:8124/                              => 10.1.0.2:8124
        GET https://web:8124/  @sni=web.example  => 10.1.0.2:8124
        GET http://web:9080/                              => 10.1.0.2:9080
    ",
    ),
    case(
        "no_mutual_tls",
        Server,
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
",
        "
        GET http://web:9080/       => 10.1.0.2:9080
        TCP tcp://web:9000         => 10.1.0.2:9000
        GET http://web:9091/       => 10.1.0.2:9091
        GET http://web:8123/       => 10.1.0.2:8123
    ",
    ),
    case(
        "ingress_listener",
        Server,
        "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web, namespace: default}
spec:
  workloadSelector: {labels: {app: web}}
  ingress:
  - {port: {number: 9080, protocol: HTTP, name: http}, defaultEndpoint: 127.0.0.1:8088}
  - {port: {number: 9000, protocol: TCP, name: tcp}, defaultEndpoint: 0.0.0.0:9555}
  egress: [{hosts: ['*/*']}]
",
        "
        GET http://web:9080/                       => 127.0.0.1:8088
        GET http://web:9080/  @as=default/reviews  => 127.0.0.1:8088
        TCP tcp://web:9000
        GET http://web:8123/                       => 10.1.0.2:8123
    ",
    ),
    case(
        "trust_domain_aliases",
        Server,
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/reviews]}}]}]
",
        "
        GET http://web:9080/  @as=default/reviews              => 10.1.0.2:9080
        GET http://web:9080/  @as=default/ratings              => 403
        GET http://web:9080/  @as=old.example/default/reviews  @envoy  => closed
    ",
    ),
    Case {
        mesh: "trustDomainAliases: [old.example]",
        ..case(
            "trust_domain_aliases_accepted",
            Server,
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/reviews]}}]}]
",
            "
        GET http://web:9080/  @as=old.example/default/reviews  => 10.1.0.2:9080
        GET http://web:9080/  @as=old.example/default/other    => 403
        GET http://web:9080/  @as=older.example/default/reviews  @envoy  => closed
    ",
        )
    },
];
