//! From headers to a user, and from a user and a request to yes or no.

use std::sync::Arc;

use http::{HeaderMap, Method, header};

use super::Call;
use crate::auth::{self, AUTHENTICATED, Attributes, User};
use crate::cluster::Cluster;
use crate::http::ResourcePath;
use crate::selector::FieldSelector;
use crate::status::ApiError;

/// Who is asking.
///
/// # Errors
/// 401 for credentials that are not valid.
pub fn authenticate(
    cluster: &Cluster,
    certificate: Option<&[u8]>,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let bearer = authorization
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if let Some(user) = certificate.and_then(auth::certificate_user) {
        return Ok(user);
    }
    let Some((_, token)) = bearer else {
        return Ok(User::anonymous());
    };
    let token = token.trim();
    if token.is_empty() {
        return Ok(User::anonymous());
    }
    if let Some(user) = cluster.authenticator.fixed(token) {
        return Ok(user);
    }
    auth::account(&cluster.store, &cluster.issuer, token, cluster.unix_now())
        .filter(|account| {
            account
                .audiences
                .iter()
                .any(|audience| cluster.audiences.contains(audience))
        })
        .map(|account| account.user)
        .ok_or_else(ApiError::unauthorized)
}

/// Acting as somebody else, for who may.
///
/// # Errors
/// 403 when the caller may not.
pub fn impersonate(cluster: &Cluster, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let value = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let name = value("impersonate-user");
    let groups: Vec<&str> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let extra = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix("impersonate-extra-")?;
        Some((key.to_owned(), value.to_str().ok()?.to_owned()))
    });
    let extra: Vec<(String, String)> = extra.collect();
    let uid = value("impersonate-uid");
    if name.is_empty() {
        if groups.is_empty() && extra.is_empty() && uid.is_empty() {
            return Ok(user);
        }
        return Err(ApiError::internal(
            "requested impersonation of groups without a user",
        ));
    }
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            verb: "impersonate",
            group,
            resource,
            subresource,
            namespace,
            name,
            path: None,
        };
        if cluster.policy().allows(&user, &attributes).is_some() {
            Ok(())
        } else {
            Err(ApiError::forbidden_resource(
                group,
                resource,
                name,
                &attributes.refusal(&user),
            ))
        }
    };
    let mut other = User {
        username: name.into(),
        uid: uid.into(),
        ..User::default()
    };
    match name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, account)) => {
            may("", "serviceaccounts", "", namespace, account)?;
            if groups.is_empty() {
                other.groups = vec![
                    "system:serviceaccounts".into(),
                    format!("system:serviceaccounts:{namespace}"),
                ];
            }
        }
        None => may("", "users", "", "", name)?,
    }
    for group in groups {
        may("", "groups", "", "", group)?;
        other.groups.push(group.into());
    }
    if !uid.is_empty() {
        may("authentication.k8s.io", "uids", "", "", uid)?;
    }
    for (key, value) in extra {
        may("authentication.k8s.io", "userextras", &key, "", &value)?;
        other.extra.entry(key).or_default().push(value);
    }
    if name != "system:anonymous" && !other.in_group(AUTHENTICATED) {
        other.groups.push(AUTHENTICATED.into());
    }
    Ok(other)
}

/// The verb of a request to objects.
fn verb(call: &Call, path: &ResourcePath) -> &'static str {
    let collection = path.name.is_empty();
    match call.method {
        Method::GET | Method::HEAD
            if path.watch_prefix || (call.query.flag("watch") && path.subresource.is_empty()) =>
        {
            "watch"
        }
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// May the caller do this to these objects?
///
/// # Errors
/// 403 with the sentence that says what is missing.
pub fn resource(cluster: &Arc<Cluster>, call: &Call, path: &ResourcePath) -> Result<(), ApiError> {
    let verb = verb(call, path);
    let mut name = path.name.clone();
    if name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection") {
        // A list of the one object that a selector names is judged as that object.
        let catalog = cluster.catalog.load();
        if let Some(kind) = catalog.find(&path.group, &path.version, &path.plural)
            && let Ok(fields) = FieldSelector::parse(call.query.get("fieldSelector"), kind)
        {
            name = fields.pinned_name().unwrap_or_default().to_owned();
        }
    }
    let attributes = Attributes {
        verb,
        group: &path.group,
        resource: &path.plural,
        subresource: &path.subresource,
        namespace: &path.namespace,
        name: &name,
        path: None,
    };
    if cluster.policy().allows(&call.user, &attributes).is_some() {
        return Ok(());
    }
    Err(ApiError::forbidden_resource(
        &path.group,
        &path.plural,
        &path.name,
        &attributes.refusal(&call.user),
    ))
}

/// May the caller use this path?
///
/// # Errors
/// 403 with the sentence that says what is missing.
pub fn path(cluster: &Arc<Cluster>, call: &Call) -> Result<(), ApiError> {
    let verb = call.method.as_str().to_lowercase();
    let attributes = Attributes {
        verb: &verb,
        path: Some(&call.path),
        ..Attributes::default()
    };
    if cluster.policy().allows(&call.user, &attributes).is_some() {
        return Ok(());
    }
    let mut error = ApiError::new(
        403,
        "Forbidden",
        format!("forbidden: {}", attributes.refusal(&call.user)),
    );
    error.details = serde_json::json!({});
    Err(error)
}
