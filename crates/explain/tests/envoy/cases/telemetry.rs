//! Logs and traces, which Envoy has to accept with the listener that they stand in.

use super::{Case, case};
use crate::world::Side::{Client, Server};

const COLLECTORS: &str = "
extensionProviders:
- {name: zipkin, zipkin: {service: reviews.default.svc.cluster.local, port: 9080, timeout: 1s, headers: [{name: k, value: v}], path: spans}}
- {name: otel, opentelemetry: {service: reviews.default.svc.cluster.local, port: 9080, http: {path: v1/traces}, resourceDetectors: {environment: {}, dynatrace: {}}, dynatraceSampler: {tenant: t, clusterId: 7}}}
- {name: sky, skywalking: {service: reviews.default.svc.cluster.local, port: 9080, accessToken: t}}
- {name: gone, opentelemetry: {service: nobody.default.svc.cluster.local, port: 4317}}
- {name: file, envoyFileAccessLog: {path: /dev/null, logFormat: {labels: {a: {b: [1, true, '%PROTOCOL%']}, c: '%REQ_WITHOUT_QUERY(:path)%'}}}}
- {name: line, envoyFileAccessLog: {path: /dev/null, logFormat: {text: '%REQ_WITHOUT_QUERY(:path)% %CEL(request.id)%'}}}
- {name: records, envoyOtelAls: {service: reviews.default.svc.cluster.local, port: 9080, logFormat: {text: '%REQ_WITHOUT_QUERY(:path)%', labels: {p: '%PROTOCOL%'}}}}
- {name: lost, envoyOtelAls: {service: nobody.default.svc.cluster.local, port: 4317}}
defaultProviders: {accessLogging: [file, line, records, lost]}
";

const fn traced(name: &'static str, telemetry: &'static str) -> Case {
    Case {
        mesh: COLLECTORS,
        ..case(
            name,
            Server,
            telemetry,
            "GET http://web:9080/  => 10.1.0.2:9080",
        )
    }
}

macro_rules! telemetry {
    ($tracer:literal) => {
        concat!(
            "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: t, namespace: default}, \
             spec: {tracing: [{randomSamplingPercentage: 100, providers: [{name: ",
            $tracer,
            "}]}]}}"
        )
    };
}

pub const CASES: &[Case] = &[
    traced("spans_to_zipkin", telemetry!("zipkin")),
    traced("spans_to_opentelemetry", telemetry!("otel")),
    traced("spans_to_skywalking", telemetry!("sky")),
    traced("a_collector_that_is_not_there", telemetry!("gone")),
    Case {
        mesh: COLLECTORS,
        ..case(
            "a_collector_out_of_sight",
            Client,
            concat!(
                telemetry!("zipkin"),
                "\n---\n{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: s, namespace: default}, \
                 spec: {egress: [{hosts: ['other/*']}]}}"
            ),
            "GET http://plain.other:9080/  => 10.1.0.42:9080",
        )
    },
];
