//! What one proxy is sent, and when: the state of an ADS stream, without I/O.
//!
//! Both variants of the protocol, state-of-the-world and delta, are the same machine; they differ in what a request says
//! and how much a [`Push`] holds. Per type at most one response is on its way: what changes meanwhile is merged and sent
//! once the proxy has answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_model::filter::RefusedPatch;
use hawser_model::{Proxy, Str};

use crate::kind::Kind;
use crate::source::{Given, Resource, Selection, View, host_of};
use crate::trials::Trials;

/// Which variant of the protocol a stream speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// `StreamAggregatedResources`.
    StateOfTheWorld,
    /// `DeltaAggregatedResources`.
    Delta,
}

/// A proxy's request, of either variant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// Nonce of the response that it answers; empty if none.
    pub nonce: String,
    /// Why that response was refused.
    pub error: Option<String>,
    /// Names wanted: all of them (state of the world) or further ones (delta).
    pub subscribe: Vec<Str>,
    /// Names no longer wanted (delta).
    pub unsubscribe: Vec<Str>,
    /// Versions that the proxy has from an earlier stream (delta).
    pub initial: BTreeMap<Str, String>,
}

/// A response to send.
#[derive(Clone, Debug)]
pub struct Push {
    /// The type.
    pub kind: Kind,
    /// To be repeated by the proxy.
    pub nonce: String,
    /// Number of the view that it brings the proxy to.
    pub sequence: u64,
    /// What is new; all of the type where the variant or the type wants that.
    pub resources: Vec<Arc<Resource>>,
    /// What is no more (delta).
    pub removed: Vec<Str>,
}

/// How a proxy stands with one type.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TypeStatus {
    /// Number of the last view sent.
    pub sent: u64,
    /// Number of the last view that the proxy is known to have; what a view left untouched counts.
    pub acked: u64,
    /// Nonce of the last response.
    pub nonce_sent: String,
    /// Nonce of the last response accepted.
    pub nonce_acked: String,
    /// Why the last response was refused; cleared once one is accepted.
    pub rejected: Option<String>,
    /// How many responses were refused.
    pub n_rejected: u64,
    /// How many resources the proxy was given.
    pub n_resources: usize,
}

/// The state of a stream.
pub struct Stream {
    proxy: Arc<Proxy>,
    variant: Variant,
    seen: u64,
    last_nonce: u64,
    kinds: BTreeMap<Kind, Subscription>,
    trials: Trials,
}

#[derive(Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<Str>,
    /// What the proxy has, or will have once it accepts what is on its way: of what is shared all that it wants,
    shared: Arc<Selection>,
    /// and these versions, which stand for those of the same name that are shared.
    own: BTreeMap<Str, u64>,
    outstanding: bool,
    dirty: bool,
    /// To be sent again although unchanged: endpoints of clusters that were replaced.
    again: BTreeSet<Str>,
    status: TypeStatus,
}

impl Stream {
    /// A stream of a proxy that has asked for nothing yet.
    pub fn new(proxy: Arc<Proxy>, variant: Variant) -> Self {
        Self {
            proxy,
            variant,
            seen: 0,
            last_nonce: 0,
            kinds: BTreeMap::new(),
            trials: Trials::default(),
        }
    }

    /// Whose stream it is.
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// How the proxy stands with each type that it asked for.
    pub fn status(&self) -> BTreeMap<Kind, TypeStatus> {
        self.kinds
            .iter()
            .map(|(k, s)| (*k, s.status.clone()))
            .collect()
    }

    /// The names that it asks for of a type, where it does not ask for all.
    pub fn names(&self, kind: Kind) -> Option<&BTreeSet<Str>> {
        self.kinds.get(&kind).map(|s| &s.names)
    }

    /// Patches of EnvoyFilters that the proxy is configured without, since its Envoy refused what they make.
    pub fn refused_patches(&self) -> Vec<RefusedPatch> {
        self.trials.verdicts(&self.proxy.id)
    }

