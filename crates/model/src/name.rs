//! Names: hosts, clusters, networks.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A short, shared string.
pub type Str = Arc<str>;

/// A DNS name, lower case, perhaps with a leading `*` or `*.` label; Istio's `host.Name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Str);

/// Why a text is not a [`Hostname`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostnameError {
    /// The text is empty.
    Empty,
    /// Longer than 255 octets (RFC 1035, 2.3.4).
    TooLong,
    /// A `*` anywhere but as the first character.
    MisplacedWildcard,
    /// A label is empty, longer than 63 octets or has a character other than letters, digits, `-` and `_`.
    BadLabel(String),
}

impl fmt::Display for HostnameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a host name must not be empty"),
            Self::TooLong => f.write_str("a host name has at most 255 characters"),
            Self::MisplacedWildcard => {
                f.write_str("'*' may only stand first, alone or before a dot")
            }
            Self::BadLabel(label) => write!(f, "{label:?} is not a valid DNS label"),
        }
    }
}

impl std::error::Error for HostnameError {}

impl Hostname {
    /// Parses a host name, folding case; a final dot is dropped. IP addresses pass too, as Istio's hosts may be such.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostnameError::Empty);
        }
        if text.len() > 255 {
            return Err(HostnameError::TooLong);
        }
        if text.parse::<std::net::IpAddr>().is_ok() || text == "*" {
            return Ok(Self(text.to_ascii_lowercase().into()));
        }
        let rest = match text.strip_prefix('*') {
            Some(rest) => match rest.strip_prefix('.') {
                Some(rest) => rest,
                // Istio also takes `*foo.com`.
                None => rest.trim_start_matches('-'),
            },
            None => text,
        };
        if rest.contains('*') {
            return Err(HostnameError::MisplacedWildcard);
        }
        for label in rest.split('.') {
            let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
            if label.is_empty() || label.len() > 63 || !label.bytes().all(good) {
                return Err(HostnameError::BadLabel(label.to_owned()));
            }
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// `*`, which stands for every name.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// A name that nothing can have (RFC 2606).
    pub fn unknown() -> Self {
        Self("unknown.invalid".into())
    }

    /// The text, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it begins with `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// True if every name that `self` stands for is also one of `other`'s (Istio's `host.Name.SubsetOf`).
    pub fn is_subset_of(&self, other: &Self) -> bool {
        match (self.is_wildcard(), other.is_wildcard()) {
            (true, true) => self.0.len() >= other.0.len() && self.0[1..].ends_with(&other.0[1..]),
            (true, false) => false,
            (false, true) => {
                // `*.foo.com` is `x.foo.com`, not `foo.com`; `*` is all.
                self.0.len() + 1 > other.0.len() && self.0.ends_with(&other.0[1..])
            }
            (false, false) => self == other,
        }
    }

    /// True if some name is one of both (Istio's `host.Name.Matches`).
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_subset_of(other) || other.is_subset_of(self)
    }

    /// Order of precedence, most specific first: exact before wildcard, longer before shorter, then by name.
    pub fn by_specificity(a: &Self, b: &Self) -> std::cmp::Ordering {
        (a.is_wildcard(), std::cmp::Reverse(a.0.len()), &a.0).cmp(&(
            b.is_wildcard(),
            std::cmp::Reverse(b.0.len()),
            &b.0,
        ))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A cluster's ID, as in `--cluster-id` and the data keys of remote secrets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClusterId(pub Str);

impl ClusterId {
    /// Any text is a cluster ID.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network's ID; the empty one is "not said".
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct NetworkId(pub Str);

impl NetworkId {
    /// Any text is a network ID.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True where nobody said which network it is.
    pub fn is_unset(&self) -> bool {
        self.0.is_empty()
    }
}

/// A service's place in the mesh: two namespaces may each define the same host.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceKey {
    /// The fully qualified host.
    pub host: Hostname,
    /// The namespace that defines it.
    pub namespace: Str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn subsets_follow_dns_wildcards() {
        for (a, b, expected) in [
            ("a.b.c", "a.b.c", true),
            ("a.b.c", "*.b.c", true),
            ("b.c", "*.b.c", false),
            ("a.b.c", "*", true),
            ("*.b.c", "*.c", true),
            ("*.c", "*.b.c", false),
            ("*", "*", true),
            ("*", "a", false),
            ("A.b.C.", "a.b.c", true),
        ] {
            assert_eq!(h(a).is_subset_of(&h(b)), expected, "{a} in {b}");
        }
    }

    #[test]
    fn odd_names_are_refused() {
        for text in ["", "a..b", "a.*.b", "a b", "exa$mple.com", &"x".repeat(64)] {
            assert!(Hostname::parse(text).is_err(), "{text}");
        }
    }
}
