//! What an attacker tries.

use super::{Case, case};
use crate::world::Side::{Client, Gateway, Server};

const PATHS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/admin, /admin/*]}}]}]
";

pub const CASES: &[Case] = &[
    case("paths_by_default", Server, PATHS, r#"
        GET http://web:9080/admin              => 403
        GET http://web:9080/admin/x            => 403
        GET http://web:9080/admin?x            => 403
        GET http://web:9080/admin#x            => 403
        GET http://web:9080/./admin            => 403
        GET http://web:9080/a/../admin         => 403
        GET http://web:9080/../admin           => 403
        GET http://web:9080/%61dmin            => 403
        GET http://web:9080/%2e/admin          => 403
        GET http://web:9080/a/%2e%2e/admin     => 403
        GET http://web:9080/a/%2E%2E/admin     => 403
        GET http://web:9080\admin              => 403|400
        GET http://web:9080/a\..\admin         => 403
        GET http://web:9080//admin             @sees="path":"//admin"  => 10.1.0.2:9080
        GET http://web:9080/admin;x            @sees="path":"/admin;x"  => 10.1.0.2:9080
        GET http://web:9080/%2Fadmin           @sees="path":"/%2Fadmin"  => 10.1.0.2:9080
        GET http://web:9080/a%2F..%2Fadmin     @sees="path":"/a%2F..%2Fadmin"  => 10.1.0.2:9080
        GET http://web:9080/%5Cadmin           @sees="path":"/%5Cadmin"  => 10.1.0.2:9080
        GET http://web:9080/admin/             => 403
        GET http://web:9080/admin/../x         @sees="path":"/x"  => 10.1.0.2:9080
        GET http://web:9080/admin/..;/x        @sees="path":"/x"  => 10.1.0.2:9080
        GET http://web:9080/x/..;a=b/admin     => 403
        GET http://web:9080/x/.;/y
        GET http://web:9080/x/..x/y
        GET http://web:9080/x/a;b/..;c/y
        GET http://web:9080/%00admin           => 400
        GET http://web:9080/%zz
        GET http://web:9080/%
        GET http://web:9080/a%20b
        GET http://web:9080/%7eadmin
        GET http://web:9080/a/%2e%2e;/admin
    "#),
    Case { mesh: "pathNormalization: {normalization: MERGE_SLASHES}", ..case("paths_with_slashes_merged", Server, PATHS, r#"
        GET http://web:9080//admin             => 403
        GET http://web:9080///admin//x         => 403
        GET http://web:9080/a//../admin
        GET http://web:9080/a/..//admin        => 403
        GET http://web:9080/%2Fadmin           @sees="path":"/%2Fadmin"  => 10.1.0.2:9080
    "#) },
    Case { mesh: "pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}", ..case("paths_with_slashes_decoded", Server, PATHS, r#"
        GET http://web:9080/%2Fadmin           => 403
        GET http://web:9080/%2fadmin           => 403
        GET http://web:9080/%5Cadmin           => 403
        GET http://web:9080/a%2F..%2Fadmin     => 403
        GET http://web:9080/a%2f%2e%2e%2fadmin  => 403
        GET http://web:9080/%252Fadmin         @sees="path":"/%252Fadmin"  => 10.1.0.2:9080
        GET http://web:9080/admin%2Fx          => 403
        GET http://web:9080/x?y=%2Fadmin       => 10.1.0.2:9080
    "#) },
    Case { mesh: "pathNormalization: {normalization: NONE}", ..case("paths_as_they_are", Server, PATHS, r#"
        GET http://web:9080/admin              => 403
        GET http://web:9080/a/../admin         @sees="path":"/a/../admin"  => 10.1.0.2:9080
        GET http://web:9080/admin?x=1          => 403
    "#) },
    case("hosts_by_case_and_port", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec:
  action: DENY
  rules: [{to: [{operation: {hosts: [secret.example, 'secret.example:*']}}]}]
", "
        GET http://open.example/  @to=10.1.0.2:9080          => 10.1.0.2:9080
        GET http://secret.example/  @to=10.1.0.2:9080        => 403
        GET http://SECRET.Example/  @to=10.1.0.2:9080        => 403
        GET http://secret.example:80/  @to=10.1.0.2:9080     => 403
        GET http://Secret.Example:9080/  @to=10.1.0.2:9080   => 403
        GET http://secret.example:65000/  @to=10.1.0.2:9080  => 403
        GET http://notsecret.example/  @to=10.1.0.2:9080     => 10.1.0.2:9080
    "),
    case("headers_several_times", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec:
  action: DENY
  rules: [{when: [{key: 'request.headers[x-role]', values: [evil]}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: default}
spec:
  rules:
  - to: [{operation: {paths: [/]}}]
  - to: [{operation: {paths: [/good]}}]
    when: [{key: 'request.headers[x-role]', values: [good]}]
", "
        GET http://web:9080/  x-role: evil                  => 403
        GET http://web:9080/  x-role: good                  => 10.1.0.2:9080
        GET http://web:9080/good  x-role: good              => 10.1.0.2:9080
        GET http://web:9080/good  x-role: good  x-role: evil
        GET http://web:9080/good  x-role: evil  x-role: good
        GET http://web:9080/  x-role: evil  x-role: other   => 403
        GET http://web:9080/  x-role: other  x-role: evil   => 403
        GET http://web:9080/  x-role: a,evil
        GET http://web:9080/  X-Role: evil                  => 403
    "),
    case("dots_in_identities", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  rules:
  - from: [{source: {serviceAccounts: [a.b, other/c.d]}}]
  - from: [{source: {principals: [cluster.local/ns/default/sa/e.f]}}]
  - from: [{source: {namespaces: [n.s]}}]
", "
        GET http://web:9080/  @as=default/a.b     => 10.1.0.2:9080
        GET http://web:9080/  @as=default/axb     => 403
        GET http://web:9080/  @as=other/c.d       => 10.1.0.2:9080
        GET http://web:9080/  @as=other/cxd       => 403
        GET http://web:9080/  @as=other/a.b       => 403
        GET http://web:9080/  @as=default/e.f     => 10.1.0.2:9080
        GET http://web:9080/  @as=default/exf     => 403
        GET http://web:9080/  @as=n.s/x           => 10.1.0.2:9080
        GET http://web:9080/  @as=nxs/x           => 403
        GET http://web:9080/                      => 403
    "),
    case("denials_of_http_on_bytes", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {notPaths: [/open], ports: ['9000']}}]
  - from: [{source: {notPrincipals: [cluster.local/ns/default/sa/reviews]}}]
    to: [{operation: {ports: ['9091']}}]
", "
        TCP tcp://web:9000                              => closed
        TCP tcp://web:9000  @as=default/reviews         => closed
        TCP tcp://web:9091                              => closed
        TCP tcp://web:9091  @as=default/reviews         => 10.1.0.2:9091
        TCP tcp://web:9091  @as=default/ratings         => closed
        GET http://web:9080/                            => 10.1.0.2:9080
    "),
    case("allowances_of_http_on_bytes", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: default}
spec:
  rules:
  - to: [{operation: {notPaths: [/admin]}}]
  - to: [{operation: {methods: [GET], ports: ['9000']}}]
  - from: [{source: {requestPrincipals: ['*']}}]
", "
        TCP tcp://web:9000                              => closed
        TCP tcp://web:9000  @as=default/reviews         => closed
        GET http://web:9080/                            => 10.1.0.2:9080
        GET http://web:9080/admin                       => 403
    "),
    case("headers_that_only_proxies_may_set_at_a_sidecar", Server, "", r#"
        GET http://web:9080/  x-forwarded-client-cert: By=spiffe://x;URI=spiffe://cluster.local/ns/default/sa/admin  @unseen=sa/admin  => 10.1.0.2:9080
        GET http://web:9080/  x-forwarded-client-cert: URI=spiffe://cluster.local/ns/default/sa/admin  @as=default/reviews  @sees=URI=spiffe://cluster.local/ns/default/sa/reviews"]  => 10.1.0.2:9080
    "#),
    case("headers_that_only_proxies_may_set_at_a_gateway", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: ['*']
  gateways: [istio-system/front]
  http: [{route: [{destination: {host: ratings, port: {number: 9080}}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: front, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules: [{from: [{source: {remoteIpBlocks: [198.51.100.66]}}]}]
", r#"
        GET http://a/  @from=203.0.113.7  x-forwarded-client-cert: URI=spiffe://cluster.local/ns/default/sa/admin  @unseen=sa/admin  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://a/  @from=203.0.113.7  x-envoy-internal: true               @unseen=["x-envoy-internal"
        GET http://a/  @from=203.0.113.7  x-envoy-external-address: 10.0.0.1   @unseen="10.0.0.1"
        GET http://a/  @from=203.0.113.7  x-envoy-retry-on: 5xx                @unseen=x-envoy-retry-on
        GET http://a/  @from=203.0.113.7  x-envoy-upstream-rq-timeout-ms: 1    @unseen=x-envoy-upstream-rq-timeout-ms
        GET http://a/  @from=203.0.113.7  x-envoy-original-path: /secret       @unseen=/secret
        GET http://a/  @from=203.0.113.7  x-envoy-decorator-operation: zzz     @unseen=zzz
        GET http://a/  @from=198.51.100.66                                     => 403
        GET http://a/  @from=198.51.100.66  x-forwarded-for: 10.0.0.1          => 403
        GET http://a/  @from=203.0.113.7  x-forwarded-for: 198.51.100.66       => 10.1.0.21:9080|10.1.0.22:9080
        GET http://a/  @from=203.0.113.7  x-forwarded-proto: https             @sees=["x-forwarded-proto","http"]
    "#),
    Case { metadata: r#"{"PROXY_CONFIG": {"gatewayTopology": {"numTrustedProxies": 1}}}"#, ..case("a_gateway_behind_a_trusted_proxy", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: ['*']
  gateways: [istio-system/front]
  http: [{route: [{destination: {host: ratings, port: {number: 9080}}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: front, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  rules: [{from: [{source: {remoteIpBlocks: [203.0.113.0/24]}}]}]
", "
        GET http://a/                                                        => 403
        GET http://a/  x-forwarded-for: 203.0.113.9                          => 10.1.0.21:9080|10.1.0.22:9080
        GET http://a/  x-forwarded-for: 203.0.113.9, 198.51.100.1            => 403
        GET http://a/  x-forwarded-for: 198.51.100.1, 203.0.113.9            => 10.1.0.21:9080|10.1.0.22:9080
        GET http://a/  @from=203.0.113.7  x-forwarded-for: 198.51.100.1      => 403
    ") },
    case("a_client_cannot_name_its_upstream", Client, "", r#"
        GET http://ratings:9080/  x-envoy-original-dst-host: 10.1.0.41:9080   => 10.1.0.21:9080|10.1.0.22:9080
        GET http://198.51.100.7:12345/  x-envoy-original-dst-host: 10.1.0.41:9080  => 198.51.100.7:12345
        GET http://unknown.example/  @to=198.51.100.7:9080  x-envoy-original-dst-host: 10.1.0.41:9080  => 198.51.100.7:9080
    "#),
];
