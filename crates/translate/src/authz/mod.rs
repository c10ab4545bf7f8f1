//! Who may call what: AuthorizationPolicies and RequestAuthentications as Envoy filters.

pub(crate) mod claims;
