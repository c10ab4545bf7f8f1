//! Messages as bytes, length-prefixed as gRPC has them.
//!
//! Requests are read into a buffer that is given back with the message: a proxy that once named a thousand clusters is
//! silent for hours. A resource of a response is rendered once; a response is written piece by piece while its connection takes it
//! and refers to large resources instead of copying them, so that a slow proxy, or a thousand at a time, cost no copies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hawser_translate::Resource;
use http_body::Frame;
use http_body_util::BodyExt;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;

use crate::stream::{Push, Variant};

/// A piece is written once it has this many bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// Resources of up to this many bytes are copied into a piece: referring to them would cost more.
const COPIED_BYTES: usize = 4 * 1024;
/// A message's flags and length, before it in the stream (gRPC over HTTP/2, Length-Prefixed-Message).
const PREFIX_BYTES: usize = 5;

/// Bytes of one request: names, and the versions that a proxy has from before.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// The requests of a stream.
pub(crate) struct Requests {
    body: Body,
    buffer: BytesMut,
}

impl Requests {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next request, or none at the end of the stream. Nothing is lost if the future is dropped.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.put(data);
                    }
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::internal("the stream ended within a message")),
            }
        }
    }

    /// A message, if all of it is here.
    fn take<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let Some((&[compressed, a, b, c, d], rest)) = self.buffer.split_first_chunk() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(Status::unimplemented("compressed messages are not read"));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_REQUEST_BYTES {
            return Err(Status::resource_exhausted(format!(
                "a message of {length} bytes; {MAX_REQUEST_BYTES} are read"
            )));
        }
        let Some(bytes) = rest.get(..length) else {
            self.buffer
                .reserve(PREFIX_BYTES + length - self.buffer.len());
            return Ok(None);
        };
        let message = M::decode(bytes)
            .map_err(|error| Status::internal(format!("not a {}: {error}", short::<M>())))?;
        self.buffer.advance(PREFIX_BYTES + length);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message))
    }
}

/// The last part of a type's path.
fn short<M>() -> &'static str {
    let path = std::any::type_name::<M>();
    path.rsplit_once("::").map_or(path, |(_, name)| name)
}

/// A string or message field: its tag, its length, its bytes.
fn field_len(tag: u32, bytes: usize) -> usize {
    key_len(tag) + encoded_len_varint(bytes as u64) + bytes
}

fn put_len(tag: u32, bytes: usize, out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes as u64, out);
}

fn put(tag: u32, text: &str, out: &mut BytesMut) {
    put_len(tag, text.len(), out);
    out.put_slice(text.as_bytes());
}

/// `google.protobuf.Any` of a resource: 1 type URL, 2 value.
struct AnyOf<'a>(&'a Resource);

impl AnyOf<'_> {
    fn len(&self) -> usize {
        field_len(1, self.0.any.type_url.len()) + field_len(2, self.0.any.value.len())
    }

    /// All but the bytes of the value, which come last.
    fn put(&self, tag: u32, out: &mut BytesMut) {
        put_len(tag, self.len(), out);
        put(1, &self.0.any.type_url, out);
        put_len(2, self.0.any.value.len(), out);
    }
}

/// `envoy.service.discovery.v3.Resource`: 1 version, 2 resource, 3 name.
struct DeltaOf<'a> {
    version: String,
    resource: &'a Resource,
}

impl<'a> DeltaOf<'a> {
    fn new(resource: &'a Resource) -> Self {
        Self {
            version: format!("{:x}", resource.version),
            resource,
        }
    }

    fn len(&self) -> usize {
        field_len(1, self.version.len())
            + field_len(3, self.resource.name.len())
            + field_len(2, AnyOf(self.resource).len())
    }

    /// All but the bytes of the value, which come last.
    fn put(&self, tag: u32, out: &mut BytesMut) {
        put_len(tag, self.len(), out);
        put(1, &self.version, out);
        put(3, &self.resource.name, out);
        AnyOf(self.resource).put(2, out);
    }
}

/// The bytes of a resource, shared with whoever else is sent the same.
struct SharedBytes(Arc<Resource>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0.any.value
    }
}

/// A push being written, as `DiscoveryResponse` (1 version, 2 resources, 4 type URL, 5 nonce) or `DeltaDiscoveryResponse`
/// (the same, and 6 names of what is removed).
struct Writing {
    push: Push,
    variant: Variant,
    version: String,
    /// Bytes of the message, until its prefix is written.
    prefix: Option<u32>,
    /// Resources written.
    written: usize,
    /// The value of the resource written last, if it is sent as a piece of its own.
    value: Option<Bytes>,
    ended: bool,
}

