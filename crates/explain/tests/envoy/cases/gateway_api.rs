//! The Gateway API: gateways, and routes of services; Ingresses.

use super::{Case, case};
use crate::world::Side::{Client, Gateway};

pub const CASES: &[Case] = &[
    case("gateway_api_matches", Gateway, "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  hostnames: [shop.example]
  rules:
  - matches: [{path: {type: PathPrefix, value: /v1/}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: Exact, value: /v1/exact}}, {path: {type: RegularExpression, value: '/x[0-9]+'}}]
    backendRefs: [{name: ratings, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /v1}, method: POST}, {headers: [{name: Kind, value: gold}]}]
    backendRefs: [{name: authz, port: 8000}]
  - matches: [{path: {type: PathPrefix, value: /v1}, headers: [{name: a, value: b}], queryParams: [{name: q, value: w}]}]
    backendRefs: [{name: ratings, port: 9090}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: more, namespace: other}
spec:
  parentRefs: [{name: front, namespace: istio-system, sectionName: http}]
  hostnames: [shop.example, '*.other.example']
  rules:
  - matches: [{path: {type: PathPrefix, value: /v1/more}}]
    backendRefs: [{name: plain, port: 9080}]
", "
        GET http://shop.example/v1             => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://shop.example/v1/a           => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://shop.example/v12            => 404
        GET http://shop.example/v1/exact       => 10.1.0.21:9080|10.1.0.22:9080
        GET http://shop.example/v1/exact/      => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        POST http://shop.example/v1/a          => 10.1.0.61:8000
        GET http://shop.example/v1/a?q=w  a: b  => 10.1.0.21:9090|10.1.0.22:9090
        GET http://shop.example/v1/a?q=w       => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
        GET http://shop.example/x12            => 10.1.0.21:9080|10.1.0.22:9080
        GET http://shop.example/x12/           => 404
        GET http://shop.example/any  kind: gold  => 10.1.0.61:8000
        GET http://shop.example/any            => 404
        GET http://shop.example/v1/more/x      => 10.1.0.42:9080
        GET http://a.other.example/v1/more     => 10.1.0.42:9080
        GET http://other.example/v1/more       => 404
    "),
    case("gateway_api_filters", Gateway, "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  rules:
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}}]
  - matches: [{path: {value: /secure}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: safe.example}}]
  - matches: [{path: {value: /port}}]
    filters: [{type: RequestRedirect, requestRedirect: {port: 8888, path: {type: ReplaceFullPath, replaceFullPath: /full}}}]
  - matches: [{path: {value: /strip}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: ratings, port: 9080}]
  - matches: [{path: {value: /swap}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: inner.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /to/}}}]
    backendRefs: [{name: ratings, port: 9080}]
  - matches: [{path: {value: /whole}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /one}}}]
    backendRefs: [{name: ratings, port: 9080}]
  - matches: [{path: {value: /headers}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: new}], add: [{name: X-Add, value: more}], remove: [x-gone]}}]
    backendRefs: [{name: ratings, port: 9080, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-backend, value: ratings}]}}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: refused, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  hostnames: [refused.example]
  rules:
  - filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Guard, name: g}}]
    backendRefs: [{name: ratings, port: 9080}]
