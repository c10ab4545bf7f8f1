//! Certificates and roots from the cluster's Secrets, as gateways ask for them: which may be given to whom, and as what.
//!
//! Names are Istio's: `kubernetes://[NAMESPACE/]NAME`, `kubernetes-gateway://NAMESPACE/NAME` of the Gateway API,
//! `configmap://NAMESPACE/NAME` for roots; `-cacert` at the end asks for the roots that clients are checked by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use hawser_model::filter::NamedPatch;
use hawser_model::{Proxy, ProxyKind, Snapshot, Str};
use hawser_proto::any;
use hawser_proto::envoy::config::core::v3::{DataSource, data_source};
use hawser_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use hawser_translate::Translator;

use crate::kind::Kind;
use crate::source::{Given, Resource, Source};

/// What asks for roots, at the end of a name.
const ROOTS: &str = "-cacert";

/// Where something is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// A ConfigMap rather than a Secret.
    pub config_map: bool,
    /// Its namespace.
    pub namespace: Str,
    /// Its name.
    pub name: Str,
}

/// What is kept there. The texts are PEM; what is not there is empty.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Certificate and those that lead to its root.
    pub certificate: Vec<u8>,
    /// The certificate's private key.
    pub key: Vec<u8>,
    /// OCSP response about the certificate, DER.
    pub staple: Vec<u8>,
    /// Roots for clients' certificates.
    pub roots: Vec<u8>,
    /// Revocation list of those roots.
    pub revoked: Vec<u8>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

impl Contents {
    /// Of an object's data: `tls.crt`, `tls.key`, `ca.crt` or `cert`, `key`, `cacert`.
    pub fn of(data: &BTreeMap<String, Vec<u8>>) -> Self {
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|n| data.get(*n).filter(|v| !v.is_empty()))
                .cloned()
                .unwrap_or_default()
        };
        Self {
            certificate: first(&["tls.crt", "cert"]),
            key: first(&["tls.key", "key"]),
            staple: first(&["tls.ocsp-staple"]),
            roots: first(&["cacert", "ca.crt"]),
            revoked: first(&["crl", "ca.crl"]),
        }
    }
}

/// What Gateways and DestinationRules refer to, as far as it matters for what may be given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct References {
    /// Names of credentials, as proxies ask for them, without `-cacert`.
    named: BTreeSet<Str>,
    /// Those of them that stand for roots, and nothing else.
    roots: BTreeSet<Str>,
    /// Names that proxies of a namespace may have although they are of another: Gateways of the Gateway API have
    /// ReferenceGrants for them.
    granted: BTreeSet<(Str, Str)>,
    /// Roots in ConfigMaps that rules of the ConfigMaps' own namespaces refer to: every proxy of the mesh checks the
    /// servers of those namespaces by them, and they are no secret.
    public: BTreeSet<Str>,
}

