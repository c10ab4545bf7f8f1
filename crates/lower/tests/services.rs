//! Services, endpoints, workloads and networks.

mod common;

use common::{
    applied, check, endpoints, lowerer, network_gateways, objects, problems, services, settings,
    snapshot, workloads,
};
use hawser_api::{Change, Event, SourceId, Timestamp};
use hawser_model::ClusterId;

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-1}}
---
";

/// A pod of namespace `a` with its service account, ready or not.
fn pod(name: &str, ip: &str, app: &str, ready: bool) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: a
  labels: {{app: {app}, security.istio.io/tlsMode: istio}}
spec:
  serviceAccountName: {app}
  nodeName: n1
  hostname: {name}
  subdomain: head
  containers: [{{name: c, image: i, ports: [{{name: web, containerPort: 8888}}]}}]
status:
  phase: Running
  podIP: {ip}
  conditions: [{{type: Ready, status: '{}'}}]
---
",
        if ready { "True" } else { "False" }
    )
}

/// A Service of namespace `a` and its slice.
fn service(name: &str, cluster_ip: &str, ports: &str, app: &str, slice: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: a}}
spec: {{clusterIP: {cluster_ip}, ports: {ports}, selector: {{app: {app}}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-s, namespace: a, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
{slice}
---
"
    )
}

fn slice(port: &str, pods: &[(&str, &str, &str)]) -> String {
    let mut out = format!("ports: [{port}]\nendpoints:\n");
    for (name, ip, conditions) in pods {
        out += &format!(
            "- {{addresses: [{ip}], conditions: {conditions}, targetRef: {{kind: Pod, name: {name}, namespace: a}}}}\n"
        );
    }
    out
}

#[test]
fn a_kubernetes_service() {
    let yaml = [
        NODE.to_owned(),
        pod("p1", "10.1.0.1", "web", true),
        pod("p2", "10.1.0.2", "web", false),
        service(
            "web",
            "10.96.0.1",
            "[{name: http, port: 80, targetPort: web}, {name: x, port: 90, protocol: UDP}]",
            "web",
            &slice(
                "{name: http, port: 8888}",
                &[
                    ("p1", "10.1.0.1", "{ready: true}"),
                    (
                        "p2",
                        "10.1.0.2",
                        "{ready: false, serving: false, terminating: false}",
                    ),
                    ("p9", "10.1.0.9", "{ready: true}"),
                ],
            ),
        ),
        service(
            "head",
            "None",
            "[{name: tcp, port: 70}]",
            "web",
            &slice(
                "{name: tcp, port: 70}",
                &[
                    ("p1", "10.1.0.1", "{ready: false, terminating: true}"),
                    // Nobody said that it is not shutting down.
                    ("p2", "10.1.0.2", "{ready: false}"),
                ],
            ),
        ),
    ]
    .concat();
    let got = snapshot(&[("c1", &yaml)]);
    check(
        "services",
        &services(&got),
        "
        head.a.svc.cluster.local in a: Passthrough tcp:70/Tcp->70 headless id=a/web
        web.a.svc.cluster.local in a: Endpoints http:80/Http x:90/Udp->90 vip[c1]=10.96.0.1/32 id=a/web
        ",
    );
    check(
        "endpoints",
        &endpoints(&got),
        "
        head.a.svc.cluster.local c1 10.1.0.1:70 tcp at=eu/eu-1/ mtls Draining id=a/web host=p1.head
        head.a.svc.cluster.local c1 10.1.0.2:70 tcp at=eu/eu-1/ mtls Draining id=a/web host=p2.head
        web.a.svc.cluster.local c1 10.1.0.1:8888 http at=eu/eu-1/ mtls id=a/web
        web.a.svc.cluster.local c1 10.1.0.2:8888 http at=eu/eu-1/ mtls Unhealthy id=a/web
        ",
    );
    check(
        "workloads",
        &workloads(&got),
        "
        c1 a/p1 [10.1.0.1] head.a.svc.cluster.local:70->70 web.a.svc.cluster.local:80->8888 web.a.svc.cluster.local:90->90
        c1 a/p2 [10.1.0.2] head.a.svc.cluster.local:70->70 web.a.svc.cluster.local:80->8888 web.a.svc.cluster.local:90->90
        ",
    );
    check("problems", &problems(&got), "");
}

#[test]
fn kinds_of_kubernetes_services() {
    let yaml = "
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: a, annotations: {networking.istio.io/exportTo: '.,b'}}
spec: {type: ExternalName, externalName: www.example.com, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: lb, namespace: a, annotations: {alpha.istio.io/kubernetes-serviceaccounts: 'x,y'}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, 'fd00::1']
  externalIPs: [198.51.100.1]
  internalTrafficPolicy: Local
  trafficDistribution: PreferClose
  ports:
  - {name: h2, port: 1, appProtocol: kubernetes.io/h2c}
  - {name: grpc-web-x, port: 2}
  - {name: mysql, port: 3}
  - {name: what, port: 3306}
  - {name: what2, port: 5}
  - {name: tcp-really, port: 6, appProtocol: https}
  - {name: s, port: 7, protocol: SCTP}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {hostname: lb.example.com}]}}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, ports: [{port: 53, protocol: UDP}]}
