//! A gateway of the simulation: a directory, what it asks its peers, and a watcher.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{
    GRACE, IDLE, ROUND, SYNC,
    mirror::Mirror,
    network::{Body, Message},
};
use crate::{
    registry::{
        address::Address,
        directory::{Directory, DirectoryConfig, DirectoryEvent, PeerChange, ToldEntry},
        entry::{Draft, Entry},
        owner::{EntryKey, InstanceId, Owner},
        query::{Caller, Query},
        snapshot::EntryRecord,
        watch::{Changes, Cursor, DirectoryChange, WatchQuery},
    },
    testing::Rng,
    text::Text,
};

#[derive(Debug)]
pub(super) struct Gateway {
    idx: usize,
    life: u64,
    began_at: Instant,
    pub(super) directory: Directory,
    followers: Vec<Follower>,
    pub(super) mirror: Mirror,
    plugin: Option<Entry>,
    history_max: usize,
}

/// How this gateway follows one peer.
#[derive(Debug)]
struct Follower {
    peer: usize,
    name: Text,
    n_asked: u64,
    next_round: Instant,
    heard_at: Instant,
}

impl Gateway {
    pub(super) fn new(rng: &mut Rng, now: Instant, idx: usize, n: usize) -> Self {
        let history_max = 1 + usize::try_from(rng.below(30)).expect("small");
        let mut draft = Draft::new(format!("plugin-{idx}"), "s0");
        let address = format!("tcp://gateway-{idx}:9090");
        draft.addresses = vec![Address::parse(&address).expect("an address")];
        let plugin = Entry::new(&draft).expect("a good entry");
        let plugin = rng.chance(50).then_some(plugin);
        let mut gateway = Self {
            idx,
            life: 1,
            began_at: now,
            directory: directory(1, history_max),
            followers: Follower::all(now, idx, n),
            mirror: Mirror::new(rng),
            plugin,
            history_max,
        };
        gateway.load_plugin(now);
        gateway
    }

    /// Begins a new life, with what was leased or without.
    pub(super) fn restart(&mut self, now: Instant, keeps_leases: bool) {
        self.life += 1;
        self.began_at = now;
        let new = directory(self.life, self.history_max);
        let old = std::mem::replace(&mut self.directory, new);
        self.followers = Follower::all(now, self.idx, self.followers.len() + 1);
        self.load_plugin(now);
        for (record, lease) in old.leased().filter(|_| keeps_leases) {
            let (Some(ttl), Some(expires)) = (lease.ttl, lease.expires) else {
                panic!("{record:?} has no lease");
            };
            let (owner, left) = (&record.key.owner, expires - now);
            let restored = self
                .directory
                .restore(now, owner, record.entry.clone(), ttl, left);
            restored.expect("there was room before");
        }
    }

    /// All that it has, by key.
    pub(super) fn all(&self) -> Vec<Arc<EntryRecord>> {
        self.directory.watch_snapshot(&everything()).records
    }

    /// The instances that discovery finds.
    pub(super) fn found(&self) -> BTreeSet<InstanceId> {
        let found = self.directory.discover(&everything().query).into_iter();
        found
            .map(|instance| instance.record.key.instance.clone())
            .collect()
    }

    /// When its present life began.
    pub(super) const fn began_at(&self) -> Instant {
        self.began_at
    }

    /// What it must have whatever happens.
    pub(super) fn plugin_key(&self) -> Option<EntryKey> {
        let instance = self.plugin.as_ref()?.instance.clone();
        Some(EntryKey {
            owner: Owner::Local("plugin".into()),
            instance,
        })
    }

