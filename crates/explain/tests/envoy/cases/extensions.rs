//! Filters that users bring as TrafficExtensions: that they run, and where.

use super::{Case, case};
use crate::world::Side::{Client, Server};

pub const CASES: &[Case] = &[
    case(
        "scripts_around_policies",
        Server,
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: marked, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - when: [{key: 'request.headers[x-early]', values: [lua]}]
    to: [{operation: {notPaths: [/late]}}]
  - when: [{key: 'request.headers[x-late]', values: [lua]}]
    to: [{operation: {paths: [/late]}}]
---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: early, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  phase: AUTHZ
  match: [{mode: SERVER, ports: [{number: 9080}]}]
  lua: {inlineCode: \"function envoy_on_request(h) h:headers():add('x-early', 'lua') end\"}
---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: late, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  lua: {inlineCode: \"function envoy_on_request(h) h:headers():add('x-late', 'lua') end\"}
",
        "
        GET http://web:9080/      @envoy  @sees=x-early  @sees=x-late  => 10.1.0.2:9080
        GET http://web:9080/late  @envoy  => 403
        GET http://web:9091/      @envoy  => 403
    ",
    ),
    case(
        "scripts_of_one_port",
        Client,
        "
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: out, namespace: istio-system}
spec:
  match: [{mode: CLIENT, ports: [{number: 9090}]}]
  lua: {inlineCode: \"function envoy_on_request(h) h:headers():add('x-out', 'lua') end\"}
---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: others, namespace: default}
spec:
  selector: {matchLabels: {app: nobody}}
  lua: {inlineCode: \"function envoy_on_request(h) h:respond({[':status'] = '418'}, '') end\"}
",
        "
        GET http://ratings:9090/  @sees=x-out
        GET http://ratings:9080/  @unseen=x-out
    ",
    ),
];
