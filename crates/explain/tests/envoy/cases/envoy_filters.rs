//! Patches of EnvoyFilters, one kind of object at a time: that Envoy takes them, and that they do what they say.

use super::{Case, case};
use crate::world::Side::{Client, Gateway, Server};

pub const CASES: &[Case] = &[
    case("patched_routes", Client, "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: routes, namespace: default}
spec:
  configPatches:
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'ratings.default.svc.cluster.local:9080', route: {action: ROUTE}}}}
    patch: {operation: MERGE, value: {route: {prefix_rewrite: /new}}}
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'ratings.default.svc.cluster.local:9080'}}}
    patch: {operation: INSERT_FIRST, value: {name: teapot, match: {path: /teapot}, direct_response: {status: 418}}}
  - applyTo: VIRTUAL_HOST
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'ratings.default.svc.cluster.local:9090'}}}
    patch: {operation: MERGE, value: {request_headers_to_add: [{header: {key: x-patched, value: 'yes'}}]}}
  - applyTo: ROUTE_CONFIGURATION
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {name: '9080'}}
    patch: {operation: MERGE, value: {request_headers_to_remove: [x-secret]}}
  - applyTo: VIRTUAL_HOST
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {name: '9080'}}
    patch:
      operation: ADD
      value:
        name: made-up
        domains: [made-up.example]
        routes: [{match: {prefix: /}, route: {cluster: 'outbound|9080||reviews.default.svc.cluster.local'}}]
", r#"
        GET http://ratings:9080/           @sees="path":"/new"  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9080/teapot     => 418
        GET http://ratings:9080/teapot/    @sees="path":"/newteapot/"
        GET http://ratings:9090/           @sees=x-patched
        GET http://ratings:9080/  x-secret: s  @unseen=x-secret
        GET http://reviews:9080/  x-secret: s  @unseen=x-secret  @unseen=x-patched
        GET http://made-up.example/  @to=10.96.0.9:9080  => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
    "#),
    case("patched_clusters", Client, "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: clusters, namespace: default}
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND}
    patch:
      operation: ADD
      value:
        name: by-hand
        type: STATIC
        connect_timeout: 1s
        load_assignment: {cluster_name: by-hand, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.1.0.42, port_value: 9080}}}}]}]}
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, cluster: {service: ratings.default.svc.cluster.local, portNumber: 9080}}
    patch: {operation: MERGE, value: {lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 64}}}
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, cluster: {name: 'outbound|9090||ratings.default.svc.cluster.local'}}
    patch: {operation: REMOVE}
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'reviews.default.svc.cluster.local:9080', route: {name: default}}}}
    patch: {operation: MERGE, value: {route: {cluster: by-hand}}}
", "
        GET http://reviews:9080/  => 10.1.0.42:9080
        GET http://ratings:9080/  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://ratings:9090/  => 503
    "),
    case("filters_among_filters", Server, r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: http, namespace: default}
spec:
  workloadSelector: {labels: {app: web}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {portNumber: 9080, filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: deny-by-hand
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules:
            action: DENY
            policies: {x: {permissions: [{url_path: {path: {prefix: /by-hand}}}], principals: [{any: true}]}}
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: deny-by-hand}}}}}
    patch:
      operation: INSERT_AFTER
      value:
        name: script
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {inline_string: "function envoy_on_request(h) h:headers():add('x-lua', 'was-here') end"}
  - applyTo: NETWORK_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch: {operation: MERGE, value: {typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, merge_slashes: true}}}
  - applyTo: NETWORK_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {destinationPort: 9000, filter: {name: envoy.filters.network.tcp_proxy}}}}
    patch:
      operation: INSERT_FIRST
      value:
        name: nobody
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
          stat_prefix: by_hand
          rules: {action: ALLOW, policies: {}}
"#, r#"
        GET http://web:9080/by-hand/x     => 403
        GET http://web:9080//by-hand      => 403
        GET http://web:9080/a//b          @sees="path":"/a/b"  @sees=was-here  => 10.1.0.2:9080
        GET http://web:9080/  @as=default/reviews  @sees=was-here
        GET http://web:9080/by-hand  @as=default/reviews  => 403
        TCP http://web:9000/  => closed
    "#),
    case("filters_that_come_by_themselves", Server, r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ecds, namespace: istio-system}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: deny-from-afar
        config_discovery:
          config_source: {ads: {}, initial_fetch_timeout: 10s, resource_api_version: V3}
          type_urls: [type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC]
  - applyTo: EXTENSION_CONFIG
    match: {context: SIDECAR_INBOUND}
    patch:
      operation: ADD
      value:
        name: deny-from-afar
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules:
            action: DENY
            policies: {x: {permissions: [{url_path: {path: {exact: /afar}}}], principals: [{any: true}]}}
"#, "
        GET http://web:9080/afar   => 403
        GET http://web:9080/near   => 10.1.0.2:9080
        GET http://web:9080/afar  @as=default/reviews  => 403
        GET http://web:9080/near  @as=default/reviews  => 10.1.0.2:9080
    "),
    case("patched_gateway", Gateway, r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example]
  gateways: [istio-system/gw]
  http: [{route: [{destination: {host: ratings, port: {number: 9080}}}]}]
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: own-port, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
  - applyTo: LISTENER
    match: {context: GATEWAY}
    patch:
      operation: ADD
      value:
        name: own-port
        address: {socket_address: {address: 0.0.0.0, port_value: 8099}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.tcp_proxy
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
              stat_prefix: own
              cluster: outbound|9080||ratings.default.svc.cluster.local
  - applyTo: HTTP_FILTER
    match: {context: GATEWAY, listener: {portNumber: 8080, filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch:
      operation: INSERT_FIRST
      value:
        name: deny
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules: {action: DENY, policies: {x: {permissions: [{header: {name: x-bad, present_match: true}}], principals: [{any: true}]}}}
  - applyTo: VIRTUAL_HOST
    match: {context: GATEWAY, routeConfiguration: {portNumber: 80, vhost: {name: 'shop.example:80'}}}
    patch: {operation: MERGE, value: {request_headers_to_add: [{header: {key: x-edge, value: by-hand}}]}}
"#, "
        GET http://shop.example/  @sees=by-hand  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://shop.example/  x-bad: 1  => 403
        GET http://other.example/  => 404
        GET http://anything.example:8099/  @to=10.1.0.2:8099  => 10.1.0.21:9080|10.1.0.22:9080
    "),
    case("a_bad_patch_leaves_the_rest", Client, "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: bad, namespace: default}
spec:
  configPatches:
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'ratings.default.svc.cluster.local:9080'}}}
    patch: {operation: MERGE, value: {route: {no_such_field: 1}}}
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'ratings.default.svc.cluster.local:9080'}}}
    patch: {operation: MERGE, value: {request_headers_to_add: [{header: {key: x-good, value: patch}}]}}
", "
        GET http://ratings:9080/  @sees=x-good  => 10.1.0.21:9080|10.1.0.22:9080
        GET http://reviews:9080/  => 10.1.0.11:9080|10.1.0.12:9080|10.1.0.13:9080
    "),
];
