//! The gRPC shell of [`crate::stream`]: one task a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures::Stream as FutureStream;
use hawser_model::Str;
use hawser_proto::ads::service::aggregated_discovery_service_server::AggregatedDiscoveryService;
use hawser_proto::ads::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DeltaResource, DiscoveryRequest,
    DiscoveryResponse, SharedAny,
};
use hawser_proto::envoy::config::core::v3::Node;
use hawser_translate::Resource;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{Authenticator, Peer, may_act_for};
use crate::board::{Board, Place, StreamStatus};
use crate::credentials::Demand;
use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::source::View;
use crate::stream::{self, Push, Stream, Variant};

/// Names in one request; a proxy asks for as many as it has clusters.
const MAX_NAMES: usize = 200_000;
/// Credentials that one proxy may ask for.
const MAX_CREDENTIALS: usize = 2_000;

/// The aggregated discovery service.
#[derive(Clone)]
pub struct Ads {
    views: watch::Receiver<Option<View>>,
    authenticator: Authenticator,
    board: Board,
    demands: mpsc::UnboundedSender<Demand>,
    metrics: Metrics,
    drain: CancellationToken,
    next_id: Arc<AtomicU64>,
}

impl Ads {
    /// Serves the current view; a proxy that comes before the first one waits for it. What proxies ask of credentials is
    /// said to `demands`.
    pub fn new(
        views: watch::Receiver<Option<View>>,
        authenticator: Authenticator,
        (board, demands): (Board, mpsc::UnboundedSender<Demand>),
        metrics: Metrics,
        drain: CancellationToken,
    ) -> Self {
        Self {
            views,
            authenticator,
            board,
            demands,
            metrics,
            drain,
            next_id: Arc::default(),
        }
    }

