//! Rules of AuthorizationPolicies as RBAC policies (Istio's `authz/model`).

use hawser_model::authz::{Condition, Operation, Rule, Source, Values};
use hawser_model::{Snapshot, Str};
use hawser_proto::envoy::config::rbac::v3 as rbac;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use rbac::{Permission, Principal, permission, principal};

use super::Policies;
use super::matchers::{self, authenticated, brackets, header, literal, range, text};
use crate::wire;

/// RBAC rules in force, and those that are only tried out.
pub(super) struct Built {
    pub enforced: Option<rbac::Rbac>,
    pub shadow: Option<rbac::Rbac>,
}

/// The rules of several policies of one action. `prefix` goes before the names of rules.
pub(super) fn build(
    snapshot: &Snapshot,
    policies: &Policies<'_>,
    action: rbac::rbac::Action,
    tcp: bool,
    prefix: &str,
) -> Built {
    let empty = || rbac::Rbac {
        action: action as i32,
        ..Default::default()
    };
    let mut built = Built {
        enforced: None,
        shadow: None,
    };
    let cx = Context {
        snapshot,
        tcp,
        strict: action == rbac::rbac::Action::Allow,
    };
    for policy in policies {
        let rules = if policy.dry_run {
            built.shadow.get_or_insert_with(empty)
        } else {
            built.enforced.get_or_insert_with(empty)
        };
        let name = |i: usize| {
            format!(
                "{prefix}ns[{}]-policy[{}]-rule[{i}]",
                policy.meta.namespace, policy.meta.name
            )
        };
        if policy.rules.is_empty() {
            rules.policies.insert(name(0), never());
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            if let Ok(policy) = cx.policy(rule, &policy.meta.namespace) {
                rules.policies.insert(name(i), policy);
            }
        }
    }
    built
}

fn never() -> rbac::Policy {
    rbac::Policy {
        permissions: vec![not_permission(any_permission())],
        principals: vec![not_principal(any_principal())],
        ..Default::default()
    }
}

/// An attribute that means nothing here: HTTP on a connection of bytes, or a value that cannot be read.
struct Meaningless;

type Result<T> = std::result::Result<T, Meaningless>;

struct Context<'a> {
    snapshot: &'a Snapshot,
    tcp: bool,
    /// A meaningless attribute makes an `ALLOW` rule void; in others it is left out, so that they catch more.
    strict: bool,
}

