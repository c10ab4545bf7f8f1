//! Pure: pod + settings become a patch.
//!
//! [`inject`] decides as Istio's injector does and answers with a JSON patch; [`review`] is the same for
//! the admission webhook's `AdmissionReview`, and [`settings_for_path`] reads the webhook's URL.

mod annotations;
mod container;
mod decide;
mod names;
mod overlay;
mod patch;
pub mod proxy_config;
pub mod review;
pub mod settings;
mod volumes;
mod workload;

pub use decide::{Decision, decide};
pub use patch::{Injection, inject};
pub use review::{REVIEW_LIMIT, ReviewError, review, review_bytes};
pub use settings::{Settings, settings_for_path};
pub use workload::inject_workload;