    /// Takes a request; returns what to send now.
    pub fn request(&mut self, kind: Kind, request: Request, view: &View) -> Vec<Push> {
        self.seen = self.seen.max(view.sequence);
        let first = !self.kinds.contains_key(&kind);
        let variant = self.variant;
        let sub = self.kinds.entry(kind).or_default();
        if !first && !request.nonce.is_empty() && request.nonce != sub.status.nonce_sent {
            // An answer to a response that a later one has overtaken; its names count in the delta variant alone.
            if variant == Variant::StateOfTheWorld {
                return Vec::new();
            }
        } else if !request.nonce.is_empty() && !first {
            let awaited = sub.outstanding;
            sub.answered(&request, self.seen);
            if let (Some(error), true) = (&request.error, awaited) {
                self.leave_out(kind, error, view);
            }
        }
        let sub = self.kinds.entry(kind).or_default();
        let added = match variant {
            Variant::Delta => sub.change_names(kind, &request, first),
            Variant::StateOfTheWorld => sub.set_names(kind, &request, first),
        };
        // A state-of-the-world proxy that asks anew on the same stream has lost what it had.
        let anew = first || (variant == Variant::StateOfTheWorld && request.nonce.is_empty());
        if anew && variant == Variant::StateOfTheWorld {
            sub.forget();
        }
        let mut pushes = if anew {
            self.push(kind, view, &added, true)
        } else if !added.is_empty() {
            self.push(kind, view, &added, false)
        } else {
            Vec::new()
        };
        let is_due =
            |(kind, sub): (&Kind, &Subscription)| (sub.dirty && !sub.outstanding).then_some(*kind);
        let due: Vec<Kind> = self.kinds.iter().filter_map(is_due).collect();
        for kind in due {
            pushes.extend(self.push(kind, view, &BTreeSet::new(), false));
        }
        pushes
    }

    /// After a refusal: configures the proxy without the patch that is suspected of it, if there is one. Some patches
    /// stand in resources of several types.
    fn leave_out(&mut self, kind: Kind, error: &str, view: &View) {
        let proxy = &self.proxy;
        let changed = self.trials.refused(kind, error, |left_out, cleared| {
            let proxy = Proxy {
                refused: left_out.to_vec(),
                ..(**proxy).clone()
            };
            view.source.suspect(&proxy, kind, cleared)
        });
        if changed {
            self.proxy = Arc::new(Proxy {
                refused: self.trials.left_out(),
                ..(*self.proxy).clone()
            });
            for sub in self.kinds.values_mut() {
                sub.dirty = true;
            }
        }
    }

    /// Takes a new view; returns what to send now.
    pub fn view(&mut self, view: &View) -> Vec<Push> {
        if view.sequence <= self.seen {
            return Vec::new();
        }
        let in_step = view.sequence == self.seen + 1;
        self.seen = view.sequence;
        let mut pushes = Vec::new();
        for kind in Kind::ALL {
            let Some(sub) = self.kinds.get_mut(&kind) else {
                continue;
            };
            let touched = !in_step || view.scope.configuration || sub.is_touched(kind, view);
            if sub.outstanding {
                sub.dirty |= touched;
            } else if touched {
                pushes.extend(self.push(kind, view, &BTreeSet::new(), false));
            } else if sub.status.rejected.is_none() {
                sub.status.acked = view.sequence;
            }
        }
        pushes
    }

