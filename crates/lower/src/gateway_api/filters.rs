//! Filters of HTTPRoutes and GRPCRoutes.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_api::{Kind, gateway_api as api};
use hawser_model::Str;
use hawser_model::matching::{HeaderOps, Share, StringMatch};
use hawser_model::route::{
    Cors, Mirror, PathRewrite, Redirect, RedirectPath, RedirectPort, Rewrite,
};

use super::backends::{Backends, Fault, Missing, Reference};
use crate::names::strs;

/// Any origin (RFC 6454): scheme, host and perhaps a port.
const ANY_ORIGIN: &str = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$";

/// What a list of filters amounts to.
#[derive(Default)]
pub(super) struct Filtered {
    pub redirect: Option<Redirect>,
    pub rewrite: Option<Rewrite>,
    pub mirrors: Vec<Mirror>,
    pub cors: Option<Cors>,
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
}

/// Lowers the filters of a rule. One that is not supported costs the whole route: a request must not pass without what
/// was asked for it. A mirror that leads nowhere costs the mirror alone, in an HTTPRoute.
pub(super) fn of_rule(
    written: &[api::HttpRouteFilter],
    backends: &Backends<'_>,
    soft: &mut Vec<Fault>,
) -> Result<Filtered, Fault> {
    let http = backends.kind == Kind::HttpRoute;
    let mut out = Filtered::default();
    for filter in written {
        match filter.type_.as_str() {
            "RequestHeaderModifier" => {
                if let Some(headers) = &filter.request_header_modifier {
                    out.request_headers = header_ops(headers)?;
                }
            }
            "ResponseHeaderModifier" => {
                if let Some(headers) = &filter.response_header_modifier {
                    out.response_headers = header_ops(headers)?;
                }
            }
            "RequestMirror" => {
                let Some(mirror) = &filter.request_mirror else {
                    continue;
                };
                match backends.destination(&Reference::from(&mirror.backend_ref)) {
                    Ok(destination) => out.mirrors.push(Mirror {
                        destination,
                        share: share(mirror),
                    }),
                    Err(Missing::Share(fault, _) | Missing::Route(fault)) if http => {
                        soft.push(fault);
                    }
                    Err(Missing::Share(fault, _) | Missing::Route(fault)) => return Err(fault),
                }
            }
            "RequestRedirect" if http => {
                out.redirect = filter.request_redirect.as_ref().map(redirect);
            }
            "URLRewrite" if http => out.rewrite = filter.url_rewrite.as_ref().and_then(rewrite),
            "CORS" if http => out.cors = filter.cors.as_ref().map(cors),
            other => return Err(unsupported(other)),
        }
    }
    Ok(out)
}

/// Header changes of one backend, of request and response; nothing else is supported there.
pub(super) fn of_backend(
    written: &[api::HttpRouteFilter],
) -> Result<(HeaderOps, HeaderOps), Fault> {
    let (mut request, mut response) = Default::default();
    for filter in written {
        let (ops, modifier) = match filter.type_.as_str() {
            "RequestHeaderModifier" => (&mut request, &filter.request_header_modifier),
            "ResponseHeaderModifier" => (&mut response, &filter.response_header_modifier),
            other => return Err(unsupported(other)),
        };
        if let Some(headers) = modifier {
            *ops = header_ops(headers)?;
        }
    }
    Ok((request, response))
}

fn unsupported(filter: &str) -> Fault {
    Fault::new(
        "InvalidFilter",
        format!("a filter {filter} is not supported here"),
    )
}

fn header_ops(written: &api::HttpHeaderFilter) -> Result<HeaderOps, Fault> {
    let visible = |b: u8| b == b'\t' || (b >= 0x20 && b != 0x7f);
    let mut all = written.set.iter().chain(&written.add);
    if let Some(bad) = all.find(|h| !h.value.bytes().all(visible)) {
        let message = format!("the value of the header {} is not one", bad.name);
        return Err(Fault::new("InvalidFilter", message));
    }
    Ok(HeaderOps {
        set: by_name(&written.set),
        add: by_name(&written.add),
        remove: strs(&written.remove),
    })
}

