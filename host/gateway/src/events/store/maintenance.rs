//! What is due without anybody asking: events that have become too old, deliveries that were not
//! acknowledged in time while no member takes, and dead letters.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use postern_core::{
    Text,
    event::durable::{ConsumerId, DeadEvent, DeadLetter, Position, StoredEvent, is_dead_letter},
};
use postern_system::clock;

use super::{
    log_core::{LogCore, StoreShared},
    request::Request,
    settings::DeadLetterSink,
};

/// Looks after the store's logs for as long as there is a store.
pub(super) async fn run(store: Weak<StoreShared>) {
    loop {
        let Some(shared) = store.upgrade() else {
            return;
        };
        let logs: Vec<_> = shared
            .logs
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        let sink = shared.dead_letters.lock().clone();
        for log in logs {
            look_after(&log, sink.as_ref()).await;
        }
        // The store is let go of while nothing is due.
        let dying = async {
            shared.dying.notified().await;
        };
        drop(tokio::time::timeout(LOOKS_EVERY, dying).await);
        drop(shared);
    }
}

/// Events of one consumer that are to be put aside.
type Dead = (ConsumerId, Text, Vec<DeadEvent>);

async fn look_after(log: &Arc<LogCore>, sink: Option<&DeadLetterSink>) {
    let dead = handle_timeouts(log, sink.is_some());
    let Some(sink) = sink else { return };
    for (id, name, events) in dead {
        for event in events {
            put_aside(log, (id, &name), event, sink).await;
        }
    }
}

/// Does what is due, and gives what is to be put aside; without `has_sink` that stays where it is.
fn handle_timeouts(log: &Arc<LogCore>, has_sink: bool) -> Vec<Dead> {
    let now = clock::now();
    let now_ms = clock::unix_time_ms();
    let (mut dead, mut told) = (Vec::new(), Vec::new());
    let mut inner = log.lock();
    let ids: Vec<_> = inner.set.iter().map(|(_, id)| id).collect();
    for id in ids {
        let Some(state) = inner.set.state_mut(id) else {
            continue;
        };
        if state.poll_timeout().is_some_and(|due| due <= now) {
            state.handle_timeout(now);
            told.push(id);
        }
        if has_sink && state.has_dead() {
            let name = state.settings().name.clone();
            dead.push((id, name, state.poll_dead()));
        }
    }
    let members = told.iter().filter_map(|id| inner.members.get(id).cloned());
    let members: Vec<_> = members.collect();
    let is_excess = inner.is_excess(now_ms);
    log.sync_again(&mut inner);
    drop(inner);
    members.iter().for_each(|members| members.told.notify_one());
    if is_excess {
        log.store.disk.file.tell(Request::Trim(Arc::downgrade(log)));
    }
    dead
}

/// Keeps the dead letter of an event, and is then done with the event.
async fn put_aside(
    log: &Arc<LogCore>,
    (id, consumer): (ConsumerId, &Text),
    dead: DeadEvent,
    sink: &DeadLetterSink,
) {
    let position = dead.position;
    let kept = match log.event_at(position).await {
        Ok(Some(stored)) => keep(log, consumer, &dead, &stored, sink).await,
        // The limits have taken it.
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    on_put_aside(log, (id, consumer), position, kept);
}

fn on_put_aside(
    log: &Arc<LogCore>,
    (id, consumer): (ConsumerId, &Text),
    position: Position,
    kept: Result<(), postern_core::Error>,
) {
    let mut inner = log.lock();
    match kept {
        Ok(()) => {
            inner.set.on_dead_letter_kept(id, position);
            drop(log.sync(&mut inner, id));
        }
        Err(error) => {
            if let Some(state) = inner.set.state_mut(id) {
                state.on_dead_letter_failed(clock::now(), position);
            }
            tracing::warn!(log = %log.name, %consumer, %position, %error, "dead letter not kept, it is tried again");
        }
    }
    let members = inner.members.get(&id).cloned();
    drop(inner);
    if let Some(members) = members {
        members.told.notify_one();
    }
}

async fn keep(
    log: &LogCore,
    consumer: &Text,
    dead: &DeadEvent,
    stored: &StoredEvent,
    sink: &DeadLetterSink,
) -> Result<(), postern_core::Error> {
    let DeadEvent {
        position,
        n_deliveries,
        reason,
    } = dead;
    let topic = &stored.event.topic;
    tracing::warn!(log = %log.name, %consumer, %position, %topic, n_deliveries, %reason, "event not handled, it goes to the dead letters");
    if is_dead_letter(&stored.event) {
        // It stays where it is, and is not wrapped once more.
        return Ok(());
    }
    let letter = DeadLetter {
        consumer: consumer.clone(),
        reason: reason.clone(),
        n_deliveries: *n_deliveries,
    };
    let configured = log.lock().dead_letter.clone();
    let keeping = sink(letter.event(configured.as_ref(), stored));
    match tokio::time::timeout(KEPT_WITHIN, keeping).await {
        Ok(kept) => kept,
        Err(_) => Err(postern_core::Error::deadline_exceeded(
            postern_core::Blame::Gateway,
            format!("the dead letter was not kept within {KEPT_WITHIN:?}"),
        )),
    }
}

const LOOKS_EVERY: Duration = Duration::from_secs(1);
const KEPT_WITHIN: Duration = Duration::from_secs(10);