    /// Compares what the proxy has with what it should have. `added` are names just asked for: the delta variant answers
    /// each of them, if only to say that there is no such thing.
    fn push(&mut self, kind: Kind, view: &View, added: &BTreeSet<Str>, answer: bool) -> Vec<Push> {
        let variant = self.variant;
        let Some(sub) = self.kinds.get_mut(&kind) else {
            return Vec::new();
        };
        let given = view
            .source
            .resources(&self.proxy, kind, (!sub.wildcard).then_some(&sub.names));
        sub.dirty = false;
        let again = std::mem::take(&mut sub.again);
        let mut new = Vec::new();
        let mut removed = BTreeSet::new();
        let mut count = sub.status.n_resources;
        for name in sub.in_question(&given, &again, added) {
            let had = sub.version(&name);
            match given.get(&name).filter(|_| sub.wants(&name)) {
                Some(resource)
                    if had != Some(resource.version)
                        || again.contains(&name)
                        || added.contains(&name) =>
                {
                    count += usize::from(had.is_none());
                    new.push(Arc::clone(resource));
                }
                None if had.is_some() || added.contains(&name) => {
                    count -= usize::from(had.is_some()).min(count);
                    removed.insert(name);
                }
                _ => {}
            }
        }
        sub.names_of(&new, added);
        sub.take(&given);
        sub.status.n_resources = if added.is_empty() { count } else { sub.count() };
        let gone = !removed.is_empty();
        let full = variant == Variant::StateOfTheWorld && sub.wildcard;
        let worth_sending =
            !new.is_empty() || (gone && (full || variant == Variant::Delta)) || answer;
        if !worth_sending {
            if sub.status.rejected.is_none() && !sub.outstanding {
                sub.status.acked = view.sequence;
            }
            return Vec::new();
        }
        self.last_nonce += 1;
        let nonce = self.last_nonce.to_string();
        sub.outstanding = true;
        sub.status.sent = view.sequence;
        sub.status.nonce_sent.clone_from(&nonce);
        let replaced: Vec<Str> = if kind == Kind::Cluster {
            new.iter().map(|r| r.name.clone()).collect()
        } else {
            Vec::new()
        };
        let resources = if full {
            given.all().into_values().collect()
        } else {
            new
        };
        let removed = if variant == Variant::Delta {
            removed.into_iter().collect()
        } else {
            Vec::new()
        };
        let mut pushes = vec![Push {
            kind,
            nonce,
            sequence: view.sequence,
            resources,
            removed,
        }];
        pushes.extend(self.warm(replaced, view));
        pushes
    }

