//! Authentication: bearer tokens (fixed ones and service accounts') and client certificates.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::issuer::{Claims, Issuer, LEGACY_ISSUER};
use super::{AUTHENTICATED, User};
use crate::store::{Key, ResourceId, Store};

/// A bearer token that means a fixed user.
#[derive(Debug, Clone)]
pub struct StaticToken {
    pub token: String,
    pub user: User,
}

/// Reads kube-apiserver's token file: lines of `token,user,uid[,"group1,group2"]`.
///
/// # Errors
/// Names the line that is not of this form.
pub fn parse_token_file(text: &str) -> Result<Vec<StaticToken>, String> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let mut parts = line.splitn(4, ',').map(str::trim);
        let (Some(token), Some(username), Some(uid)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("line {}: want token,user,uid[,\"groups\"]", at + 1));
        };
        if token.is_empty() || username.is_empty() {
            return Err(format!(
                "line {}: the token and the user must not be empty",
                at + 1
            ));
        }
        let groups = parts.next().unwrap_or_default().trim_matches('"');
        let groups = groups
            .split(',')
            .map(str::trim)
            .filter(|group| !group.is_empty())
            .map(str::to_owned);
        let user = User {
            username: username.into(),
            uid: uid.into(),
            groups: groups.collect(),
            extra: BTreeMap::new(),
        };
        tokens.push(StaticToken {
            token: token.into(),
            user,
        });
    }
    Ok(tokens)
}

/// Knows the fixed tokens of a cluster.
pub struct Authenticator {
    /// Digests, so that comparing takes the same time wherever tokens differ.
    fixed: Vec<([u8; 32], User)>,
}

/// A valid service account token: who it is, and for which audiences.
pub struct AccountToken {
    pub user: User,
    pub audiences: Vec<String>,
}

impl Authenticator {
    pub fn new(tokens: Vec<StaticToken>) -> Authenticator {
        let fixed = tokens
            .into_iter()
            .map(|token| (Sha256::digest(&token.token).into(), token.user))
            .collect();
        Authenticator { fixed }
    }

    /// The user of a fixed token.
    pub fn fixed(&self, token: &str) -> Option<User> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (known, user) in &self.fixed {
            if constant_time::verify_slices_are_equal(known, &digest).is_ok() {
                found = Some(user);
            }
        }
        found.cloned().map(|mut user| {
            user.groups.push(AUTHENTICATED.into());
            user
        })
    }
}

/// Checks a service account token: signature, time, and that what it is bound to still exists.
pub fn account(store: &Store, issuer: &Issuer, token: &str, now: u64) -> Option<AccountToken> {
    let claims = issuer.verify(token)?;
    if claims["iss"] == LEGACY_ISSUER {
        return legacy(store, &claims);
    }
    let claims: Claims = serde_json::from_value(claims).ok()?;
    // The real server allows a minute for clocks that differ.
    if claims.iss != Issuer::URL || now > claims.exp || now + 60 < claims.nbf {
        return None;
    }
    let bound = &claims.kubernetes;
    let alive = |resource: &str, namespace: &str, name: &str, uid: &str| {
        store
            .get(&ResourceId::new(resource, ""), &Key::new(namespace, name))
            .is_some_and(|object| *object.uid == *uid)
    };
    let account = &bound.serviceaccount;
    if !alive(
        "serviceaccounts",
        &bound.namespace,
        &account.name,
        &account.uid,
    ) {
        return None;
    }
    for (resource, object) in [("pods", &bound.pod), ("secrets", &bound.secret)] {
        if let Some(object) = object
            && !alive(resource, &bound.namespace, &object.name, &object.uid)
        {
            return None;
        }
    }
    let mut user = account_user(&bound.namespace, &account.name, &account.uid);
    let mut extra = |name: &str, value: String| {
        user.extra
            .insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    };
    extra("credential-id", format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        extra("pod-name", pod.name.clone());
        extra("pod-uid", pod.uid.clone());
    }
    if let Some(node) = &bound.node {
        extra("node-name", node.name.clone());
        extra("node-uid", node.uid.clone());
    }
    Some(AccountToken {
        user,
        audiences: claims.aud,
    })
}

fn legacy(store: &Store, claims: &Value) -> Option<AccountToken> {
    let claim = |name: &str| claims[format!("kubernetes.io/serviceaccount/{name}")].as_str();
    let namespace = claim("namespace")?;
    let (account, uid) = (
        claim("service-account.name")?,
        claim("service-account.uid")?,
    );
    let found = store.get(
        &ResourceId::new("serviceaccounts", ""),
        &Key::new(namespace, account),
    )?;
    let secret = store.get(
        &ResourceId::new("secrets", ""),
        &Key::new(namespace, claim("secret.name")?),
    )?;
    if *found.uid != *uid || secret.deleting {
        return None;
    }
    Some(AccountToken {
        user: account_user(namespace, account, uid),
        audiences: vec![Issuer::URL.to_owned()],
    })
}

fn account_user(namespace: &str, name: &str, uid: &str) -> User {
    User {
        username: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.into(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED.into(),
        ],
        extra: BTreeMap::new(),
    }
}

/// The user that a verified client certificate names: CN is the name, each O a group.
pub fn certificate_user(der: &[u8]) -> Option<User> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let username = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned)
        .collect();
    groups.push(AUTHENTICATED.into());
    let digest = Sha256::digest(der);
    let id = digest
        .iter()
        .fold(String::from("X509SHA256="), |text, byte| {
            format!("{text}{byte:02x}")
        });
    let extra = BTreeMap::from([(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![id],
    )]);
    Some(User {
        username,
        uid: String::new(),
        groups,
        extra,
    })
}
