//! The RBAC engine (`config.rbac.v3`), for connections and for requests.

use std::net::IpAddr;

use hawser_proto::envoy::config::core::v3::CidrRange;
use hawser_proto::envoy::config::rbac::v3::permission::Rule;
use hawser_proto::envoy::config::rbac::v3::principal::Identifier;
use hawser_proto::envoy::config::rbac::v3::rbac::Action;
use hawser_proto::envoy::config::rbac::v3::{Permission, Principal, Rbac};
use hawser_proto::envoy::r#type::matcher::v3::PathMatcher;
use hawser_proto::envoy::r#type::matcher::v3::path_matcher::Rule as PathRule;
use ipnet::IpNet;

use crate::call::{Call, HttpCall};
use crate::strings;

/// Of what the rules are asked.
pub(crate) struct Subject<'a> {
    pub call: &'a Call,
    /// The request; `None` for rules on connections: conditions on requests then never hold.
    pub http: Option<&'a HttpCall>,
    /// The client's address as far as the connection manager trusts what proxies say of it.
    pub remote: IpAddr,
    /// What filters before left, by their names.
    pub metadata: &'a serde_json::Value,
}

impl Subject<'_> {
    fn path(&self) -> &str {
        self.http.map_or("", |h| h.path.as_str())
    }
}

/// The name of the policy that fits, if one does.
pub(crate) fn fitting<'a>(rules: &'a Rbac, subject: &Subject<'_>) -> Option<&'a str> {
    let mut names: Vec<&String> = rules.policies.keys().collect();
    names.sort();
    let found = names.into_iter().find(|name| {
        let policy = &rules.policies[*name];
        policy.permissions.iter().any(|p| permits(p, subject))
            && policy.principals.iter().any(|p| is_principal(p, subject))
    });
    found.map(String::as_str)
}

/// Whether the subject passes; if not, why.
pub(crate) fn decide(
    rules: Option<&Rbac>,
    subject: &Subject<'_>,
    steps: &mut Vec<String>,
) -> Result<(), String> {
    // No rules at all: the filter does nothing (it may have shadow rules, which only report).
    let Some(rules) = rules else { return Ok(()) };
    let found = fitting(rules, subject);
    match (Action::try_from(rules.action), found) {
        (Ok(Action::Allow), Some(name)) => {
            steps.push(format!("rbac {name} allows"));
            Ok(())
        }
        (Ok(Action::Allow), None) => Err("no ALLOW policy matches".to_owned()),
        (Ok(Action::Deny), Some(name)) => Err(format!("DENY policy {name} matches")),
        (Ok(Action::Deny), None) => {
            steps.push("rbac: no DENY policy matches".to_owned());
            Ok(())
        }
        (Ok(Action::Log) | Err(_), _) => Ok(()),
    }
}

#[allow(deprecated)]
fn permits(permission: &Permission, s: &Subject<'_>) -> bool {
    match &permission.rule {
        Some(Rule::AndRules(set)) => set.rules.iter().all(|p| permits(p, s)),
        Some(Rule::OrRules(set)) => set.rules.iter().any(|p| permits(p, s)),
        Some(Rule::Any(any)) => *any,
        Some(Rule::NotRule(p)) => !permits(p, s),
        Some(Rule::Header(m)) => s.http.is_some_and(|h| strings::header(m, h)),
        Some(Rule::UrlPath(m)) => s.http.is_some() && path_matches(m, s.path()),
        Some(Rule::DestinationIp(r)) => in_range(r, s.call.destination.ip()),
        Some(Rule::DestinationPort(p)) => *p == u32::from(s.call.destination.port()),
        Some(Rule::DestinationPortRange(r)) => {
            (r.start..r.end).contains(&i32::from(s.call.destination.port()))
        }
        Some(Rule::RequestedServerName(m)) => {
            strings::matches(m, s.call.tls.as_ref().map_or("", |t| t.sni.as_str()))
        }
        Some(Rule::Metadata(m)) => crate::meta::matches(m, s.metadata),
        Some(Rule::UriTemplate(template)) => {
            s.http.is_some() && template_matches(template, s.path())
        }
        _ => false,
    }
}