impl Context<'_> {
    fn policy(&self, rule: &Rule, namespace: &str) -> Result<rbac::Policy> {
        let nothing = Operation::default();
        let operations: Vec<&Operation> = match rule.to.as_slice() {
            [] => vec![&nothing],
            some => some.iter().collect(),
        };
        let nobody = Source::default();
        let sources: Vec<&Source> = match rule.from.as_slice() {
            [] => vec![&nobody],
            some => some.iter().collect(),
        };
        let permissions = operations
            .into_iter()
            .map(|o| self.permission(o, &rule.when))
            .collect::<Result<_>>()?;
        let principals = sources
            .into_iter()
            .map(|s| self.principal(s, &rule.when, namespace))
            .collect::<Result<_>>()?;
        Ok(rbac::Policy {
            permissions,
            principals,
            ..Default::default()
        })
    }

    fn permission(&self, o: &Operation, when: &[Condition]) -> Result<Permission> {
        let http = |rule: permission::Rule| if self.tcp { Err(Meaningless) } else { Ok(rule) };
        let mut all = Vec::new();
        self.permit(&mut all, &o.hosts, |v| {
            http(permission::Rule::Header(header(":authority", v, true)))
        })?;
        self.permit(&mut all, &o.methods, |v| {
            http(permission::Rule::Header(header(":method", v, false)))
        })?;
        self.permit(&mut all, &o.paths, |v| http(matchers::path(v)))?;
        self.permit(&mut all, &o.ports, port)?;
        for c in when {
            match &*c.key {
                "destination.ip" => self.permit(&mut all, &c.values, |v| {
                    range(v)
                        .map(permission::Rule::DestinationIp)
                        .ok_or(Meaningless)
                })?,
                "destination.port" => self.permit(&mut all, &c.values, port)?,
                "connection.sni" => self.permit(&mut all, &c.values, |v| {
                    Ok(permission::Rule::RequestedServerName(text(v, "")))
                })?,
                key if key.starts_with("experimental.envoy.filters.") => {
                    self.permit_all(&mut all, &c.values, |v| filter_metadata(key, v))?;
                }
                // Of the source.
                _ => {}
            }
        }
        Ok(match all.len() {
            0 => any_permission(),
            _ => Permission {
                rule: Some(permission::Rule::AndRules(permission::Set { rules: all })),
            },
        })
    }

    fn permit(
        &self,
        all: &mut Vec<Permission>,
        values: &Values,
        make: impl Fn(&str) -> Result<permission::Rule>,
    ) -> Result<()> {
        let any_of = |values: &[Str]| -> Result<Option<Permission>> {
            let mut rules = Vec::new();
            for value in values {
                match make(value) {
                    Ok(rule) => rules.push(Permission { rule: Some(rule) }),
                    Err(e) if self.strict => return Err(e),
                    Err(_) => {}
                }
            }
            Ok((!rules.is_empty()).then_some(Permission {
                rule: Some(permission::Rule::OrRules(permission::Set { rules })),
            }))
        };
        all.extend(any_of(&values.any)?);
        all.extend(any_of(&values.none)?.map(not_permission));
        Ok(())
    }

    /// Likewise, for metadata, which is matched all values at once.
    fn permit_all(
        &self,
        all: &mut Vec<Permission>,
        values: &Values,
        make: impl Fn(&[Str]) -> Result<permission::Rule>,
    ) -> Result<()> {
        let one = |values: &[Str]| match make(values) {
            _ if values.is_empty() => Ok(None),
            Ok(rule) => Ok(Some(Permission { rule: Some(rule) })),
            Err(e) if self.strict => Err(e),
            Err(_) => Ok(None),
        };
        all.extend(one(&values.any)?);
        all.extend(one(&values.none)?.map(not_permission));
        Ok(())
    }

    fn principal(&self, s: &Source, when: &[Condition], namespace: &str) -> Result<Principal> {
        let mut all = Vec::new();
        let aliased = Values {
            any: self.with_aliases(&s.principals.any),
            none: self.with_aliases(&s.principals.none),
        };
        self.identify(&mut all, &aliased, peer)?;
        self.identify_all(&mut all, &s.request_principals, request_principals)?;
        self.identify(&mut all, &s.namespaces, peer_namespace)?;
        self.identify(&mut all, &s.service_accounts, |v| {
            Ok(service_account(v, namespace))
        })?;
        let domains = Values {
            any: self.with_own_domains(&s.trust_domains.any),
            none: self.with_own_domains(&s.trust_domains.none),
        };
        self.identify(&mut all, &domains, |v| {
            Ok(authenticated(wire::regex(&format!(
                "spiffe://{}/.*",
                glob(v)
            ))))
        })?;
        self.identify(&mut all, &s.remote_ip_blocks, remote_ip)?;
        self.identify(&mut all, &s.ip_blocks, source_ip)?;
        for c in when {
            let values = &c.values;
            match &*c.key {
                "source.ip" => self.identify(&mut all, values, source_ip)?,
                "remote.ip" => self.identify(&mut all, values, remote_ip)?,
                "source.namespace" => self.identify(&mut all, values, peer_namespace)?,
                "source.principal" => {
                    let aliased = Values {
                        any: self.with_aliases(&values.any),
                        none: self.with_aliases(&values.none),
                    };
                    self.identify(&mut all, &aliased, peer)?;
                }
                "source.serviceAccount" => {
                    self.identify(&mut all, values, |v| Ok(service_account(v, namespace)))?
                }
                "request.auth.principal" => {
                    self.identify_all(&mut all, values, request_principals)?;
                }
                "request.auth.audiences" => {
                    self.identify_all(&mut all, values, |v| {
                        matchers::claim_is_one_of(&["aud"], v)
                    })?;
                }
                "request.auth.presenter" => {
                    self.identify_all(&mut all, values, |v| {
                        matchers::claim_is_one_of(&["azp"], v)
                    })?;
                }
                key => {
                    if let Some(name) = brackets(key, "request.headers") {
                        let name = name.join("][");
                        self.identify(&mut all, values, |v| {
                            if self.tcp {
                                return Err(Meaningless);
                            }
                            Ok(principal::Identifier::Header(header(&name, v, false)))
                        })?;
                    } else if let Some(path) = brackets(key, "request.auth.claims") {
                        self.identify_all(&mut all, values, |v| {
                            matchers::claim_is_one_of(&path, v)
                        })?;
                    } else if self.strict && !is_of_operation(key) {
                        // Nobody knows what was meant, so nobody is let in by it.
                        return Err(Meaningless);
                    }
                }
            }
        }
        Ok(match all.len() {
            0 => any_principal(),
            _ => Principal {
                identifier: Some(principal::Identifier::AndIds(principal::Set { ids: all })),
            },
        })
    }

    fn identify(
        &self,
        all: &mut Vec<Principal>,
        values: &Values,
        make: impl Fn(&str) -> Result<principal::Identifier>,
    ) -> Result<()> {
        let any_of = |values: &[Str]| -> Result<Option<Principal>> {
            let mut ids = Vec::new();
            for value in values {
                match make(value) {
                    Ok(id) => ids.push(Principal {
                        identifier: Some(id),
                    }),
                    Err(e) if self.strict => return Err(e),
                    Err(_) => {}
                }
            }
            Ok((!ids.is_empty()).then_some(Principal {
                identifier: Some(principal::Identifier::OrIds(principal::Set { ids })),
            }))
        };
        all.extend(any_of(&values.any)?);
        all.extend(any_of(&values.none)?.map(not_principal));
        Ok(())
    }

    /// Likewise, for attributes of tokens, which are matched all values at once.
    fn identify_all(
        &self,
        all: &mut Vec<Principal>,
        values: &Values,
        make: impl Fn(&[Str]) -> principal::Identifier,
    ) -> Result<()> {
        if values.any.is_empty() && values.none.is_empty() {
            return Ok(());
        }
        if self.tcp {
            return if self.strict {
                Err(Meaningless)
            } else {
                Ok(())
            };
        }
        let one = |values: &[Str]| Principal {
            identifier: Some(make(values)),
        };
        if !values.any.is_empty() {
            all.push(one(&values.any));
        }
        if !values.none.is_empty() {
            all.push(not_principal(one(&values.none)));
        }
        Ok(())
    }

    /// Principals of the mesh's own trust domain under each of its names (Istio's `ReplaceTrustDomainAliases`).
    fn with_aliases(&self, principals: &[Str]) -> Vec<Str> {
        let each = principals.iter().flat_map(|p| match p.split_once('/') {
            Some((domain, rest)) if p.matches('/').count() == 4 => self.renamed(p, domain, rest),
            _ => vec![p.clone()],
        });
        each.collect()
    }

    fn renamed(&self, principal: &Str, domain: &str, rest: &str) -> Vec<Str> {
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
                || self
                    .own_domains()
                    .any(|own| own == domain || fits(domain, own) || fits(own, domain)));
        if !is_own {
            return vec![principal.clone()];
        }
        let mut out: Vec<Str> = Vec::new();
        for own in self.own_domains() {
            let ends = domain.strip_prefix('*').is_some_and(|p| own.ends_with(p));
            let name = if ends {
                principal.clone()
            } else {
                format!("{own}/{rest}").into()
            };
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    }

    fn own_domains(&self) -> impl Iterator<Item = &str> {
        let mesh = &self.snapshot.mesh;
        let aliases = mesh.trust_domain_aliases.iter();
        std::iter::once(&*mesh.trust_domain).chain(aliases.map(|a| &**a))
    }

    /// Trust domains, where one of the mesh's own stands for all of them.
    fn with_own_domains(&self, domains: &[Str]) -> Vec<Str> {
        let mut out: Vec<Str> = Vec::new();
        for domain in domains {
            let own = self.own_domains().any(|d| d == &**domain);
            let names: Vec<Str> = match own {
                true => self.own_domains().map(Str::from).collect(),
                false => vec![domain.clone()],
            };
            for name in names {
                if !out.contains(&name) {
                    out.push(name);
                }
            }
        }
        out
    }
}