impl References {
    /// Those of a mesh.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut out = Self::default();
        for gateway in snapshot.gateways.iter() {
            for tls in gateway.servers.iter().filter_map(|s| s.tls.as_ref()) {
                let names = tls.credential_names.iter().map(|n| full(n));
                let roots = Some(&tls.ca_credential_name)
                    .filter(|n| !n.is_empty())
                    .map(|n| full(n));
                // Gateways of the Gateway API ask for roots by the name that ends like that.
                let roots = roots.map(|n| match n.strip_suffix(ROOTS) {
                    Some(base) if !gateway.services.is_empty() => base.into(),
                    _ => n,
                });
                // Only they name services, and lowering has left out what is not granted.
                for to in gateway.services.iter().map(|s| &s.namespace) {
                    let all = names.clone().chain(roots.clone());
                    out.granted.extend(all.map(|n| (to.clone(), n)));
                }
                out.named.extend(names);
                out.roots.extend(roots);
            }
        }
        for rule in snapshot.rules.iter() {
            let policies = rule
                .policy
                .iter()
                .chain(rule.subsets.iter().filter_map(|s| s.policy.as_ref()));
            let tls = policies.flat_map(|p| {
                p.tls
                    .iter()
                    .chain(p.ports.values().filter_map(|port| port.tls.as_ref()))
            });
            let names: BTreeSet<Str> = tls
                .filter(|t| !t.credential_name.is_empty())
                .map(|t| full(&t.credential_name))
                .collect();
            let own = format!("configmap://{}/", rule.meta.namespace);
            let public = names.iter().filter(|n| n.starts_with(&own));
            out.public.extend(public.cloned());
            out.named.extend(names);
        }
        out.roots.retain(|n| !out.named.contains(n));
        out.named.extend(out.roots.iter().cloned());
        out
    }

    /// True of roots that every proxy may have, sidecars too.
    pub fn is_public(&self, name: &str) -> bool {
        self.public
            .contains(name.strip_suffix(ROOTS).unwrap_or(name))
    }

    /// Where to look, in this order, for what a proxy of a namespace calls by this name; nothing if it may not have it.
    pub fn places(&self, namespace: &str, name: &str) -> Vec<Key> {
        let base = name.strip_suffix(ROOTS).unwrap_or(name);
        // A name may end like that by itself.
        let Some(named) = [base, name].into_iter().find(|n| self.named.contains(*n)) else {
            return Vec::new();
        };
        let Some((scheme, path)) = named.split_once("://") else {
            return Vec::new();
        };
        let (of, object) = match path.split_once('/') {
            Some((of, object)) => (of, object),
            None => (namespace, path),
        };
        let granted = || {
            self.granted
                .iter()
                .any(|(to, what)| &**to == namespace && &**what == named)
        };
        if of != namespace && !granted() && !self.public.contains(named) {
            return Vec::new();
        }
        let key = |name: &str| Key {
            config_map: scheme == "configmap",
            namespace: of.into(),
            name: name.into(),
        };
        match (scheme, name == named) {
            ("kubernetes" | "kubernetes-gateway" | "configmap", true) => vec![key(object)],
            // Roots may be kept beside the certificate, or in an object of their own.
            ("kubernetes" | "kubernetes-gateway" | "configmap", false) => {
                vec![key(&format!("{object}{ROOTS}")), key(object)]
            }
            _ => Vec::new(),
        }
    }
}

fn full(name: &str) -> Str {
    match name.contains("://") {
        true => name.into(),
        false => format!("kubernetes://{name}").into(),
    }
}

/// What is known of credentials that proxies have asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Credentials {
    /// What the mesh refers to.
    pub references: References,
    /// What was found.
    pub contents: BTreeMap<Key, Arc<Contents>>,
    /// Service accounts (namespace and name) that may read the Secrets of their namespace.
    pub readers: BTreeSet<(Str, Str)>,
}

impl Credentials {
    /// What a proxy calls by this name, if it may have it and it is there. The proxy's identity must be a verified one.
    pub fn resource(&self, proxy: &Proxy, name: &Str) -> Option<Resource> {
        let identity = proxy.identity.as_ref()?;
        let reader = || {
            let account = (identity.namespace.clone(), identity.service_account.clone());
            proxy.kind == ProxyKind::Router && self.readers.contains(&account)
        };
        if !self.references.is_public(name) && !reader() {
            return None;
        }
        let places = self.references.places(&identity.namespace, name);
        let found = places
            .iter()
            .filter_map(|key| Some((key, self.contents.get(key)?)));
        let roots = name.ends_with(ROOTS) || self.references.roots.contains(name);
        let content = found
            .filter_map(|(key, c)| wanted_of(key, c, roots))
            .next()?;
        let any = any(&Secret {
            name: name.to_string(),
            r#type: Some(content),
        });
        let mut hasher = DefaultHasher::new();
        hasher.write(&any.value);
        Some(Resource {
            name: name.clone(),
            version: hasher.finish(),
            any: Arc::new(any),
        })
    }
}

