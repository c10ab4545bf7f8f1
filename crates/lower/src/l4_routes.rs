//! TLS and TCP rules of VirtualServices.

use hawser_api::networking as api;
use hawser_model::Hostname;
use hawser_model::matching::HeaderOps;
use hawser_model::route::{L4Match, TcpRoute, TlsRoute, Weighted};

use crate::names::{self, destination, labels, port};
use crate::notes::{Notes, SCHEMA};
use crate::virtual_services::{Place, gateway_refs, weight};

fn weighted(
    route: &[api::RouteDestination],
    place: &Place<'_>,
    field: &str,
    notes: &mut Notes<'_>,
) -> Vec<Weighted> {
    route
        .iter()
        .enumerate()
        .filter_map(|(i, r)| {
            let field = format!("{field}.route[{i}]");
            Some(Weighted {
                destination: destination(
                    r.destination.as_ref()?,
                    place.namespace,
                    place.domain,
                    &format!("{field}.destination"),
                    notes,
                )?,
                weight: weight(r.weight, &field, notes),
                request_headers: HeaderOps::default(),
                response_headers: HeaderOps::default(),
            })
        })
        .collect()
}

/// Address ranges; a bare address is a range of one.
fn subnets<'a>(
    texts: impl IntoIterator<Item = &'a String>,
    field: &str,
    notes: &mut Notes<'_>,
) -> Vec<ipnet::IpNet> {
    texts
        .into_iter()
        .filter_map(|text| {
            let parsed = text
                .parse()
                .ok()
                .or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into));
            if parsed.is_none() {
                notes.error(
                    SCHEMA,
                    format!("{field}.destinationSubnets"),
                    format!("{text:?} is not an address range"),
                    "write it as 10.1.0.0/16 or 10.1.2.3",
                );
            }
            parsed
        })
        .collect()
}

/// One TLS rule; a match of which no SNI is a name is left out.
pub fn tls_route(
    route: &api::TlsRoute,
    place: &Place<'_>,
    field: &str,
    notes: &mut Notes<'_>,
) -> TlsRoute {
    let matches = route
        .match_
        .iter()
        .enumerate()
        .filter_map(|(i, m)| {
            let field = format!("{field}.match[{i}]");
            let sni: Vec<Hostname> = m
                .sni_hosts
                .iter()
                .filter_map(|h| {
                    names::host(h, "", place.domain, &format!("{field}.sniHosts"), notes)
                })
                .collect();
            (!sni.is_empty() || m.sni_hosts.is_empty()).then(|| L4Match {
                sni,
                destination_subnets: subnets(&m.destination_subnets, &field, notes),
                port: port(m.port),
                source_labels: labels(&m.source_labels),
                source_namespace: (!m.source_namespace.is_empty())
                    .then(|| m.source_namespace.as_str().into()),
                gateways: gateway_refs(&m.gateways, place.namespace),
            })
        })
        .collect();
    TlsRoute {
        matches,
        route: weighted(&route.route, place, field, notes),
    }
}

/// One TCP rule.
pub fn tcp_route(
    route: &api::TcpRoute,
    place: &Place<'_>,
    field: &str,
    notes: &mut Notes<'_>,
) -> TcpRoute {
    let matches = route
        .match_
        .iter()
        .enumerate()
        .map(|(i, m)| L4Match {
            sni: Vec::new(),
            destination_subnets: subnets(
                &m.destination_subnets,
                &format!("{field}.match[{i}]"),
                notes,
            ),
            port: port(m.port),
            source_labels: labels(&m.source_labels),
            source_namespace: (!m.source_namespace.is_empty())
                .then(|| m.source_namespace.as_str().into()),
            gateways: gateway_refs(&m.gateways, place.namespace),
        })
        .collect();
    TcpRoute {
        matches,
        route: weighted(&route.route, place, field, notes),
    }
}
