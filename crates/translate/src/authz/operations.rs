//! What is called: operations of rules, and conditions on them, as permissions.

use hawser_model::Str;
use hawser_model::authz::{Condition, Operation, Values};
use hawser_proto::envoy::config::rbac::v3 as rbac;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use rbac::{Permission, permission};

use super::claims;
use super::matchers::{self, header, range, text};
use super::rules::{Context, Meaningless, Result};

impl Context<'_> {
    pub(super) fn permission(&self, o: &Operation, when: &[Condition]) -> Result<Permission> {
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
}

/// Conditions on the operation, which are permissions rather than principals.
pub(super) fn is_of_operation(key: &str) -> bool {
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
        path: vec![claims::segment(name)],
        value: Some(value),
        invert: false,
    }))
}
pub(super) fn any_permission() -> Permission {
    Permission {
        rule: Some(permission::Rule::Any(true)),
    }
}
pub(super) fn not_permission(p: Permission) -> Permission {
    Permission {
        rule: Some(permission::Rule::NotRule(Box::new(p))),
    }
}