    /// Lets time act, and asks the peers.
    pub(super) fn step(&mut self, now: Instant) -> (Vec<DirectoryEvent>, Vec<Message>) {
        let mut events = Vec::new();
        if self
            .directory
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            events = self.directory.poll(now);
            assert!(!events.is_empty(), "woken for nothing");
        }
        let mut messages = Vec::new();
        for follower in &mut self.followers {
            let state = self.directory.peer(&follower.name);
            let mut is_connected = state.is_some_and(|state| state.is_connected);
            if is_connected && now > follower.heard_at + IDLE {
                self.directory.on_peer_lost(now, &follower.name);
                is_connected = false;
            }
            if now < follower.next_round {
                continue;
            }
            follower.next_round = now + ROUND;
            let cursor = state.and_then(|state| state.cursor);
            let body = if is_connected {
                Body::Ask(cursor)
            } else {
                Body::Hello
            };
            messages.push(follower.ask(self.idx, self.life, body));
        }
        (events, messages)
    }

    /// Takes a message; what it answers.
    pub(super) fn handle(&mut self, now: Instant, message: Message) -> Option<Message> {
        let Message {
            from,
            to,
            question,
            body,
        } = message;
        let answer = |body| Message {
            from: to,
            to: from,
            question,
            body,
        };
        match body {
            Body::Hello => return Some(answer(Body::Welcome)),
            Body::Ask(cursor) => return Some(answer(self.answer(cursor))),
            Body::Welcome | Body::Snapshot(..) | Body::Changes(..) => {}
        }
        let mut followers = self.followers.iter_mut();
        let follower = followers.find(|follower| follower.peer == from)?;
        // Late answers, and answers to a life before, are for nobody.
        if question != (self.life, follower.n_asked) {
            return None;
        }
        follower.heard_at = now;
        let name = &follower.name;
        match body {
            Body::Welcome => {
                self.directory.on_peer_connected(now, name);
                let cursor = self.directory.peer(name).and_then(|peer| peer.cursor);
                return Some(follower.ask(self.idx, self.life, Body::Ask(cursor)));
            }
            Body::Snapshot(told, cursor) => {
                let taken = self.directory.on_peer_snapshot(now, name, told, cursor);
                // An answer may come after the peer was given up.
                assert!(taken.is_err() || taken.is_ok_and(|taken| taken.refused.is_empty()));
            }
            Body::Changes(since, changes, cursor) => {
                let _ = self
                    .directory
                    .on_peer_changes(now, name, since, changes, cursor);
            }
            Body::Hello | Body::Ask(_) => {}
        }
        None
    }

    fn answer(&self, cursor: Option<Cursor>) -> Body {
        let watch = WatchQuery::of_peer();
        if let Some(since) = cursor
            && let Changes::Since { changes, cursor } =
                self.directory.changes_since(since, &watch, usize::MAX)
        {
            let changes = changes.into_iter().map(|change| match change {
                DirectoryChange::Put(record) => PeerChange::Put(told(&record)),
                DirectoryChange::Removed(key) => PeerChange::Removed(key.instance),
            });
            return Body::Changes(since, changes.collect(), cursor);
        }
        let snapshot = self.directory.exportable();
        let all = snapshot.records.iter().map(|record| told(record));
        Body::Snapshot(all.collect(), snapshot.cursor)
    }

    fn load_plugin(&mut self, now: Instant) {
        if let (Some(entry), Some(key)) = (self.plugin.clone(), self.plugin_key()) {
            let loaded = self.directory.register(now, &key.owner, entry, None);
            loaded.expect("the operator has room");
        }
    }
}

impl Follower {
    fn all(now: Instant, idx: usize, n: usize) -> Vec<Self> {
        let others = (0..n).filter(|other| *other != idx);
        let follower = |peer| Self {
            peer,
            name: name_of(peer),
            n_asked: 0,
            next_round: now,
            heard_at: now,
        };
        others.map(follower).collect()
    }

    fn ask(&mut self, from: usize, life: u64, body: Body) -> Message {
        self.n_asked += 1;
        Message {
            from,
            to: self.peer,
            question: (life, self.n_asked),
            body,
        }
    }
}

pub(super) fn name_of(gateway: usize) -> Text {
    Text::from(format!("gateway-{gateway}"))
}

fn everything() -> WatchQuery {
    let query = Query {
        caller: Caller::Trusted,
        ..Query::default()
    };
    WatchQuery {
        query,
        ..WatchQuery::default()
    }
}

pub(super) fn told(record: &EntryRecord) -> ToldEntry {
    ToldEntry {
        entry: record.entry.clone(),
        ttl: record.ttl,
    }
}

fn directory(life: u64, history_max: usize) -> Directory {
    let config = DirectoryConfig {
        history_max,
        peer_grace: GRACE,
        peer_sync: SYNC,
        ..DirectoryConfig::default()
    };
    Directory::new(config, life).expect("good settings")
}