/// Conditions on the operation, which are permissions rather than principals.
fn is_of_operation(key: &str) -> bool {
    matches!(
        key,
        "destination.ip" | "destination.port" | "connection.sni"
    ) || key.starts_with("experimental.envoy.filters.")
}

fn port(value: &str) -> Result<permission::Rule> {
    value
        .parse::<u16>()
        .map(|p| permission::Rule::DestinationPort(u32::from(p)))
        .map_err(|_| Meaningless)
}

fn peer(value: &str) -> Result<principal::Identifier> {
    Ok(authenticated(text(value, "spiffe://")))
}

fn peer_namespace(value: &str) -> Result<principal::Identifier> {
    Ok(authenticated(wire::regex(&format!(
        ".*/ns/{}/.*",
        glob(value)
    ))))
}

/// A text as a regular expression in which `*` fits anything, and all else itself.
fn glob(text: &str) -> String {
    text.split('*').map(literal).collect::<Vec<_>>().join(".*")
}

/// `name` or `namespace/name`.
fn service_account(value: &str, own_namespace: &str) -> principal::Identifier {
    let (namespace, name) = value.split_once('/').unwrap_or((own_namespace, value));
    let (namespace, name) = (literal(namespace), literal(name));
    authenticated(wire::regex(&format!(
        "spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?"
    )))
}

