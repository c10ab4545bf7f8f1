//! Answering: the one task's state, and what it does with a question.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hawser_kube::Event;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::cache::Cache;
use super::names::{Data, Known, lookup};
use super::objects::DEFAULT_COREFILE;
use super::plan::{Forward, Plan, plan};
use super::upstream::{Ask, ask};
use super::wire::{self, Incoming, Question, for_udp, read, response};
use crate::controllers::world::{Key, Kind, World};

/// Where an answer goes.
pub(super) enum Asker {
    Udp(SocketAddr),
    Tcp(oneshot::Sender<Vec<u8>>),
}

/// A question that others have been asked.
pub(super) struct Pending {
    question: Question,
    to: Asker,
    /// What is known already: the alias that led there.
    so_far: Vec<hickory_proto::rr::Record>,
    asked: (String, RecordType),
    cache: Option<u32>,
    answer: Option<Message>,
}

/// Questions under way to others; more are refused, as the answer would come too late anyway.
const MAX_PENDING: usize = 256;
/// Aliases followed (ExternalName to ExternalName).
const MAX_ALIASES: usize = 8;

pub(super) struct Server {
    netns: PathBuf,
    world: World,
    plan: Plan,
    /// The text that the plan was made from, or that was refused.
    read: String,
    cache: Cache,
    pending: FuturesUnordered<BoxFuture<'static, Pending>>,
    /// Turns the order of addresses, as `loadbalance` does.
    turn: usize,
}

/// What to do next about a question.
enum Step {
    Answer(Message),
    Ask {
        name: String,
        forward: Forward,
        so_far: Vec<hickory_proto::rr::Record>,
        cache: Option<u32>,
    },
}

impl Server {
    pub(super) fn new(netns: PathBuf) -> Server {
        Server {
            netns,
            world: World::default(),
            plan: plan(DEFAULT_COREFILE).unwrap_or_default(),
            read: DEFAULT_COREFILE.to_owned(),
            cache: Cache::default(),
            pending: FuturesUnordered::new(),
            turn: 0,
        }
    }

    pub(super) fn hear(&mut self, kind: Kind, event: Event) {
        self.world.fold(kind, event);
    }

    pub(super) fn config_map_uid(&self, key: &Key) -> String {
        self.world.uid(Kind::ConfigMap, key)
    }

    /// Takes up a changed Corefile; returns what users must hear about it. A broken one leaves the last good one at work.
    pub(super) fn read_corefile(&mut self) -> Vec<(Key, &'static str, String)> {
        let found = ["kube-dns", "coredns"].into_iter().find_map(|name| {
            let key = ("kube-system".to_owned(), name.to_owned());
            let text = self
                .world
                .config_maps
                .get(&key)?
                .data
                .as_ref()?
                .get("Corefile")?
                .clone();
            Some((key, text))
        });
        let Some((key, text)) = found.filter(|(_, text)| *text != self.read) else {
            return Vec::new();
        };
        self.read = text;
        match plan(&self.read) {
            Ok(plan) => {
                self.plan = plan;
                self.cache.clear();
                let warnings = self.plan.warnings.iter();
                warnings
                    .map(|warning| (key.clone(), "CorefileWarning", warning.clone()))
                    .collect()
            }
            Err(error) => {
                let message = format!("{error}; the last good Corefile stays at work");
                vec![(key, "CorefileInvalid", message)]
            }
        }
    }

    /// Answers a question, or asks others first.
    pub(super) async fn ask(&mut self, bytes: &[u8], to: Asker, udp: &UdpSocket) {
        let question = match read(bytes) {
            Incoming::Question(question) => question,
            Incoming::Wrong(answer) => return send(&answer, 512, to, udp).await,
            Incoming::Noise => return,
        };
        let step = self.step(&question);
        match step {
            Step::Answer(answer) => send(&answer, question.message.max_payload(), to, udp).await,
            Step::Ask { .. } if self.pending.len() >= MAX_PENDING => {
                let answer = response(&question.message, ResponseCode::ServFail);
                send(&answer, question.message.max_payload(), to, udp).await;
            }
            Step::Ask {
                name,
                forward,
                so_far,
                cache,
            } => {
                let Some(wire_name) = wire::name(&name) else {
                    return;
                };
                let asked = (name, question.type_);
                let query = Query::query(wire_name, question.type_);
                let request = Ask {
                    netns: self.netns.clone(),
                    to: forward.to,
                    query,
                };
                let pending = async move {
                    let answer = ask(request).await;
                    Pending {
                        question,
                        to,
                        so_far,
                        asked,
                        cache,
                        answer,
                    }
                };
                self.pending.push(pending.boxed());
            }
        }
    }

