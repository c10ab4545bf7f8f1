//! The gRPC shell of [`crate::stream`]: one task a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use hawser_model::Str;
use hawser_model::filter::RefusedPatch;
use hawser_proto::envoy::config::core::v3::Node;
use hawser_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use crate::auth::{Authenticator, Peer, may_act_for};
use crate::board::{Board, Place, StreamStatus};
use crate::credentials::Demand;
use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::source::View;
use crate::stream::{self, Push, Stream, Variant};
use crate::wire::{Requests, Responses};

/// Names in one request; a proxy asks for as many as it has clusters.
const MAX_NAMES: usize = 200_000;
/// Credentials that one proxy may ask for.
const MAX_CREDENTIALS: usize = 2_000;

/// The patches of EnvoyFilters that one stream's proxy is configured without, since its Envoy refused them; all of them,
/// each time. A stream that ends has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusals {
    /// Which stream says so.
    pub stream: u64,
    /// The patches.
    pub patches: Vec<RefusedPatch>,
}

/// To whom streams say how their proxies fare, and what they want.
#[derive(Clone)]
pub struct Reports {
    /// How each stands.
    pub board: Board,
    /// What credentials they want.
    pub demands: mpsc::UnboundedSender<Demand>,
    /// Which patches they refused.
    pub refusals: mpsc::UnboundedSender<Refusals>,
}

/// The aggregated discovery service.
#[derive(Clone)]
pub struct Ads {
    views: watch::Receiver<Option<View>>,
    authenticator: Authenticator,
    reports: Reports,
    metrics: Metrics,
    drain: CancellationToken,
    next_id: Arc<AtomicU64>,
}

impl Ads {
    /// Serves the current view; a proxy that comes before the first one waits for it.
    pub fn new(
        views: watch::Receiver<Option<View>>,
        authenticator: Authenticator,
        reports: Reports,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> Self {
        Self {
            views,
            authenticator,
            reports,
            metrics,
            drain,
            next_id: Arc::default(),
        }
    }

    fn open<In: Incoming>(&self, request: http::Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let Some(peer) = head.extensions.get::<Peer>().cloned() else {
            return Status::internal("the connection has no peer").into_http();
        };
        let metadata = MetadataMap::from_headers(head.headers);
        let inbound = Requests::new(body);
        let (out, pushes) = mpsc::channel(4);
        let ads = self.clone();
        tokio::spawn(async move {
            if let Err(status) = ads.serve::<In>(inbound, &out, &peer, &metadata).await {
                tracing::debug!(code = ?status.code(), reason = status.message(), "stream ended");
                // The proxy may be gone already.
                let _ = out.send(Err(status)).await;
            }
        });
        let mut response = http::Response::new(Body::new(Responses::new(pushes, In::VARIANT)));
        let grpc = http::HeaderValue::from_static("application/grpc");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, grpc);
        response
    }

    async fn serve<In: Incoming>(
        mut self,
        mut inbound: Requests,
        out: &mpsc::Sender<Result<Push, Status>>,
        peer: &Peer,
        metadata: &MetadataMap,
    ) -> Result<(), Status> {
        let Some(first) = inbound.next::<In>().await? else {
            return Ok(());
        };
        let node = first
            .node()
            .ok_or_else(|| Status::invalid_argument("the first request must name its node"))?;
        let mut proxy = hawser_translate::node::proxy(node)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        if !peer.plaintext {
            let identity = self.authenticator.identify(peer, metadata).await?;
            may_act_for(&identity, &proxy)?;
            // From here on it is what was proven, not what the node says.
            proxy.identity = Some(identity);
        }
        let mut session = Session::open(
            &self,
            Stream::new(Arc::new(proxy), In::VARIANT),
            peer.plaintext,
        );
        let drain = self.drain.clone();
        let mut view = self.wait_for_view().await?;
        let mut next = Some(first);
        loop {
            let pushes = match next.take() {
                Some(request) => session.request(request, &view)?,
                None => session.view(&view),
            };
            if !send(out, pushes).await {
                return Ok(());
            }
            session.publish();
            tokio::select! {
                biased;
                () = drain.cancelled() => return Err(Status::unavailable("the control plane is stopping")),
                message = inbound.next::<In>() => match message? {
                    Some(request) => next = Some(request),
                    None => return Ok(()),
                },
                changed = self.views.changed() => {
                    changed.map_err(|_| Status::unavailable("the control plane is stopping"))?;
                }
            }
            if let Some(newest) = self.views.borrow_and_update().clone() {
                // A view may have been overtaken by the next: then nobody can say what little changed.
                let skipped = newest.sequence > view.sequence + 1;
                view = newest;
                if skipped {
                    view.scope = crate::source::Scope::all();
                }
            }
            if next.is_some() && !send(out, session.view(&view)).await {
                return Ok(());
            }
        }
    }

