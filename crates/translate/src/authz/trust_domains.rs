//! Trust domains: the mesh's own under each of its names, and peers of one (Istio's `trustdomain`).

use hawser_model::Str;
use hawser_model::authz::Values;
use hawser_model::mesh::Mesh;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;

use super::matchers::literal;
use crate::wire;

/// Identities, those of the mesh's own trust domain under each of its names (Istio's `ReplaceTrustDomainAliases`).
pub(super) fn identities(mesh: &Mesh, values: &Values) -> Values {
    each(values, |identity| match identity.split_once('/') {
        Some((domain, rest)) if identity.matches('/').count() == 4 => {
            renamed(mesh, identity, domain, rest)
        }
        _ => vec![identity.clone()],
    })
}

/// Trust domains, where one of the mesh's own stands for all of them.
pub(super) fn domains(mesh: &Mesh, values: &Values) -> Values {
    each(values, |domain| match own(mesh).any(|d| d == &**domain) {
        true => own(mesh).map(Str::from).collect(),
        false => vec![domain.clone()],
    })
}

/// A peer of a trust domain. `*` stands for a part of the domain, and never for what comes after it: a namespace must not
/// pass for a domain.
pub(super) fn of_domain(domain: &str) -> matcher::StringMatcher {
    if !domain.contains('*') {
        return wire::prefix(&format!("spiffe://{domain}/"));
    }
    let parts: Vec<_> = domain.split('*').map(literal).collect();
    wire::regex(&format!("spiffe://{}/.*", parts.join("[^/]*")))
}

fn each(values: &Values, names: impl Fn(&Str) -> Vec<Str>) -> Values {
    let of = |values: &[Str]| {
        let mut out: Vec<Str> = Vec::new();
        for name in values.iter().flat_map(&names) {
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    };
    Values {
        any: of(&values.any),
        none: of(&values.none),
    }
}

fn renamed(mesh: &Mesh, identity: &Str, domain: &str, rest: &str) -> Vec<Str> {
    // `*` at one end of either fits any beginning or end.
    let fits = |text: &str, pattern: &str| {
        let begins = pattern
            .strip_suffix('*')
            .is_some_and(|p| text.starts_with(p));
        let ends = pattern.strip_prefix('*').is_some_and(|p| text.ends_with(p));
        begins || ends
    };
    let is_own = domain != "*"
        && (domain == "cluster.local"
            || own(mesh).any(|own| own == domain || fits(domain, own) || fits(own, domain)));
    if !is_own {
        return vec![identity.clone()];
    }
    own(mesh)
        .map(|own| match domain.strip_prefix('*') {
            Some(end) if own.ends_with(end) => identity.clone(),
            _ => format!("{own}/{rest}").into(),
        })
        .collect()
}

fn own(mesh: &Mesh) -> impl Iterator<Item = &str> {
    let aliases = mesh.trust_domain_aliases.iter();
    std::iter::once(&*mesh.trust_domain).chain(aliases.map(|a| &**a))
}
