//! `kill -9` at random moments while events are published and acknowledged: what was answered is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use postern_core::testing::Rng;
use postern_net::Client;
use postern_tests::{Gateway, next_event, session};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{acknowledge, publish_keyed, setup, subscribe, told};
use crate::{figure, share};

/// What the clients were answered.
#[derive(Default)]
struct Answers {
    /// Events that the gateway said it has stored.
    stored: Mutex<BTreeSet<u64>>,
    /// Events that it said it has noted as handled.
    handled: Mutex<BTreeSet<u64>>,
    /// How often each was delivered.
    delivered: Mutex<BTreeMap<u64, u64>>,
    /// Deliveries of what had been noted as handled before.
    after_handled: AtomicU64,
    /// The last of each key, to see that their order is kept.
    order: Mutex<BTreeMap<(u64, u64), u64>>,
    next: AtomicU64,
    next_publisher: AtomicU64,
    is_over: AtomicBool,
}

const KEYS: u64 = 3;
const PUBLISHERS: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_when_the_gateway_is_killed() {
    let _machine = share().await;
    let n_kills = match std::env::var_os("POSTERN_SOAK") {
        Some(_) => 50,
        None => 10,
    };
    let mut gateway = Gateway::start(setup("ack-wait = \"30s\"\nmax-messages = 1000000")).await;
    let answers = Arc::new(Answers::default());
    let mut moments = Rng::new(14);
    for _ in 0..n_kills {
        let mut clients = JoinSet::new();
        for _ in 0..PUBLISHERS {
            clients.spawn(publish_on(session(&gateway).await, Arc::clone(&answers)));
        }
        clients.spawn(consume_on(session(&gateway).await, Arc::clone(&answers)));
        let moment = 20 + moments.below(300);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        gateway.signal("KILL");
        gateway.ended().await;
        clients.shutdown().await;
        gateway.start_again().await;
    }
    // What is left is taken in peace.
    answers.is_over.store(true, Relaxed);
    let client = session(&gateway).await;
    let mut events = subscribe(&client, "billing", "orders.>").await;
    let last = json!({"n": u64::MAX, "key": 0});
    publish_keyed(&client, "orders.last", "last", &last)
        .await
        .expect("stored");
    let mut is_last_seen = false;
    while !is_last_seen || !answers.missing().is_empty() {
        let event = next_event(&mut events).await;
        let (payload, _) = told(&event);
        answers.on_delivery(&payload);
        let answered = acknowledge(&client, &event).await;
        assert_eq!(answered.expect("on disk"), 1);
        is_last_seen |= payload["n"] == last["n"];
    }
    let (stored, delivered) = (answers.stored().len(), answers.delivered());
    let again: u64 = delivered.values().map(|n| n - 1).sum();
    figure(&format!(
        "{n_kills} times kill -9: {stored} events were answered as stored, 0 lost, {} delivered, {again} of them \
         again, {} of those acknowledged before",
        delivered.len(),
        answers.after_handled.load(Relaxed)
    ));
    assert_eq!(answers.after_handled.load(Relaxed), 0);
    assert!(stored > n_kills, "{stored} events are no load");
}

impl Answers {
    fn stored(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.stored.lock().expect("nobody panics with it")
    }

    fn handled(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.handled.lock().expect("nobody panics with it")
    }

    fn delivered(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.delivered.lock().expect("nobody panics with it")
    }

    fn on_delivery(&self, payload: &Value) {
        let n = payload["n"].as_u64().expect("a number");
        *self.delivered().entry(n).or_default() += 1;
        if self.handled().contains(&n) {
            self.after_handled.fetch_add(1, Relaxed);
        }
        // Numbers of one publisher and key grow, but for what comes again.
        let (Some(publisher), Some(key)) = (payload["publisher"].as_u64(), payload["key"].as_u64())
        else {
            return;
        };
        let mut order = self.order.lock().expect("nobody panics with it");
        let before = order.entry((publisher, key)).or_insert(n);
        let is_again = self.delivered().get(&n).is_some_and(|count| *count > 1);
        assert!(
            n >= *before || is_again,
            "{n} of key {key} comes behind {before}"
        );
        *before = n.max(*before);
    }

    fn missing(&self) -> BTreeSet<u64> {
        let delivered = self.delivered();
        let stored = self.stored();
        stored
            .iter()
            .filter(|n| !delivered.contains_key(n))
            .copied()
            .collect()
    }
}

/// Publishes one event after the other until the gateway is gone.
async fn publish_on(client: Client, answers: Arc<Answers>) {
    let publisher = answers.next_publisher.fetch_add(1, Relaxed);
    while !answers.is_over.load(Relaxed) {
        let n = answers.next.fetch_add(1, Relaxed);
        let key = n % KEYS;
        let payload = json!({"n": n, "publisher": publisher, "key": key});
        let key = format!("{publisher}-{key}");
        match publish_keyed(&client, "orders.created", &key, &payload).await {
            Ok(()) => drop(answers.stored().insert(n)),
            Err(_) => return,
        }
    }
}

/// Takes and acknowledges until the gateway is gone.
async fn consume_on(client: Client, answers: Arc<Answers>) {
    let mut events = subscribe(&client, "billing", "orders.>").await;
    while let Some(event) = events.next().await {
        let (payload, _) = told(&event);
        answers.on_delivery(&payload);
        match acknowledge(&client, &event).await {
            Ok(_) => {
                let n = payload["n"].as_u64().expect("a number");
                answers.handled().insert(n);
            }
            Err(_) => return,
        }
    }
}
