//! A call, as the proxy sees it arrive.

use std::net::{IpAddr, SocketAddr};

/// A connection, and perhaps a request on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The peer's address.
    pub source: IpAddr,
    /// Where the client wanted to go (the original destination, where traffic is captured).
    pub destination: SocketAddr,
    /// The port on which the proxy received it: 15001 outbound, 15006 inbound, a gateway's own port.
    pub received_on: u16,
    /// TLS, if the client speaks it.
    pub tls: Option<TlsCall>,
    /// The request, if the client speaks HTTP (within TLS, if there is TLS).
    pub http: Option<HttpCall>,
}

/// What a client says in its TLS handshake.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TlsCall {
    /// SNI; empty if none.
    pub sni: String,
    /// ALPN offered.
    pub alpn: Vec<String>,
    /// URI names of its certificate; empty without one.
    pub uris: Vec<String>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HttpCall {
    /// Method.
    pub method: String,
    /// Authority or `Host`.
    pub authority: String,
    /// Path with query.
    pub path: String,
    /// Headers in order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// HTTP/2 in clear, or chosen by ALPN.
    pub http2: bool,
    /// An external authorizer, if one is asked, would refuse it.
    pub denied_externally: bool,
}

impl HttpCall {
    /// The values of a header; pseudo-headers are there by their HTTP/2 names.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        match name {
            ":authority" | "host" => vec![self.authority.as_str()],
            ":method" => vec![self.method.as_str()],
            ":path" => vec![self.path.as_str()],
            ":scheme" => vec!["http"],
            _ => self
                .headers
                .iter()
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.as_str())
                .collect(),
        }
    }

    /// The value of a header; several of one name are joined by commas.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.header_values(name);
        (!values.is_empty()).then(|| values.join(","))
    }
}
