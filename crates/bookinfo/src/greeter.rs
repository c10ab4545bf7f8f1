//! The helloworld sample: says which version and instance answered.

use axum::Router;
use axum::routing::get;

/// `GET /hello`.
pub fn router(version: &str, instance: &str) -> Router {
    let greeting = format!("Hello version: {version}, instance: {instance}\n");
    Router::new().route("/hello", get(move || std::future::ready(greeting)))
}
