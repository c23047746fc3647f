//! The task that keeps a group in order: it tells the server that this gateway is alive and what it counted,
//! acknowledges what is for nobody here, writes dead letters, and takes over what gateways had that died.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Error,
    event::durable::Position,
    redis::{DeadDelivery, fields_of, position_of, stream_id},
};
use postern_system::clock;
use redis::Pipeline;

use super::{IDS_MAX, SharedGroup};
use crate::redis::{
    connection::Request,
    counts::count,
    routing::{Repeat, Route},
    stream_replies::{claimed, number, pending, text, value_of},
};

impl SharedGroup {
    /// Keeps the group in order for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let interval = self.log.config.claim_idle / 3;
        let mut next_look = clock::now() + interval;
        while !self.is_deleted.load(Relaxed) {
            let kept = self.keep_once(&mut next_look, interval).await;
            if let Err(error) = kept {
                tracing::debug!(group = %self.name, %error, "the group is kept in order later");
                // What was not told is told then.
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            let timer = self.state.lock().deliveries.poll_timeout();
            let next = timer.map_or(next_look, |timer| timer.min(next_look));
            // It is done when something asks for it or the time has come.
            drop(tokio::time::timeout_at(next.into(), self.work.notified()).await);
        }
    }

    async fn keep_once(&self, next_look: &mut Instant, interval: Duration) -> Result<(), Error> {
        let now = clock::now();
        self.expire(now);
        self.acknowledge_unwanted().await?;
        self.bury().await?;
        self.recount().await?;
        if now >= *next_look {
            *next_look = now + interval;
            self.say_alive().await?;
            self.claim().await?;
            self.forget_dead_consumers().await?;
        }
        Ok(())
    }