    /// Waits for others' next answer; for ever when nobody was asked. Dropping the call loses none.
    pub(super) async fn answered(&mut self) -> Pending {
        match self.pending.next().await {
            Some(pending) => pending,
            None => std::future::pending().await,
        }
    }

    /// Passes others' answer on.
    pub(super) async fn pass_on(&mut self, done: Pending, udp: &UdpSocket) {
        let Pending {
            question,
            to,
            so_far,
            asked,
            cache,
            answer,
        } = done;
        let answer = match answer {
            Some(answer) => {
                if let Some(most) = cache {
                    self.cache.put(asked, &answer, most, Instant::now());
                }
                relay(&question, so_far, answer)
            }
            None => response(&question.message, ResponseCode::ServFail),
        };
        send(&answer, question.message.max_payload(), to, udp).await;
    }

    fn step(&mut self, question: &Question) -> Step {
        let mut name = question.name.clone();
        let mut so_far = Vec::new();
        for _ in 0..MAX_ALIASES {
            let Some(server) = self.plan.server(&name) else {
                return Step::Answer(finish(question, so_far, ResponseCode::Refused));
            };
            if server.log {
                tracing::info!(name, type_ = %question.type_, "DNS question");
            }
            let known = server.kubernetes.as_ref().map(|plugin| {
                (
                    lookup(&self.world, plugin, &name, question.wanted),
                    plugin.ttl,
                )
            });
            match known {
                Some((
                    Known::Records {
                        zone,
                        records,
                        additional,
                    },
                    ttl,
                )) => {
                    let alias = records.iter().find_map(|record| match &record.data {
                        Data::Cname(target) if question.type_ != RecordType::CNAME => {
                            Some(target.clone())
                        }
                        _ => None,
                    });
                    let empty = records.is_empty();
                    let mut records: Vec<_> = records
                        .iter()
                        .filter_map(|record| wire::record(record, &zone, ttl))
                        .collect();
                    self.turn = self.turn.wrapping_add(1);
                    if !records.is_empty() {
                        let by = self.turn % records.len();
                        records.rotate_left(by);
                    }
                    so_far.extend(records);
                    if let Some(target) = alias {
                        name = target;
                        continue;
                    }
                    let mut answer = finish(question, so_far, ResponseCode::NoError);
                    answer.metadata.authoritative = true;
                    answer.add_additionals(
                        additional
                            .iter()
                            .filter_map(|record| wire::record(record, &zone, ttl)),
                    );
                    if empty {
                        answer.add_authorities(wire::soa(&zone));
                    }
                    return Step::Answer(answer);
                }
                Some((Known::Nothing { zone }, _)) => {
                    let mut answer = finish(question, so_far, ResponseCode::NXDomain);
                    answer.metadata.authoritative = true;
                    answer.add_authorities(wire::soa(&zone));
                    return Step::Answer(answer);
                }
                Some((Known::Elsewhere, _)) | None => {
                    let Some(forward) = server.forward(&name).cloned() else {
                        return Step::Answer(finish(question, so_far, ResponseCode::Refused));
                    };
                    let cache = server.cache;
                    let asked = (name, question.type_);
                    if let Some(answer) = self
                        .cache
                        .get(&asked, Instant::now())
                        .filter(|_| cache.is_some())
                    {
                        return Step::Answer(relay(question, so_far, answer));
                    }
                    return Step::Ask {
                        name: asked.0,
                        forward,
                        so_far,
                        cache,
                    };
                }
            }
        }
        Step::Answer(response(&question.message, ResponseCode::ServFail))
    }
}

fn finish(
    question: &Question,
    answers: Vec<hickory_proto::rr::Record>,
    code: ResponseCode,
) -> Message {
    let mut answer = response(&question.message, code);
    answer.add_answers(answers);
    answer
}

/// Others' answer as an answer to our asker's question.
fn relay(question: &Question, so_far: Vec<hickory_proto::rr::Record>, answer: Message) -> Message {
    let mut message = finish(question, so_far, answer.metadata.response_code);
    message.add_answers(answer.answers);
    message.add_authorities(answer.authorities);
    message.add_additionals(answer.additionals);
    message
}

async fn send(answer: &Message, payload: u16, to: Asker, udp: &UdpSocket) {
    match to {
        Asker::Udp(address) => {
            if let Some(bytes) = for_udp(answer, payload)
                && let Err(error) = udp.send_to(&bytes, address).await
            {
                tracing::debug!(%address, %error, "a DNS answer could not be sent");
            }
        }
        Asker::Tcp(reply) => {
            if let Ok(bytes) = answer.to_vec() {
                // The asker may have gone.
                let _ = reply.send(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
