//! What the user does not want to hear: `CODE=OBJECT`, with wildcards in the object (istioctl's `--suppress`).

use crate::finding::Finding;
use std::str::FromStr;

/// A code, and the objects of which it is not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub code: String,
    /// An origin such as `Namespace foo`; `*` stands for anything.
    pub origin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no suppression: write CODE=OBJECT, such as \"IST0102=Namespace foo\" or \"IST0103=*\""
)]
pub struct BadSuppression(String);

impl FromStr for Suppression {
    type Err = BadSuppression;

    fn from_str(text: &str) -> Result<Self, BadSuppression> {
        match text.split_once('=') {
            Some((code, origin)) if !code.is_empty() && !origin.is_empty() => Ok(Suppression {
                code: code.trim().to_owned(),
                origin: origin.trim().to_owned(),
            }),
            _ => Err(BadSuppression(text.to_owned())),
        }
    }
}

impl Suppression {
    pub fn matches(&self, finding: &Finding) -> bool {
        self.code == finding.code
            && (glob(&self.origin, &finding.origin) || glob(&self.origin, &dotted(&finding.origin)))
    }
}

/// `Pod NAME.NAMESPACE`, as istioctl once called what is `Pod NAMESPACE/NAME` now, and its help still does.
fn dotted(origin: &str) -> String {
    match origin.split_once(' ') {
        Some((kind, name)) => match name.split_once('/') {
            Some((namespace, name)) => format!("{kind} {name}.{namespace}"),
            None => origin.to_owned(),
        },
        None => origin.to_owned(),
    }
}

/// Whether a text is what a pattern stands for, in which `*` is any number of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    // Each part as early as it goes: what is left for the next ones is longest then.
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::{dotted, glob};

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("Namespace foo", "Namespace foo", true),
            ("Namespace foo", "Namespace foos", false),
            ("*", "", true),
            ("Pod *", "Pod a/b", true),
            ("Pod */b-*-c", "Pod a/b-1-2-c", true),
            ("Pod */b-*-c", "Pod a/b-c", false),
            ("*a*a", "a", false),
            ("*a*a", "aa", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn names_of_either_form() {
        assert_eq!(dotted("Pod testing/mypod"), "Pod mypod.testing");
        assert_eq!(dotted("Namespace foo"), "Namespace foo");
        assert_eq!(dotted(""), "");
    }
}
