//! Query parameters.

use super::path::percent_decode;

/// A parsed query string; the first of several parameters of a name counts, as in the real server.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Query {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (
                    percent_decode(&name.replace('+', " ")),
                    percent_decode(&value.replace('+', " ")),
                )
            });
        Query(pairs.collect())
    }

    /// The value of a parameter; empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Go's idea of a true parameter: anything but absent, `0` and `false`.
    pub fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
            && !matches!(self.get(name), "0" | "false" | "False" | "FALSE")
    }

    /// Whether the parameter is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }
}
