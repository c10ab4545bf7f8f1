//! Where the other services are, from the environment variables that the sample uses.

/// Base URLs (`http://host:port`) of the services that others call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// The book's details.
    pub details: String,
    /// The book's reviews.
    pub reviews: String,
    /// The reviews' ratings.
    pub ratings: String,
}

impl Peers {
    /// Reads `NAME_HOSTNAME`, `NAME_SERVICE_PORT` and `SERVICES_DOMAIN`, as the Bookinfo sample does;
    /// the host names default to the services' names, the port to 9080.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Peers {
        let domain = match variable("SERVICES_DOMAIN").filter(|domain| !domain.is_empty()) {
            Some(domain) => format!(".{domain}"),
            None => String::new(),
        };
        let url = |name: &str| {
            let upper = name.to_uppercase();
            let host = variable(&format!("{upper}_HOSTNAME")).unwrap_or_else(|| name.to_owned());
            let port =
                variable(&format!("{upper}_SERVICE_PORT")).unwrap_or_else(|| "9080".to_owned());
            format!("http://{host}{domain}:{port}")
        };
        Peers {
            details: url("details"),
            reviews: url("reviews"),
            ratings: url("ratings"),
        }
    }
}
