//! Reviews of the book; from v2 on with the stars that the ratings service knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::peers::Peers;
use crate::propagate;

const REVIEWS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "Two pairs of twins, one town, and not a dull minute: the liveliest of the early comedies.",
    ),
    (
        "Reviewer2",
        "Great fun for an evening, though it lacks the depth of the plays that came later.",
    ),
];

/// One review, as the product page reads it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Review {
    pub reviewer: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
}

/// The stars of a review, or why there are none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rating {
    Stars { stars: i64, color: String },
    Unknown { error: String },
}

/// What `GET /reviews/ID` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reviews {
    pub id: String,
    #[serde(default)]
    pub podname: String,
    #[serde(default)]
    pub clustername: Option<String>,
    pub reviews: Vec<Review>,
}

#[derive(Deserialize)]
struct Ratings {
    ratings: BTreeMap<String, i64>,
}

struct Service {
    client: Client,
    ratings: String,
    /// `None`: this version shows no stars.
    color: Option<&'static str>,
    /// How long the ratings may take. The sample's versions differ here, and its fault injection tasks rely on it.
    patience: Duration,
    instance: String,
    cluster: Option<String>,
}

/// `GET /reviews/ID` of the given version.
pub fn router(peers: Peers, version: &str, instance: String, cluster: Option<String>) -> Router {
    let (color, patience) = match version {
        "v1" => (None, Duration::ZERO),
        "v2" => (Some("black"), Duration::from_secs(10)),
        _ => (Some("red"), Duration::from_millis(2500)),
    };
    let service = Service {
        client: Client::new(),
        ratings: peers.ratings,
        color,
        patience,
        instance,
        cluster,
    };
    Router::new()
        .route("/reviews/{id}", get(reviews))
        .with_state(Arc::new(service))
}

async fn reviews(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Ok(id) = id.parse::<u32>() else {
        return (
            StatusCode::BAD_REQUEST,
            "{\"error\":\"please provide a numeric product id\"}",
        )
            .into_response();
    };
    let ratings = match service.color {
        None => None,
        Some(color) => Some((color, service.ratings(id, &headers).await)),
    };
    let rating = |reviewer: &str| match &ratings {
        None => None,
        Some((color, Some(ratings))) => {
            let stars = *ratings.get(reviewer)?;
            Some(Rating::Stars {
                stars,
                color: (*color).to_owned(),
            })
        }
        Some((_, None)) => Some(Rating::Unknown {
            error: "Ratings service is currently unavailable".to_owned(),
        }),
    };
    let answer = Reviews {
        id: id.to_string(),
        podname: service.instance.clone(),
        clustername: service.cluster.clone(),
        reviews: REVIEWS
            .iter()
            .map(|(reviewer, text)| Review {
                reviewer: (*reviewer).to_owned(),
                text: (*text).to_owned(),
                rating: rating(reviewer),
            })
            .collect(),
    };
    spaced_json(&answer)
}

impl Service {
    async fn ratings(&self, id: u32, headers: &HeaderMap) -> Option<BTreeMap<String, i64>> {
        let url = format!("{}/ratings/{id}", self.ratings);
        let headers = propagate::tracing_and_user(headers);
        let answer = self.client.get(&url, &headers, self.patience).await?;
        if answer.status != StatusCode::OK {
            return None;
        }
        serde_json::from_slice::<Ratings>(&answer.body)
            .ok()
            .map(|answer| answer.ratings)
    }
}

/// One line of JSON with a space after each colon and comma, the form in which the sample's answers
/// are known and searched for (`"color": "black"`).
fn spaced_json(value: &impl Serialize) -> Response {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    match value.serialize(&mut serializer) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/json")], out).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
    ) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}
