//! HTTP's side of the API: paths, queries, bodies, negotiation and answers. Nothing here knows what an object means.

mod accept;
mod body;
mod path;
mod query;
mod respond;
mod status_protobuf;

pub use accept::{Accept, Shape, negotiate};
pub use body::{BODY_LIMIT, Decoded, Format, decode, read_body};
pub use path::{ResourcePath, RoutePath, split};
pub use query::Query;
pub use respond::{Answer, full, json, refusal, text};