fn wanted_of(key: &Key, contents: &Contents, roots: bool) -> Option<secret::Type> {
    let has_certificate = !contents.certificate.is_empty() && !contents.key.is_empty();
    // An object that holds nothing but roots is asked for them by its own name.
    match roots || key.config_map || !has_certificate {
        true if contents.roots.is_empty() => None,
        true => Some(secret::Type::ValidationContext(
            CertificateValidationContext {
                trusted_ca: inline(&contents.roots),
                crl: Some(&contents.revoked)
                    .filter(|c| !c.is_empty())
                    .and_then(|c| inline(c)),
                ..Default::default()
            },
        )),
        false => Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(&contents.certificate),
            private_key: inline(&contents.key),
            ocsp_staple: Some(&contents.staple)
                .filter(|s| !s.is_empty())
                .and_then(|s| inline(s)),
            ..Default::default()
        })),
    }
}

fn inline(bytes: &[u8]) -> Option<DataSource> {
    let specifier = Some(data_source::Specifier::InlineBytes(bytes.to_vec()));
    Some(DataSource {
        specifier,
        ..DataSource::default()
    })
}

/// What a stream asks for, for whoever fetches it.
#[derive(Clone, Debug)]
pub enum Demand {
    /// All that it asks for now.
    Wanted {
        /// The stream.
        stream: u64,
        /// Namespace and name of the proxy's service account, verified.
        account: (Str, Str),
        /// The names.
        names: BTreeSet<Str>,
    },
    /// The stream has ended.
    Gone {
        /// The stream.
        stream: u64,
    },
}

/// A translation, and credentials beside it, which no snapshot holds.
pub struct Served {
    /// Everything else.
    pub translator: Arc<Translator>,
    /// Credentials.
    pub credentials: Arc<Credentials>,
}

impl Source for Served {
    fn resources(&self, proxy: &Proxy, kind: Kind, names: Option<&BTreeSet<Str>>) -> Given {
        match (kind, names) {
            (Kind::Secret, Some(names)) => {
                let found = names.iter().filter_map(|n| {
                    Some((n.clone(), Arc::new(self.credentials.resource(proxy, n)?)))
                });
                Given::own(found.collect())
            }
            _ => self.translator.resources(proxy, kind, names),
        }
    }