";
    check(
        "services",
        &services(&snapshot(&[("c1", yaml)])),
        r#"
        alias.a.svc.cluster.local in a: Alias :80/Unknown->80 alias=www.example.com visible=Namespaces({"a", "b"})
        dns.kube-system.svc.cluster.local in kube-system: Endpoints :53/Udp->53 vip[c1]=10.96.0.10/32 cluster-local
        lb.a.svc.cluster.local in a: Endpoints h2:1/Http2->1 grpc-web-x:2/GrpcWeb->2 mysql:3/Mysql->3 what:3306/Tcp->3306 what2:5/Unknown->5 tcp-really:6/Https->6 vip[c1]=10.96.0.1/32,fd00::1/128 node-local prefers=SameZone outside[c1]=203.0.113.1,lb.example.com,198.51.100.1 id=a/x id=a/y
        "#,
    );
}

#[test]
fn clusters_merge_by_host() {
    let web = |ip: &str, port: u16, app: &str| {
        format!(
            "{}{}",
            pod(app, &format!("10.1.0.{port}"), app, true),
            service(
                "web",
                ip,
                &format!("[{{name: http, port: {port}}}]"),
                app,
                &slice(
                    &format!("{{name: http, port: {port}}}"),
                    &[(app, &format!("10.1.0.{port}"), "{ready: true}")],
                ),
            )
        )
    };
    let got = snapshot(&[
        ("c0", &web("10.96.2.1", 81, "two")),
        ("c1", &web("10.96.1.1", 80, "one")),
    ]);
    check(
        "services",
        &services(&got),
        "web.a.svc.cluster.local in a: Endpoints http:80/Http->80 vip[c0]=10.96.2.1/32 vip[c1]=10.96.1.1/32 id=a/one id=a/two",
    );
    check(
        "endpoints",
        &endpoints(&got),
        "
        web.a.svc.cluster.local c0 10.1.0.81:81 http mtls id=a/two
        web.a.svc.cluster.local c1 10.1.0.80:80 http mtls id=a/one
        ",
    );
}

const ENTRIES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dns, namespace: a}
spec:
  hosts: [api.example.com, '*.bad..host']
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{name: http, number: 80, protocol: HTTP}, {name: https, number: 443, protocol: HTTPS, targetPort: 8443}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: fixed, namespace: a}
spec:
  hosts: [db.example.com]
  addresses: [198.18.0.1, 10.2.0.0/16, what]
  resolution: STATIC
  exportTo: [.]
  subjectAltNames: [spiffe://x]
  ports: [{name: mongo, number: 27017, protocol: MONGO, targetPort: 37017}]
  endpoints:
  - {address: 192.0.2.1, ports: {mongo: 47017}, weight: 3, locality: eu/eu-1/r, network: far, serviceAccount: db}
  - {address: 'unix:///run/db.sock'}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vms, namespace: a}
spec:
  hosts: [vm.mesh]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: vm}}
  ports: [{name: http, number: 80, protocol: HTTP, targetPort: 8080}]
status:
  addresses: [{value: 240.240.0.7, host: vm.mesh}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm1, namespace: a}
spec: {address: 192.0.2.11, labels: {app: vm}, serviceAccount: vm, ports: {http: 9090}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: sick, namespace: a, annotations: {proxy.istio.io/health-checks-enabled: 'true'}}
spec: {address: 192.0.2.12, labels: {app: vm}}
status: {conditions: [{type: Healthy, status: 'False'}]}
---
";

/// What a second ServiceEntry of the same host and namespace adds to the first.
#[test]
fn two_entries_of_one_host() {
    let entry = |name: &str, age: u8, more: &str, spec: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: a, creationTimestamp: '2026-01-01T00:00:0{age}Z'{more}}}
