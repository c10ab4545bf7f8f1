//! PeerAuthentication and RequestAuthentication.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::meta::{Meta, Selector};
use crate::name::Str;

/// A PeerAuthentication.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerAuthentication {
    /// Place and age.
    pub meta: Meta,
    /// Which workloads.
    pub selector: Selector,
    /// For all ports; `None` is inherited (`UNSET`).
    pub mode: Option<MtlsMode>,
    /// By port number (of the workload).
    pub ports: BTreeMap<u16, Option<MtlsMode>>,
}

/// Whether mutual TLS is demanded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum MtlsMode {
    /// Not even offered.
    Disable,
    /// Offered.
    Permissive,
    /// Demanded.
    Strict,
}

/// A RequestAuthentication.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestAuthentication {
    /// Place and age.
    pub meta: Meta,
    /// Which workloads.
    pub selector: Selector,
    /// Tokens accepted.
    pub rules: Vec<JwtRule>,
}

/// A kind of token accepted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct JwtRule {
    /// Issuer.
    pub issuer: Str,
    /// Audiences; empty is any.
    pub audiences: Vec<Str>,
    /// The keys.
    pub keys: JwtKeys,
    /// Headers to look in, with the prefix before the token.
    pub from_headers: Vec<(Str, Str)>,
    /// Query parameters to look in.
    pub from_params: Vec<Str>,
    /// Cookies to look in.
    pub from_cookies: Vec<Str>,
    /// Header that gets the payload; empty is none.
    pub output_payload_to_header: Str,
    /// Headers that get claims: header, claim.
    pub output_claims: Vec<(Str, Str)>,
    /// Forward the token itself.
    pub forward_original: bool,
    /// Time to fetch keys; `None` is 5 s.
    pub timeout: Option<Duration>,
    /// A request without such a token is refused.
    pub required: bool,
    /// Claims that are lists separated by spaces, beside `scope` and `permission`.
    pub space_delimited_claims: Vec<Str>,
}

/// Where a token's keys are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum JwtKeys {
    /// A JWKS document.
    Inline(Str),
    /// Fetched by the control plane; `None` until then, or as long as that fails: then every such token is refused.
    Fetched {
        /// URI.
        uri: Str,
        /// What was fetched.
        document: Option<Str>,
    },
    /// To be found by the issuer's OpenID configuration; refused until then.
    Discovered(Option<Str>),
}
