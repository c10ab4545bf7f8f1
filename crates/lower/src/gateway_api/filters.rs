//! Filters of HTTPRoutes and GRPCRoutes.

use std::time::Duration;

use hawser_api::{Kind, gateway_api as api};
use hawser_model::matching::{HeaderOps, Share, StringMatch};
use hawser_model::route::{
    Cors, Mirror, PathRewrite, Redirect, RedirectPath, RedirectPort, Rewrite,
};

use super::backends::{Backends, Fault, Reference};
use super::http::unsupported;
use crate::names::strs;

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

/// Lowers filters; those that are not supported are faults.
pub(super) fn filters(
    kind: Kind,
    meta: &hawser_api::Meta,
    written: &[api::HttpRouteFilter],
    backends: &Backends<'_>,
    faults: &mut Vec<Fault>,
) -> Filtered {
    let mut out = Filtered::default();
    for filter in written {
        if let Some(headers) = &filter.request_header_modifier {
            add(&mut out.request_headers, headers);
        } else if let Some(headers) = &filter.response_header_modifier {
            add(&mut out.response_headers, headers);
        } else if let Some(mirror) = &filter.request_mirror {
            match backends.destination(
                (kind, &meta.namespace),
                &Reference::from(&mirror.backend_ref),
            ) {
                Ok(destination) => out.mirrors.push(Mirror {
                    destination,
                    share: share(mirror),
                }),
                Err((fault, _)) => faults.push(fault),
            }
        } else if let Some(redirect) = &filter.request_redirect {
            out.redirect = Some(self::redirect(redirect));
        } else if let Some(rewrite) = &filter.url_rewrite {
            out.rewrite = Some(self::rewrite(rewrite));
        } else if let Some(cors) = &filter.cors {
            out.cors = Some(self::cors(cors));
        } else {
            faults.push(unsupported(&format!("filter {}", filter.type_)));
        }
    }
    out
}

fn add(ops: &mut HeaderOps, written: &api::HttpHeaderFilter) {
    let pairs = |list: &[api::HttpHeader]| -> Vec<_> {
        list.iter()
            .map(|h| (h.name.as_str().into(), h.value.as_str().into()))
            .collect()
    };
    ops.set.extend(pairs(&written.set));
    ops.add.extend(pairs(&written.add));
    ops.remove.extend(strs(&written.remove));
}

fn share(mirror: &api::HttpRequestMirrorFilter) -> Share {
    match (&mirror.fraction, &mirror.percent) {
        (Some(f), _) => {
            let whole = f64::from(f.denominator.unwrap_or(100).max(1));
            Share::exact(f64::from(f.numerator) * 100.0 / whole)
        }
        (None, Some(percent)) => Share::exact(f64::from(*percent)),
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

fn rewrite(written: &api::HttpUrlRewriteFilter) -> Rewrite {
    Rewrite {
        path: written.path.as_ref().and_then(|p| match p.type_.as_str() {
            "ReplaceFullPath" => p
                .replace_full_path
                .as_deref()
                .map(|t| PathRewrite::Full(t.into())),
            _ => p
                .replace_prefix_match
                .as_deref()
                .map(|t| PathRewrite::SegmentPrefix(t.into())),
        }),
        authority: written.hostname.as_deref().map(Into::into),
    }
}

fn cors(written: &api::HttpCorsFilter) -> Cors {
    Cors {
        origins: written
            .allow_origins
            .iter()
            .map(|o| match o.split_once('*') {
                None => StringMatch::Exact(o.as_str().into()),
                Some(("", "")) => StringMatch::Regex(".*".into()),
                Some((before, after)) => {
                    let escape = |t: &str| t.replace('.', "\\.");
                    StringMatch::Regex(format!("{}.*{}", escape(before), escape(after)).into())
                }
            })
            .collect(),
        methods: strs(&written.allow_methods),
        headers: strs(&written.allow_headers),
        expose: strs(&written.expose_headers),
        max_age: Some(Duration::from_secs(
            written
                .max_age
                .and_then(|s| u64::try_from(s).ok())
                .unwrap_or(5),
        )),
        credentials: written.allow_credentials,
        forward_unmatched_preflights: Some(false),
    }
}