spec: {{hosts: [x.example.com], {spec}}}
---
"
        )
    };
    let port = |number: u16, name: &str| {
        format!("ports: [{{number: {number}, name: {name}, protocol: HTTP}}]")
    };
    let at = |ip: &str| format!("endpoints: [{{address: {ip}}}]");
    let older = entry(
        "old",
        1,
        "",
        &format!(
            "resolution: STATIC, {}, {}",
            port(80, "http"),
            at("192.0.2.1")
        ),
    );
    let newer = |more: &str, said: &str, port: &str| {
        entry(
            "new",
            2,
            more,
            &format!("{said}, {port}, {}", at("192.0.2.2")),
        )
    };
    for (name, second, expected) in [
        (
            "its ports, whatever its labels",
            newer(", labels: {b: c}", "resolution: STATIC", &port(81, "other")),
            "x.example.com in a: Endpoints http:80/Http other:81/Http external
             x.example.com c1 192.0.2.1:80 http
             x.example.com c1 192.0.2.2:81 other",
        ),
        (
            "a port of the same name is another port all the same",
            newer("", "resolution: STATIC", &port(81, "http")),
            "x.example.com in a: Endpoints http:80/Http http-81:81/Http external
             x.example.com c1 192.0.2.1:80 http
             x.example.com c1 192.0.2.2:81 http-81",
        ),
        (
            "endpoints, by the number of the port",
            newer("", "resolution: STATIC", &port(80, "web")),
            "x.example.com in a: Endpoints http:80/Http external
             x.example.com c1 192.0.2.1:80 http
             x.example.com c1 192.0.2.2:80 http",
        ),
        (
            "no ports, if found otherwise",
            newer("", "resolution: DNS", &port(81, "other")),
            "x.example.com in a: Endpoints http:80/Http external
             x.example.com c1 192.0.2.1:80 http
             HWS0102 ServiceEntry new.a spec.resolution: another ServiceEntry of x.example.com says otherwise \
             (the older one counts; this one adds endpoints to its ports, but neither ports nor addresses)",
        ),
        (
            "no ports, if for others",
            newer("", "resolution: STATIC, exportTo: [b]", &port(81, "other")),
            "x.example.com in a: Endpoints http:80/Http external
             x.example.com c1 192.0.2.1:80 http
             HWS0102 ServiceEntry new.a spec.exportTo: another ServiceEntry of x.example.com says otherwise \
             (the older one counts; this one adds endpoints to its ports, but neither ports nor addresses)",
        ),
    ] {
        let got = snapshot(&[("c1", &(older.clone() + &second))]);
        let got = services(&got) + &endpoints(&got) + &problems(&got);
        check(name, &got, expected);
    }
}

#[test]
fn service_entries_and_machines() {
    let yaml = [
        ENTRIES.to_owned(),
        NODE.to_owned(),
        pod("podlike", "10.1.0.5", "vm", true),
        pod("unready", "10.1.0.6", "vm", false),
        service(
            "mixed",
            "10.96.0.2",
            "[{name: http, port: 70}]",
            "vm",
            "ports: []\nendpoints: []",
        ),
    ]
    .concat();
    let got = snapshot(&[("c1", &yaml)]);
    check(
        "services",
        &services(&got),
        r#"
        api.example.com in a: Dns http:80/Http https:443/Https->8443 external
        db.example.com in a: Endpoints mongo:27017/Mongo->37017 vip[]=198.18.0.1/32,10.2.0.0/16 external visible=Namespaces({"a"}) id=a/db san=spiffe://x
        mixed.a.svc.cluster.local in a: Endpoints http:70/Http->70 vip[c1]=10.96.0.2/32 id=a/vm
        vm.mesh in a: Endpoints http:80/Http->8080 auto=240.240.0.7 id=a/vm
        "#,
    );
    check(
        "endpoints",
        &endpoints(&got),
        "
        api.example.com c1 api.example.com:80 http
        api.example.com c1 api.example.com:8443 https
        db.example.com c1 192.0.2.1:47017 mongo net=far at=eu/eu-1/r weight=3 mtls id=a/db
        db.example.com c1 unix:/run/db.sock:0 mongo
        mixed.a.svc.cluster.local c1 192.0.2.11:9090 http mtls id=a/vm
        vm.mesh c1 10.1.0.5:8080 http at=eu/eu-1/ mtls id=a/vm
        vm.mesh c1 192.0.2.11:9090 http mtls id=a/vm
        ",
    );
    check(
        "workloads",
        &workloads(&got),
        "
        c1 a/podlike [10.1.0.5] mixed.a.svc.cluster.local:70->70 vm.mesh:80->8080
        c1 a/unready [10.1.0.6] mixed.a.svc.cluster.local:70->70 vm.mesh:80->8080
        c1 a/vm1 [192.0.2.11] mixed.a.svc.cluster.local:70->9090 vm.mesh:80->9090
        ",
    );
    check(
        "problems",
        &problems(&got),
        r#"
        IST0106 ServiceEntry dns.a spec.hosts[1]: "*.bad..host" is not a host name: "" is not a valid DNS label (write a full name or a wildcard such as *.example.com)
        IST0106 ServiceEntry fixed.a spec.addresses[2]: "what" is neither an address nor an address range (write it as 240.0.0.3 or 10.1.0.0/16)
        "#,
    );
}