/// By name in lower case; of several of one name the first counts.
fn by_name(headers: &[api::HttpHeader]) -> Vec<(Str, Str)> {
    let mut out: BTreeMap<String, Str> = BTreeMap::new();
    for header in headers {
        out.entry(header.name.to_ascii_lowercase())
            .or_insert_with(|| header.value.as_str().into());
    }
    out.into_iter().map(|(k, v)| (k.into(), v)).collect()
}

fn share(mirror: &api::HttpRequestMirrorFilter) -> Share {
    match (&mirror.fraction, mirror.percent) {
        (Some(f), _) => {
            let whole = f64::from(f.denominator.unwrap_or(100).max(1));
            Share::exact(f64::from(f.numerator) * 100.0 / whole)
        }
        (None, Some(percent)) => Share::exact(f64::from(percent)),
        (None, None) => Share::ALL,
    }
}

fn redirect(written: &api::HttpRequestRedirectFilter) -> Redirect {
    Redirect {
        path: written.path.as_ref().and_then(|p| match p.type_.as_str() {
            "ReplaceFullPath" => p
                .replace_full_path
                .as_deref()
                .map(|t| RedirectPath::Full(t.into())),
            _ => p
                .replace_prefix_match
                .as_deref()
                .map(|t| RedirectPath::Prefix(t.into())),
        }),
        authority: written.hostname.as_deref().map(Into::into),
        port: Some(match (written.port, &written.scheme) {
            (Some(port), _) => RedirectPort::Number(u32::try_from(port).unwrap_or(0)),
            (None, Some(_)) => RedirectPort::FromProtocolDefault,
            (None, None) => RedirectPort::FromRequest,
        }),
        scheme: written.scheme.as_deref().map(Into::into),
        status: written
            .status_code
            .and_then(|c| u32::try_from(c).ok())
            .unwrap_or(302),
    }
}

fn rewrite(written: &api::HttpUrlRewriteFilter) -> Option<Rewrite> {
    let path = written.path.as_ref().and_then(|p| match p.type_.as_str() {
        "ReplaceFullPath" => p
            .replace_full_path
            .as_deref()
            .map(|t| PathRewrite::Full(t.into())),
        _ => p.replace_prefix_match.as_deref().map(|t| {
            // A final slash is ignored; nothing at all takes the prefix away.
            let path = t.strip_suffix('/').unwrap_or(t);
            PathRewrite::SegmentPrefix(if path.is_empty() { "/" } else { path }.into())
        }),
    });
    let authority = written.hostname.as_deref().map(Into::into);
    (path.is_some() || authority.is_some()).then_some(Rewrite { path, authority })
}

fn cors(written: &api::HttpCorsFilter) -> Cors {
    let origins = written.allow_origins.iter().filter(|o| !o.is_empty());
    Cors {
        origins: origins.map(|o| origin(o)).collect(),
        methods: strs(&written.allow_methods),
        headers: strs(&written.allow_headers),
        expose: strs(&written.expose_headers),
        // Five seconds is the API's default.
        max_age: match written.max_age {
            None => Some(Duration::from_secs(5)),
            Some(s) => u64::try_from(s)
                .ok()
                .filter(|s| *s > 0)
                .map(Duration::from_secs),
        },
        credentials: written.allow_credentials.filter(|c| *c),
        forward_unmatched_preflights: Some(false),
    }
}

fn origin(text: &str) -> StringMatch {
    match text.split_once('*') {
        None => StringMatch::Exact(text.into()),
        Some(("", "")) => StringMatch::Regex(ANY_ORIGIN.into()),
        Some((before, "")) => StringMatch::Prefix(before.into()),
        Some(_) => {
            let parts: Vec<String> = text.split('*').map(literal).collect();
            StringMatch::Regex(format!("^{}$", parts.join(".*")).into())
        }
    }
}

/// A regular expression for this text alone (as RE2's `QuoteMeta`).
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
