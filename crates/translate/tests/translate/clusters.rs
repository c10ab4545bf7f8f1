//! Clusters: policies, TLS, protocols.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::{Cluster, ClusterPart, Clusters};

const WEB: &str = "outbound|80||web.a.svc.cluster.local";

fn web() -> String {
    app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080", "tcp 90 9090"],
        &["10.1.0.1 mtls version=v1"],
    )
}

#[test]
fn which_there_are() {
    check(
        "a sidecar",
        &Mesh::of(&web()),
        &sidecar("10.1.0.1 web-0.a"),
        Clusters,
        "BlackHoleCluster
         InboundPassthroughCluster
         PassthroughCluster
         inbound|8080||
         inbound|9090||
         outbound|80||web.a.svc.cluster.local
         outbound|90||web.a.svc.cluster.local",
    );
}

#[test]
fn policies() {
    let rules = |specs: &[(&str, &str)]| {
        let rules = specs.iter().enumerate();
        let rules =
            rules.map(|(i, (ns, spec))| istio("DestinationRule", ns, &format!("r{i}"), spec));
        Mesh::of(&(web() + &rules.collect::<String>()))
    };
    let mtls =
        "tlsMode-istio: tls sni=outbound_.80_._.web.a.svc.cluster.local cert=default ca=ROOTCA \
        URI={exact=spiffe://cluster.local/ns/a/sa/web} alpn=[istio-http/1.1,istio]
        tlsMode-disabled: plaintext";
    let client = sidecar("10.1.0.9 client.a");
    for (name, specs, view, expected) in [
        (
            "no rule",
            &[][..],
            Cluster(WEB),
            format!("EDS LEAST_REQUEST\n{mtls}"),
        ),
        (
            "a port's own policy stands alone",
            &[(
                "a",
                "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 7}}, \
                 portLevelSettings: [{port: {number: 80}, connectionPool: {http: {http1MaxPendingRequests: 3}}}]}}",
            )],
            Cluster(WEB),
            format!("EDS LEAST_REQUEST\nlimits max_pending_requests=3\n{mtls}"),
        ),
        (
            "a rule of the client's namespace wins over the service's",
            &[
                ("b", "{host: web.a.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}}"),
                ("a", "{host: web, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}"),
            ],
            Cluster(WEB),
            format!("EDS ROUND_ROBIN\n{mtls}"),
        ),
        (
            "rules of one namespace and host are merged: the older one's policy, both one's subsets",
            &[
                ("a", "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1, labels: {version: v1}}]}"),
                ("a", "{host: web, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}, subsets: [{name: v2, labels: {version: v2}}]}"),
            ],
            Clusters,
            "BlackHoleCluster
             InboundPassthroughCluster
             PassthroughCluster
             outbound|80|v1|web.a.svc.cluster.local
             outbound|80|v2|web.a.svc.cluster.local
             outbound|80||web.a.svc.cluster.local
             outbound|90|v1|web.a.svc.cluster.local
             outbound|90|v2|web.a.svc.cluster.local
             outbound|90||web.a.svc.cluster.local"
                .to_owned(),
        ),
        (
            "a subset's policy stands over the rule's",
            &[(
                "a",
                "{host: web, trafficPolicy: {tls: {mode: DISABLE}, outlierDetection: {consecutive5xxErrors: 3}}, \
                 subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]}",
            )],
            Cluster("outbound|80|v1|web.a.svc.cluster.local"),
            "EDS RANDOM
                          outlier_detection {consecutive_5xx=3 enforcing_consecutive_5xx=100 enforcing_success_rate=0}"
                .to_owned(),
        ),
        (
            "TLS of a user's own",
            &[(
                "a",
                "{host: web, trafficPolicy: {tls: {mode: SIMPLE, sni: x.example.com, subjectAltNames: [y.example.com], caCertificates: /ca.pem}}}",
            )],
            Cluster(WEB),
            "EDS LEAST_REQUEST
                          tls sni=x.example.com ca=file-root:/ca.pem DNS={exact=y.example.com} URI={exact=y.example.com}"
                .to_owned(),
        ),
        (
            "a hash of a header",
            &[("a", "{host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 64}}}}}")],
            Cluster(WEB),
            format!("EDS RING_HASH\nring_hash_lb_config {{minimum_ring_size=64}}\n{mtls}"),
        ),
        (
            "HTTP/2 by upgrade",
            &[("a", "{host: web, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, http2MaxRequests: 5}}}}")],
            Cluster(WEB),
            format!("EDS LEAST_REQUEST\nexplicit http2_protocol_options\nlimits max_requests=5\n{}", mtls.replace("istio-http/1.1,istio", "istio-h2,istio,h2")),
        ),
        (
            "a hash by header without a size",
            &[("a", "{host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {}}}}}")],
            Cluster(WEB),
            format!("EDS RING_HASH\n{mtls}"),
        ),
        (
            "a warm-up has Envoy's defaults",
            &[("a", "{host: web, trafficPolicy: {loadBalancer: {warmup: {duration: 9s}}}}")],
            Cluster(WEB),
            format!(
                "EDS LEAST_REQUEST\nleast_request_lb_config {{slow_start_config={{aggression={{default_value=1 runtime_key=(}} \
                 min_weight_percent={{value=10}} slow_start_window=9s}}}}\n{mtls}"
            ),
        ),
        (
            "by reported load",
            &[("a", "{host: web, trafficPolicy: {loadBalancer: {backendUtilization: {blackoutPeriod: 3s, errorUtilizationPenalty: 0.5}}}}")],
            ClusterPart(WEB, "/load_balancing_policy/policies/0/typed_extension_config/typed_config"),
            "{@type:type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin,\
             blackout_period:3s,error_utilization_penalty:0.5}"
                .to_owned(),
        ),
        (
            "PINGs on HTTP/2",
            &[("a", "{host: web, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 30s, timeout: 5s}}}}}")],
            ClusterPart(
                WEB,
                "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/explicit_http_config",
            ),
            "{http2_protocol_options:{connection_keepalive:{interval:30s,timeout:5s}}}".to_owned(),
        ),
        (
            "zones by Envoy",
            &[("a", "{host: web, trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {enabled: true, minClusterSize: 2}}}}")],
            ClusterPart(WEB, "/common_lb_config/zone_aware_lb_config"),
            "{min_cluster_size:2}".to_owned(),
        ),
        (
            "a subset's port takes nothing from the host",
            &[(
                "a",
                "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: DISABLE}}, subsets: [{name: v1, labels: {version: v1}, \
                 trafficPolicy: {portLevelSettings: [{port: {number: 90}, loadBalancer: {simple: ROUND_ROBIN}}]}}]}",
            )],
            Cluster("outbound|90|v1|web.a.svc.cluster.local"),
            "EDS ROUND_ROBIN
             tlsMode-istio: tls sni=outbound_.90_.v1_.web.a.svc.cluster.local cert=default ca=ROOTCA \
             URI={exact=spiffe://cluster.local/ns/a/sa/web} alpn=[istio]
             tlsMode-disabled: plaintext"
                .to_owned(),
        ),
        (
            "no subset balances what its host leaves to the caller",
            &[(
                "a",
                "{host: web, trafficPolicy: {tls: {mode: DISABLE}, loadBalancer: {simple: PASSTHROUGH}}, subsets: [{name: v1, labels: {version: v1}, \
                 trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]}",
            )],
            Cluster("outbound|80|v1|web.a.svc.cluster.local"),
            "ORIGINAL_DST CLUSTER_PROVIDED".to_owned(),
        ),
        (
            "a rule that more may see goes into the older one",
            &[
                ("b", "{host: web.a.svc.cluster.local, exportTo: [.], trafficPolicy: {loadBalancer: {simple: RANDOM}}}"),
                ("a", "{host: web, exportTo: [., c], trafficPolicy: {loadBalancer: {simple: RANDOM}}}"),
                ("a", "{host: web, exportTo: [., c, d], trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}"),
            ],
            Cluster(WEB),
            format!("EDS RANDOM\n{mtls}"),
        ),
        (
            "a rule for others holds for none of its own namespace",
            &[
                ("a", "{host: web, exportTo: [b], trafficPolicy: {loadBalancer: {simple: RANDOM}}}"),
                ("istio-system", "{host: '*.local', trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}"),
            ],
            Cluster(WEB),
            format!("EDS ROUND_ROBIN\n{mtls}"),
        ),
        (
            "where all rules of a namespace are for certain workloads, others have what they would have without",
            &[
                ("a", "{host: web, workloadSelector: {matchLabels: {app: somebody}}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}"),
                ("istio-system", "{host: '*.local', trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}"),
            ],
            Cluster(WEB),
            format!("EDS ROUND_ROBIN\n{mtls}"),
        ),
        (
            "the least share of endpoints that are well",
            &[("a", "{host: web, trafficPolicy: {outlierDetection: {minHealthPercent: 20}}}")],
            ClusterPart(WEB, "/common_lb_config"),
            "{healthy_panic_threshold:{value:20}}".to_owned(),
        ),
        (
            "zones turned off are off though Envoy knows its own",
            &[("a", "{host: web, trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {enabled: false}}}}")],
            ClusterPart(WEB, "/common_lb_config"),
            "{healthy_panic_threshold:{},zone_aware_lb_config:{routing_enabled:{}}}".to_owned(),
        ),
        (
            "a rule for certain workloads holds for none of another namespace",
            &[
                ("istio-system", "{host: '*.local', trafficPolicy: {loadBalancer: {simple: RANDOM}}}"),
                ("b", "{host: web.a.svc.cluster.local, workloadSelector: {matchLabels: {app: client}}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}"),
            ],
            Cluster(WEB),
            format!("EDS RANDOM\n{mtls}"),
        ),
    ] {
        check(name, &rules(specs), &client, view, &expected);
    }
}

/// `defaultTrafficPolicy` of MeshConfig: limits and outliers for all, each block for itself unless a rule gives it.
#[test]
fn limits_of_the_mesh() {
    let mesh = |rule: &str| Mesh {
        config: "{defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 9, idleTimeout: 7s}}, outlierDetection: {consecutive5xxErrors: 2}}}",
        ..Mesh::of(&(web() + &istio("DestinationRule", "a", "web", rule)))
    };
    let client = sidecar("10.1.0.9 client.a");
    let server = sidecar("10.1.0.1 web-0.a");
    let outlier = "outlier_detection {consecutive_5xx=2 enforcing_consecutive_5xx=100 enforcing_success_rate=0}";
    let off = "tls: {mode: DISABLE}";
    let pool = format!(
        "{{host: web, trafficPolicy: {{{off}, connectionPool: {{tcp: {{connectTimeout: 1s}}}}}}}}"
    );
    let none = format!("{{host: web, trafficPolicy: {{{off}}}}}");
    for (name, rule, proxy, view, expected) in [
        (
            "no rule of either",
            &none,
            &client,
            Cluster(WEB),
            format!("EDS LEAST_REQUEST\ncommon_http_protocol_options {{idle_timeout=7s}}\nexplicit http_protocol_options\n{outlier}\nlimits max_connections=9"),
        ),
        (
            "a pool of its own",
            &pool,
            &client,
            Cluster(WEB),
            format!("EDS LEAST_REQUEST\nconnect_timeout 1s\n{outlier}"),
        ),
        (
            "inbound",
            &none,
            &server,
            Cluster("inbound|8080||"),
            "ORIGINAL_DST CLUSTER_PROVIDED\ncommon_http_protocol_options {idle_timeout=7s}\nexplicit http_protocol_options\nlimits max_connections=9".to_owned(),
        ),
        (
            "whatever is called",
            &none,
            &client,
            Cluster("PassthroughCluster"),
            "ORIGINAL_DST CLUSTER_PROVIDED\ncommon_http_protocol_options {idle_timeout=7s}\nuse_downstream_protocol_config {http2_protocol_options={} http_protocol_options={}}\nlimits max_connections=9".to_owned(),
        ),
    ] {
        check(name, &mesh(rule), proxy, view, &expected);
    }
}

/// What a user's rule leaves open a policy of the Gateway API fills in, whichever is older (Istio 1.31).
#[test]
fn rules_and_policies_of_one_host() {
    let policy = "---
{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {name: p, namespace: a, creationTimestamp: '2026-01-01T00:00:02Z'},
 spec: {targetRefs: [{group: '', kind: Service, name: web}], validation: {hostname: x.example.com, wellKnownCACertificates: System}}}
";
    let client = sidecar("10.1.0.9 client.a");
    let tls = "tls sni=x.example.com ca=file-root:system DNS={exact=x.example.com} URI={exact=x.example.com}";
    for (name, at, said, expected) in [
        (
            "an older rule",
            1,
            "connectionPool: {tcp: {maxConnections: 7}}",
            format!("EDS LEAST_REQUEST\nlimits max_connections=7\n{tls}"),
        ),
        (
            "a younger rule",
            3,
            "connectionPool: {tcp: {maxConnections: 7}}",
            format!("EDS LEAST_REQUEST\nlimits max_connections=7\n{tls}"),
        ),
        (
            "TLS of its own",
            3,
            "tls: {mode: DISABLE}",
            "EDS LEAST_REQUEST".to_owned(),
        ),
    ] {
        let rule = istio(
            "DestinationRule",
            "a",
            "web",
            &format!("{{host: web, trafficPolicy: {{{said}}}}}"),
        );
        let rule = rule.replacen(
            "{name: web,",
            &format!("{{name: web, creationTimestamp: '2026-01-01T00:00:0{at}Z',"),
            1,
        );
        let mesh = Mesh::of(&(web() + policy + &rule));
        check(name, &mesh, &client, Cluster(WEB), &expected);
    }
}

#[test]
fn peers_that_accept_plaintext_only() {
    let mesh =
        Mesh::of(&(web() + &istio("PeerAuthentication", "a", "p", "{mtls: {mode: DISABLE}}")));
    check(
        "no TLS towards them",
        &mesh,
        &sidecar("10.1.0.9 client.a"),
        Cluster("outbound|90||web.a.svc.cluster.local"),
        "EDS LEAST_REQUEST",
    );
}

#[test]
fn headless_and_aliases() {
    let yaml = "
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: a}, spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5432}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: out, namespace: a}, spec: {type: ExternalName, externalName: x.example.com, ports: [{name: http, port: 80}]}}
";
    let mesh = Mesh::of(yaml);
    let client = sidecar("10.1.0.9 client.a");
    check(
        "called one by one",
        &mesh,
        &client,
        ClusterPart("outbound|5432||db.a.svc.cluster.local", "/type"),
        "ORIGINAL_DST",
    );
}