/// As in Istio: an entry that selects has no endpoints of its own, machines known by name are for entries found by DNS
/// alone, and a namespace says for all in it which endpoints are preferred.
#[test]
fn what_an_entry_selects() {
    let entry = |name: &str, resolution: &str, more: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: a{more}}}
spec:
  hosts: [{name}.mesh]
  resolution: {resolution}
  location: MESH_INTERNAL
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: vm}}}}
  endpoints: [{{address: 192.0.2.99}}]
---
"
        )
    };
    let machine = |name: &str, address: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: a}}
spec: {{address: {address}, labels: {{app: vm}}}}
---
"
        )
    };
    let own = ", annotations: {networking.istio.io/traffic-distribution: Any}";
    let yaml = [
        "
apiVersion: v1
kind: Namespace
metadata: {name: a, annotations: {networking.istio.io/traffic-distribution: PreferClose}}
---
"
        .to_owned(),
        entry("fixed", "STATIC", own),
        entry("named", "DNS", ""),
        machine("by-address", "192.0.2.1"),
        machine("by-name", "vm.example.com"),
        service(
            "kube",
            "10.96.0.2",
            "[{name: http, port: 70}]",
            "vm",
            "ports: []\nendpoints: []",
        ),
    ]
    .concat();
    let mut lowerer = lowerer(settings("{}", "{}"), &[("c1", &yaml)]);
    check(
        "endpoints",
        &endpoints(&lowerer.snapshot()),
        "
        fixed.mesh c1 192.0.2.1:80 http
        kube.a.svc.cluster.local c1 192.0.2.1:70 http
        named.mesh c1 192.0.2.1:80 http
        named.mesh c1 vm.example.com:80 http
        ",
    );
    check(
        "services",
        &services(&lowerer.snapshot()),
        "
        fixed.mesh in a: Endpoints http:80/Http prefers=Any
        kube.a.svc.cluster.local in a: Endpoints http:70/Http->70 vip[c1]=10.96.0.2/32 prefers=SameZone
        named.mesh in a: Dns http:80/Http prefers=SameZone
        ",
    );
    let said_no_more = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}";
    for resource in objects(said_no_more) {
        lowerer.apply(applied("c1", resource));
    }
    assert!(!services(&lowerer.snapshot()).contains("prefers=SameZone"));
}

const GATEWAY: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: net2}}
---
apiVersion: v1
kind: Service
metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: net2}}
spec: {type: LoadBalancer, clusterIP: 10.96.0.9, ports: [{name: tls, port: 15443}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.2}, {hostname: gw.example.com}]}}
---
apiVersion: v1
kind: Service
metadata:
  name: nodes
  namespace: istio-system
  annotations: {traffic.istio.io/nodeSelector: '{\"pool\": \"edge\"}'}
