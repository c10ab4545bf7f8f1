//! What statuses say of the Gateway API's objects.

mod common;

use common::{check, lowerer, settings, statuses};

const BASE: &str = "
apiVersion: v1
kind: Service
metadata: {name: gw-istio, namespace: a}
spec: {type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: https, port: 443}, {name: tcp, port: 9000}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: b}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: malformed, namespace: a}
data: {tls.crt: aGk=, tls.key: aGk=}
---
";

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}\n---\n"
    )
}

fn told(yaml: &str) -> String {
    let yaml = BASE.to_owned() + yaml;
    statuses(&mut lowerer(settings("{}", "{}"), &[("c1", &yaml)]))
}

#[test]
fn of_gateways() {
    let gateway = |rest: &str, listeners: &str| {
        object(
            "Gateway",
            "a",
            "gw",
            &format!("{{gatewayClassName: istio, {rest} listeners: [{listeners}]}}"),
        )
    };
    let http = "{name: http, port: 80, protocol: HTTP}";
    let good =
        "http HTTPRoute,GRPCRoute x0 +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs";
    for (name, yaml, expected) in [
        (
            "all is well",
            gateway("", http),
            format!("Gateway a/gw +Accepted +Programmed +ResolvedRefs IPAddress=203.0.113.1\n{good}"),
        ),
        (
            "no service",
            gateway("addresses: [{type: Hostname, value: none}],", http),
            format!("Gateway a/gw +Accepted -Programmed:AddressNotUsable +ResolvedRefs\n{good}"),
        ),
        (
            "a service without the port",
            gateway("", "{name: http, port: 81, protocol: HTTP}"),
            format!("Gateway a/gw +Accepted -Programmed:AddressNotUsable +ResolvedRefs\n{good}"),
        ),
        (
            "addresses that are no names",
            gateway("addresses: [{type: IPAddress, value: 1.2.3.4}, {type: IPAddress, value: 1.2.3.5}],", http),
            "Gateway a/gw -Accepted:UnsupportedAddress -Programmed:UnsupportedAddress +ResolvedRefs".to_owned(),
        ),
        (
            "inside the cluster: by name",
            gateway("addresses: [{type: Hostname, value: inside}],", http)
                + "{apiVersion: v1, kind: Service, metadata: {name: inside, namespace: a}, spec: {clusterIP: 10.96.0.3, ports: [{name: http, port: 80}]}}\n---\n",
            format!("Gateway a/gw +Accepted +Programmed +ResolvedRefs Hostname=inside.a.svc.cluster.local\n{good}"),
        ),
        (
            "an address that is still to come",
            gateway("addresses: [{type: Hostname, value: pending}],", http)
                + "{apiVersion: v1, kind: Service, metadata: {name: pending, namespace: a}, spec: {type: LoadBalancer, clusterIP: 10.96.0.3, ports: [{name: http, port: 80}]}}\n---\n",
            format!("Gateway a/gw +Accepted -Programmed:AddressNotAssigned +ResolvedRefs\n{good}"),
        ),
        (
            "parameters that are not there",
            gateway("infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: none}},", http),
            format!("Gateway a/gw -Accepted:InvalidParameters +Programmed +ResolvedRefs IPAddress=203.0.113.1\n{good}"),
        ),
        (
            "a certificate for backends that is not there",
            gateway("tls: {backend: {clientCertificateRef: {name: none}}},", http),
            format!("Gateway a/gw +Accepted +Programmed -ResolvedRefs:InvalidClientCertificateRef IPAddress=203.0.113.1\n{good}"),
        ),
        (
            "listeners that are not valid, and one that is",
            gateway("", &format!("{http}, {{name: certificate, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: malformed}}]}}}}, {{name: foreign, port: 443, hostname: x.com, protocol: HTTPS, tls: {{certificateRefs: [{{name: x, namespace: b}}]}}}}, {{name: clash, port: 80, protocol: TCP}}, {{name: again, port: 80, protocol: HTTP}}, {{name: udp, port: 53, protocol: UDP}}, {{name: kinds, port: 9000, protocol: TCP, allowedRoutes: {{kinds: [{{kind: TCPRoute}}, {{kind: HTTPRoute}}]}}}}")),
            format!("
            Gateway a/gw +Accepted:ListenersNotValid -Programmed:AddressNotUsable +ResolvedRefs IPAddress=203.0.113.1
            {good}
            certificate HTTPRoute,GRPCRoute x0 +Accepted -Conflicted:NoConflicts -Programmed:Invalid -ResolvedRefs:InvalidCertificateRef
            foreign HTTPRoute,GRPCRoute x0 +Accepted -Conflicted:NoConflicts -Programmed:Invalid -ResolvedRefs:RefNotPermitted
            clash TCPRoute x0 -Accepted:ProtocolConflict +Conflicted:ProtocolConflict -Programmed:ProtocolConflict
            again HTTPRoute,GRPCRoute x0 -Accepted:HostnameConflict +Conflicted:HostnameConflict -Programmed:HostnameConflict
            udp  x0 -Accepted:UnsupportedProtocol -Conflicted:NoConflicts -Programmed:Invalid +ResolvedRefs
            kinds TCPRoute x0 +Accepted -Conflicted:NoConflicts +Programmed -ResolvedRefs:InvalidRouteKinds
            "),
        ),
        (
            "none that is valid",
            gateway("", "{name: http, port: 80, protocol: http}"),
            "
            Gateway a/gw -Accepted:ListenersNotValid +Programmed +ResolvedRefs IPAddress=203.0.113.1
            http  x0 -Accepted:UnsupportedProtocol -Conflicted:NoConflicts -Programmed:Invalid +ResolvedRefs
            ".to_owned(),
        ),
        (
            "roots for clients that are not there",
            gateway("tls: {frontend: {default: {validation: {mode: AllowInsecureFallback, caCertificateRefs: [{group: '', kind: Service, name: x}]}}}},", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}")
                + "{apiVersion: v1, kind: Secret, metadata: {name: c, namespace: a}}\n---\n",
            "
            Gateway a/gw -Accepted:ListenersNotValid +InsecureFrontendValidationMode:ConfigurationChanged +Programmed +ResolvedRefs IPAddress=203.0.113.1
            l HTTPRoute,GRPCRoute x0 -Accepted:NoValidCACertificate -Conflicted:NoConflicts -Programmed:Invalid -ResolvedRefs:InvalidCACertificateKind
            ".to_owned(),
        ),
        (
            "a gateway elsewhere",
            gateway("addresses: [{type: IPAddress, value: 1.2.3.4}],", http).replace("Name: istio,", "Name: istio-remote,"),
            "Gateway a/gw +Accepted +Programmed IPAddress=1.2.3.4".to_owned(),
        ),
    ] {
        check(name, &told(&yaml), &expected);
    }
}

#[test]
fn of_routes() {
    let gateway = object(
        "Gateway",
        "a",
        "gw",
        "{gatewayClassName: istio, listeners: [{name: open, port: 80, protocol: HTTP, hostname: '*.x.com', allowedRoutes: {namespaces: {from: All}}}, {name: shut, port: 443, protocol: HTTP, hostname: '*.x.com'}]}",
    );
    let to = "rules: [{backendRefs: [{name: web, port: 80}]}]";
    let counts = |open: u8| {
        format!(
            "
        Gateway a/gw +Accepted +Programmed +ResolvedRefs IPAddress=203.0.113.1
        open HTTPRoute,GRPCRoute x{open} +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs
        shut HTTPRoute,GRPCRoute x0 +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs
        "
        )
    };
    for (name, spec, expected, open) in [
        (
            "each parent by itself",
            format!("{{parentRefs: [{{name: gw, namespace: a}}, {{name: gw, namespace: a, sectionName: shut}}, {{name: gw, namespace: a, sectionName: none}}, {{name: gw, namespace: a, port: 81}}, {{name: other}}, {{kind: Service, group: '', name: none}}], {to}}}"),
            "
            gw/ +Accepted +ResolvedRefs
            gw/shut -Accepted:NotAllowedByListeners +ResolvedRefs
            gw/none -Accepted:NoMatchingParent +ResolvedRefs
            gw/ -Accepted:NoMatchingParent +ResolvedRefs
            Service none/ -Accepted:NoMatchingParent +ResolvedRefs
            ",
            1,
        ),
        (
            "no host in common, whoever may attach",
            format!("{{parentRefs: [{{name: gw, namespace: a, sectionName: shut}}], hostnames: [y.com], {to}}}"),
            "gw/shut -Accepted:NoMatchingListenerHostname +ResolvedRefs",
            0,
        ),
        (
            "backends",
            "{parentRefs: [{name: gw, namespace: a, sectionName: open}], rules: [{backendRefs: [{name: none, port: 80}]}]}".to_owned(),
            "gw/open +Accepted -ResolvedRefs:BackendNotFound",
            1,
        ),
        (
            "kinds of backends",
            "{parentRefs: [{name: gw, namespace: a, sectionName: open}], rules: [{backendRefs: [{group: example.com, kind: Bucket, name: web, port: 80}]}]}".to_owned(),
            "gw/open +Accepted -ResolvedRefs:InvalidKind",
            1,
        ),
        (
            "backends of others, for a gateway and for the mesh",
            "{parentRefs: [{name: gw, namespace: a, sectionName: open}, {kind: Service, group: '', name: web}], rules: [{backendRefs: [{name: gw-istio, namespace: a, port: 80}]}]}".to_owned(),
            "
            gw/open +Accepted -ResolvedRefs:RefNotPermitted
            Service web/ +Accepted +ResolvedRefs
            ",
            1,
        ),
        (
            "filters",
            "{parentRefs: [{name: gw, namespace: a, sectionName: open}], rules: [{filters: [{type: ExtensionRef, extensionRef: {group: x, kind: k, name: z}}], backendRefs: [{name: web, port: 80}]}]}".to_owned(),
            "gw/open +Accepted -ResolvedRefs:InvalidFilter",
            1,
        ),
        (
            "no port",
            "{parentRefs: [{name: gw, namespace: a, sectionName: open}], rules: [{backendRefs: [{name: web}]}]}".to_owned(),
            "gw/open +Accepted -ResolvedRefs:InvalidDestination",
            1,
        ),
    ] {
        let got = told(&(gateway.clone() + &object("HTTPRoute", "b", "r", &spec)));
        let expected = format!("HTTPRoute b/r\n{expected}{}", counts(open));
        check(name, &got, &expected);
    }
}

#[test]
fn of_listener_sets() {
    let set = |name: &str, listeners: &str| {
        object(
            "ListenerSet",
            "b",
            name,
            &format!("{{parentRef: {{name: gw, namespace: a}}, listeners: [{listeners}]}}"),
        )
    };
    let gateway = |allowed: &str| {
        object(
            "Gateway",
            "a",
            "gw",
            &format!(
                "{{gatewayClassName: istio, {allowed} listeners: [{{name: http, port: 80, protocol: HTTP}}]}}"
            ),
        )
    };
    let route = object(
        "HTTPRoute",
        "b",
        "r",
        "{parentRefs: [{kind: ListenerSet, name: one}], rules: [{backendRefs: [{name: web, port: 80}]}]}",
    );
    let sets = set(
        "one",
        "{name: http, port: 80, protocol: HTTP, hostname: x.com}, {name: same, port: 80, protocol: HTTP}",
    ) + &set(
        "two",
        "{name: http, port: 80, protocol: HTTP, hostname: x.com}",
    );
    check(
        "the Gateway's listeners first, then older sets",
        &told(&(gateway("allowedListeners: {namespaces: {from: All}},") + &sets + &route)),
        "
        HTTPRoute b/r
        ListenerSet one/ +Accepted +ResolvedRefs
        Gateway a/gw +Accepted +Programmed +ResolvedRefs IPAddress=203.0.113.1
        http HTTPRoute,GRPCRoute x0 +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs
        ListenerSet b/one +Accepted +Programmed
        http HTTPRoute,GRPCRoute x1 +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs
        same HTTPRoute,GRPCRoute x0 -Accepted:HostnameConflict +Conflicted:HostnameConflict -Programmed:HostnameConflict
        ListenerSet b/two -Accepted:ListenersNotValid -Programmed:ListenersNotValid
        http HTTPRoute,GRPCRoute x0 -Accepted:HostnameConflict +Conflicted:HostnameConflict -Programmed:HostnameConflict
        ",
    );
    check(
        "not asked for",
        &told(&(gateway("") + &set("one", "{name: http, port: 81, protocol: HTTP}"))),
        "
        Gateway a/gw +Accepted +Programmed +ResolvedRefs IPAddress=203.0.113.1
        http HTTPRoute,GRPCRoute x0 +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs
        ListenerSet b/one -Accepted:NotAllowed -Programmed:NotAllowed
        ",
    );
}

#[test]
fn what_is_said_already_is_not_said_again() {
    let condition = |type_: &str, status: &str, reason: &str| {
        format!(
            "{{type: {type_}, status: '{status}', reason: {reason}, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}"
        )
    };
    let theirs = condition("example.com/x", "True", "X");
    let said = |status: &str| format!("{theirs}, {}", condition("Accepted", status, "Accepted"));
    let class = |status: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: istio}}, spec: {{controllerName: istio.io/gateway-controller}}, status: {{conditions: [{}]}}}}\n---\n",
            said(status)
        )
    };
    let route = |status: &str, own: &str| {
        let entry = |controller: &str, conditions: &str| {
            format!(
                "{{controllerName: {controller}, parentRef: {{group: gateway.networking.k8s.io, kind: Gateway, name: gw, namespace: a}}, conditions: [{conditions}]}}"
            )
        };
        let ours = format!(
            "{}, {}",
            said(status),
            condition("ResolvedRefs", "True", "ResolvedRefs")
        );
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r, namespace: a}}, spec: {{parentRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: {own}, namespace: a}}], rules: []}}, status: {{parents: [{}, {}]}}}}\n---\n",
            entry("istio.io/gateway-controller", &ours),
            entry("example.com/c", &theirs),
        )
    };
    let gateway = object(
        "Gateway",
        "a",
        "gw",
        "{gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}",
    );
    let of_gateway = "
        Gateway a/gw +Accepted +Programmed +ResolvedRefs IPAddress=203.0.113.1
        http HTTPRoute,GRPCRoute x1 +Accepted -Conflicted:NoConflicts +Programmed +ResolvedRefs
    ";
    check("a class, beside what others say", &told(&class("True")), "");
    check(
        "a class of which something else was said",
        &told(&class("False")),
        "GatewayClass istio +Accepted",
    );
    check(
        "a route, beside another controller",
        &told(&(gateway.clone() + &route("True", "gw"))),
        of_gateway,
    );
    check(
        "a route of which something else was said: ours alone",
        &told(&(gateway.clone() + &route("False", "gw"))),
        &format!("HTTPRoute a/r\nGateway gw/ +Accepted +ResolvedRefs{of_gateway}"),
    );
    check(
        "a route that left the Gateway",
        &told(&(gateway + &route("True", "other"))),
        &format!("HTTPRoute a/r{}", of_gateway.replace("x1", "x0")),
    );
}
