//! The page that puts the book together from the other services.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::page;
use crate::peers::Peers;
use crate::propagate;
use crate::reviews::Reviews;
use crate::session;

/// How long each service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The sample asks for reviews twice; its fault injection tasks rely on it.
const REVIEW_ATTEMPTS: usize = 2;

const NO_DETAILS: &str = "Product details are currently unavailable for this book.";
const NO_REVIEWS: &str = "Product reviews are currently unavailable for this book.";
const NO_RATINGS: &str = "Product ratings are currently unavailable for this book.";

struct Service {
    client: Client,
    peers: Peers,
}

/// The page, the login and the JSON API.
pub fn router(peers: Peers) -> Router {
    Router::new()
        .route("/", get(|| async { Html(page::index()) }))
        .route("/index.html", get(|| async { Html(page::index()) }))
        .route("/productpage", get(product_page))
        .route("/login", post(login))
        .route("/logout", get(logout))
        .route("/static/{file}", get(static_file))
        .route(
            "/api/v1/products",
            get(|| async { Json(json!([product()])) }),
        )
        .route("/api/v1/products/{id}", get(api_details))
        .route("/api/v1/products/{id}/reviews", get(api_reviews))
        .route("/api/v1/products/{id}/ratings", get(api_ratings))
        .with_state(Arc::new(Service {
            client: Client::new(),
            peers,
        }))
}

fn product() -> Value {
    json!({"id": 0, "title": page::TITLE, "descriptionHtml": page::DESCRIPTION})
}

async fn product_page(State(service): State<Arc<Service>>, headers: HeaderMap) -> Html<String> {
    let onward = onward(&headers);
    let (details, reviews) =
        tokio::join!(service.details("0", &onward), service.reviews("0", &onward));
    let details = details.and_then(|answer| ok_json::<Value>(&answer));
    let reviews = reviews.and_then(|answer| ok_json::<Reviews>(&answer));
    let user = session::user(&headers);
    Html(page::product(
        user.as_deref(),
        details.as_ref().ok_or(NO_DETAILS),
        reviews.as_ref().ok_or(NO_REVIEWS),
    ))
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
}

async fn login(form: Result<Form<Credentials>, FormRejection>) -> Response {
    let cookie = form
        .ok()
        .and_then(|Form(form)| session::login(&form.username));
    match cookie {
        Some(cookie) => back_to_page(cookie),
        None => (
            StatusCode::BAD_REQUEST,
            "A user name has 1 to 64 characters, none of them control characters.\n",
        )
            .into_response(),
    }
}

async fn logout() -> Response {
    back_to_page(session::logout())
}

fn back_to_page(cookie: String) -> Response {
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::LOCATION, "/productpage".to_owned()),
    ];
    (StatusCode::FOUND, headers).into_response()
}

async fn static_file(Path(file): Path<String>) -> Response {
    match file.as_str() {
        "style.css" => (
            [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
            page::STYLE,
        )
            .into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn api_details(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(id) = numeric(&id) else {
        return unknown_product();
    };
    relay(service.details(&id, &onward(&headers)).await, NO_DETAILS)
}

async fn api_reviews(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(id) = numeric(&id) else {
        return unknown_product();
    };
    relay(service.reviews(&id, &onward(&headers)).await, NO_REVIEWS)
}

async fn api_ratings(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(id) = numeric(&id) else {
        return unknown_product();
    };
    let url = format!("{}/ratings/{id}", service.peers.ratings);
    relay(
        service.client.get(&url, &onward(&headers), PATIENCE).await,
        NO_RATINGS,
    )
}

impl Service {
    async fn details(&self, id: &str, headers: &HeaderMap) -> Option<Answer> {
        let url = format!("{}/details/{id}", self.peers.details);
        self.client.get(&url, headers, PATIENCE).await
    }

    async fn reviews(&self, id: &str, headers: &HeaderMap) -> Option<Answer> {
        let url = format!("{}/reviews/{id}", self.peers.reviews);
        let mut last = None;
        for _ in 0..REVIEW_ATTEMPTS {
            last = self.client.get(&url, headers, PATIENCE).await;
            if last
                .as_ref()
                .is_some_and(|answer| answer.status == StatusCode::OK)
            {
                break;
            }
        }
        last
    }
}

/// The headers of the calls made for a request: its tracing headers, and the user of its session.
fn onward(request: &HeaderMap) -> HeaderMap {
    let mut headers = propagate::tracing(request);
    let user = session::user(request).and_then(|name| HeaderValue::from_str(&name).ok());
    if let Some(user) = user {
        headers.insert(propagate::END_USER, user);
    }
    headers
}

fn numeric(id: &str) -> Option<String> {
    id.parse::<u32>().ok().map(|id| id.to_string())
}

fn unknown_product() -> Response {
    (
        StatusCode::BAD_REQUEST,
        Json(json!({"error": "please provide a numeric product id"})),
    )
        .into_response()
}

fn ok_json<T: serde::de::DeserializeOwned>(answer: &Answer) -> Option<T> {
    if answer.status != StatusCode::OK {
        return None;
    }
    serde_json::from_slice(&answer.body).ok()
}

/// Hands a service's JSON on; anything else becomes an error with the service's status, or 500 when it gave none.
fn relay(answer: Option<Answer>, unavailable: &str) -> Response {
    match answer {
        Some(answer) if answer.status == StatusCode::OK => {
            ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
        }
        other => {
            let status = other.map_or(StatusCode::INTERNAL_SERVER_ERROR, |answer| answer.status);
            (status, Json(json!({"error": unavailable}))).into_response()
        }
    }
}
