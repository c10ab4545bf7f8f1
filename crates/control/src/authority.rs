//! The control plane's authority: from the secret `cacerts`, else a self-signed root kept in `istio-ca-secret`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use hawser_ca::{Authority, CaFiles};
use hawser_kube::{Client, Error, Event, Resource, Selection};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SECRETS: Resource = Resource::namespaced("", "v1", "Secret", "secrets");
/// The secret that an administrator makes (Istio: "plug in CA certificates").
pub const CACERTS: &str = "cacerts";
/// The secret that keeps a self-signed root.
pub const SELF_SIGNED: &str = "istio-ca-secret";
/// Lifetime of a self-signed root (Istio: ten years).
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The authority to begin with. A `cacerts` that is no good is an error that names the file: to fall back on a self-signed
/// root would quietly split the mesh.
pub async fn first(client: &Client, namespace: &str, trust_domain: &str) -> Result<Authority> {
    match client.get(&SECRETS, Some(namespace), CACERTS).await {
        Ok(secret) => load(&secret).with_context(|| format!("secret {namespace}/{CACERTS}")),
        Err(Error::NotFound(_)) => self_signed(client, namespace, trust_domain).await,
        Err(error) => Err(error).with_context(|| format!("reading secret {namespace}/{CACERTS}")),
    }
}

async fn self_signed(client: &Client, namespace: &str, trust_domain: &str) -> Result<Authority> {
    let place = || format!("secret {namespace}/{SELF_SIGNED}");
    // Another replica may be doing the same: whoever creates the secret first wins, the others read it.
    for _ in 0..3 {
        match client.get(&SECRETS, Some(namespace), SELF_SIGNED).await {
            Ok(secret) => return load(&secret).with_context(place),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error).with_context(place),
        }
        let key = rcgen::KeyPair::generate().context("generating a key")?;
        let key_pem = key.serialize_pem();
        let serial = uuid::Uuid::new_v4().as_u128();
        let (authority, cert_pem) = Authority::self_signed(
            key,
            trust_domain,
            OffsetDateTime::now_utc(),
            ROOT_LIFETIME,
            serial,
        )?;
        let secret = json!({
            "metadata": { "name": SELF_SIGNED, "namespace": namespace },
            "type": "istio.io/ca-root",
            "data": { "ca-cert.pem": STANDARD.encode(&cert_pem), "ca-key.pem": STANDARD.encode(&key_pem) },
        });
        match client.create(&SECRETS, &complete(secret)).await {
            Ok(_) => {
                tracing::info!("made a self-signed root, kept in {}", place());
                return Ok(authority);
            }
            Err(Error::AlreadyExists(_)) => {}
            Err(error) => return Err(error).with_context(place),
        }
    }
    bail!(
        "{}: created and deleted by someone again and again",
        place()
    )
}

fn complete(mut object: Value) -> Value {
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Secret");
    object
}

/// Reads either secret: `cacerts` has Istio's four files (or `tls.crt`, `tls.key`, `ca.crt`), the self-signed one two.
fn load(secret: &Value) -> Result<Authority> {
    let mut files = BTreeMap::new();
    for (name, value) in secret["data"].as_object().into_iter().flatten() {
        let bytes = STANDARD
            .decode(value.as_str().unwrap_or_default())
            .with_context(|| format!("{name}: not base64"))?;
        files.insert(
            name.as_str(),
            String::from_utf8(bytes).with_context(|| format!("{name}: not text"))?,
        );
    }
    let find = |names: &[&'static str]| names.iter().find_map(|n| files.get(n)).map(String::as_str);
    let need =
        |names: &[&'static str]| find(names).with_context(|| format!("{} is missing", names[0]));
    let ca_cert = need(&["ca-cert.pem", "tls.crt"])?;
    let files = CaFiles {
        ca_cert,
        ca_key: need(&["ca-key.pem", "tls.key"])?,
        // A self-signed authority is its own root.
        root_cert: find(&["root-cert.pem", "ca.crt"]).unwrap_or(ca_cert),
        cert_chain: find(&["cert-chain.pem"]).unwrap_or_default(),
    };
    Ok(Authority::load(files, OffsetDateTime::now_utc())?)
}

/// Follows `cacerts`: a good change takes effect at once, a bad one is reported and changes nothing.
pub async fn follow(
    client: Client,
    namespace: String,
    current: watch::Sender<Arc<Authority>>,
    drain: CancellationToken,
) {
    let selection =
        Selection::in_namespace(namespace.as_str()).fields(format!("metadata.name={CACERTS}"));
    let mut events = hawser_kube::watch(&client, SECRETS, selection);
    // What was loaded to begin with comes once more.
    let mut last = None;
    loop {
        let event = tokio::select! {
            () = drain.cancelled() => return,
            event = events.next() => event,
        };
        let objects = match event {
            None => return,
            Some(Event::Reset { objects, .. }) => objects,
            Some(Event::Apply { object, .. }) => vec![object],
            Some(_) => continue,
        };
        for secret in objects {
            let version = secret["data"].clone();
            if last.replace(version.clone()) == Some(version) {
                continue;
            }
            match load(&secret) {
                Ok(authority) if authority.roots() != current.borrow().roots() => {
                    tracing::warn!(
                        "secret {namespace}/{CACERTS} has other roots: they take effect for new certificates now"
                    );
                    current.send_replace(Arc::new(authority));
                }
                Ok(authority) => drop(current.send_replace(Arc::new(authority))),
                Err(error) => tracing::error!(
                    "secret {namespace}/{CACERTS} is refused, the authority before it stays: {error:#}"
                ),
            }
        }
    }
}
