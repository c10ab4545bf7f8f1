//! Pure: a query and the table become an answer.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::table::Table;

/// How long clients may keep an answer, in seconds; Istio's agent says the same.
const TTL: u32 = 30;
/// What a UDP client without EDNS can take, in bytes (RFC 1035).
const PLAIN_UDP: u16 = 512;
/// The largest UDP answer we offer with EDNS, in bytes.
const LARGEST_UDP: u16 = 4096;

/// The answer from the table, or `None` when the table does not know the name or the kind of question
/// is not about addresses: those are for the servers behind us. `turn` rotates several addresses.
pub fn from_table(query: &Message, table: &Table, turn: usize) -> Option<Message> {
    let question = only_question(query)?;
    if question.query_class() != DNSClass::IN {
        return None;
    }
    let wanted = question.query_type();
    if !matches!(wanted, RecordType::A | RecordType::AAAA) {
        return None;
    }
    let found = table.find(&question.name().to_ascii())?;
    let mut answer = reply(query, ResponseCode::NoError);
    answer.metadata.authoritative = true;
    let mut owner = question.name().clone();
    if let Some(host) = found.alias_of {
        let target = Name::from_ascii(format!("{host}.")).ok()?;
        answer.add_answer(Record::from_rdata(
            owner,
            TTL,
            RData::CNAME(CNAME(target.clone())),
        ));
        owner = target;
    }
    let data = found
        .addresses
        .iter()
        .filter_map(|address| match (address, wanted) {
            (IpAddr::V4(address), RecordType::A) => Some(RData::A(A(*address))),
            (IpAddr::V6(address), RecordType::AAAA) => Some(RData::AAAA(AAAA(*address))),
            _ => None,
        });
    let mut data: Vec<RData> = data.collect();
    if !data.is_empty() {
        let middle = turn % data.len();
        data.rotate_left(middle);
    }
    for data in data {
        answer.add_answer(Record::from_rdata(owner.clone(), TTL, data));
    }
    Some(answer)
}

/// An answer without records.
pub fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.queries = query.queries.clone();
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_UDP);
        answer.set_edns(edns);
    }
    answer
}

/// The bytes of an answer for UDP: cut down to a hint to come by TCP if the client could not take them.
pub fn for_udp(query: &Message, answer: &Message) -> Option<Vec<u8>> {
    let room = match &query.edns {
        Some(edns) => edns.max_payload().clamp(PLAIN_UDP, LARGEST_UDP),
        None => PLAIN_UDP,
    };
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= usize::from(room) {
        return Some(bytes);
    }
    let mut short = reply(query, answer.metadata.response_code);
    short.metadata.truncation = true;
    short.to_vec().ok()
}

/// A query in the sense of the protocol, as opposed to an answer or another operation.
pub fn is_query(message: &Message) -> bool {
    message.metadata.message_type == MessageType::Query && message.metadata.op_code == OpCode::Query
}

fn only_question(query: &Message) -> Option<&hickory_proto::op::Query> {
    match query.queries.as_slice() {
        [question] => Some(question),
        _ => None,
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