impl Writing {
    /// None if the message is longer than gRPC can say.
    fn new(push: Push, variant: Variant) -> Option<Self> {
        let version = push.sequence.to_string();
        let resource = |r: &Arc<Resource>| match variant {
            Variant::StateOfTheWorld => AnyOf(r).len(),
            Variant::Delta => DeltaOf::new(r).len(),
        };
        let resources: usize = push
            .resources
            .iter()
            .map(|r| field_len(2, resource(r)))
            .sum();
        let removed: usize = push.removed.iter().map(|n| field_len(6, n.len())).sum();
        let rest = field_len(1, version.len())
            + field_len(4, push.kind.url().len())
            + field_len(5, push.nonce.len());
        Some(Self {
            prefix: Some(u32::try_from(resources + removed + rest).ok()?),
            push,
            variant,
            version,
            written: 0,
            value: None,
            ended: false,
        })
    }

    /// The next piece, until there is none.
    fn piece(&mut self) -> Option<Bytes> {
        if let Some(value) = self.value.take() {
            return Some(value);
        }
        if self.ended {
            return None;
        }
        let mut out = BytesMut::with_capacity(self.capacity());
        if let Some(length) = self.prefix.take() {
            out.put_u8(0);
            out.put_u32(length);
            put(1, &self.version, &mut out);
        }
        while let Some(resource) = self.push.resources.get(self.written) {
            self.written += 1;
            match self.variant {
                Variant::StateOfTheWorld => AnyOf(resource).put(2, &mut out),
                Variant::Delta => DeltaOf::new(resource).put(2, &mut out),
            }
            if resource.any.value.len() > COPIED_BYTES {
                self.value = Some(Bytes::from_owner(SharedBytes(Arc::clone(resource))));
                return Some(out.freeze());
            }
            out.put_slice(&resource.any.value);
            if out.len() >= PIECE_BYTES {
                return Some(out.freeze());
            }
        }
        put(4, self.push.kind.url(), &mut out);
        put(5, &self.push.nonce, &mut out);
        for name in &self.push.removed {
            put(6, name, &mut out);
        }
        self.ended = true;
        Some(out.freeze())
    }

    /// Room for a piece: little for the little that most changes are.
    fn capacity(&self) -> usize {
        let left = self.push.resources.get(self.written..).unwrap_or_default();
        let few = left.iter().take(8).map(|r| r.any.value.len() + 256);
        (PREFIX_BYTES + 256 + few.sum::<usize>()).min(PIECE_BYTES + COPIED_BYTES + 512)
    }
}

/// The body of a response: pushes as they come, and the status at the end.
pub(crate) struct Responses {
    pushes: mpsc::Receiver<Result<Push, Status>>,
    variant: Variant,
    writing: Option<Writing>,
    ended: bool,
}

impl Responses {
    pub(crate) fn new(pushes: mpsc::Receiver<Result<Push, Status>>, variant: Variant) -> Self {
        Self {
            pushes,
            variant,
            writing: None,
            ended: false,
        }
    }

    fn end(&mut self, status: &Status) -> Option<Result<Frame<Bytes>, Status>> {
        self.ended = true;
        self.pushes.close();
        let mut trailers = http::HeaderMap::new();
        Some(match status.add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(unsayable) => Err(unsayable),
        })
    }
}

