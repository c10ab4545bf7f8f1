//! Between DNS messages on the wire and what [`super::names`] says.

use std::net::Ipv4Addr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};

use super::names::{Data, Record, Wanted};

/// The largest message over UDP without fragments on any path (DNS flag day 2020).
const MAX_UDP: u16 = 1232;
/// Seconds for which an answer "no such name" may be kept.
pub(super) const NEGATIVE_TTL: u32 = 5;

/// One question, read.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) message: Message,
    /// Lower case, without the final dot.
    pub(super) name: String,
    pub(super) type_: RecordType,
    pub(super) wanted: Wanted,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    Question(Question),
    /// A question that cannot be answered as asked: this is the answer.
    Wrong(Message),
    /// No question at all, which gets no answer.
    Noise,
}

/// Reads a query.
pub(super) fn read(bytes: &[u8]) -> Incoming {
    let Ok(message) = Message::from_vec(bytes) else {
        let id = bytes
            .get(..2)
            .and_then(|id| <[u8; 2]>::try_from(id).ok())
            .map(u16::from_be_bytes);
        return id.map_or(Incoming::Noise, |id| {
            Incoming::Wrong(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr))
        });
    };
    if message.metadata.message_type != MessageType::Query {
        return Incoming::Noise;
    }
    if message.metadata.op_code != OpCode::Query {
        let (id, code) = (message.metadata.id, message.metadata.op_code);
        return Incoming::Wrong(Message::error_msg(id, code, ResponseCode::NotImp));
    }
    let [query] = message.queries.as_slice() else {
        return Incoming::Wrong(response(&message, ResponseCode::FormErr));
    };
    if query.query_class() != DNSClass::IN {
        return Incoming::Wrong(response(&message, ResponseCode::NotImp));
    }
    let name = query
        .name()
        .to_ascii()
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let type_ = query.query_type();
    let wanted = match type_ {
        RecordType::A => Wanted::A,
        RecordType::CNAME => Wanted::Cname,
        RecordType::PTR => Wanted::Ptr,
        RecordType::SRV => Wanted::Srv,
        RecordType::TXT => Wanted::Txt,
        RecordType::NS => Wanted::Ns,
        RecordType::SOA => Wanted::Soa,
        RecordType::ANY => Wanted::Any,
        _ => Wanted::Other,
    };
    Incoming::Question(Question {
        message,
        name,
        type_,
        wanted,
    })
}

/// An empty response to a query.
pub(super) fn response(query: &Message, code: ResponseCode) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.response_code = code;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP);
        response.set_edns(edns);
    }
    response
}

/// The record on the wire; `None` for names that DNS cannot hold.
pub(super) fn record(record: &Record, zone: &str, ttl: u32) -> Option<WireRecord> {
    let data = match &record.data {
        Data::A(ip) => RData::A(a(*ip)),
        Data::Cname(target) => RData::CNAME(CNAME(name(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Srv { port, target } => RData::SRV(SRV::new(0, 100, *port, name(target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
        Data::Ns(target) => RData::NS(NS(name(target)?)),
        Data::Soa => return soa(zone),
    };
    Some(WireRecord::from_rdata(name(&record.owner)?, ttl, data))
}

fn a(ip: Ipv4Addr) -> A {
    A(ip)
}

/// What a negative answer carries, so that it may be kept for [`NEGATIVE_TTL`] (RFC 2308).
pub(super) fn soa(zone: &str) -> Option<WireRecord> {
    let server = name(&format!("ns.dns.{zone}"))?;
    let mailbox = name(&format!("hostmaster.{zone}"))?;
    let ttl = i32::try_from(NEGATIVE_TTL).unwrap_or(i32::MAX);
    let data = SOA::new(server, mailbox, 1, 7200, 1800, 86400.max(ttl), NEGATIVE_TTL);
    Some(WireRecord::from_rdata(
        name(zone)?,
        NEGATIVE_TTL,
        RData::SOA(data),
    ))
}

/// A full name.
pub(super) fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The bytes for UDP: cut, with the flag that says so, where they are more than the asker takes.
pub(super) fn for_udp(response: &Message, query_payload: u16) -> Option<Vec<u8>> {
    let bytes = response.to_vec().ok()?;
    let limit = usize::from(query_payload.clamp(512, MAX_UDP));
    if bytes.len() <= limit {
        Some(bytes)
    } else {
        response.truncate().to_vec().ok()
    }
}