    async fn open<In: Incoming, Out: Outgoing>(
        &self,
        request: Request<Streaming<In>>,
    ) -> Result<Response<Responses<Out>>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("the connection has no peer"))?;
        let metadata = request.metadata().clone();
        let (out, responses) = mpsc::channel(4);
        let ads = self.clone();
        let inbound = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = ads.serve::<In, Out>(inbound, &out, &peer, &metadata).await {
                tracing::debug!(code = ?status.code(), reason = status.message(), "stream ended");
                // The proxy may be gone already.
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn serve<In: Incoming, Out: Outgoing>(
        mut self,
        mut inbound: Streaming<In>,
        out: &mpsc::Sender<Result<Out, Status>>,
        peer: &Peer,
        metadata: &MetadataMap,
    ) -> Result<(), Status> {
        let Some(first) = inbound.message().await? else {
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
            if !send(out, &pushes).await {
                return Ok(());
            }
            session.publish();
            tokio::select! {
                biased;
                () = drain.cancelled() => return Err(Status::unavailable("the control plane is stopping")),
                message = inbound.message() => match message? {
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
            if next.is_some() && !send(out, &session.view(&view)).await {
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

/// Sends pushes, each in as many responses as it has parts; false once the proxy is gone.
async fn send<Out: Outgoing>(out: &mpsc::Sender<Result<Out, Status>>, pushes: &[Push]) -> bool {
    for response in pushes.iter().flat_map(Out::parts) {
        if out.send(Ok(response)).await.is_err() {
            return false;
        }
    }
    true
}

/// A stream with its place on the board, its counters, and what it asks of credentials.
struct Session {
    id: u64,
    stream: Stream,
    /// Nobody knows who it is: no credentials.
    plaintext: bool,
    demands: mpsc::UnboundedSender<Demand>,
    /// Pushes of which the proxy refused a part, by type: accepting the last part does not accept the whole.
    refused: BTreeMap<Kind, String>,
    demanded: BTreeSet<Str>,
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
            demands: ads.demands.clone(),
            refused: BTreeMap::new(),
            demanded: BTreeSet::new(),
            place: ads.board.open(id, status),
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
        let mut request = message.request();
        if In::VARIANT == Variant::Delta {
            self.join_parts(kind, &mut request);
        }
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
        Ok(pushes)
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
            let _ = self.demands.send(Demand::Wanted {
                stream: self.id,
                account,
                names,
            });
        }
        Ok(())
    }

    /// The machine knows pushes, not their parts: accepting an early part says nothing yet, refusing any part refuses the
    /// push, and accepting the last one accepts it if no part was refused.
    fn join_parts(&mut self, kind: Kind, request: &mut stream::Request) {
        let (push, is_part) = match request.nonce.split_once(PART) {
            Some((push, _)) => (push.to_owned(), true),
            None => (request.nonce.clone(), false),
        };
        let was_refused = !push.is_empty() && self.refused.get(&kind) == Some(&push);
        if request.error.is_some() {
            self.refused.insert(kind, push.clone());
            request.nonce = push;
        } else if is_part || was_refused {
            request.nonce.clear();
        }
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
            let _ = self.demands.send(Demand::Gone { stream: self.id });
        }
        tracing::info!(proxy = &*self.stream.proxy().id, "proxy disconnected");
    }
}

/// Responses of either variant.
type Responses<Out> = Pin<Box<dyn FutureStream<Item = Result<Out, Status>> + Send>>;

trait Incoming: Send + 'static {
    const VARIANT: Variant;
    fn node(&self) -> Option<&Node>;
    fn type_url(&self) -> &str;
    fn request(self) -> stream::Request;
}

/// Between the nonce of a push and the number of a part of it; the last part has the nonce alone.
const PART: char = '/';
/// Resources of this many bytes together make one response. The transport keeps a buffer as large as the largest response
/// for as long as a stream lives, so large responses cost memory for every proxy.
const PART_BYTES: usize = 32 * 1024;

trait Outgoing: Send + Sized + 'static {
    /// A push as one or several responses.
    fn parts(push: &Push) -> Vec<Self>;
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

/// The bytes of a resource, shared with whoever else is sent the same.
struct SharedBytes(Arc<Resource>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0.any.value
    }
}

fn shared(resource: &Arc<Resource>) -> SharedAny {
    SharedAny {
        type_url: resource.any.type_url.clone(),
        value: Bytes::from_owner(SharedBytes(Arc::clone(resource))),
    }
}

impl Outgoing for DiscoveryResponse {
    /// The variant has no parts: a response replaces what was before.
    fn parts(push: &Push) -> Vec<Self> {
        vec![Self {
            version_info: push.sequence.to_string(),
            resources: push.resources.iter().map(shared).collect(),
            type_url: push.kind.url().to_owned(),
            nonce: push.nonce.clone(),
        }]
    }
}

/// Resources in groups of about [`PART_BYTES`], at least one group.
fn groups(resources: &[Arc<Resource>]) -> Vec<&[Arc<Resource>]> {
    let mut out = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, resource) in resources.iter().enumerate() {
        bytes += resource.any.value.len();
        if bytes >= PART_BYTES && i + 1 < resources.len() {
            out.push(&resources[begin..=i]);
            (begin, bytes) = (i + 1, 0);
        }
    }
    out.push(&resources[begin..]);
    out
}

impl Outgoing for DeltaDiscoveryResponse {
    fn parts(push: &Push) -> Vec<Self> {
        let resource = |r: &Arc<Resource>| DeltaResource {
            version: format!("{:x}", r.version),
            resource: Some(shared(r)),
            name: r.name.to_string(),
        };
        let groups = groups(&push.resources);
        let last = groups.len() - 1;
        let part = |(i, group): (usize, &&[Arc<Resource>])| Self {
            system_version_info: push.sequence.to_string(),
            resources: group.iter().map(resource).collect(),
            type_url: push.kind.url().to_owned(),
            nonce: if i == last {
                push.nonce.clone()
            } else {
                format!("{}{PART}{i}", push.nonce)
            },
            removed_resources: if i == last {
                push.removed.iter().map(ToString::to_string).collect()
            } else {
                Vec::new()
            },
        };
        groups.iter().enumerate().map(part).collect()
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open(request).await
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open(request).await
    }
}
