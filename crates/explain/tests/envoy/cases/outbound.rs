//! A client's sidecar: routes, subsets, listeners.

use super::{Case, case};
use crate::world::Side::Client;

pub const CASES: &[Case] = &[
    case("nothing_but_services", Client, "", "
        GET http://reviews:9080/            => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://reviews.default.svc.cluster.local:9080/  => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://ratings:9080/            => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9090/            => 10.1.0.21:9090|10.1.0.22:9090
        GET http://vault.other:9080/        => 10.1.0.41:9080
        GET http://vault:9080/  @to=10.96.0.40:9080  => 10.96.0.40:9080
        GET http://unknown:9080/  @to=10.96.0.9:9080  => 10.96.0.9:9080
        GET http://198.51.100.7:9080/       => 198.51.100.7:9080
        GET http://198.51.100.7:80/         => 198.51.100.7:80
        GET http://198.51.100.7:12345/      => 198.51.100.7:12345
        TCP tcp://db:3306                   => 10.1.0.31:3306|10.1.0.32:3306
        TCP tcp://198.51.100.7:3306         => 198.51.100.7:3306
        TCP tcp://sniffed:7000              => 10.1.0.35:7000
        GET http://sniffed:7000/            => 10.1.0.35:7000
        POST http://rpc:9000/               => 10.1.0.36:9000
        GET https://tls:443/                => 10.1.0.37:443
        GET https://198.51.100.7:443/  @sni=any.example  => 198.51.100.7:443
        GET http://empty:9080/              => 503
        GET http://REVIEWS:9080/            => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://reviews/  @to=10.96.0.9:9080  => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://reviews:1/  @to=10.96.0.9:9080
        GET http://10.96.0.9:9080/          => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
    "),
    Case { mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}", ..case("registry_only", Client, "", "
        GET http://reviews:9080/            => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://unknown:9080/  @to=10.96.0.9:9080  => 502
        GET http://198.51.100.7:80/  @to=198.51.100.7:9080  => 502
        GET http://198.51.100.7:12345/      => closed
        TCP tcp://198.51.100.7:3306         => closed
        TCP tcp://db:3306                   => 10.1.0.31:3306|10.1.0.32:3306
        GET https://tls:443/                => 10.1.0.37:443
    ") },
    case("by_header", Client, "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}, {name: v9, labels: {version: v9}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{headers: {x-a: {prefix: be}}, method: {exact: POST}}, {headers: {x-b: {regex: '[a-c]+\\d?'}}}]
    route: [{destination: {host: reviews, subset: v3}}]
  - match: [{headers: {x-lost: {}}}]
    route: [{destination: {host: reviews, subset: v9}}]
  - match: [{withoutHeaders: {x-present: {}}, headers: {x-c: {exact: ''}}}]
    directResponse: {status: 418}
  - route: [{destination: {host: reviews, subset: v1}}]
", "
        GET http://reviews:9080/                                   => 10.1.0.11:9080
        GET http://reviews:9080/  end-user: jason                  => 10.1.0.12:9080
        GET http://reviews:9080/  End-User: jason                  => 10.1.0.12:9080
        GET http://reviews:9080/  end-user: Jason                  => 10.1.0.11:9080
        GET http://reviews:9080/  end-user: jason2                 => 10.1.0.11:9080
        GET http://reviews:9080/  end-user: jason  end-user: alice  => 10.1.0.12:9080
        GET http://reviews:9080/  end-user: alice  end-user: jason  => 10.1.0.12:9080
        GET http://reviews:9080/  x-c: 1  x-c: 2
        GET http://reviews:9080/  x-a: begin                       => 10.1.0.11:9080
        POST http://reviews:9080/  x-a: begin                      => 10.1.0.13:9080
        GET http://reviews:9080/  x-b: abc                         => 10.1.0.13:9080
        GET http://reviews:9080/  x-b: abc7                        => 10.1.0.13:9080
        GET http://reviews:9080/  x-b: abcd                        => 10.1.0.11:9080
        GET http://reviews:9080/  x-lost: 1                        => 503
        GET http://reviews:9080/  x-c: 1
        GET http://reviews:9080/  x-c: 1  x-present: 1
    "),
    case("by_path", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: default}
spec:
  hosts: [ratings]
  http:
  - match: [{uri: {exact: /exact}}]
    directResponse: {status: 211}
  - match: [{uri: {prefix: /prefix/}}]
    directResponse: {status: 202}
  - match: [{uri: {regex: '/v\\d+/.*'}}]
    directResponse: {status: 203}
  - match: [{uri: {exact: /CaSe}, ignoreUriCase: true}]
    directResponse: {status: 206}
  - match: [{uri: {prefix: /p}, queryParams: {q: {exact: one}}}]
    directResponse: {status: 207}
  - match: [{queryParams: {r: {regex: 'a+'}}}]
    directResponse: {status: 208}
  - match: [{port: 9090}]
    directResponse: {status: 226}
  - match: [{uri: {exact: /}}]
    redirect: {uri: /home, authority: other.example}
  - route: [{destination: {host: ratings, port: {number: 9080}}}]
", "
        GET http://ratings:9080/exact           => 211
        GET http://ratings:9080/exact?x=1       => 211
        GET http://ratings:9080/exact/          => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/prefix/a        => 202
        GET http://ratings:9080/prefix          => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/v12/x           => 203
        GET http://ratings:9080/v/x             => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/x/v12/x         => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/case            => 206
        GET http://ratings:9080/p?q=one         => 207
        GET http://ratings:9080/p?q=two         => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/p?a=b&q=one     => 207
        GET http://ratings:9080/x?r=aaa         => 208
        GET http://ratings:9080/x?r=aab         => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9090/x               => 226
        GET http://ratings:9080/                => 301 http://other.example/home
        GET http://ratings:9080/?a=b            => 301 http://other.example/home?a=b
        GET http://ratings:9080/./exact         => 211
        GET http://ratings:9080/a/../exact      => 211
        GET http://ratings:9080/%65xact         => 211
        GET http://ratings:9080//exact          => 10.1.0.21:9080|10.1.0.22:9080
    "),
    case("by_weight", Client, "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /none}}]
    route: [{destination: {host: reviews, subset: v1}, weight: 0}, {destination: {host: reviews, subset: v2}, weight: 100}]
  - route: [{destination: {host: reviews, subset: v1}, weight: 50}, {destination: {host: reviews, subset: v2}, weight: 25}, {destination: {host: ratings}, weight: 25}]
", "
        GET http://reviews:9080/none  => 10.1.0.12:9080
        GET http://reviews:9080/1
        GET http://reviews:9080/2
        GET http://reviews:9080/3
        GET http://reviews:9080/4
        GET http://reviews:9080/5
        GET http://reviews:9080/6
    "),
    case("redirects", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: default}
spec:
  hosts: [ratings]
  http:
  - match: [{uri: {prefix: /a}}]
    redirect: {uri: /b, redirectCode: 308}
  - match: [{uri: {prefix: /s}}]
    redirect: {scheme: https}
  - match: [{uri: {prefix: /q}}]
    redirect: {authority: x.example, port: 8443, redirectCode: 302}
  - match: [{uri: {prefix: /d}}]
    redirect: {derivePort: FROM_PROTOCOL_DEFAULT}
  - match: [{uri: {prefix: /r}}]
    redirect: {derivePort: FROM_REQUEST_PORT, authority: y.example}
  - route: [{destination: {host: ratings}}]
", "
        GET http://ratings:9080/a/x?q=1   => 308 http://ratings:9080/b?q=1
        GET http://ratings:9080/s/x?q=1
        GET http://ratings:9080/q/x       => 302 http://x.example:8443/q/x
        GET http://ratings:9080/d
        GET http://ratings:9080/r
        GET http://ratings:9080/z         => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings/s  @to=10.96.0.10:9080
    "),
    case("faults_and_cors", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: default}
spec:
  hosts: [ratings]
  http:
  - match: [{uri: {prefix: /abort}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: ratings}}]
  - match: [{uri: {prefix: /never}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 0}}}
    route: [{destination: {host: ratings}}]
  - match: [{uri: {prefix: /slow}}]
    fault: {delay: {fixedDelay: 0.01s, percentage: {value: 100}}}
    route: [{destination: {host: ratings}}]
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: https://good.example}, {regex: 'https://.*\\.fine\\.example'}], allowMethods: [GET], maxAge: 1h}
    route: [{destination: {host: ratings}}]
  - route: [{destination: {host: ratings}}]
", "
        GET http://ratings:9080/abort       => 555
        GET http://ratings:9080/never       => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/slow        => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/cors  origin: https://good.example  => 10.1.0.21:9080|10.1.0.22:9080
        OPTIONS http://ratings:9080/cors  origin: https://good.example  access-control-request-method: GET  => 200
        OPTIONS http://ratings:9080/cors  origin: https://a.fine.example  access-control-request-method: GET  => 200
        OPTIONS http://ratings:9080/cors  origin: https://a.fineXexample  access-control-request-method: GET
        OPTIONS http://ratings:9080/cors  origin: https://bad.example  access-control-request-method: GET
        OPTIONS http://ratings:9080/cors  origin: https://good.example
        OPTIONS http://ratings:9080/  origin: https://good.example  access-control-request-method: GET
    "),
    case("rewrites_and_headers", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: default}
spec:
  hosts: [ratings]
  http:
  - match: [{uri: {prefix: /old}}]
    rewrite: {uri: /new, authority: fresh.example}
    headers: {request: {set: {x-set: one}, remove: [x-gone]}}
    route: [{destination: {host: ratings}}]
  - route: [{destination: {host: ratings}}]
", r#"
        GET http://ratings:9080/old/x  x-gone: 1  @sees="path":"/new/x"  @sees=fresh.example  @sees=["x-set","one"]  @unseen=x-gone  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/olden             @sees="path":"/newen"
        GET http://ratings:9080/other  x-gone: 1  @sees=x-gone
    "#),
    case("bytes_by_weight_and_port", Client, "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: default}
spec: {host: db, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: default}
spec:
  hosts: [db]
  tcp:
  - match: [{port: 3306}]
    route: [{destination: {host: db, subset: v1}, weight: 60}, {destination: {host: db, subset: v2}, weight: 40}]
", "
        TCP tcp://db:3306
        TCP tcp://db:3306
        TCP tcp://db:3306
        TCP tcp://db:3306
        TCP tcp://vault.other:3306  => 10.1.0.41:3306
    "),
    case("tls_by_name", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tls, namespace: default}
spec:
  hosts: [tls, a.tls.example]
  tls:
  - match: [{port: 443, sniHosts: [a.tls.example]}]
    route: [{destination: {host: ratings, port: {number: 9090}}}]
  - match: [{port: 443, sniHosts: [tls]}]
    route: [{destination: {host: tls}}]
", "
        GET https://tls:443/                        => 10.1.0.37:443
        GET https://tls:443/  @sni=a.tls.example        => 10.1.0.21:9090|10.1.0.22:9090
        GET https://tls:443/  @sni=A.TLS.example
        GET https://tls:443/  @sni=b.tls.example
        GET https://tls:443/  @sni=none
    "),
    case("other_services", Client, "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example, '*.wild.example']
  addresses: [198.51.100.20]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  endpoints: [{address: 203.0.113.5}, {address: 203.0.113.6, ports: {http: 8080}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bytes, namespace: default}
spec:
  hosts: [bytes.example]
  addresses: [198.51.100.64/26]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 3306, name: tcp, protocol: TCP}]
  endpoints: [{address: 203.0.113.9}]
", "
        GET http://shop.example/  @to=198.51.100.20:80     => 203.0.113.5:80|203.0.113.6:8080
        GET http://shop.example:80/  @to=198.51.100.99:80  => 203.0.113.5:80|203.0.113.6:8080
        GET http://a.wild.example/  @to=198.51.100.20:80   => 203.0.113.5:80|203.0.113.6:8080
        GET http://wild.example/  @to=198.51.100.21:80     => 198.51.100.21:80
        GET https://shop.example/  @to=198.51.100.20:443   => 203.0.113.5:443|203.0.113.6:443
        GET https://evil.example/  @to=198.51.100.20:443
        TCP tcp://198.51.100.70:3306                       => 203.0.113.9:3306
        TCP tcp://198.51.100.7:3306                        => 198.51.100.7:3306
    "),
    case("only_what_the_sidecar_may_see", Client, "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: default}
spec:
  egress: [{hosts: [./ratings.default.svc.cluster.local, 'other/*']}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
", "
        GET http://ratings:9080/          => 10.1.0.21:9080|10.1.0.22:9080
        GET http://vault.other:9080/      => 10.1.0.41:9080
        GET http://reviews:9080/          => 502
        TCP tcp://db:3306                 => closed
        TCP tcp://vault.other:3306        => 10.1.0.41:3306
    "),
    case("plain_text_where_told", Client, "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, trafficPolicy: {tls: {mode: DISABLE}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings, namespace: default}
spec: {host: ratings, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
", r#"
        GET http://reviews:9080/  @sees="client_certificate":false
        GET http://ratings:9080/  @sees="client_certificate":true
        GET http://vault.other:9080/  @sees="client_certificate":true  @sees=outbound_.9080_._.vault.other.svc.cluster.local
        GET http://plain.other:9080/  @sees="client_certificate":false
    "#),
    case("localities_and_dead_ends", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /nowhere}}]
    route: [{destination: {host: nowhere.default.svc.cluster.local}}]
  - match: [{uri: {prefix: /nosubset}}]
    route: [{destination: {host: reviews, subset: nope}}]
  - match: [{uri: {prefix: /empty}}]
    route: [{destination: {host: empty}}]
  - match: [{uri: {prefix: /half}}]
    route: [{destination: {host: empty}, weight: 50}, {destination: {host: ratings}, weight: 50}]
", "
        GET http://reviews:9080/nowhere    => 500|503
        GET http://reviews:9080/nosubset   => 503
        GET http://reviews:9080/empty      => 503
        GET http://reviews:9080/half
        GET http://reviews:9080/half
        GET http://reviews:9080/           => 404
    "),
    case("delegates", Client, "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /d}}]
    delegate: {name: part}
  - route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: default}
spec:
  http:
  - match: [{uri: {prefix: /d/one}}]
    route: [{destination: {host: ratings}}]
  - match: [{uri: {prefix: /elsewhere}}]
    route: [{destination: {host: db}}]
", "
        GET http://reviews:9080/d/one  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://reviews:9080/d/two  => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://reviews:9080/       => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
    "),
    case(
        "tls_begun_by_the_sidecar",
        Client,
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example]
  addresses: [198.51.100.20]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]
  endpoints: [{address: 203.0.113.5}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: default}
spec: {host: shop.example, trafficPolicy: {tls: {mode: SIMPLE, sni: shop.example}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: liar, namespace: default}
spec:
  hosts: [liar.example]
  addresses: [198.51.100.21]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]
  endpoints: [{address: 203.0.113.6}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: liar, namespace: default}
spec: {host: liar.example, trafficPolicy: {tls: {mode: SIMPLE, sni: other.example, subjectAltNames: [liar.example]}}}
",
        r#"
        GET http://shop.example/  @to=198.51.100.20:80  @sees="sni":"shop.example"  @sees="client_certificate":false  => 203.0.113.5:443
        GET http://liar.example/  @to=198.51.100.21:80  @envoy  => 503
    "#,
    ),
    case("ways_to_balance", Client, "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {backendUtilization: {blackoutPeriod: 1s, errorUtilizationPenalty: 1, metricNamesForComputingUtilization: [named_metrics.load]}}}
  subsets: [{name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings, namespace: default}
spec: {host: ratings, trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {enabled: true, minClusterSize: 1}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: rpc, namespace: default}
spec: {host: rpc, trafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: 10s, timeout: 2s}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: default}
spec: {host: db, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {X-Upper: {exact: a}}}]
    mirrors: [{destination: {host: db}, percentage: {value: 100}}]
    corsPolicy: {allowOrigins: [{exact: '*'}], allowMethods: [GET]}
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{queryParams: {q: {}}}]
    fault: {abort: {httpStatus: 418}}
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews}}]
", "
        GET http://reviews:9080/                      => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://reviews:9080/  x-upper: a          => 10.1.0.12:9080
        GET http://reviews:9080/?q=1                  => 10.1.0.12:9080
        OPTIONS http://reviews:9080/  x-upper: a  origin: https://x.example  access-control-request-method: GET  => 200
        GET http://ratings:9080/                      => 10.1.0.21:9080|10.1.0.22:9080
        POST http://rpc:9000/                         => 10.1.0.36:9000
        TCP tcp://db:3306                             => 10.1.0.31:3306|10.1.0.32:3306
    "),
    case("names_as_they_are_called", Client, "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dyn, namespace: default}
spec:
  hosts: ['*.dyn.example']
  location: MESH_EXTERNAL
  resolution: DYNAMIC_DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: dyn, namespace: default}
spec: {host: '*.dyn.example', trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, insecureSkipVerify: true}}]}}
", "
        GET http://x.dyn.example/  @to=198.51.100.7:80  @envoy  => 503
        GET http://198.51.100.7:80/         => 198.51.100.7:80
        GET http://reviews:9080/            => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
    "),
];