spec: {type: NodePort, clusterIP: 10.96.0.8, ports: [{name: tls, port: 15443, nodePort: 31972}]}
---
apiVersion: v1
kind: Node
metadata: {name: e1, labels: {pool: edge}}
status: {addresses: [{type: ExternalIP, address: 203.0.113.21}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: hand, namespace: istio-system, labels: {topology.istio.io/network: net3}}
spec:
  gatewayClassName: istio
  addresses: [{type: IPAddress, value: 203.0.113.30}]
  listeners:
  - {name: cross, port: 15443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: other, port: 443, protocol: TLS, tls: {mode: Passthrough}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ends-tls, namespace: istio-system, labels: {topology.istio.io/network: net3}}
spec:
  gatewayClassName: istio-east-west
  addresses: [{type: IPAddress, value: 203.0.113.31}]
  listeners:
  - {name: mesh, port: 15008, protocol: HBONE}
  - {name: mtls, port: 15443, protocol: TLS, tls: {mode: Terminate, options: {gateway.istio.io/tls-terminate-mode: ISTIO_MUTUAL}}}
";

#[test]
fn gateways_of_networks() {
    let networks = "
networks:
  campus:
    endpoints: [{fromRegistry: c2}]
    gateways:
    - {registryServiceName: nodes.istio-system.svc.cluster.local, port: 15443}
    - {address: 203.0.113.9, port: 443}
  nowhere:
    gateways: [{address: gw.invalid, port: 443}]
";
    let mut lowerer = lowerer(settings("{}", networks), &[("c1", ""), ("c2", GATEWAY)]);
    let wanted: Vec<_> = lowerer.names_wanted().into_iter().collect();
    assert_eq!(wanted, ["gw.example.com", "gw.invalid"]);
    lowerer.set_addresses(
        [(
            "gw.example.com".to_owned(),
            vec!["203.0.113.3".parse().unwrap()],
        )]
        .into(),
    );
    check(
        "network gateways",
        &network_gateways(&lowerer.snapshot()),
        r#"
        campus - Ip(203.0.113.9) 443 0
        campus c2 Ip(203.0.113.21) 31972 0
        net2 c2 Ip(203.0.113.2) 15443 0
        net2 c2 Ip(203.0.113.3) 15443 0
        net3 c2 Ip(203.0.113.30) 15443 0
        net3 c2 Ip(203.0.113.31) 0 15008
        nowhere - Host("gw.invalid") 443 0
        nowhere unresolved
        "#,
    );
}

#[test]
fn a_lost_cluster_keeps_its_endpoints() {
    let yaml = [
        pod("p1", "10.1.0.1", "web", true),
        service(
            "web",
            "10.96.0.1",
            "[{name: http, port: 80}]",
            "web",
            &slice("{name: http, port: 80}", &[("p1", "10.1.0.1", "{}")]),
        ),
    ]
    .concat();
    let mut lowerer = lowerer(settings("{}", "{}"), &[("c2", &yaml)]);
    lowerer.apply(Change {
        source: SourceId::new("c2"),
        version: None,
        event: Event::Lost {
            since: Timestamp(1000),
        },
    });
    lowerer.set_now(Timestamp(1400));
    let got = lowerer.snapshot();
    check(
        "endpoints",
        &endpoints(&got),
        "web.a.svc.cluster.local c2 10.1.0.1:80 http mtls id=a/web stale 300s",
    );
    check(
        "problems",
        &problems(&got),
        "HWS0103 Cluster c2: the cluster has not answered for at least 5 minutes; its last known endpoints are used (check its API server, the network to it and the credentials in its remote secret)",
    );
    assert!(got.version.stale.contains(&ClusterId::new("c2")));
    lowerer.apply(Change {
        source: SourceId::new("c2"),
        version: Some("7".to_owned()),
        event: Event::Found,
    });
    check(
        "endpoints",
        &endpoints(&lowerer.snapshot()),
        "web.a.svc.cluster.local c2 10.1.0.1:80 http mtls id=a/web",
    );
}

#[test]
fn an_endpoint_change_leaves_all_else_shared() {
    let yaml = |conditions: &str| {
        [
            pod("p1", "10.1.0.1", "web", true),
            service(
                "web",
                "10.96.0.1",
                "[{name: http, port: 80}]",
                "web",
                &slice("{name: http, port: 80}", &[("p1", "10.1.0.1", conditions)]),
            ),
        ]
        .concat()
    };
    let mut lowerer = lowerer(settings("{}", "{}"), &[("c1", &yaml("{ready: true}"))]);
    let first = lowerer.snapshot();
    let same = lowerer.snapshot();
    assert!(std::sync::Arc::ptr_eq(&first, &same));
    for object in objects(&yaml("{ready: false}")) {
        lowerer.apply(applied("c1", object));
    }
    let second = lowerer.snapshot();
    let changes = second.changes(&first);
    assert!(changes.endpoints && !changes.configuration, "{changes:?}");
    assert_eq!(second.version.sequence, first.version.sequence + 1);
}

/// Found by the property that step by step is afresh: a pod whose labels the service does not select, but which a slice of
/// the service names, came later, and the endpoint stayed away.
#[test]
fn a_pod_that_only_a_slice_names_counts_when_it_comes() {
    let web = service(
        "web",
        "10.96.0.1",
        "[{name: http, port: 80}]",
        "web",
        &slice("{name: http, port: 80}", &[("p1", "10.1.0.1", "{}")]),
    );
    let mut lowerer = lowerer(settings("{}", "{}"), &[("c1", &web)]);
    check(
        "before",
        &endpoints(&lowerer.snapshot()),
        "web.a.svc.cluster.local c1 nobody",
    );
    for object in objects(&pod("p1", "10.1.0.1", "other", true)) {
        lowerer.apply(applied("c1", object));
    }
    check(
        "after",
        &endpoints(&lowerer.snapshot()),
        "web.a.svc.cluster.local c1 10.1.0.1:80 http mtls id=a/other",
    );
}