    /// Envoy warms a replaced cluster until it gets its endpoints, and does not ask again for those it has asked for.
    fn warm(&mut self, replaced: Vec<Str>, view: &View) -> Vec<Push> {
        let Some(endpoints) = self.kinds.get_mut(&Kind::Endpoint) else {
            return Vec::new();
        };
        let wanted: Vec<Str> = replaced
            .into_iter()
            .filter(|n| endpoints.names.contains(n))
            .collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        endpoints.again.extend(wanted);
        if endpoints.outstanding {
            endpoints.dirty = true;
            return Vec::new();
        }
        self.push(Kind::Endpoint, view, &BTreeSet::new(), false)
    }
}

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// The version of a resource that the proxy has.
    fn version(&self, name: &str) -> Option<u64> {
        let shared = || {
            self.wants(name)
                .then(|| self.shared.get(name))
                .flatten()
                .map(|r| r.version)
        };
        self.own.get(name).copied().or_else(shared)
    }

    /// Names that may differ between what the proxy has and what it is given: few, where what is shared is the same.
    fn in_question(
        &self,
        given: &Given,
        again: &BTreeSet<Str>,
        added: &BTreeSet<Str>,
    ) -> BTreeSet<Str> {
        let mut names: BTreeSet<Str> = given
            .shared
            .since(&self.shared)
            .into_iter()
            .filter(|n| self.wants(n))
            .collect();
        names.extend(
            self.own
                .keys()
                .chain(given.own.keys())
                .chain(again)
                .chain(added)
                .cloned(),
        );
        names
    }

    /// The proxy has what it is given.
    fn take(&mut self, given: &Given) {
        self.shared = Arc::clone(&given.shared);
        let wanted = given.own.iter().filter(|(n, _)| self.wants(n));
        self.own = wanted.map(|(n, r)| (n.clone(), r.version)).collect();
    }

    /// The proxy has nothing any more.
    fn forget(&mut self) {
        self.shared = Arc::default();
        self.own.clear();
    }

    /// Keeps the resources' names for those just asked for, so that a thousand proxies do not keep a thousand copies.
    fn names_of(&mut self, resources: &[Arc<Resource>], added: &BTreeSet<Str>) {
        for resource in resources.iter().filter(|r| added.contains(&r.name)) {
            if self.names.remove(&resource.name) {
                self.names.insert(Arc::clone(&resource.name));
            }
        }
    }

    /// How many resources the proxy has.
    fn count(&self) -> usize {
        let shared = if self.wildcard {
            self.shared.resources().len()
        } else {
            self.names
                .iter()
                .filter(|n| self.shared.get(n).is_some())
                .count()
        };
        shared
            + self
                .own
                .keys()
                .filter(|n| self.shared.get(n).is_none())
                .count()
    }

    /// `seen` is the last view looked at: what came after the response that is answered, and did not touch this type, is
    /// acknowledged with it.
    fn answered(&mut self, request: &Request, seen: u64) {
        self.outstanding = false;
        match &request.error {
            None => {
                self.status.nonce_acked.clone_from(&request.nonce);
                self.status.acked = if self.dirty { self.status.sent } else { seen };
                self.status.rejected = None;
            }
            Some(error) => {
                self.status.rejected = Some(error.clone());
                self.status.n_rejected += 1;
            }
        }
    }

    /// The delta variant: names come and go. Returns those that are new.
    fn change_names(&mut self, kind: Kind, request: &Request, first: bool) -> BTreeSet<Str> {
        if first {
            self.wildcard = kind.is_wildcard() && request.subscribe.is_empty();
            // Versions are numbers that we made; what is not one is of another server, and so is not what we have.
            self.own = request
                .initial
                .iter()
                .filter_map(|(n, v)| Some((n.clone(), u64::from_str_radix(v, 16).ok()?)))
                .collect();
        }
        for name in &request.unsubscribe {
            if &**name == "*" {
                self.wildcard = false;
            }
            self.names.remove(name);
            if !self.wildcard {
                self.own.remove(name);
            }
        }
        let mut added = BTreeSet::new();
        for name in &request.subscribe {
            if &**name == "*" {
                self.wildcard = true;
                self.dirty = true;
            } else {
                self.names.insert(name.clone());
                // Even if it was subscribed before: the proxy asks because it has lost it.
                added.insert(name.clone());
            }
        }
        if first {
            added.retain(|n| !self.own.contains_key(n));
        }
        if first || !request.unsubscribe.is_empty() {
            self.status.n_resources = self.count();
        }
        added
    }

    /// The state-of-the-world variant: names are replaced. Returns those that are new.
    fn set_names(&mut self, kind: Kind, request: &Request, first: bool) -> BTreeSet<Str> {
        let names: BTreeSet<Str> = request
            .subscribe
            .iter()
            .filter(|n| &***n != "*")
            .cloned()
            .collect();
        let star = request.subscribe.iter().any(|n| &**n == "*");
        if first {
            self.wildcard = kind.is_wildcard() && names.is_empty();
        }
        self.wildcard |= star;
        let added = names.difference(&self.names).cloned().collect();
        if !self.wildcard {
            self.own.retain(|n, _| names.contains(n));
        }
        if self.names != names {
            self.names = names;
            self.status.n_resources = self.count();
        }
        added
    }

    fn is_touched(&self, kind: Kind, view: &View) -> bool {
        match kind {
            Kind::Endpoint => self
                .names
                .iter()
                .any(|n| host_of(n).is_some_and(|h| view.scope.hosts.contains(h))),
            Kind::NameTable => view.scope.names,
            Kind::Secret => view.scope.credentials,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
