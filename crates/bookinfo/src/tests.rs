//! Runs the services on loopback and asks them as a browser or a peer would.

use axum::Router;
use http::{HeaderMap, StatusCode, header};
use std::time::Duration;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::peers::Peers;
use crate::{catalogue, greeter, page, productpage, propagate, reviews, session};

/// Serves on a free loopback port for the rest of the test; the base URL.
async fn start(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        axum::serve(listener, crate::with_common(router))
            .await
            .unwrap()
    });
    url
}

/// A base URL at which nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn get(url: &str, headers: &[(&'static str, &str)]) -> (StatusCode, String) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let answer = Client::new()
        .get(url, &map, Duration::from_secs(10))
        .await
        .expect("an answer");
    (
        answer.status,
        String::from_utf8(answer.body.to_vec()).unwrap(),
    )
}

/// Asserts that a text has all of `has` and none of `lacks`.
fn check(name: &str, text: &str, has: &[&str], lacks: &[&str]) {
    for part in has {
        assert!(text.contains(part), "{name}: no {part:?} in {text}");
    }
    for part in lacks {
        assert!(!text.contains(part), "{name}: unwanted {part:?} in {text}");
    }
}

fn peers(details: &str, reviews: &str, ratings: &str) -> Peers {
    Peers {
        details: details.to_owned(),
        reviews: reviews.to_owned(),
        ratings: ratings.to_owned(),
    }
}

#[tokio::test]
async fn reviews_answer_one_line_by_version() {
    let ratings = start(catalogue::ratings()).await;
    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        (
            "v1",
            &ratings,
            &["\"reviewer\": \"Reviewer1\""],
            &["rating\"", "stars", "color"],
        ),
        (
            "v2",
            &ratings,
            &[
                "\"rating\": {\"stars\": 5, \"color\": \"black\"}",
                "\"stars\": 4",
            ],
            &["red"],
        ),
        (
            "v3",
            &ratings,
            &["\"rating\": {\"stars\": 5, \"color\": \"red\"}"],
            &["black"],
        ),
        (
            "v3",
            "http://127.0.0.1:1",
            &["\"rating\": {\"error\": "],
            &["stars"],
        ),
    ];
    for (version, ratings, has, lacks) in cases {
        let url = start(reviews::router(
            peers("", "", ratings),
            version,
            "pod".into(),
            None,
        ))
        .await;
        let (status, body) = get(&format!("{url}/reviews/0"), &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body.lines().count(), 1, "{version}: {body}");
        check(version, &body, has, lacks);
    }
}

#[tokio::test]
async fn product_page_shows_what_the_services_say() {
    let details = start(catalogue::details()).await;
    let ratings = start(catalogue::ratings()).await;
    let all = peers(&details, "", &ratings);
    let v1 = start(reviews::router(all.clone(), "v1", "pod-1".into(), None)).await;
    let v3 = start(reviews::router(
        all.clone(),
        "v3",
        "pod-3".into(),
        Some("cluster2".into()),
    ))
    .await;
    let none = nowhere().await;
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], &'a [&'a str]);
    let cases: &[Case] = &[
        (
            "v1",
            &details,
            &v1,
            &["1234567890", "Reviewer2", "pod-1", "Sign in"],
            &["★", "trouble"],
        ),
        (
            "v3",
            &details,
            &v3,
            &["color=\"red\"", "★★★★★", "★★★★☆", "cluster2"],
            &["trouble"],
        ),
        (
            "no reviews",
            &details,
            &none,
            &["reviews are currently unavailable"],
            &["Reviewer1", "details are"],
        ),
        (
            "no details",
            &none,
            &v1,
            &["details are currently unavailable", "Reviewer1"],
            &["reviews are"],
        ),
    ];
    for (name, details, reviews, has, lacks) in cases {
        let url = start(productpage::router(peers(details, reviews, &ratings))).await;
        let (status, body) = get(&format!("{url}/productpage"), &[]).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        check(name, &body, has, lacks);
    }
}

/// A reviews service that answers with the headers it was sent.
fn mirror() -> Router {
    Router::new().fallback(|headers: HeaderMap| async move {
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap_or("?")));
        axum::Json(lines.collect::<Vec<_>>())
    })
}

#[tokio::test]
async fn headers_are_handed_on_and_the_user_comes_from_the_session() {
    let mirror = start(mirror()).await;
    let url = start(productpage::router(peers(&mirror, &mirror, &mirror))).await;
    let cookie = session::login("jason").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    type Case<'a> = (
        &'a str,
        &'a [(&'static str, &'a str)],
        &'a [&'a str],
        &'a [&'a str],
    );
    let cases: &[Case] = &[
        (
            "tracing",
            &[("x-request-id", "r1"), ("traceparent", "00-1"), ("b3", "0")],
            &["x-request-id=r1", "traceparent=00-1", "b3=0"],
            &["end-user"],
        ),
        (
            "session",
            &[("cookie", cookie)],
            &["end-user=jason", "cookie=session="],
            &[],
        ),
        (
            "a user who is only claimed",
            &[("end-user", "jason")],
            &[],
            &["end-user"],
        ),
        (
            "a cookie that is not ours",
            &[("cookie", "session=%%%")],
            &[],
            &["end-user"],
        ),
    ];
    for (name, headers, has, lacks) in cases {
        for path in [
            "/api/v1/products/0/reviews",
            "/api/v1/products/0",
            "/api/v1/products/0/ratings",
        ] {
            let (status, body) = get(&format!("{url}{path}"), headers).await;
            assert_eq!(status, StatusCode::OK, "{name}");
            check(name, &body, has, lacks);
        }
    }
}

