//! A store in memory, with what it is told to be slow or unable to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use postern_core::{
    BoxFuture, Error, Text,
    event::{
        Event,
        durable::{EventConsumer, Position, Redelivery, StoredEvent},
    },
    mqtt::{Publication, SharedFilter, TopicFilter},
};
use postern_net::mqtt::{Acceptance, MqttStore, StoredSession};
use tokio::sync::Notify;

/// Outlives brokers, as a file does.
#[derive(Debug, Default)]
pub(crate) struct Store {
    state: Mutex<State>,
    /// Whether sessions have stored queues.
    keeps_queues: bool,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    retained: BTreeMap<Text, Arc<Publication>>,
    sessions: BTreeMap<Text, StoredSession>,
    queues: BTreeMap<Text, Queue>,
    log: Vec<Event>,
    wills: Vec<(Text, Text)>,
}

#[derive(Debug, Default)]
struct Queue {
    filters: Vec<TopicFilter>,
    begin: usize,
    acknowledged: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    member: u64,
}

#[derive(Debug)]
struct Consumer {
    store: Arc<Store>,
    name: Text,
    member: u64,
}

/// So that a consumer has the store that it is of.
#[derive(Debug, Clone)]
pub(crate) struct SharedStore(pub(crate) Arc<Store>);

impl Store {
    pub(crate) fn durable() -> Self {
        Self {
            keeps_queues: true,
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    pub(crate) fn retain(&self, publication: &Arc<Publication>) {
        let topic = publication.topic.name.clone();
        let retained = &mut self.state().retained;
        match publication.payload.is_empty() {
            true => retained.remove(&topic),
            false => retained.insert(topic, Arc::clone(publication)),
        };
    }

    pub(crate) fn append(&self, event: Event) {
        self.state().log.push(event);
        self.changed.notify_waiters();
    }

    pub(crate) fn session(&self, client_id: &str) -> Option<StoredSession> {
        self.state().sessions.get(client_id).cloned()
    }

    pub(crate) fn wills(&self) -> Vec<(Text, Text)> {
        self.state().wills.clone()
    }

    /// How many events wait for a client that it has not acknowledged.
    pub(crate) fn n_waiting(&self, client_id: &str) -> usize {
        let state = self.state();
        let Some(queue) = state.queues.get(client_id) else {
            return 0;
        };
        let wanted = queue.wanted(&state.log);
        wanted
            .filter(|position| !queue.acknowledged.contains(position))
            .count()
    }

    /// The gateway was killed: what members had is nobody's.
    pub(crate) fn crash(&self) {
        for queue in self.state().queues.values_mut() {
            queue.taken.clear();
            queue.member += 1;
        }
    }
}

impl Queue {
    fn wanted<'a>(&'a self, log: &'a [Event]) -> impl Iterator<Item = u64> + 'a {
        let positions = (1..).zip(log).skip(self.begin);
        let wanted = positions.filter(|(_, event)| {
            self.filters.iter().any(|filter| {
                let patterns = filter.patterns().expect("patterns");
                patterns.iter().any(|pattern| pattern.matches(&event.topic))
            })
        });
        wanted.map(|(position, _)| position)
    }
}

impl MqttStore for SharedStore {
    fn retained(&self, filter: &TopicFilter, found: &mut dyn FnMut(Arc<Publication>)) {
        let retained = self.0.state().retained.clone();
        for (topic, publication) in retained {
            if filter.matches(&topic) {
                found(publication);
            }
        }
    }

    fn n_retained(&self) -> u64 {
        self.0.state().retained.len() as u64
    }

    fn load_sessions(&self) -> BoxFuture<Result<Vec<StoredSession>, Error>> {
        let sessions = self.0.state().sessions.values().cloned().collect();
        Box::pin(async { Ok(sessions) })
    }

    fn save_session(&self, session: StoredSession) -> BoxFuture<Result<(), Error>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut state = store.state();
            state.sessions.insert(session.client_id.clone(), session);
            Ok(())
        })
    }

    fn delete_session(&self, client_id: Text) -> BoxFuture<Result<(), Error>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            let mut state = store.state();
            state.sessions.remove(&client_id);
            state.queues.remove(&client_id);
            Ok(())
        })
    }

    fn publish_will(
        &self,
        client_id: &Text,
        publication: &Arc<Publication>,
        _: bool,
    ) -> Acceptance {
        let will = (client_id.clone(), publication.topic.name.clone());
        self.0.state().wills.push(will);
        Acceptance::Now(Ok(0))
    }

    fn keeps_queues(&self) -> bool {
        self.0.keeps_queues
    }

    fn session_queue(
        &self,
        client_id: Text,
        filters: Vec<TopicFilter>,
        _: usize,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            let mut state = store.state();
            let begin = state.log.len();
            let queue = state
                .queues
                .entry(client_id.clone())
                .or_insert_with(|| Queue {
                    begin,
                    ..Queue::default()
                });
            queue.filters = filters;
            queue.taken.clear();
            queue.member += 1;
            let consumer = Consumer {
                member: queue.member,
                store: Arc::clone(&store),
                name: client_id,
            };
            Ok(Box::new(consumer) as Box<dyn EventConsumer>)
        })
    }

    fn share_queue(
        &self,
        filter: SharedFilter,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let name = Text::from(filter.to_string());
        self.session_queue(name, vec![filter.filter], usize::MAX)
    }

    fn delete_share(&self, filter: SharedFilter) -> BoxFuture<Result<(), Error>> {
        self.0.state().queues.remove(filter.to_string().as_str());
        Box::pin(async { Ok(()) })
    }
}

impl EventConsumer for Consumer {
    fn take(&self, events_max: usize) -> BoxFuture<Result<Vec<StoredEvent>, Error>> {
        let (store, name, member) = (Arc::clone(&self.store), self.name.clone(), self.member);
        Box::pin(async move {
            loop {
                let changed = store.changed.notified();
                {
                    let mut state = store.state();
                    let State { queues, log, .. } = &mut *state;
                    let queue = queues.get_mut(&name).expect("a queue");
                    let is_free = |position: &u64| {
                        !queue.acknowledged.contains(position) && !queue.taken.contains(position)
                    };
                    let free = queue.wanted(log).filter(is_free).take(events_max);
                    let positions: Vec<_> = free.collect();
                    if queue.member == member && !positions.is_empty() {
                        queue.taken.extend(&positions);
                        let event = |position: u64| StoredEvent {
                            position: Position(position),
                            stored_at_ms: 0,
                            n_deliveries: 1,
                            event: log[usize::try_from(position).expect("short") - 1].clone(),
                        };
                        return Ok(positions.into_iter().map(event).collect());
                    }
                }
                changed.await;
            }
        })
    }

    fn acknowledge(&self, positions: Vec<Position>) -> BoxFuture<Result<u64, Error>> {
        let (store, name) = (Arc::clone(&self.store), self.name.clone());
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut state = store.state();
            let Some(queue) = state.queues.get_mut(&name) else {
                return Ok(0);
            };
            queue
                .acknowledged
                .extend(positions.iter().map(|position| position.0));
            Ok(positions.len() as u64)
        })
    }

    fn refuse(&self, _: Position, _: Redelivery, _: Text) -> BoxFuture<Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut state = self.store.state();
        if let Some(queue) = state.queues.get_mut(&self.name)
            && queue.member == self.member
        {
            queue.taken.clear();
        }
    }
}