    fn expire(&self, now: Instant) {
        let mut state = self.state.lock();
        let is_due = state.deliveries.poll_timeout().is_some_and(|at| at <= now);
        if is_due {
            state.deliveries.handle_timeout(now);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    async fn acknowledge_unwanted(&self) -> Result<(), Error> {
        let unwanted = std::mem::take(&mut self.state.lock().unwanted);
        if unwanted.is_empty() {
            return Ok(());
        }
        let acknowledged = self.acknowledge_ids(&unwanted).await;
        if acknowledged.is_err() {
            self.state.lock().unwanted.extend(unwanted);
        }
        acknowledged.map(drop)
    }

    /// Writes what is not to be given out again beside the stream, and takes it from the group: both or
    /// neither.
    async fn bury(&self) -> Result<(), Error> {
        loop {
            let dead = self.state.lock().deliveries.next_dead().cloned();
            let Some(dead) = dead else {
                return Ok(());
            };
            if let Some(dead_letters) = &self.log.dead_letters {
                let DeadDelivery { stored, reason } = dead.clone();
                dead_letters(stored, self.name.clone(), reason).await?;
            }
            let request = Request::Atomic(self.burial(&dead));
            let route = Route::Key(self.log.key.as_bytes());
            self.log
                .routing
                .ask(route, &request, Repeat::Harmless)
                .await?;
            self.state.lock().deliveries.on_buried();
            self.n_dead.fetch_add(1, Relaxed);
            count(&self.log.routing.counters.dead);
            let DeadDelivery { stored, reason } = dead;
            tracing::warn!(
                group = %self.name, key = %self.log.key, topic = %stored.event.topic,
                deliveries = stored.n_deliveries, %reason, "an event becomes a dead letter"
            );
            self.room.notify_one();
        }
    }

    fn burial(&self, dead: &DeadDelivery) -> Pipeline {
        let DeadDelivery { stored, reason } = dead;
        let id = stream_id(stored.position);
        let mut letter = redis::cmd("XADD");
        letter.arg(&self.log.dead_key).arg("MAXLEN").arg("~");
        letter.arg(self.log.config.dead_letters_max).arg("*");
        let about = [
            ("group", self.name.to_string()),
            ("reason", reason.to_string()),
            ("deliveries", stored.n_deliveries.to_string()),
            ("entry", id.clone()),
        ];
        let about = about
            .into_iter()
            .map(|(name, value)| (Bytes::from(name), Bytes::from(value)));
        for (name, value) in fields_of(&stored.event).into_iter().chain(about) {
            letter.arg(&name[..]).arg(&value[..]);
        }
        let mut pipeline = Pipeline::new();
        pipeline.atomic().add_command(letter);
        pipeline.add_command(self.command("XACK", [id]));
        pipeline
    }

    /// The server counts deliveries that it makes itself; it is told of those that were made here.
    async fn recount(&self) -> Result<(), Error> {
        loop {
            let first = self.state.lock().recounts.pop_first();
            let Some((position, n_deliveries)) = first else {
                return Ok(());
            };
            let arguments = [
                self.consumer.clone(),
                "0".to_owned(),
                stream_id(position),
                "RETRYCOUNT".to_owned(),
                n_deliveries.to_string(),
                "JUSTID".to_owned(),
            ];
            let told = self
                .log
                .ask(self.command("XCLAIM", arguments), Repeat::Harmless)
                .await;
            if let Err(error) = told {
                self.state
                    .lock()
                    .recounts
                    .entry(position)
                    .or_insert(n_deliveries);
                return Err(error);
            }
        }
    }

    /// What this gateway holds is its own for `claim_idle` more. What another has taken over meanwhile, or
    /// somebody has acknowledged, is forgotten here.
    async fn say_alive(&self) -> Result<(), Error> {
        let held = self.state.lock().deliveries.positions();
        if held.is_empty() {
            return Ok(());
        }
        let own = self.own().await?;
        let others: Vec<Position> = held.difference(&own).copied().collect();
        let ids: Vec<_> = held.intersection(&own).map(|one| stream_id(*one)).collect();
        if !others.is_empty() {
            let n_others = others.len();
            tracing::info!(group = %self.name, n_others, "other gateways have taken over what this one held");
            self.state.lock().deliveries.forget(&others);
            self.on_changed();
        }
        for ids in ids.chunks(IDS_MAX) {
            let arguments = [self.consumer.clone(), "0".to_owned()].into_iter();
            let arguments = arguments
                .chain(ids.iter().cloned())
                .chain(["JUSTID".to_owned()]);
            self.log
                .ask(self.command("XCLAIM", arguments), Repeat::Harmless)
                .await?;
        }
        Ok(())
    }

    /// Entries that the server says are with this gateway.
    async fn own(&self) -> Result<BTreeSet<Position>, Error> {
        let mut own = BTreeSet::new();
        let mut from = "-".to_owned();
        loop {
            let arguments = [
                from,
                "+".to_owned(),
                IDS_MAX.to_string(),
                self.consumer.clone(),
            ];
            let reply = self
                .log
                .ask(self.command("XPENDING", arguments), Repeat::Harmless)
                .await?;
            let rows = pending(reply);
            own.extend(rows.iter().filter_map(|row| position_of(&row.id)));
            match rows.last() {
                // The range begins behind it.
                Some(last) if rows.len() == IDS_MAX => from = format!("({}", last.id),
                Some(_) | None => return Ok(own),
            }
        }
    }

    /// Takes over what lies with gateways that give no sign of life.
    async fn claim(&self) -> Result<(), Error> {
        let idle_ms = self.log.config.claim_idle.as_millis().to_string();
        let mut cursor = "0-0".to_owned();
        loop {
            let room = self.state.lock().deliveries.room().min(CLAIM_MAX);
            if room == 0 {
                return Ok(());
            }
            let arguments = [
                self.consumer.clone(),
                idle_ms.clone(),
                cursor,
                "COUNT".to_owned(),
                room.to_string(),
            ];
            // A repetition finds that they are this gateway's own, and young: the reader recovers those.
            let command = self.command("XAUTOCLAIM", arguments);
            let claimed = claimed(self.log.ask(command, Repeat::Harmless).await?);
            if !claimed.entries.is_empty() {
                self.take_over(claimed.entries).await?;
            }
            if claimed.cursor.is_empty() || claimed.cursor == "0-0" {
                return Ok(());
            }
            cursor = claimed.cursor;
        }
    }

    async fn take_over(
        &self,
        entries: Vec<crate::redis::stream_replies::StreamEntry>,
    ) -> Result<(), Error> {
        let n_claimed = entries.len();
        let ends = entries.first().zip(entries.last());
        let (first, last) = ends
            .map(|(a, b)| (a.id.clone(), b.id.clone()))
            .unwrap_or_default();
        let arguments = [first, last, n_claimed.to_string(), self.consumer.clone()];
        let counts = self
            .log
            .ask(self.command("XPENDING", arguments), Repeat::Harmless)
            .await;
        // Where the server does not say, one delivery before this one is assumed.
        let counts = counts.map(pending).unwrap_or_default().into_iter();
        let counts: HashMap<_, _> = counts.map(|one| (one.id, one.n_deliveries)).collect();
        for _ in 0..n_claimed {
            count(&self.log.routing.counters.claimed);
        }
        tracing::info!(group = %self.name, key = %self.log.key, n_claimed, "entries of a dead consumer are taken over");
        self.insert(entries, |id| {
            counts.get(id).copied().unwrap_or(2).saturating_sub(1)
        });
        Ok(())
    }

    /// Consumers that have nothing and have been silent for long belong to gateways that are gone.
    async fn forget_dead_consumers(&self) -> Result<(), Error> {
        let mut about = redis::cmd("XINFO");
        about
            .arg("CONSUMERS")
            .arg(&self.log.key)
            .arg(self.name.as_str());
        let reply = self.log.ask(about, Repeat::Harmless).await?;
        let idle_max = self
            .log
            .config
            .claim_idle
            .saturating_mul(DEAD_AFTER)
            .as_millis();
        for row in reply.into_sequence().unwrap_or_default() {
            let number_of = |name: &str| value_of(&row, name).and_then(number);
            let is_dead = number_of("pending") == Some(0)
                && number_of("idle").is_some_and(|idle| u128::from(idle) > idle_max);
            let name = value_of(&row, "name").and_then(text);
            if let Some(name) = name.filter(|name| is_dead && *name != self.consumer) {
                let mut command = redis::cmd("XGROUP");
                command.arg("DELCONSUMER").arg(&self.log.key);
                command.arg(self.name.as_str()).arg(name);
                self.log.ask(command, Repeat::Harmless).await?;
            }
        }
        Ok(())
    }
}

/// After a failure to tell the server something.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Entries that are taken over at a time.
const CLAIM_MAX: usize = 256;
/// A consumer counts as gone after so many times `claim_idle`.
const DEAD_AFTER: u32 = 20;