    fn suspect(&self, proxy: &Proxy, kind: Kind, cleared: &[NamedPatch]) -> Option<NamedPatch> {
        self.translator.suspect(proxy, kind, cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(named: &[&str], granted: &[(&str, &str)]) -> References {
        References {
            named: named.iter().map(|n| Str::from(*n)).collect(),
            roots: named
                .iter()
                .filter(|n| n.ends_with("/both"))
                .map(|n| Str::from(*n))
                .collect(),
            granted: granted
                .iter()
                .map(|(to, what)| (Str::from(*to), Str::from(*what)))
                .collect(),
            public: named
                .iter()
                .filter(|n| n.ends_with("/public"))
                .map(|n| Str::from(*n))
                .collect(),
        }
    }

    fn check(references: &References, (namespace, name): (&str, &str), expected: &[&str]) {
        let places = references.places(namespace, name);
        let shown: Vec<String> = places
            .iter()
            .map(|k| format!("{}/{}", k.namespace, k.name))
            .collect();
        assert_eq!(shown, expected, "{name} for {namespace}");
    }

    #[test]
    fn proxies_get_what_is_named_and_theirs() {
        let r = references(
            &[
                "kubernetes://web",
                "kubernetes://b/other",
                "kubernetes-gateway://b/granted",
                "file://x",
                "kubernetes://odd-cacert",
                "configmap://b/public",
                "configmap://b/private",
            ],
            &[("a", "kubernetes-gateway://b/granted")],
        );
        check(&r, ("a", "kubernetes://web"), &["a/web"]);
        check(
            &r,
            ("a", "kubernetes://web-cacert"),
            &["a/web-cacert", "a/web"],
        );
        check(&r, ("a", "kubernetes://odd-cacert"), &["a/odd-cacert"]);
        check(&r, ("a", "kubernetes://unnamed"), &[]);
        check(&r, ("a", "kubernetes://b/other"), &[]);
        check(&r, ("b", "kubernetes://b/other"), &["b/other"]);
        check(&r, ("a", "kubernetes-gateway://b/granted"), &["b/granted"]);
        check(&r, ("c", "kubernetes-gateway://b/granted"), &[]);
        check(&r, ("a", "file://x"), &[]);
        check(
            &r,
            ("a", "configmap://b/public-cacert"),
            &["b/public-cacert", "b/public"],
        );
        check(&r, ("a", "configmap://b/private-cacert"), &[]);
    }

    fn proxy(kind: &str, account: &str) -> Proxy {
        let text = |t: &str| hawser_proto::google::protobuf::Value {
            kind: Some(hawser_proto::google::protobuf::value::Kind::StringValue(
                t.to_owned(),
            )),
        };
        let fields = [
            ("SERVICE_ACCOUNT".to_owned(), text(account)),
            ("NAMESPACE".to_owned(), text("a")),
        ];
        let node = hawser_proto::envoy::config::core::v3::Node {
            id: format!("{kind}~10.0.0.1~gateway.a~a.svc.cluster.local"),
            metadata: Some(hawser_proto::google::protobuf::Struct {
                fields: fields.into(),
            }),
            ..Default::default()
        };
        let mut proxy = hawser_translate::node::proxy(&node).unwrap();
        proxy.identity =
            hawser_model::Identity::parse(&format!("spiffe://cluster.local/ns/a/sa/{account}"));
        proxy
    }

    #[test]
    fn routers_that_may_read_secrets_get_certificates_and_roots() {
        let data = |pairs: &[(&str, &str)]| {
            let data = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec()))
                .collect();
            Arc::new(Contents::of(&data))
        };
        let key = |name: &str| Key {
            config_map: false,
            namespace: "a".into(),
            name: name.into(),
        };
        let credentials = Credentials {
            references: references(
                &[
                    "kubernetes://web",
                    "kubernetes://roots",
                    "kubernetes://late",
                    "kubernetes://a/both",
                    "configmap://b/public",
                ],
                &[],
            ),
            contents: [
                (
                    key("web"),
                    data(&[("tls.crt", "C"), ("tls.key", "hunter2"), ("ca.crt", "R")]),
                ),
                (
                    key("both"),
                    data(&[("tls.crt", "C"), ("tls.key", "hunter2"), ("ca.crt", "R")]),
                ),
                (key("roots"), data(&[("cacert", "R")])),
                (
                    Key {
                        config_map: true,
                        namespace: "b".into(),
                        name: "public".into(),
                    },
                    data(&[("ca.crt", "R")]),
                ),
            ]
            .into(),
            readers: [("a".into(), "gateway".into())].into(),
        };
        let router = proxy("router", "gateway");
        let given = |proxy: &Proxy, name: &str| {
            let resource = credentials.resource(proxy, &name.into())?;
            let printed = hawser_proto::json::print_any(&resource.any).unwrap();
            let kinds = ["tls_certificate", "validation_context"];
            kinds.into_iter().find(|k| printed.get(*k).is_some())
        };
        assert_eq!(given(&router, "kubernetes://web"), Some("tls_certificate"));
        assert_eq!(
            given(&router, "kubernetes://web-cacert"),
            Some("validation_context")
        );
        assert_eq!(
            given(&router, "kubernetes://roots"),
            Some("validation_context")
        );
        assert_eq!(
            given(&router, "kubernetes://a/both"),
            Some("validation_context"),
            "named as roots alone"
        );
        assert_eq!(given(&router, "kubernetes://late"), None);
        assert_eq!(
            given(&proxy("router", "other"), "kubernetes://web"),
            None,
            "an account that may not read Secrets"
        );
        assert_eq!(
            given(&proxy("sidecar", "gateway"), "kubernetes://web"),
            None,
            "a sidecar"
        );
        assert_eq!(
            given(&proxy("sidecar", "other"), "configmap://b/public-cacert"),
            Some("validation_context"),
            "roots that are no secret"
        );
        assert!(
            !format!("{credentials:?}").contains("104, 117"),
            "keys are never shown"
        );
    }
}
