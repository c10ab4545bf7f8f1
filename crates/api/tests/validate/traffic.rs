//! DestinationRule, Gateway, ServiceEntry, workloads, Sidecar.

use crate::{below, check, findings};

#[test]
fn destination_rules() {
    let policy = |policy: &str, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|p| below("spec.trafficPolicy", p))
            .collect();
        let spec = format!("{{host: a, trafficPolicy: {policy}}}");
        assert_eq!(findings("DestinationRule", &spec), expected, "{policy}");
    };
    check("DestinationRule", "{}", &["spec.host"]);
    check(
        "DestinationRule",
        "{host: a, subsets: [{name: v1}, {name: v1}, {name: V_1}]}",
        &["spec.subsets[1].name", "spec.subsets[2].name"],
    );
    check(
        "DestinationRule",
        "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [m]}",
        &["spec.exportTo"],
    );
    check(
        "DestinationRule",
        "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: ['.']}",
        &[],
    );
    policy("{}", &[""]);
    policy(
        "{outlierDetection: {outlierDetectionHttpErrorCodes: [429, 700]}}",
        &[".outlierDetection.outlierDetectionHttpErrorCodes[1]"],
    );
    policy(
        "{connectionPool: {http: {http2KeepAlive: {interval: 10s}}}, retryBudget: {percent: 20, budgetInterval: 0s}}",
        &[],
    );
    policy("{connectionPool: {}}", &[".connectionPool"]);
    policy(
        "{connectionPool: {tcp: {maxConnections: -1, idleTimeout: 0s}}}",
        &[".connectionPool.tcp.maxConnections"],
    );
    policy(
        "{connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}",
        &[".connectionPool.http.useClientProtocol"],
    );
    policy(
        "{outlierDetection: {consecutiveErrors: 3}}",
        &["warning .outlierDetection.consecutiveErrors"],
    );
    policy(
        "{outlierDetection: {consecutiveLocalOriginFailures: 3}}",
        &[".outlierDetection.consecutiveLocalOriginFailures"],
    );
    policy(
        "{loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}",
        &[".loadBalancer"],
    );
    policy(
        "{loadBalancer: {consistentHash: {httpHeaderName: a, useSourceIp: true}}}",
        &[".loadBalancer.consistentHash"],
    );
    policy(
        "{loadBalancer: {consistentHash: {httpHeaderName: a, maglev: {tableSize: 65537}}}}",
        &[],
    );
    policy(
        "{loadBalancer: {warmup: {aggression: 0.5}}}",
        &[
            ".loadBalancer.warmup.duration",
            ".loadBalancer.warmup.aggression",
        ],
    );
    policy(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: a/*, to: {a/*: 60, b/*: 30}}]}}}",
        &[".loadBalancer.localityLbSetting.distribute[0].to"],
    );
    policy(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: a/*, to: {a/*: 60, b/*: 40}}]}}}",
        &[],
    );
    policy(
        "{loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}, outlierDetection: {interval: 1s}}",
        &[".loadBalancer.localityLbSetting.failover[0]"],
    );
    policy(
        "{loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}",
        &["warning .loadBalancer.localityLbSetting"],
    );
    policy(
        "{tls: {mode: MUTUAL}}",
        &[".tls.clientCertificate", ".tls.privateKey"],
    );
    policy(
        "{tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}}",
        &[".tls.insecureSkipVerify"],
    );
    policy("{tls: {mode: TLS}}", &[".tls.mode"]);
    for place in ["b/public", "public", "/public", "ns/"] {
        policy(
            &format!("{{tls: {{mode: SIMPLE, credentialName: 'configmap://{place}'}}}}"),
            &[".tls.credentialName"],
        );
    }
    policy(
        "{portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, credentialName: 'configmap://ns/public'}}]}",
        &[],
    );
    policy(
        "{portLevelSettings: [{port: {number: 80}}]}",
        &[".portLevelSettings[0]"],
    );
    policy(
        "{tunnel: {protocol: GET, targetHost: a, targetPort: 0}}",
        &[".tunnel.protocol", ".tunnel.targetPort"],
    );
    policy(
        "{tunnel: {targetHost: a, targetPort: 1}, proxyProtocol: {version: V2}}",
        &[""],
    );
}

#[test]
fn gateways() {
    let server = |server: &str, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|p| below("spec.servers[0]", p))
            .collect();
        let spec = format!("{{selector: {{istio: x}}, servers: [{server}]}}");
        assert_eq!(findings("Gateway", &spec), expected, "{server}");
    };
    let https = |tls: &str| {
        format!("{{port: {{number: 443, name: a, protocol: HTTPS}}, hosts: ['*'], tls: {tls}}}")
    };
    server(
        "{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*', n/a.b, ./a.b, 10.0.0.1]}",
        &[],
    );
    server("{port: {number: 80, name: a, protocol: HTTP}}", &[".hosts"]);
    server("{hosts: ['*']}", &[".port"]);
    server(
        "{port: {number: 80, name: a, protocol: HTTP}, hosts: [a, '*a.b', ~/a.b]}",
        &[".hosts[0]", ".hosts[1]", ".hosts[2]"],
    );
    server(
        "{port: {number: 80, protocol: HTTP, targetPort: 8080}, hosts: ['*']}",
        &[".port.targetPort", ".port.name"],
    );
    server(
        "{port: {number: 80, name: a, protocol: TCP}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: a}}",
        &[".tls"],
    );
    server(
        "{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}",
        &[],
    );
    server(
        "{port: {number: 443, name: a, protocol: HTTPS}, hosts: ['*']}",
        &[".tls"],
    );
    server(
        "{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*'], bind: x}",
        &[".bind"],
    );
    server(
        &https("{mode: SIMPLE}"),
        &[".tls.serverCertificate", ".tls.privateKey"],
    );
    server(
        &https("{mode: MUTUAL, serverCertificate: a, privateKey: b}"),
        &[".tls.caCertificates"],
    );
    server(
        &https("{mode: SIMPLE, credentialName: a, credentialNames: [b]}"),
        &[".tls"],
    );
    server(
        &https("{mode: ISTIO_MUTUAL, credentialName: a}"),
        &[".tls.credentialName"],
    );
    server(
        &https("{mode: PASSTHROUGH, credentialName: a}"),
        &["warning .tls"],
    );
    server(
        &https("{mode: PASSTHROUGH, credentialName: a, caCrl: b}"),
        &["warning .tls", ".tls.caCrl"],
    );
    server(
        &https("{mode: SIMPLE, credentialName: a, cipherSuites: [NONE, AES128-SHA, AES128-SHA]}"),
        &[
            "warning .tls.cipherSuites[0]",
            "warning .tls.cipherSuites[2]",
        ],
    );
    server(
        &https("{mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_1}"),
        &["warning .tls.minProtocolVersion"],
    );
    check(
        "Gateway",
        "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}, {port: {number: 81, name: a, protocol: HTTP}, hosts: ['*']}]}",
        &["spec.servers[1].port.name"],
    );
}

#[test]
fn service_entries_and_workloads() {
    let se = |spec: &str, expected: &[&str]| check("ServiceEntry", spec, expected);
    se(
        "{hosts: [a.b], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}",
        &[],
    );
    se(
        "{ports: [{number: 80, name: http}], resolution: DNS}",
        &["spec.hosts"],
    );
    se(
        "{hosts: [a.b], addresses: [10.0.0.0/8], resolution: DNS}",
        &["spec.addresses"],
    );
    se(
        "{hosts: [a.b], addresses: [10.0.0.300]}",
        &["spec.addresses[0]"],
    );
    se(
        "{hosts: ['*.b'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}",
        &["spec.hosts[0]"],
    );
    se(
        "{hosts: [a.b], ports: [{number: 0, name: http, protocol: X}], resolution: DNS}",
        &["spec.ports[0].protocol", "spec.ports[0].number"],
    );
    se(
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}, {number: 80, name: b, protocol: HTTP}], resolution: DNS}",
        &["spec.ports[1].number"],
    );
    se(
        "{hosts: [a.b, c.d], ports: [{number: 80, name: a, protocol: TCP}], resolution: STATIC}",
        &["spec.hosts"],
    );
    se(
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: TCP}]}",
        &["warning spec.ports[0]"],
    );
    se(
        "{hosts: [a.b], resolution: DNS_ROUND_ROBIN, endpoints: [{address: a.b}, {address: c.d}]}",
        &["spec.endpoints"],
    );
    se(
        "{hosts: [a.b], resolution: STATIC, endpoints: [{labels: {a: b}}]}",
        &["spec.endpoints[0].address"],
    );
    se(
        "{hosts: [a.b], resolution: STATIC, workloadSelector: {labels: {a: '*'}}}",
        &["spec.workloadSelector.labels.a"],
    );
    check("WorkloadEntry", "{}", &["spec.address"]);
    check("WorkloadEntry", "{network: x}", &["warning spec.address"]);
    check(
        "WorkloadEntry",
        "{address: a.b, ports: {http_1: 80}}",
        &["spec.ports.http_1"],
    );
    check("WorkloadEntry", "{address: 'unix://a'}", &["spec.address"]);
    check("WorkloadGroup", "{}", &["spec.template"]);
    check(
        "WorkloadGroup",
        "{template: {}, probe: {}}",
        &["spec.probe"],
    );
    check(
        "WorkloadGroup",
        "{template: {}, probe: {httpGet: {port: 80, scheme: http}}}",
        &["spec.probe.httpGet.scheme"],
    );
    check(
        "WorkloadGroup",
        "{template: {}, probe: {grpc: {port: 80}}}",
        &[],
    );
    check("ProxyConfig", "{concurrency: -1}", &["spec.concurrency"]);
}

#[test]
fn sidecars() {
    let sc = |spec: &str, expected: &[&str]| check("Sidecar", spec, expected);
    sc("{egress: [{hosts: ['./*', 'a/b.c', '*/*.d']}]}", &[]);
    sc("{}", &["spec"]);
    sc("{egress: [{hosts: [a]}]}", &["spec.egress[0].hosts[0]"]);
    sc("{egress: [{}]}", &["spec.egress[0].hosts"]);
    sc(
        "{egress: [{hosts: ['*/*']}, {port: {number: 80}, hosts: ['*/*']}]}",
        &["spec.egress[0]"],
    );
    sc(
        "{egress: [{port: {number: 0, protocol: HTTP}, hosts: ['*/*']}]}",
        &["spec.egress[0].bind"],
    );
    sc(
        "{egress: [{hosts: ['*/*', a/b.c]}]}",
        &["warning spec.egress[0].hosts"],
    );
    sc(
        "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: ':8080'}]}",
        &[],
    );
    sc(
        "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: '127.0.0.1:x'}]}",
        &["spec.ingress[0].defaultEndpoint"],
    );
    sc(
        "{ingress: [{port: {number: 80, protocol: HTTP}, tls: {mode: ISTIO_MUTUAL}}]}",
        &["spec.ingress[0].tls.mode"],
    );
    sc(
        "{ingress: [{port: {number: 80, protocol: TCP}, connectionPool: {http: {maxRetries: 1}}}]}",
        &["warning spec.ingress[0].connectionPool"],
    );
    sc(
        "{outboundTrafficPolicy: {egressProxy: {host: a.b, port: {number: 80}}}}",
        &["spec.outboundTrafficPolicy.egressProxy"],
    );
    sc(
        "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b}}}",
        &["spec.outboundTrafficPolicy.egressProxy.port"],
    );
    sc(
        "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: '*.b', port: {number: 80}}}}",
        &["spec.outboundTrafficPolicy.egressProxy.host"],
    );
    sc(
        "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b, port: {number: 80}}}}",
        &[],
    );
    sc(
        "{workloadSelector: {}, egress: [{hosts: ['*/*']}]}",
        &["warning spec.workloadSelector"],
    );
}
