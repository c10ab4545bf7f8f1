//! What becomes of a listener that several services want: the rules of Istio's `buildSidecarOutboundListener`.

use hawser_model::{Protocol, Shared, Str};

use crate::listener::PLAIN_HTTP_ALPN;
use crate::listener::spec::{ChainMatch, Encoded, TcpSpec};

/// A filter chain in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub matches: ChainMatch,
    /// True if names in TLS handshakes were asked for, be it any name.
    pub reads_names: bool,
    pub to: DraftTo,
}

#[derive(Debug)]
pub(super) enum DraftTo {
    /// HTTP by this route configuration.
    Http(Str),
    Tcp(TcpSpec, Shared<Vec<Encoded>>),
}

impl Draft {
    /// HTTP where nothing else is spoken, or what the inspector takes for HTTP.
    pub(super) fn http(routes: Str, only: bool) -> Self {
        let matches = if only {
            ChainMatch::default()
        } else {
            ChainMatch {
                transport: "raw_buffer",
                alpn: PLAIN_HTTP_ALPN,
                ..Default::default()
            }
        };
        Self {
            matches,
            reads_names: false,
            to: DraftTo::Http(routes),
        }
    }
}

/// A listener in the making.
#[derive(Debug)]
pub(super) struct Entry {
    /// Addresses, the first of which gives it its name.
    pub binds: Vec<Str>,
    pub bound: bool,
    /// What is spoken on it; [`Protocol::Unknown`] as soon as that is found out per connection.
    pub protocol: Protocol,
    /// True if some service's port is sniffed by its own wish.
    pub sniffs: bool,
    /// Of its connection managers.
    pub http_filters: Vec<Encoded>,
    pub chains: Vec<Draft>,
}

impl Entry {
    /// A listener that nobody else wants yet.
    pub(super) fn new(binds: Vec<Str>, bound: bool, wish: Wish) -> Self {
        let mut out = Self {
            binds,
            bound,
            protocol: wish.becomes,
            sniffs: wish.protocol.is_sniffed(),
            http_filters: wish.http_filters,
            chains: Vec::new(),
        };
        out.add(wish.chains);
        out
    }

    /// Adds what a further service wants: HTTP and bytes stand side by side from then on; of two that cannot be told apart
    /// the first one stays.
    pub(super) fn merge(&mut self, wish: Wish) {
        let new = wish.protocol;
        let (http, tcp) = (self.protocol.is_http(), self.protocol.is_tcp());
        // A filter concerns the requests of its own service alone.
        for filter in &wish.http_filters {
            if !self.http_filters.contains(filter) {
                self.http_filters.push(filter.clone());
            }
        }
        let settled = (new.is_http() || new.is_sniffed()) && !http && !tcp;
        // HTTP shares its routes by port.
        if settled || (new.is_http() && http) {
            return;
        }
        // Servers that speak first would wait for ever behind an inspector.
        let speaks_first = |p| matches!(p, Protocol::Mongo | Protocol::Mysql);
        if (speaks_first(new) || speaks_first(self.protocol)) && new != self.protocol {
            return;
        }
        self.sniffs |= new.is_sniffed();
        if new.is_sniffed() && http {
            let filters = std::mem::take(&mut self.http_filters);
            *self = Self::new(std::mem::take(&mut self.binds), self.bound, wish);
            self.http_filters = filters;
            return;
        }
        if http || (tcp && !new.is_tcp()) {
            self.protocol = Protocol::Unknown;
        }
        self.add(wish.chains);
    }

    fn add(&mut self, chains: Vec<Draft>) {
        for draft in chains {
            let collides = |other: &Draft| other.matches.collides(&draft.matches);
            if !self.chains.iter().any(collides) {
                self.chains.push(draft);
            }
        }
    }
}

/// What one port of a service wants of a listener.
#[derive(Debug)]
pub(super) struct Wish {
    /// What is spoken on the port.
    pub protocol: Protocol,
    /// What the listener speaks if it is the first.
    pub becomes: Protocol,
    pub http_filters: Vec<Encoded>,
    pub chains: Vec<Draft>,
}