#[test]
fn found_as_they_are_called() {
    let entry = "{hosts: ['*.example.com'], location: MESH_EXTERNAL, resolution: DYNAMIC_DNS, ports: [\
        {number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 8443, name: https, protocol: HTTPS}]}";
    let tls = "{host: '*.example.com', trafficPolicy: {tls: {mode: SIMPLE, sni: x.example.com, subjectAltNames: [x.example.com]}}}";
    let mesh = Mesh::of(
        &(istio("ServiceEntry", "a", "dyn", entry) + &istio("DestinationRule", "a", "dyn", tls)),
    );
    let client = sidecar("10.1.0.9 client.a");
    let cache = "dns_cache_config:{dns_lookup_family:V4_ONLY,name:*.example.com_dfp_dns_cache}";
    for (name, view, expected) in [
        (
            "where a name can be read",
            Clusters,
            "BlackHoleCluster
             InboundPassthroughCluster
             PassthroughCluster
             outbound|443||*.example.com
             outbound|80||*.example.com"
                .to_owned(),
        ),
        (
            "one cache for cluster and filter",
            ClusterPart("outbound|80||*.example.com", "/cluster_type/typed_config"),
            format!(
                "{{@type:type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig,{cache}}}"
            ),
        ),
        (
            "the certificate is for the name called",
            ClusterPart(
                "outbound|80||*.example.com",
                "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/upstream_http_protocol_options",
            ),
            "{auto_san_validation:true}".to_owned(),
        ),
    ] {
        check(name, &mesh, &client, view, &expected);
    }
}