fn source_ip(value: &str) -> Result<principal::Identifier> {
    range(value)
        .map(principal::Identifier::DirectRemoteIp)
        .ok_or(Meaningless)
}

fn remote_ip(value: &str) -> Result<principal::Identifier> {
    range(value)
        .map(principal::Identifier::RemoteIp)
        .ok_or(Meaningless)
}

/// `issuer/subject`, with `*` at either end of the whole; the last slash divides, since issuers may be URLs.
fn request_principals(values: &[Str]) -> principal::Identifier {
    let one = |value: &Str| {
        let (issuer, subject): (matcher::StringMatcher, matcher::StringMatcher) =
            match value.rsplit_once('/') {
                _ if &**value == "*" => (matchers::anything(), matchers::anything()),
                Some((issuer, subject)) => {
                    let issuer = match issuer.strip_prefix('*') {
                        Some("") => matchers::anything(),
                        Some(end) => wire::suffix(end),
                        None => wire::exact(issuer),
                    };
                    let subject = if value.starts_with('*') {
                        wire::exact(subject)
                    } else {
                        match subject.strip_suffix('*') {
                            Some("") => matchers::anything(),
                            Some(beginning) => wire::prefix(beginning),
                            None => wire::exact(subject),
                        }
                    };
                    (issuer, subject)
                }
                None => match (value.strip_prefix('*'), value.strip_suffix('*')) {
                    (Some(end), _) => (matchers::anything(), wire::suffix(end)),
                    (None, Some(beginning)) => (wire::prefix(beginning), matchers::anything()),
                    (None, None) => (wire::exact(value), wire::exact("")),
                },
            };
        let both = [
            matchers::claim("iss", issuer),
            matchers::claim("sub", subject),
        ];
        Principal {
            identifier: Some(principal::Identifier::AndIds(principal::Set {
                ids: both
                    .map(|id| Principal {
                        identifier: Some(id),
                    })
                    .into(),
            })),
        }
    };
    principal::Identifier::OrIds(principal::Set {
        ids: values.iter().map(one).collect(),
    })
}

/// `experimental.envoy.filters.a.b[c]`: metadata `c` of filter `envoy.filters.a.b`; a value in brackets is one of a list.
#[allow(deprecated)] // Tools that read policies know this field; its successor says the same.
fn filter_metadata(key: &str, values: &[Str]) -> Result<permission::Rule> {
    use matcher::value_matcher::MatchPattern;
    let rest = key.strip_prefix("experimental.").ok_or(Meaningless)?;
    let (filter, name) = rest
        .strip_suffix(']')
        .and_then(|r| r.split_once('['))
        .ok_or(Meaningless)?;
    let of = |pattern| matcher::ValueMatcher {
        match_pattern: Some(pattern),
    };
    let string = |v: &str| of(MatchPattern::StringMatch(text(v, "")));
    let mut each: Vec<_> = values
        .iter()
        .map(|v| {
            let listed = v.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
            match listed {
                Some(inner) => of(MatchPattern::ListMatch(Box::new(matcher::ListMatcher {
                    match_pattern: Some(matcher::list_matcher::MatchPattern::OneOf(Box::new(
                        string(inner),
                    ))),
                }))),
                None => string(v),
            }
        })
        .collect();
    let value = match each.len() {
        1 => each.remove(0),
        _ => of(MatchPattern::OrMatch(matcher::OrMatcher {
            value_matchers: each,
        })),
    };
    Ok(permission::Rule::Metadata(matcher::MetadataMatcher {
        filter: filter.to_owned(),
        path: vec![super::claims::segment(name)],
        value: Some(value),
        invert: false,
    }))
}

fn any_permission() -> Permission {
    Permission {
        rule: Some(permission::Rule::Any(true)),
    }
}

fn any_principal() -> Principal {
    Principal {
        identifier: Some(principal::Identifier::Any(true)),
    }
}

fn not_permission(p: Permission) -> Permission {
    Permission {
        rule: Some(permission::Rule::NotRule(Box::new(p))),
    }
}

fn not_principal(p: Principal) -> Principal {
    Principal {
        identifier: Some(principal::Identifier::NotId(Box::new(p))),
    }
}
