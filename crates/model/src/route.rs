//! VirtualServices: how requests and connections find a destination.
//!
//! Hosts are fully qualified, delegates are merged, HTTPRoutes and Ingresses are already of this form.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use crate::labels::Labels;
use crate::matching::{HeaderOps, Share, StringMatch};
use crate::meta::{Meta, Visibility};
use crate::name::{Hostname, Str};
use crate::shared::Shared;

/// A VirtualService.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VirtualService {
    /// Place and age.
    pub meta: Meta,
    /// Hosts, qualified.
    pub hosts: Vec<Hostname>,
    /// Where it applies.
    pub gateways: BTreeSet<GatewayRef>,
    /// To whom it is visible.
    pub visibility: Visibility,
    /// In order of evaluation.
    pub http: Vec<Shared<HttpRoute>>,
    /// In order of evaluation.
    pub tls: Vec<TlsRoute>,
    /// In order of evaluation.
    pub tcp: Vec<TcpRoute>,
    /// Which API the rules were written in: the order of evaluation differs.
    pub semantics: RouteSemantics,
}

/// Which API's rules of precedence hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum RouteSemantics {
    /// First match wins, in order of writing.
    #[default]
    Istio,
    /// Kubernetes Ingress: longest path first.
    Ingress,
    /// Gateway API: most specific match first (already sorted).
    GatewayApi,
}

/// Where a VirtualService applies.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum GatewayRef {
    /// All sidecars (`mesh`).
    Mesh,
    /// A Gateway.
    Named {
        /// Its namespace.
        namespace: Str,
        /// Its name.
        name: Str,
    },
}

/// One HTTP rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HttpRoute {
    /// Its name; may be empty.
    pub name: Str,
    /// Any of these; none is all requests.
    pub matches: Vec<HttpMatch>,
    /// What becomes of the request.
    pub action: HttpAction,
    /// Changes to path and authority.
    pub rewrite: Option<Rewrite>,
    /// Whole-request timeout; `Some(0)` is none. Where nobody said, `None`.
    pub timeout: Option<Duration>,
    /// Retries; `None` is the mesh's default.
    pub retries: Option<Retries>,
    /// Injected faults.
    pub fault: Option<Fault>,
    /// Copies of the request.
    pub mirrors: Vec<Mirror>,
    /// Cross-origin rules.
    pub cors: Option<Cors>,
    /// Header changes for the whole rule.
    pub request_headers: HeaderOps,
    /// Likewise for the response.
    pub response_headers: HeaderOps,
}

/// Conditions on a request; all must hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HttpMatch {
    /// Its name; may be empty.
    pub name: Str,
    /// On the path.
    pub path: Option<PathMatch>,
    /// On the scheme.
    pub scheme: Option<StringMatch>,
    /// On the method.
    pub method: Option<StringMatch>,
    /// On the authority.
    pub authority: Option<StringMatch>,
    /// On headers, by name as written: claims tell upper from lower case, headers do not.
    pub headers: Vec<(Str, StringMatch)>,
    /// Headers that must not be so.
    pub without_headers: Vec<(Str, StringMatch)>,
    /// On query parameters.
    pub query: Vec<(Str, StringMatch)>,
    /// Paths are compared without regard to case.
    pub ignore_case: bool,
    /// On the port that the client called.
    pub port: Option<u16>,
    /// On the client's labels.
    pub source_labels: Labels,
    /// On the client's namespace.
    pub source_namespace: Option<Str>,
    /// Where the match applies; empty is as the VirtualService says.
    pub gateways: BTreeSet<GatewayRef>,
    /// Name for statistics.
    pub stat_prefix: Str,
}

/// A condition on a path.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(Str),
    /// Its beginning, byte by byte.
    Prefix(Str),
    /// Its beginning, segment by segment (Gateway API).
    SegmentPrefix(Str),
    /// A regular expression over the whole path.
    Regex(Str),
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HttpAction {
    /// Forwarded, by weight. Empty: 500 (Gateway API without valid backends).
    Route(Vec<Weighted>),
    /// Redirected.
    Redirect(Redirect),
    /// Answered.
    Direct {
        /// HTTP status.
        status: u32,
        /// Body; `None` is empty.
        body: Option<DirectBody>,
    },
}

/// The body of a direct answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DirectBody {
    /// Text.
    Text(Str),
    /// Bytes.
    Bytes(std::sync::Arc<[u8]>),
}

/// A destination and its share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Weighted {
    /// Where to.
    pub destination: Destination,
    /// Its share among its siblings; 0 is none, unless it stands alone.
    pub weight: u32,
    /// Header changes for this share.
    pub request_headers: HeaderOps,
    /// Likewise for the response.
    pub response_headers: HeaderOps,
}

