//! Answers of other servers, kept for as long as they say, within bounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

type Question = (String, RecordType);

/// A bounded store of answers.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    stored: Instant,
    expires: Instant,
}

const MAX_ENTRIES: usize = 4096;

impl Cache {
    /// The answer, with what is left of its time.
    pub(super) fn get(&self, question: &Question, now: Instant) -> Option<Message> {
        let entry = self
            .entries
            .get(question)
            .filter(|entry| entry.expires > now)?;
        let age = u32::try_from(now.duration_since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        let mut message = entry.message.clone();
        let Message {
            answers,
            authorities,
            additionals,
            ..
        } = &mut message;
        for record in answers.iter_mut().chain(authorities).chain(additionals) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(message)
    }

    /// Keeps an answer for at most `most` seconds, if it may be kept at all.
    pub(super) fn put(&mut self, question: Question, message: &Message, most: u32, now: Instant) {
        let seconds = lifetime(message).min(most);
        if seconds == 0 {
            return;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.retain(|_, entry| entry.expires > now);
        }
        if self.entries.len() >= MAX_ENTRIES {
            // Which one goes matters little; that one goes does.
            self.entries.pop_first();
        }
        let expires = now + Duration::from_secs(u64::from(seconds));
        self.entries.insert(
            question,
            Entry {
                message: message.clone(),
                stored: now,
                expires,
            },
        );
    }

    /// Forgets everything, as after a change of the Corefile.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// How long an answer holds: the shortest of its records, or what a negative answer's SOA says (RFC 2308, 5).
fn lifetime(message: &Message) -> u32 {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
        || message.metadata.truncation
    {
        return 0;
    }
    if !message.answers.is_empty() {
        return message
            .answers
            .iter()
            .map(|record| record.ttl)
            .min()
            .unwrap_or_default();
    }
    let soa = message
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
    soa.unwrap_or_default()
}
