//! Authorization at a server's sidecar.

use super::{Case, case};
use crate::world::Side::Server;

pub const CASES: &[Case] = &[
    case("nobody_may", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: default}
spec: {}
", "
        GET http://web:9080/                       => 403
        GET http://web:9080/  @as=default/reviews  => 403
        TCP tcp://web:9000                         => closed
        GET http://web:8123/                       => 403
        TCP tcp://web:8123                         => closed
    "),
    case("deny_wins", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: default}
spec: {rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin*]}}]
  - from: [{source: {namespaces: [other]}}]
    to: [{operation: {methods: [DELETE]}}]
  - when: [{key: 'request.headers[x-bad]', values: ['*']}]
", "
        GET http://web:9080/                         => 10.1.0.2:9080
        GET http://web:9080/admin                    => 403
        GET http://web:9080/administrator            => 403
        GET http://web:9080/x/../admin               => 403
        GET http://web:9080/ADMIN                    => 10.1.0.2:9080
        DELETE http://web:9080/  @as=other/vault     => 403
        DELETE http://web:9080/  @as=default/reviews  => 10.1.0.2:9080
        GET http://web:9080/  x-bad: 1               => 403
        TCP tcp://web:9000
        TCP tcp://web:9000  @as=other/vault
        TCP tcp://web:9000  @as=default/reviews
    "),
    case("who_and_what", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/reviews, '*/sa/suffix', 'cluster.local/ns/pre*']}}]
    to: [{operation: {methods: [GET, HEAD], paths: [/public/*, '*.html', '/tree/{*}/leaf', '/deep/{**}']}}]
  - from: [{source: {namespaces: ['mon*']}}]
    to: [{operation: {paths: [/metrics], ports: ['9080']}}]
  - from: [{source: {ipBlocks: [10.1.0.100, 10.2.0.0/16], notIpBlocks: [10.2.3.0/24]}}]
    to: [{operation: {hosts: [web.example, '*.web.example'], notPaths: [/secret]}}]
  - when:
    - {key: source.namespace, values: [ops]}
    - {key: destination.port, values: ['9080', '9000']}
    - {key: 'request.headers[x-role]', values: ['admin*'], notValues: [administrator]}
", "
        GET http://web:9080/public/a  @as=default/reviews    => 10.1.0.2:9080
        POST http://web:9080/public/a  @as=default/reviews   => 403
        GET http://web:9080/public  @as=default/reviews      => 403
        GET http://web:9080/x.html  @as=default/reviews      => 10.1.0.2:9080
        GET http://web:9080/x.html?y  @as=default/reviews    => 10.1.0.2:9080
        GET http://web:9080/x.htmlz  @as=default/reviews     => 403
        GET http://web:9080/tree/a/leaf  @as=default/reviews  => 10.1.0.2:9080
        GET http://web:9080/tree/a/b/leaf  @as=default/reviews  => 403
        GET http://web:9080/tree//leaf  @as=default/reviews
        GET http://web:9080/deep/a/b  @as=default/reviews    => 10.1.0.2:9080
        GET http://web:9080/deep/  @as=default/reviews
        GET http://web:9080/deep  @as=default/reviews        => 403
        GET http://web:9080/public/a  @as=any/suffix         => 10.1.0.2:9080
        GET http://web:9080/public/a  @as=any/suffix2        => 403
        GET http://web:9080/public/a  @as=prefix/x           => 10.1.0.2:9080
        GET http://web:9080/public/a                         => 403
        GET http://web:9080/metrics  @as=monitoring/x        => 10.1.0.2:9080
        GET http://web:9080/metrics  @as=lemon/x             => 403
        GET http://web.example/  @from=10.1.0.100  @to=10.1.0.2:9080  => 10.1.0.2:9080
        GET http://WEB.example/  @from=10.1.0.100  @to=10.1.0.2:9080  => 10.1.0.2:9080
        GET http://web.example:9080/  @from=10.1.0.100
        GET http://a.web.example/  @from=10.2.0.9  @to=10.1.0.2:9080  => 10.1.0.2:9080
        GET http://a.web.example/  @from=10.2.3.9  @to=10.1.0.2:9080  => 403
        GET http://a.web.example/secret  @from=10.2.0.9  @to=10.1.0.2:9080  => 403
        GET http://web:9080/  @as=ops/x  x-role: admins       => 10.1.0.2:9080
        GET http://web:9080/  @as=ops/x  x-role: administrator  => 403
        GET http://web:9080/  @as=ops/x                       => 403
        GET http://web:9080/  @as=ops/x  x-role: admin  x-role: x  => 10.1.0.2:9080
        TCP tcp://web:9000  @as=ops/x                         => closed
        TCP tcp://web:9000  @as=monitoring/x                  => closed
    "),
    case("bytes_by_port_and_peer", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/reviews]}}]
    to: [{operation: {ports: ['9000']}}]
  - from: [{source: {ipBlocks: [10.1.0.99]}}]
", "
        TCP tcp://web:9000  @as=default/reviews   => 10.1.0.2:9000
        TCP tcp://web:9000  @as=default/ratings   => closed
        TCP tcp://web:9000                        => closed
        TCP tcp://web:9000  @from=10.1.0.99       => 10.1.0.2:9000
        GET http://web:9080/  @as=default/reviews  => 403
        GET http://web:9080/  @from=10.1.0.99     => 10.1.0.2:9080
    "),
    Case { mesh: "extensionProviders: [{name: gate, envoyExtAuthzHttp: {service: authz.default.svc.cluster.local, port: 8000, includeRequestHeadersInCheck: [x-refuse-me]}}]",
        ..case("asking_another", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  action: CUSTOM
  provider: {name: gate}
  rules: [{to: [{operation: {paths: [/guarded*]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/guarded/never]}}]}]
", "
        GET http://web:9080/guarded                       => 10.1.0.2:9080
        GET http://web:9080/guarded  x-refuse-me: please  => 403
        GET http://web:9080/free  x-refuse-me: please     => 10.1.0.2:9080
        GET http://web:9080/guarded/never                 => 403
        GET http://web:9080/x/../guarded  x-refuse-me: 1  => 403
    ") },
    case("asking_nobody", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  action: CUSTOM
  provider: {name: not-there}
  rules: [{to: [{operation: {paths: [/guarded*]}}]}]
", "
        GET http://web:9080/guarded  => 403
        GET http://web:9080/free     => 10.1.0.2:9080
    "),
    case("tried_out_only", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: dry, namespace: default, annotations: {istio.io/dry-run: 'true'}}
spec:
  action: DENY
  rules: [{}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: audit, namespace: default}
spec:
  action: AUDIT
  rules: [{}]
", "
        GET http://web:9080/  => 10.1.0.2:9080
        TCP tcp://web:9000    => 10.1.0.2:9000
    "),
    case("behind_a_proxy", Server, "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  rules:
  - from: [{source: {remoteIpBlocks: [203.0.113.0/24]}}]
", "
        GET http://web:9080/                                               => 403
        GET http://web:9080/  @from=203.0.113.4                            => 10.1.0.2:9080
        GET http://web:9080/  x-forwarded-for: 203.0.113.4
        GET http://web:9080/  x-forwarded-for: 203.0.113.4, 198.51.100.1
        GET http://web:9080/  x-forwarded-for: 198.51.100.1, 203.0.113.4
        GET http://web:9080/  x-forwarded-for: nonsense
        GET http://web:9080/  @from=203.0.113.4  x-forwarded-for: 10.9.9.9
    "),
];
