//! A gateway.

use super::{Case, case};
use crate::world::Side::Gateway;

pub const CASES: &[Case] = &[
    case("ingress_http", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example, '*.shop.example', default/only.example]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example, a.shop.example]
  gateways: [istio-system/front]
  http:
  - match: [{uri: {prefix: /reviews}}]
    route: [{destination: {host: reviews}}]
  - match: [{uri: {exact: /login}}]
    redirect: {scheme: https}
  - match: [{uri: {prefix: /ratings}}]
    route: [{destination: {host: ratings, port: {number: 9080}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: only, namespace: other}
spec:
  hosts: [only.example]
  gateways: [istio-system/front]
  http: [{route: [{destination: {host: vault, port: {number: 9080}}}]}]
", r#"
        GET http://shop.example/reviews          => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://SHOP.EXAMPLE/reviews          => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://shop.example:80/reviews       => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://shop.example:8080/reviews     => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://shop.example./reviews
        GET http://a.shop.example/ratings        => 10.1.0.21:9080|10.1.0.22:9080
        GET http://b.shop.example/ratings        => 404
        GET http://shop.example/other            => 404
        GET http://shop.example/login            => 301 https://shop.example/login
        GET http://only.example/                 => 404
        GET http://10.1.0.2/reviews              => 404
        GET http://shop.example/ratings  @to=10.1.0.2:8443  => closed
    "#),
    case("ingress_tls", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example], tls: {mode: SIMPLE, credentialName: shop}}
  - {port: {number: 443, name: pass, protocol: TLS}, hosts: [pass.example], tls: {mode: PASSTHROUGH}}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example]
  gateways: [istio-system/front]
  http: [{route: [{destination: {host: ratings, port: {number: 9080}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pass, namespace: default}
spec:
  hosts: [pass.example]
  gateways: [istio-system/front]
  tls: [{match: [{port: 443, sniHosts: [pass.example]}], route: [{destination: {host: tls}}]}]
", "
        GET https://shop.example/                        => 10.1.0.21:9080|10.1.0.22:9080
        GET https://shop.example/  @sni=other.example    => closed
        GET https://pass.example/                        => 10.1.0.37:443
        GET https://other.example/  @sni=shop.example
        GET http://shop.example/x                        => 301 https://shop.example/x
        GET http://shop.example:80/x
        GET http://shop.example/x  @to=10.1.0.2:8443     => closed
    "),
    case("ingress_mutual_tls", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example], tls: {mode: MUTUAL, credentialName: shop}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example]
  gateways: [istio-system/front]
  http: [{route: [{destination: {host: ratings, port: {number: 9080}}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: shop, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules: [{to: [{operation: {paths: [/admin*]}}]}]
", "
        GET https://shop.example/                         => closed
        GET https://shop.example/  @as=default/reviews    => 10.1.0.21:9080|10.1.0.22:9080
        GET https://shop.example/admin  @as=default/reviews  => 403
    "),
    case("east_west", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: cross, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.local'], tls: {mode: AUTO_PASSTHROUGH}}
---
apiVersion: v1
kind: Service
metadata: {name: hidden, namespace: other, annotations: {networking.istio.io/exportTo: '.'}}
spec: {clusterIP: 10.96.0.90, clusterIPs: [10.96.0.90], selector: {app: vault}, ports: [{name: http, port: 9080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hidden-1, namespace: other, labels: {kubernetes.io/service-name: hidden}}
addressType: IPv4
ports: [{name: http, port: 9080, protocol: TCP}]
endpoints: [{addresses: [10.1.0.41], conditions: {ready: true}, targetRef: {kind: Pod, name: vault-v1, namespace: other}}]
", r#"
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_._.vault.other.svc.cluster.local     @sees="client_certificate":false  => 10.1.0.41:9080
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_._.vault.other.svc.cluster.local  @as=default/web  @sees="client_certificate":true  => 10.1.0.41:9080
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=OUTBOUND_.9080_._.vault.other.svc.cluster.local
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_._.reviews.default.svc.cluster.local  => 10.1.0.11:9080|10.1.0.12:9080
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_._.hidden.other.svc.cluster.local    => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_._.plain.other.svc.cluster.local     => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_._.nobody.other.svc.cluster.local    => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9081_._.vault.other.svc.cluster.local     => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=outbound_.9080_.v9_.vault.other.svc.cluster.local   => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=vault.other.svc.cluster.local                       => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=example.com                                         => closed
        GET https://x/  @to=10.1.0.2:15443  @alpn=istio  @sni=none                                                => closed
        GET https://x/  @to=10.1.0.2:15443  @sni=outbound_.9080_._.vault.other.svc.cluster.local           => closed
        GET http://x/   @to=10.1.0.2:15443                                                           => closed
    "#),
    case("bytes_through_a_gateway", Gateway, "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bytes, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes, namespace: default}
spec:
  hosts: ['*']
  gateways: [istio-system/bytes]
  tcp: [{match: [{port: 31400}], route: [{destination: {host: db, port: {number: 3306}}}]}]
", "
        TCP tcp://x  @to=10.1.0.2:31400                     => 10.1.0.31:3306|10.1.0.32:3306
        TCP tcp://x  @to=10.1.0.2:31401                     => closed
    "),
];
