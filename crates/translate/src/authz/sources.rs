//! Who calls: sources of rules, and conditions on them, as principals.

use hawser_model::Str;
use hawser_model::authz::{Condition, Source, Values};
use hawser_proto::envoy::config::rbac::v3 as rbac;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use rbac::{Principal, principal};

use super::matchers::{self, authenticated, brackets, header, literal, range, text};
use super::operations::is_of_operation;
use super::rules::{Context, Meaningless, Result};
use super::trust_domains;
use crate::wire;

impl Context<'_> {
    pub(super) fn principal(
        &self,
        s: &Source,
        when: &[Condition],
        namespace: &str,
    ) -> Result<Principal> {
        let mut all = Vec::new();
        let identities = trust_domains::identities(self.mesh, &s.principals);
        self.identify(&mut all, &identities, peer)?;
        self.identify_all(&mut all, &s.request_principals, request_principals)?;
        self.identify(&mut all, &s.namespaces, peer_namespace)?;
        self.identify(&mut all, &s.service_accounts, |v| {
            Ok(service_account(v, namespace))
        })?;
        let domains = trust_domains::domains(self.mesh, &s.trust_domains);
        self.identify(&mut all, &domains, |v| {
            Ok(authenticated(trust_domains::of_domain(v)))
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
                    let identities = trust_domains::identities(self.mesh, values);
                    self.identify(&mut all, &identities, peer)?;
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
pub(super) fn any_principal() -> Principal {
    Principal {
        identifier: Some(principal::Identifier::Any(true)),
    }
}
pub(super) fn not_principal(p: Principal) -> Principal {
    Principal {
        identifier: Some(principal::Identifier::NotId(Box::new(p))),
    }
}