#[tokio::test]
async fn logging_in_and_out() {
    let none = nowhere().await;
    let url = start(productpage::router(peers(&none, &none, &none))).await;
    let client: hyper_util::client::legacy::Client<_, String> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http();
    for (form, status, cookie) in [
        (
            "username=jason&passwd=",
            StatusCode::FOUND,
            Some("session=amFzb24"),
        ),
        ("username=", StatusCode::BAD_REQUEST, None),
        ("username=a%0D%0Ab", StatusCode::BAD_REQUEST, None),
        ("nothing", StatusCode::BAD_REQUEST, None),
    ] {
        let request = http::Request::post(format!("{url}/login"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{form}");
        let set = answer
            .headers()
            .get(header::SET_COOKIE)
            .map(|value| value.to_str().unwrap());
        assert_eq!(set.and_then(|set| set.split(';').next()), cookie, "{form}");
    }
    let cookie = session::login("<b>\"x\"</b>").unwrap();
    let headers = [("cookie", cookie.split(';').next().unwrap())];
    let (_, body) = get(&format!("{url}/productpage"), &headers).await;
    check(
        "escaped",
        &body,
        &["&lt;b&gt;&quot;x&quot;&lt;/b&gt;", "/logout"],
        &["<b>\"x", "Sign in"],
    );
    let (status, _) = get(&format!("{url}/logout"), &headers).await;
    assert_eq!(status, StatusCode::FOUND);
}

#[tokio::test]
async fn small_answers() {
    let details = start(catalogue::details()).await;
    let ratings = start(catalogue::ratings()).await;
    let hello = start(greeter::router("v2", "helloworld-v2-x")).await;
    let shop = start(productpage::router(peers(&details, "", &ratings))).await;
    for (url, status, has) in [
        (
            format!("{details}/details/0"),
            200,
            "\"ISBN-13\":\"123-1234567890\"",
        ),
        (format!("{details}/details/x"), 400, "numeric"),
        (
            format!("{ratings}/ratings/0"),
            200,
            "\"ratings\":{\"Reviewer1\":5,\"Reviewer2\":4}",
        ),
        (format!("{ratings}/health"), 200, "healthy"),
        (
            format!("{hello}/hello"),
            200,
            "Hello version: v2, instance: helloworld-v2-x\n",
        ),
        (
            format!("{shop}/api/v1/products"),
            200,
            "\"title\":\"The Comedy of Errors\"",
        ),
        (
            format!("{shop}/api/v1/products/0/ratings"),
            200,
            "Reviewer1",
        ),
        (
            format!("{shop}/api/v1/products/0/reviews"),
            500,
            "reviews are currently unavailable",
        ),
        (format!("{shop}/static/style.css"), 200, ".stars"),
        (format!("{shop}/static/other"), 404, ""),
    ] {
        let (got, body) = get(&url, &[]).await;
        assert_eq!(got.as_u16(), status, "{url}");
        check(&url, &body, &[has], &[]);
    }
}

#[test]
fn peers_come_from_the_environment() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "http://reviews:9080"),
        (
            &[("REVIEWS_HOSTNAME", "r"), ("REVIEWS_SERVICE_PORT", "80")],
            "http://r:80",
        ),
        (
            &[("SERVICES_DOMAIN", "shop.svc")],
            "http://reviews.shop.svc:9080",
        ),
        (&[("SERVICES_DOMAIN", "")], "http://reviews:9080"),
    ];
    for (environment, expected) in cases {
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(
            Peers::from_env(lookup).reviews,
            *expected,
            "{environment:?}"
        );
    }
}

#[test]
fn only_known_headers_are_handed_on() {
    let mut request = HeaderMap::new();
    for name in [
        "host",
        "content-length",
        "x-b3-traceid",
        "end-user",
        "x-forwarded-for",
    ] {
        request.insert(name, "v".parse().unwrap());
    }
    let names = |map: HeaderMap| {
        map.keys()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(propagate::tracing(&request)), "x-b3-traceid");
    assert_eq!(
        names(propagate::tracing_and_user(&request)),
        "x-b3-traceid end-user"
    );
    assert_eq!(
        page::escape("<a href='x'>&"),
        "&lt;a href=&#39;x&#39;&gt;&amp;"
    );
}

#[test]
fn the_flags_are_consistent() {
    use clap::{CommandFactory, Parser};
    crate::Args::command().debug_assert();
    let args =
        crate::Args::try_parse_from(["hawser-bookinfo", "reviews", "--version", "v3"]).unwrap();
    assert_eq!(
        (args.role, args.version.as_str()),
        (crate::Role::Reviews, "v3")
    );
}