impl http_body::Body for Responses {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.writing.as_mut().and_then(Writing::piece) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.writing = None;
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.pushes.poll_recv(cx)) {
                Some(Ok(push)) => match Writing::new(push, self.variant) {
                    Some(writing) => self.writing = Some(writing),
                    None => {
                        let status = Status::resource_exhausted("a response of more than 4 GiB");
                        return Poll::Ready(self.end(&status));
                    }
                },
                Some(Err(status)) => return Poll::Ready(self.end(&status)),
                None => return Poll::Ready(self.end(&Status::ok(""))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use hawser_proto::envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryResponse,
    };
    use hawser_proto::google::protobuf::Any;

    /// A push of resources of these sizes.
    fn push(sizes: &[usize], removed: &[&str]) -> Push {
        let resource = |(i, size): (usize, &usize)| {
            Arc::new(Resource {
                name: format!("r{i}").into(),
                any: Arc::new(Any {
                    type_url: Kind::Cluster.url().to_owned(),
                    value: vec![i as u8; *size],
                }),
                version: i as u64 * 1000,
            })
        };
        Push {
            kind: Kind::Cluster,
            nonce: "7".to_owned(),
            sequence: 300,
            resources: sizes.iter().enumerate().map(resource).collect(),
            removed: removed.iter().map(|n| (*n).into()).collect(),
        }
    }

    /// The message that a client reads, and the largest piece that was not shared.
    fn message(push: &Push, variant: Variant) -> (Vec<u8>, usize) {
        let mut writing = Writing::new(push.clone(), variant).unwrap();
        let pieces: Vec<Bytes> = std::iter::from_fn(|| writing.piece()).collect();
        let is_value = |p: &&Bytes| push.resources.iter().any(|r| r.any.value == p[..]);
        let made = pieces.iter().filter(|p| !is_value(p)).map(Bytes::len).max();
        let all = pieces.concat();
        let length = u32::from_be_bytes(all[1..5].try_into().unwrap()) as usize;
        assert_eq!((all[0], length), (0, all.len() - 5));
        (all[5..].to_vec(), made.unwrap_or_default())
    }

    fn check(name: &str, sizes: &[usize], removed: &[&str]) {
        let push = push(sizes, removed);
        let (bytes, largest) = message(&push, Variant::Delta);
        assert!(
            largest < PIECE_BYTES + COPIED_BYTES + 512,
            "{name}: a piece of {largest} bytes"
        );
        let delta = DeltaDiscoveryResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(delta.system_version_info, "300", "{name}");
        assert_eq!(
            (&*delta.type_url, &*delta.nonce),
            (Kind::Cluster.url(), "7"),
            "{name}"
        );
        assert_eq!(delta.removed_resources, removed, "{name}");
        // The variant says nothing of what is removed, and the stream gives it none.
        let push = self::push(sizes, &[]);
        let (bytes, _) = message(&push, Variant::StateOfTheWorld);
        let full = DiscoveryResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!((&*full.version_info, &*full.nonce), ("300", "7"), "{name}");
        assert_eq!(
            (delta.resources.len(), full.resources.len()),
            (sizes.len(), sizes.len()),
            "{name}"
        );
        for ((resource, delta), full) in push
            .resources
            .iter()
            .zip(&delta.resources)
            .zip(&full.resources)
        {
            assert_eq!(delta.name, &*resource.name, "{name}");
            assert_eq!(delta.version, format!("{:x}", resource.version), "{name}");
            assert_eq!(delta.resource.as_ref(), Some(&*resource.any), "{name}");
            assert_eq!(full, &*resource.any, "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        check("nothing", &[], &[]);
        check("removed alone", &[], &["a", "b"]);
        check("an empty resource", &[0], &[]);
        check("small ones, over several pieces", &[1000; 100], &["x"]);
        check(
            "around the size that is copied",
            &[4095, 4096, 4097, 4096, 4095],
            &[],
        );
        check("large ones", &[1 << 20, 3, 1 << 16], &["y"]);
    }

    fn request(names: usize) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            resource_names_subscribe: (0..names).map(|n| n.to_string()).collect(),
            ..Default::default()
        }
    }

    fn framed(compressed: u8, message: &[u8]) -> Vec<u8> {
        let length = (message.len() as u32).to_be_bytes();
        [&[compressed][..], &length, message].concat()
    }

    /// Sends bytes in frames of this size and reads until the end: how many names each request has, and the error.
    async fn read(bytes: &[u8], size: usize) -> (Vec<usize>, Option<tonic::Code>) {
        let frames = bytes.chunks(size).map(Bytes::copy_from_slice);
        let frames: Vec<_> = frames.map(|f| Ok::<_, Status>(Frame::data(f))).collect();
        let body = http_body_util::StreamBody::new(tokio_stream::iter(frames));
        let mut requests = Requests::new(Body::new(body));
        let mut seen = Vec::new();
        loop {
            match requests.next::<DeltaDiscoveryRequest>().await {
                Ok(Some(request)) => {
                    seen.push(request.resource_names_subscribe.len());
                    // A message alone leaves no room behind.
                    assert!(!requests.buffer.is_empty() || requests.buffer.capacity() == 0);
                }
                Ok(None) => return (seen, None),
                Err(status) => return (seen, Some(status.code())),
            }
        }
    }

    #[tokio::test]
    async fn requests_are_read_however_they_are_cut() {
        let messages = [0, 3, 1000, 0, 1];
        let good: Vec<u8> = messages
            .iter()
            .flat_map(|n| framed(0, &request(*n).encode_to_vec()))
            .collect();
        for size in [1, 4, 5, 6, 1000, 1 << 20] {
            let (seen, error) = read(&good, size).await;
            assert_eq!(
                (seen.as_slice(), error),
                (&messages[..], None),
                "frames of {size}"
            );
        }
        let after = |end: &[u8]| [framed(0, &request(2).encode_to_vec()), end.to_vec()].concat();
        let cases = [
            (
                "ends within the length",
                vec![0, 0, 0],
                tonic::Code::Internal,
            ),
            (
                "ends within the message",
                vec![0, 0, 0, 0, 9, 1],
                tonic::Code::Internal,
            ),
            ("is compressed", framed(1, &[]), tonic::Code::Unimplemented),
            (
                "is too long",
                vec![0, 255, 0, 0, 0],
                tonic::Code::ResourceExhausted,
            ),
            ("is no message", framed(0, &[255; 9]), tonic::Code::Internal),
        ];
        for (name, end, code) in cases {
            assert_eq!(read(&after(&end), 7).await, (vec![2], Some(code)), "{name}");
        }
    }
}