#[allow(deprecated)]
fn is_principal(principal: &Principal, s: &Subject<'_>) -> bool {
    match &principal.identifier {
        Some(Identifier::AndIds(set)) => set.ids.iter().all(|p| is_principal(p, s)),
        Some(Identifier::OrIds(set)) => set.ids.iter().any(|p| is_principal(p, s)),
        Some(Identifier::Any(any)) => *any,
        Some(Identifier::NotId(p)) => !is_principal(p, s),
        Some(Identifier::Authenticated(a)) => {
            let uris = s.call.tls.as_ref().map_or(&[][..], |t| t.uris.as_slice());
            match &a.principal_name {
                None => !uris.is_empty(),
                Some(m) => uris.iter().any(|u| strings::matches(m, u)),
            }
        }
        Some(Identifier::SourceIp(r) | Identifier::DirectRemoteIp(r)) => in_range(r, s.call.source),
        Some(Identifier::RemoteIp(r)) => in_range(r, s.remote),
        Some(Identifier::Header(m)) => s.http.is_some_and(|h| strings::header(m, h)),
        Some(Identifier::UrlPath(m)) => s.http.is_some() && path_matches(m, s.path()),
        Some(Identifier::FilterState(f)) => {
            use hawser_proto::envoy::r#type::matcher::v3::filter_state_matcher::Matcher;
            // Istio's name for the peer's identity, which stock Envoy does not set: nobody has it.
            matches!(&f.matcher, Some(Matcher::StringMatch(m)) if strings::matches(m, ""))
        }
        Some(Identifier::Metadata(m)) => crate::meta::matches(m, s.metadata),
        _ => false,
    }
}

fn path_matches(matcher: &PathMatcher, path: &str) -> bool {
    let Some(PathRule::Path(m)) = &matcher.rule else {
        return false;
    };
    // A path matcher looks at the path alone.
    strings::matches(m, path.split(['?', '#']).next().unwrap_or_default())
}

/// Path templates (`{*}` one segment, `{**}` any number), as Istio writes them into `uri_template` rules.
fn template_matches(
    template: &hawser_proto::envoy::config::core::v3::TypedExtensionConfig,
    path: &str,
) -> bool {
    use hawser_proto::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
    let config = template
        .typed_config
        .as_ref()
        .and_then(crate::config::unpack::<UriTemplateMatchConfig>);
    let Some(config) = config else { return false };
    let mut pattern = String::from("^");
    let mut rest = config.path_template.as_str();
    while let Some(at) = rest.find(['*', '{']) {
        pattern.push_str(&regex::escape(&rest[..at]));
        rest = &rest[at..];
        let (token, segments) = ["{**}", "**", "{*}", "*"]
            .iter()
            .find(|t| rest.starts_with(**t))
            .map_or_else(
                || {
                    (
                        rest.find('}').map_or(rest.len(), |e| e + 1),
                        rest.contains("**"),
                    )
                },
                |t| (t.len(), t.contains("**")),
            );
        pattern.push_str(if segments { ".*" } else { "[^/]+" });
        rest = &rest[token..];
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    let path = path.split('?').next().unwrap_or_default();
    regex::Regex::new(&pattern).is_ok_and(|r| r.is_match(path))
}

fn in_range(range: &CidrRange, ip: IpAddr) -> bool {
    let length = u8::try_from(range.prefix_len.as_ref().map_or(0, |l| l.value)).unwrap_or(u8::MAX);
    let net = range
        .address_prefix
        .parse()
        .ok()
        .and_then(|a: IpAddr| IpNet::new(a, length).ok());
    net.is_some_and(|n| n.contains(&ip))
}
