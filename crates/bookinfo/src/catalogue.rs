//! The two services that only know facts about the book: details and ratings.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

/// How many products keep ratings of their own, so that POSTs cannot fill the memory.
const RATED_PRODUCTS: usize = 1000;
/// How many reviewers may rate one product.
const REVIEWERS: usize = 100;

/// `GET /details/ID`.
pub fn details() -> Router {
    Router::new().route(
        "/details/{id}",
        get(|Path(id): Path<String>| async move { book(&id) }),
    )
}

fn book(id: &str) -> Response {
    let Ok(id) = id.parse::<u32>() else {
        return not_a_number();
    };
    Json(json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    }))
    .into_response()
}

type Ratings = BTreeMap<String, i64>;
type Store = Arc<Mutex<BTreeMap<u32, Ratings>>>;

/// `GET` and `POST /ratings/ID`; what is posted lives as long as the process.
pub fn ratings() -> Router {
    let route = get(read_ratings).post(write_ratings);
    Router::new()
        .route("/ratings/{id}", route)
        .with_state(Store::default())
}

async fn read_ratings(State(store): State<Store>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<u32>() else {
        return not_a_number();
    };
    let posted = store.lock().ok().and_then(|store| store.get(&id).cloned());
    let ratings = posted.unwrap_or_else(|| {
        BTreeMap::from([("Reviewer1".to_owned(), 5), ("Reviewer2".to_owned(), 4)])
    });
    Json(json!({"id": id, "ratings": ratings})).into_response()
}

async fn write_ratings(
    State(store): State<Store>,
    Path(id): Path<String>,
    Json(ratings): Json<Ratings>,
) -> Response {
    let Ok(id) = id.parse::<u32>() else {
        return not_a_number();
    };
    let Ok(mut store) = store.lock() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if ratings.len() > REVIEWERS || (store.len() >= RATED_PRODUCTS && !store.contains_key(&id)) {
        return (
            StatusCode::INSUFFICIENT_STORAGE,
            Json(json!({"error": "too many ratings"})),
        )
            .into_response();
    }
    store.insert(id, ratings.clone());
    Json(json!({"id": id, "ratings": ratings})).into_response()
}

fn not_a_number() -> Response {
    (
        StatusCode::BAD_REQUEST,
        Json(json!({"error": "please provide a numeric product id"})),
    )
        .into_response()
}