/// A service, perhaps a subset and a port of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Destination {
    /// Its host, qualified.
    pub host: Hostname,
    /// Its subset; empty is none.
    pub subset: Str,
    /// Its port; `None` is the one that the client called, or on gateways and for TCP the only one that it has.
    pub port: Option<u16>,
}

impl Destination {
    /// The destination of a reference that leads to nothing. Requests to it fail.
    pub fn unknown() -> Self {
        Self {
            host: Hostname::unknown(),
            subset: Str::default(),
            port: None,
        }
    }

    /// True if it is [`Destination::unknown`].
    pub fn is_unknown(&self) -> bool {
        self.host == Hostname::unknown()
    }
}

/// Changes to path and authority.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rewrite {
    /// What replaces the path, or the part of it that matched as prefix.
    pub path: Option<PathRewrite>,
    /// What replaces the authority.
    pub authority: Option<Str>,
}

/// A change to the path.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathRewrite {
    /// Replaces what matched (a prefix) or the whole (an exact or regex match): Istio's `rewrite.uri`.
    Matched(Str),
    /// Replaces the whole path (Gateway API).
    Full(Str),
    /// Replaces the matched prefix, segment by segment (Gateway API).
    SegmentPrefix(Str),
    /// Replaces by regular expression.
    Regex {
        /// RE2.
        pattern: Str,
        /// With `\1` and so on.
        substitution: Str,
    },
}

/// A redirect.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Redirect {
    /// New path.
    pub path: Option<RedirectPath>,
    /// New authority.
    pub authority: Option<Str>,
    /// New port.
    pub port: Option<RedirectPort>,
    /// New scheme.
    pub scheme: Option<Str>,
    /// HTTP status; 301 where nobody said.
    pub status: u32,
}

/// New path of a redirect.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RedirectPath {
    /// The whole path.
    Full(Str),
    /// The matched prefix.
    Prefix(Str),
}

/// New port of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RedirectPort {
    /// This one.
    Number(u32),
    /// That of the new scheme.
    FromProtocolDefault,
    /// That of the request.
    FromRequest,
}

/// How to retry.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Retries {
    /// How often; 0 is never.
    pub attempts: u32,
    /// Timeout of each attempt.
    pub per_try_timeout: Option<Duration>,
    /// Envoy's conditions and status codes, comma-separated, as written; empty is the default.
    pub retry_on: Str,
    /// Also in other localities.
    pub remote_localities: Option<bool>,
    /// Not again on the same host; `None` is the default (yes).
    pub ignore_previous_hosts: Option<bool>,
    /// Base interval of back-off.
    pub backoff: Option<Duration>,
}

/// Injected faults.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Fault {
    /// Delay and its share of requests.
    pub delay: Option<(Duration, Share)>,
    /// Abort and its share of requests.
    pub abort: Option<(Abort, Share)>,
}

/// How a request is aborted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Abort {
    /// HTTP status.
    Http(u32),
    /// gRPC status code.
    Grpc(u32),
}

/// A copy of the request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// Share of requests.
    pub share: Share,
}

/// Cross-origin rules.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Cors {
    /// Origins allowed.
    pub origins: Vec<StringMatch>,
    /// Methods allowed.
    pub methods: Vec<Str>,
    /// Headers allowed.
    pub headers: Vec<Str>,
    /// Headers exposed.
    pub expose: Vec<Str>,
    /// How long an answer may be kept.
    pub max_age: Option<Duration>,
    /// Whether credentials may be sent.
    pub credentials: Option<bool>,
    /// Whether preflight requests of other origins are forwarded; `None` is the default.
    pub forward_unmatched_preflights: Option<bool>,
}

/// One TLS rule, by SNI.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TlsRoute {
    /// Any of these.
    pub matches: Vec<L4Match>,
    /// By weight.
    pub route: Vec<Weighted>,
}

/// One TCP rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TcpRoute {
    /// Any of these; none is all connections.
    pub matches: Vec<L4Match>,
    /// By weight.
    pub route: Vec<Weighted>,
}

/// Conditions on a connection; all must hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct L4Match {
    /// On the SNI (TLS rules alone).
    pub sni: Vec<Hostname>,
    /// On the address called.
    pub destination_subnets: Vec<IpNet>,
    /// On the port called.
    pub port: Option<u16>,
    /// On the client's labels.
    pub source_labels: Labels,
    /// On the client's namespace.
    pub source_namespace: Option<Str>,
    /// Where the match applies; empty is as the VirtualService says.
    pub gateways: BTreeSet<GatewayRef>,
}
