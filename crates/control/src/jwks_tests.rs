//! Against servers of the test's own on loopback.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use super::*;

const KEYS: &str = r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#;

/// A server of documents; its base URI.
async fn server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let discovery =
        |to: String| move || async move { format!(r#"{{"issuer":"x","jwks_uri":"{to}"}}"#) };
    let router = Router::new()
        .route("/keys", get(|| async { KEYS }))
        .route("/text", get(|| async { "no keys here" }))
        .route("/list", get(|| async { "[]" }))
        .route(
            "/large",
            get(|| async { format!(r#"{{"keys":["{}"]}}"#, "k".repeat(LIMIT)) }),
        )
        .route("/gone", get(|| async { StatusCode::GONE }))
        .route("/moved", get(|| async { Redirect::temporary("/keys") }))
        .route("/round", get(|| async { Redirect::temporary("/round") }))
        .route(
            "/file",
            get(|| async {
                (
                    StatusCode::FOUND,
                    [(header::LOCATION, "file:///etc/passwd")],
                )
                    .into_response()
            }),
        )
        .route(
            "/a/.well-known/openid-configuration",
            get(discovery(format!("{base}/keys"))),
        )
        .route(
            "/b/.well-known/openid-configuration",
            get(discovery("ftp://127.0.0.1/keys".to_owned())),
        )
        .route(
            "/c/.well-known/openid-configuration",
            get(|| async { "{}" }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

fn fetcher(blocked: &[&str]) -> Fetcher {
    let blocked = blocked.iter().map(|net| net.parse().unwrap()).collect();
    Fetcher::new(blocked, &mut Registry::default()).unwrap()
}

async fn check(name: &str, fetcher: &Fetcher, uri: &str, expected: Result<&str, &str>) {
    match (fetcher.fetch(uri).await, expected) {
        (Ok(document), Ok(wanted)) => assert_eq!(document, wanted, "{name}"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
        (got, _) => panic!("{name}: {got:?}"),
    }
}

#[tokio::test]
async fn keys_are_fetched_and_nothing_else_is() {
    let base = server().await;
    let open = fetcher(&[]);
    for (path, expected) in [
        ("/keys", Ok(KEYS)),
        ("/moved", Ok(KEYS)),
        ("/a/.well-known/openid-configuration", Ok(KEYS)),
        ("/text", Err("not JSON")),
        ("/list", Err("no list of keys")),
        ("/large", Err("more than 1048576 bytes")),
        ("/gone", Err("410")),
        ("/round", Err("not followed")),
        ("/file", Err("file:///etc/passwd")),
        (
            "/b/.well-known/openid-configuration",
            Err("ftp://127.0.0.1/keys"),
        ),
        ("/c/.well-known/openid-configuration", Err("no jwks_uri")),
    ] {
        check(path, &open, &format!("{base}{path}"), expected).await;
    }
    check(
        "no URI",
        &open,
        "keys of mine",
        Err("not an http or https URI"),
    )
    .await;
    assert_eq!((open.fetched.get(), open.failed.get()), (3, 9));
}

#[tokio::test]
async fn blocked_addresses_are_not_connected_to() {
    let base = server().await;
    let closed = fetcher(&["127.0.0.0/8", "::1/128"]);
    let by_name = base.replace("127.0.0.1", "localhost");
    check(
        "an address",
        &closed,
        &format!("{base}/keys"),
        Err("blocked address"),
    )
    .await;
    check(
        "a name",
        &closed,
        &format!("{by_name}/keys"),
        Err("blocked address"),
    )
    .await;
    let elsewhere = fetcher(&["169.254.0.0/16"]);
    check("not blocked", &elsewhere, &format!("{base}/keys"), Ok(KEYS)).await;
}

#[test]
fn https_never_leads_to_http() {
    let from: Uri = "https://issuer.example/x".parse().unwrap();
    for (to, expected) in [
        ("/keys", Some("https://issuer.example/keys")),
        (
            "https://other.example/keys",
            Some("https://other.example/keys"),
        ),
        ("http://issuer.example/keys", None),
        ("//other.example/keys", None),
        ("keys", None),
    ] {
        assert_eq!(
            towards(&from, to).ok().map(|u| u.to_string()).as_deref(),
            expected,
            "{to}"
        );
    }
}

#[test]
fn tokens_are_refused_until_their_keys_are_there() {
    let written = serde_json::json!({
        "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
        "metadata": { "name": "tokens", "namespace": "a" },
        "spec": { "jwtRules": [{ "issuer": "https://issuer.example", "jwksUri": "https://issuer.example/keys" }] },
    });
    let node = hawser_proto::envoy::config::core::v3::Node {
        id: "sidecar~10.0.0.1~web.a~a.svc.cluster.local".to_owned(),
        metadata: Some(Default::default()),
        ..Default::default()
    };
    let proxy = hawser_translate::node::proxy(&node).unwrap();
    let cluster = hawser_model::ClusterId::new("Kubernetes");
    let settings = hawser_lower::Settings::new(cluster.clone());
    let resource = hawser_api::parse(written).unwrap().resource;
    let mut lowerer = hawser_lower::Lowerer::from_objects(settings, [(cluster, resource)]);
    let uri = "https://issuer.example/keys".to_owned();
    assert_eq!(lowerer.keys_wanted(), [uri.clone()].into());
    for (name, fetched, key) in [
        ("not fetched yet", None, "unavailable"),
        (
            "not to be had",
            Some(Err("no answer".to_owned())),
            "unavailable",
        ),
        ("fetched", Some(Ok(KEYS.to_owned())), "AAAA"),
    ] {
        lowerer.set_keys(fetched.into_iter().map(|f| (uri.clone(), f)).collect());
        let (resources, _) = hawser_translate::translate(&lowerer.snapshot(), &proxy);
        let listener = hawser_proto::json::print_any(&resources.listeners["virtualInbound"].any)
            .unwrap()
            .to_string();
        assert!(
            listener.contains("jwt_authn") && listener.contains(key),
            "{name}: {listener}"
        );
    }
}