    async fn wait_for_view(&mut self) -> Result<View, Status> {
        let ready = self.views.wait_for(Option::is_some).await;
        let view = ready
            .map_err(|_| Status::unavailable("the control plane is stopping"))?
            .clone();
        view.ok_or_else(|| Status::unavailable("nothing to serve yet"))
    }
}

/// Sends pushes; false once the proxy is gone.
async fn send(out: &mpsc::Sender<Result<Push, Status>>, pushes: Vec<Push>) -> bool {
    for push in pushes {
        if out.send(Ok(push)).await.is_err() {
            return false;
        }
    }
    true
}

/// By hand, not by a generated stub, because of the answer's body: a codec would copy every resource for every proxy.
impl tower::Service<http::Request<Body>> for Ads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request
            .uri()
            .path()
            .rsplit_once('/')
            .map(|(_, method)| method);
        ready(Ok(match method {
            Some("StreamAggregatedResources") => self.open::<DiscoveryRequest>(request),
            Some("DeltaAggregatedResources") => self.open::<DeltaDiscoveryRequest>(request),
            _ => Status::unimplemented("no such method").into_http(),
        }))
    }
}

impl NamedService for Ads {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

/// A stream with its place on the board, its counters, and what it asks of credentials.
struct Session {
    id: u64,
    stream: Stream,
    /// Nobody knows who it is: no credentials.
    plaintext: bool,
    reports: Reports,
    demanded: BTreeSet<Str>,
    refused: Vec<RefusedPatch>,
    place: Place,
    metrics: Metrics,
    sent_at: BTreeMap<Kind, Instant>,
    published: BTreeMap<Kind, stream::TypeStatus>,
}

impl Session {
    fn open(ads: &Ads, stream: Stream, plaintext: bool) -> Self {
        let proxy = Arc::clone(stream.proxy());
        tracing::info!(proxy = &*proxy.id, "proxy connected");
        ads.metrics.connected.inc();
        let status = StreamStatus {
            proxy,
            connected: SystemTime::now(),
            kinds: BTreeMap::new(),
        };
        let id = ads.next_id.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            stream,
            plaintext,
            demanded: BTreeSet::new(),
            refused: Vec::new(),
            place: ads.reports.board.open(id, status),
            reports: ads.reports.clone(),
            metrics: ads.metrics.clone(),
            sent_at: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    fn request<In: Incoming>(&mut self, message: In, view: &View) -> Result<Vec<Push>, Status> {
        // A type that we do not serve (an agent may ask for several) is left unanswered, as Istio does.
        let Some(kind) = Kind::of_url(message.type_url()) else {
            return Ok(Vec::new());
        };
        if kind == Kind::Secret && self.plaintext {
            tracing::warn!(
                proxy = &*self.stream.proxy().id,
                "credentials are given over TLS alone; the proxy asks without"
            );
            return Ok(Vec::new());
        }
        let request = message.request();
        if request.subscribe.len() + request.unsubscribe.len() + request.initial.len() > MAX_NAMES {
            return Err(Status::resource_exhausted(format!(
                "more than {MAX_NAMES} names in one request"
            )));
        }
        match &request.error {
            Some(error) => {
                self.metrics.rejects.get_or_create(&Metrics::of(kind)).inc();
                let proxy = &*self.stream.proxy().id;
                tracing::warn!(
                    proxy,
                    kind = kind.short(),
                    error,
                    "the proxy refused its configuration"
                );
            }
            None if !request.nonce.is_empty() => {
                if let Some(at) = self.sent_at.remove(&kind) {
                    self.metrics.ack_seconds.observe(at.elapsed().as_secs_f64());
                }
            }
            None => {}
        }
        let pushes = tokio::task::block_in_place(|| self.stream.request(kind, request, view));
        self.count(&pushes);
        if kind == Kind::Secret {
            self.demand()?;
        }
        self.tell_refused(self.stream.refused_patches());
        Ok(pushes)
    }

    /// Says which patches the proxy is configured without, if others than before.
    fn tell_refused(&mut self, patches: Vec<RefusedPatch>) {
        if patches == self.refused {
            return;
        }
        for patch in &patches {
            let filter = &patch.named.filter;
            tracing::warn!(
                proxy = &*patch.proxy,
                filter = format!("{}/{}", filter.namespace, filter.name),
                patch = patch.named.patch.index,
                error = &*patch.why,
                "a patch that the proxy refuses is left out for it"
            );
        }
        self.refused.clone_from(&patches);
        // Without anybody to hear of it, the log has it.
        let _ = self.reports.refusals.send(Refusals {
            stream: self.id,
            patches,
        });
    }

    /// Says what credentials are wanted, if others than before.
    fn demand(&mut self) -> Result<(), Status> {
        let names = self.stream.names(Kind::Secret).cloned().unwrap_or_default();
        if names.len() > MAX_CREDENTIALS {
            return Err(Status::resource_exhausted(format!(
                "more than {MAX_CREDENTIALS} credentials"
            )));
        }
        if let Some(identity) = self
            .stream
            .proxy()
            .identity
            .as_ref()
            .filter(|_| names != self.demanded)
        {
            self.demanded.clone_from(&names);
            let account = (identity.namespace.clone(), identity.service_account.clone());
            // Without anybody to fetch them there are none.
            let _ = self.reports.demands.send(Demand::Wanted {
                stream: self.id,
                account,
                names,
            });
        }
        Ok(())
    }

    fn view(&mut self, view: &View) -> Vec<Push> {
        let pushes = tokio::task::block_in_place(|| self.stream.view(view));
        self.count(&pushes);
        pushes
    }

    fn count(&mut self, pushes: &[Push]) {
        for push in pushes {
            let label = Metrics::of(push.kind);
            let bytes: usize = push.resources.iter().map(|r| r.any.value.len()).sum();
            self.metrics.pushes.get_or_create(&label).inc();
            self.metrics
                .sent_bytes
                .get_or_create(&label)
                .inc_by(bytes as u64);
            self.sent_at.insert(push.kind, Instant::now());
        }
    }

    fn publish(&mut self) {
        let status = self.stream.status();
        if status != self.published {
            self.place.update(status.clone());
            self.published = status;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.metrics.connected.dec();
        if !self.demanded.is_empty() {
            let _ = self.reports.demands.send(Demand::Gone { stream: self.id });
        }
        self.tell_refused(Vec::new());
        tracing::info!(proxy = &*self.stream.proxy().id, "proxy disconnected");
    }
}

/// A request of either variant.
trait Incoming: prost::Message + Default + 'static {
    const VARIANT: Variant;
    fn node(&self) -> Option<&Node>;
    fn type_url(&self) -> &str;
    fn request(self) -> stream::Request;
}

fn names(list: Vec<String>) -> Vec<Str> {
    list.into_iter().map(Str::from).collect()
}

impl Incoming for DiscoveryRequest {
    const VARIANT: Variant = Variant::StateOfTheWorld;
    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
    fn type_url(&self) -> &str {
        &self.type_url
    }
    fn request(self) -> stream::Request {
        stream::Request {
            nonce: self.response_nonce,
            error: self.error_detail.map(|e| e.message),
            subscribe: names(self.resource_names),
            ..stream::Request::default()
        }
    }
}

impl Incoming for DeltaDiscoveryRequest {
    const VARIANT: Variant = Variant::Delta;
    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
    fn type_url(&self) -> &str {
        &self.type_url
    }
    fn request(self) -> stream::Request {
        stream::Request {
            nonce: self.response_nonce,
            error: self.error_detail.map(|e| e.message),
            subscribe: names(self.resource_names_subscribe),
            unsubscribe: names(self.resource_names_unsubscribe),
            initial: self
                .initial_resource_versions
                .into_iter()
                .map(|(n, v)| (Str::from(n), v))
                .collect(),
        }
    }
}