", r#"
        GET http://x.example/old/a               => 301 http://x.example/new/a
        GET http://x.example/old                 => 301 http://x.example/new
        GET http://x.example/secure/a            => 302 https://safe.example/secure/a
        GET http://x.example/port/a              => 302 http://x.example:8888/full
        GET http://x.example/strip/a/b           @sees="path":"/a/b"  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://x.example/strip               @sees="path":"/"  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://x.example/strip/              @sees="path":"/"
        GET http://x.example/swap/a              @sees="path":"/to/a"  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://x.example/whole/a?b=c         @sees="path":"/one?b=c"  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://x.example/headers  x-set: old  x-gone: 1  @unseen=x-gone  @sees=more  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://x.example/headers             @sees=x-backend
        GET http://refused.example/              => 404
    "#),
    case("gateway_api_backends", Gateway, "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: plain, namespace: other}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], to: [{group: '', kind: Service, name: plain}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  rules:
  - matches: [{path: {value: /none}}]
  - matches: [{path: {value: /zero}}]
    backendRefs: [{name: ratings, port: 9080, weight: 0}]
  - matches: [{path: {value: /missing}}]
    backendRefs: [{name: missing, port: 9080}]
  - matches: [{path: {value: /kind}}]
    backendRefs: [{group: example.com, kind: Bucket, name: ratings, port: 9080}]
  - matches: [{path: {value: /granted}}]
    backendRefs: [{name: plain, namespace: other, port: 9080}]
  - matches: [{path: {value: /refused}}]
    backendRefs: [{name: vault, namespace: other, port: 9080}]
  - matches: [{path: {value: /shares}}]
    backendRefs: [{name: ratings, port: 9080, weight: 5}, {name: authz, port: 8000, weight: 0}]
", "
        GET http://x.example/none      => 500
        GET http://x.example/zero      => 500
        GET http://x.example/missing   => 500
        GET http://x.example/kind      => 500
        GET http://x.example/granted   => 10.1.0.42:9080
        GET http://x.example/refused   => 500
        GET http://x.example/shares    => 10.1.0.21:9080|10.1.0.22:9080
    "),
    case("gateway_api_isolation", Gateway, "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  allowedListeners: {namespaces: {from: All}}
  listeners:
  - {name: wild, port: 80, protocol: HTTP, hostname: '*.example', allowedRoutes: {namespaces: {from: All}}}
  - {name: one, port: 80, protocol: HTTP, hostname: one.example, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: team, namespace: other}
spec:
  parentRef: {name: front, namespace: istio-system}
  listeners: [{name: team, port: 80, protocol: HTTP, hostname: team.other}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: wild, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system, sectionName: wild}]
  rules: [{backendRefs: [{name: ratings, port: 9080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: one, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  hostnames: [one.example]
  rules: [{matches: [{path: {value: /a}}], backendRefs: [{name: authz, port: 8000}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: team, namespace: other}
spec:
  parentRefs: [{kind: ListenerSet, name: team}]
  rules: [{backendRefs: [{name: plain, port: 9080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: stray, namespace: default}
spec:
  parentRefs: [{kind: ListenerSet, name: team, namespace: other}]
  rules: [{matches: [{path: {value: /stray}}], backendRefs: [{name: ratings, port: 9080}]}]
", "
        GET http://two.example/      => 10.1.0.21:9080|10.1.0.22:9080
        GET http://one.example/a     => 10.1.0.61:8000
        GET http://one.example/b     => 404
        GET http://team.other/       => 10.1.0.42:9080
        GET http://team.other/stray  => 10.1.0.42:9080
        GET http://other.other/      => 404
    "),
    case("gateway_api_tls", Gateway, "
apiVersion: v1
kind: Secret
metadata: {name: shop, namespace: istio-system}
type: kubernetes.io/tls
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: shop.example, tls: {certificateRefs: [{name: shop}], options: {gateway.istio.io/tls-cipher-suites: 'NONE, ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-GCM-SHA256'}}, allowedRoutes: {namespaces: {from: All}}}
  - {name: pass, port: 443, protocol: TLS, hostname: '*.pass.example', tls: {mode: Passthrough}, allowedRoutes: {namespaces: {from: All}}}
  - {name: ends, port: 443, protocol: TLS, hostname: a.shop.example, tls: {mode: Terminate, certificateRefs: [{name: shop}]}, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  rules: [{backendRefs: [{name: ratings, port: 9080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: pass, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system, sectionName: pass}]
  hostnames: ['*.example', b.pass.example]
  rules: [{backendRefs: [{name: tls, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: ends, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system, sectionName: ends}]
  hostnames: [a.shop.example]
  rules: [{backendRefs: [{name: authz, port: 8000}]}]
", "
        GET https://shop.example/                       => 10.1.0.21:9080|10.1.0.22:9080
        GET https://shop.example/  @sni=other.example   => closed
        GET https://b.pass.example/                     => 10.1.0.37:443
        GET https://c.pass.example/                     => 10.1.0.37:443
        GET https://pass.example/                       => closed
        GET https://a.shop.example/                     => 10.1.0.61:8000
    "),
    case("gateway_api_checks_clients", Gateway, "
apiVersion: v1
kind: Secret
metadata: {name: shop, namespace: istio-system}
type: kubernetes.io/tls
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: Secret, name: shop}]}}}}
  listeners:
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: shop}]}, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  rules: [{backendRefs: [{name: ratings, port: 9080}]}]
", "
        GET https://shop.example/                       => closed
        GET https://shop.example/  @as=default/reviews  => 10.1.0.21:9080|10.1.0.22:9080
    "),
    case("gateway_api_tcp", Gateway, "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway}]
  listeners: [{name: tcp, port: 31400, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: db, namespace: default}
spec:
  parentRefs: [{name: front, namespace: istio-system}]
  rules:
  - backendRefs: [{name: ratings, port: 9080}]
  - backendRefs: [{name: authz, port: 8000}]
", "
        GET http://x/  @to=10.1.0.2:31400  => 10.1.0.21:9080|10.1.0.22:9080
    "),
    case("mesh_http_route", Client, "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: producer, namespace: default}
spec:
  parentRefs: [{group: '', kind: Service, name: ratings, port: 9080}]
  rules:
  - matches: [{path: {value: /v2}}]
    backendRefs: [{name: authz, port: 8000}]
  - backendRefs: [{name: ratings, port: 9080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: consumer, namespace: default}
spec:
  parentRefs: [{group: '', kind: Service, name: plain, namespace: other}]
  rules: [{backendRefs: [{name: ratings, port: 9090}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: third, namespace: elsewhere}
spec:
  parentRefs: [{group: '', kind: Service, name: authz, namespace: default}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: third.example}}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: rpc, namespace: default}
spec:
  parentRefs: [{group: '', kind: Service, name: rpc}]
  rules: [{matches: [{method: {service: shop.Cart}}], backendRefs: [{name: rpc, port: 9000}]}]
", "
        GET http://ratings:9080/v2/x             => 10.1.0.61:8000
        GET http://ratings:9080/v1               => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9090/v2               => 10.1.0.21:9090|10.1.0.22:9090
        GET http://plain.other:9080/             => 10.1.0.21:9090|10.1.0.22:9090
        GET http://authz:8000/                   => 10.1.0.61:8000
        POST http://rpc:9000/shop.Cart/Add       => 10.1.0.36:9000
        POST http://rpc:9000/shop.CartX/Add      => 404
    "),
    case("kubernetes_ingress", Gateway, "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: istio}
spec: {controller: istio.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec:
  ingressClassName: istio
  tls: [{hosts: [shop.example], secretName: shop}]
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: ratings, port: {number: 9080}}}}
      - {path: /a, pathType: Prefix, backend: {service: {name: ratings, port: {name: http-admin}}}}
      - {path: /a/exact, pathType: Exact, backend: {service: {name: authz, port: {number: 8000}}}}
  - host: '*.shop.example'
    http: {paths: [{path: /w/*, pathType: ImplementationSpecific, backend: {service: {name: authz, port: {number: 8000}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: more, namespace: other, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  ingressClassName: istio
  rules:
  - host: shop.example
    http: {paths: [{path: /plain, pathType: Prefix, backend: {service: {name: plain, port: {number: 9080}}}}]}
", "
        GET http://shop.example/x          => 10.1.0.21:9080|10.1.0.22:9080
        GET http://shop.example/a          => 10.1.0.21:9090|10.1.0.22:9090
        GET http://shop.example/a/b        => 10.1.0.21:9090|10.1.0.22:9090
        GET http://shop.example/ab         => 10.1.0.21:9080|10.1.0.22:9080
        GET http://shop.example/a/exact    => 10.1.0.61:8000
        GET http://shop.example/a/exact/x  => 10.1.0.21:9090|10.1.0.22:9090
        GET http://shop.example/plain/x    => 10.1.0.42:9080
        GET https://shop.example/a         => 10.1.0.21:9090|10.1.0.22:9090
        GET http://x.shop.example/w/y      => 10.1.0.61:8000
        GET http://x.shop.example/wy       => 404
        GET http://other.example/          => 404
    "),
];
