//! The agent's status port: readiness, merged statistics, and an end on request.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::certificate::SecretsReceiver;
use crate::config::ApplicationMetrics;

/// The statistics that readiness depends on, as a regular expression written for a URL.
const READINESS: &str = "%5E(server.state%7Ccluster_manager.cds.update_(success%7Crejected)%7Clistener_manager.lds.update_(success%7Crejected)%7Clistener_manager.workers_started)%24";

/// What the streams to the control plane count.
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    streams: u64,
    /// Configuration that Envoy refused, by type.
    refused: BTreeMap<String, u64>,
}

impl Counters {
    /// A stream to the control plane was opened.
    pub fn connected(&self) {
        self.change(|counts| counts.streams += 1);
    }

    /// Envoy refused configuration of a type.
    pub fn refused(&self, kind: &str) {
        self.change(|counts| *counts.refused.entry(kind.to_owned()).or_default() += 1);
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        // A poisoned lock only means that a counter may be one behind.
        let mut counts = self
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut counts);
    }

    fn snapshot(&self) -> Counts {
        self.counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// What the status server looks at.
pub struct Status {
    pub admin: Admin,
    pub application: Option<(Admin, ApplicationMetrics)>,
    pub secrets: SecretsReceiver,
    pub epoch: watch::Receiver<u64>,
    pub counters: Arc<Counters>,
    /// Cancelled when the proxy is to end; from then on it is not ready.
    pub stop: CancellationToken,
}

/// The routes of the status port.
pub fn router(status: Status) -> Router {
    Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(statistics))
        .route("/quitquitquit", post(quit))
        .with_state(Arc::new(status))
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    match status.not_ready().await {
        None => StatusCode::OK.into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

impl Status {
    /// Why the proxy is not ready, by the rules of Istio's agent.
    async fn not_ready(&self) -> Option<String> {
        if self.stop.is_cancelled() {
            return Some("the proxy is draining".to_owned());
        }
        let statistics = match self.admin.statistics(READINESS).await {
            Ok(statistics) => statistics,
            Err(error) => return Some(format!("Envoy does not answer: {error}")),
        };
        not_ready(&statistics)
    }
}

fn not_ready(statistics: &BTreeMap<String, u64>) -> Option<String> {
    let value = |name: &str| statistics.get(name).copied().unwrap_or(0);
    let received = |prefix: &str| {
        value(&format!("{prefix}.update_success")) + value(&format!("{prefix}.update_rejected"))
    };
    if received("cluster_manager.cds") == 0 || received("listener_manager.lds") == 0 {
        return Some("no configuration received from the control plane yet".to_owned());
    }
    if statistics.get("server.state") != Some(&0) {
        return Some("Envoy is not live".to_owned());
    }
    if value("listener_manager.workers_started") == 0 {
        return Some("Envoy's workers have not started".to_owned());
    }
    None
}

async fn statistics(State(status): State<Arc<Status>>) -> Response {
    let envoy = status.admin.get("/stats/prometheus");
    let application = async {
        match &status.application {
            None => None,
            Some((server, metrics)) => Some(server.get(&metrics.path).await),
        }
    };
    let (envoy, application) = tokio::join!(envoy, application);
    let mut out = Vec::new();
    for part in [Some(envoy), application].into_iter().flatten() {
        match part {
            Ok(text) => {
                out.extend_from_slice(&text);
                if !text.ends_with(b"\n") {
                    out.push(b'\n');
                }
            }
            Err(error) => tracing::warn!(%error, "statistics left out"),
        }
    }
    out.extend_from_slice(status.own_statistics().as_bytes());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        out,
    )
        .into_response()
}

impl Status {
    fn own_statistics(&self) -> String {
        let mut out = String::new();
        if let Some(secrets) = self.secrets.borrow().as_ref() {
            let left = (secrets.not_after - OffsetDateTime::now_utc()).whole_seconds();
            let _ = writeln!(
                out,
                "# TYPE istio_agent_cert_expiry_seconds gauge\n\
                 istio_agent_cert_expiry_seconds{{resource_name=\"default\"}} {left}"
            );
        }
        let counts = self.counters.snapshot();
        let _ = writeln!(
            out,
            "# TYPE istio_agent_envoy_starts_total counter\nistio_agent_envoy_starts_total {}\n\
             # TYPE istio_agent_xds_streams_total counter\nistio_agent_xds_streams_total {}",
            *self.epoch.borrow(),
            counts.streams,
        );
        out.push_str("# TYPE istio_agent_xds_rejects_total counter\n");
        for (kind, count) in &counts.refused {
            // Type URLs come from Envoy and need no escaping but for what would end the label.
            let kind = kind.replace(['\\', '"', '\n'], "_");
            let _ = writeln!(
                out,
                "istio_agent_xds_rejects_total{{type_url=\"{kind}\"}} {count}"
            );
        }
        out
    }
}

/// Ends the agent, as jobs do whose work is done; only from the pod itself.
async fn quit(
    State(status): State<Arc<Status>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Response {
    if !from.ip().is_loopback() {
        return StatusCode::FORBIDDEN.into_response();
    }
    status.stop.cancel();
    StatusCode::OK.into_response()
}

#[cfg(test)]
mod tests {
    use super::not_ready;

    #[test]
    fn readiness() {
        let all = [
            ("server.state", 0),
            ("cluster_manager.cds.update_success", 1),
            ("listener_manager.lds.update_rejected", 1),
            ("listener_manager.workers_started", 1),
        ];
        let with = |changes: &[(&str, u64)]| {
            let pairs = all
                .iter()
                .chain(changes)
                .map(|(name, value)| ((*name).to_owned(), *value));
            not_ready(&pairs.collect())
        };
        for (changes, expected) in [
            (&[][..], None),
            (&[("server.state", 2)], Some("Envoy is not live")),
            (
                &[("cluster_manager.cds.update_success", 0)],
                Some("no configuration received from the control plane yet"),
            ),
            (
                &[("listener_manager.lds.update_rejected", 0)],
                Some("no configuration received from the control plane yet"),
            ),
            (
                &[("listener_manager.workers_started", 0)],
                Some("Envoy's workers have not started"),
            ),
        ] {
            assert_eq!(with(changes).as_deref(), expected, "{changes:?}");
        }
    }
}
