//! A member of a consumer: it looks for events in memory and in the file, takes them and says what
//! became of them.

use std::{collections::HashMap, fmt, sync::Arc, time::Instant};

use postern_core::{
    Blame, BoxFuture, Error, Kind, Text,
    event::durable::{
        ConsumerId, EventConsumer, MemberId, OrderKey, Position, Redelivery, Retention, StoredEvent,
    },
};
use postern_system::clock;

use super::{
    disk::RangeRead,
    log_core::{LogCore, LogInner, Members, READ_BYTES_MAX},
};

/// One that takes from a consumer; dropped, it releases what it has.
#[derive(Debug)]
pub(super) struct LocalConsumer {
    membership: Arc<Membership>,
}

struct Membership {
    log: Arc<LogCore>,
    id: ConsumerId,
    member: MemberId,
    members: Arc<Members>,
    name: Text,
}

/// What a look at the log says.
enum Look {
    Given(Vec<(Position, u32)>),
    /// More events lie in the file.
    Read {
        from: Position,
        last: Position,
        n: usize,
    },
    /// There is nothing, until it is told or until then.
    Wait(Option<Instant>),
}

/// Events that were given out and have not reached the member; dropped, they are released.
struct Unsent<'m> {
    membership: &'m Membership,
    given: Vec<(Position, u32)>,
}

impl LocalConsumer {
    pub(super) fn new(
        log: Arc<LogCore>,
        id: ConsumerId,
        member: MemberId,
        members: Arc<Members>,
        name: Text,
    ) -> Self {
        Self {
            membership: Arc::new(Membership {
                log,
                id,
                member,
                members,
                name,
            }),
        }
    }
}

impl Membership {
    async fn take(self: Arc<Self>, events_max: usize) -> Result<Vec<StoredEvent>, Error> {
        let events_max = events_max.max(1);
        loop {
            let mut told = std::pin::pin!(self.members.told.notified());
            told.as_mut().enable();
            let until = {
                let _looking = self.members.looking.lock().await;
                match self.look_and_read(events_max).await? {
                    Ok(events) => return Ok(events),
                    Err(until) => until,
                }
            };
            match until {
                // What is due is looked at either way.
                Some(until) => drop(tokio::time::timeout_at(until.into(), told).await),
                None => told.await,
            }
        }
    }

    /// The events that there are, or until when there may be none.
    async fn look_and_read(
        &self,
        events_max: usize,
    ) -> Result<Result<Vec<StoredEvent>, Option<Instant>>, Error> {
        let mut read = HashMap::new();
        loop {
            let look = self.look(events_max)?;
            match look {
                Look::Wait(until) => return Ok(Err(until)),
                Look::Given(given) => {
                    let unsent = Unsent {
                        membership: self,
                        given,
                    };
                    let events = self.collect(unsent, &mut read).await?;
                    if !events.is_empty() {
                        return Ok(Ok(events));
                    }
                }
                Look::Read { from, last, n } => {
                    let log = &self.log;
                    let bounds = (n, READ_BYTES_MAX);
                    let range = log.store.disk.range(&log.tables, from, bounds).await;
                    let range = range.map_err(|error| error.to_error(&log.name))?;
                    self.offer(&range, last);
                    read.extend(
                        range
                            .events
                            .into_iter()
                            .map(|event| (event.position, event)),
                    );
                }
            }
        }
    }

    fn look(&self, events_max: usize) -> Result<Look, Error> {
        let now = clock::now();
        let mut inner = self.log.lock();
        let inner = &mut *inner;
        if !self.members.ids.lock().contains(&self.member) {
            let message = "the member has left its consumer";
            return Err(Error::new(Kind::Cancelled, Blame::Client, message));
        }
        let (first, last) = (inner.first(), inner.state.last);
        let state = inner.set.state_mut(self.id).ok_or_else(|| self.deleted())?;
        state.on_trimmed(first);
        state.handle_timeout(now);
        inner.set.look(self.id, events_max);
        let is_by_limits = inner.set.retention() == Retention::Limits;
        if is_by_limits {
            offer_recent(inner, self.id, events_max);
        }
        let state = inner.set.state_mut(self.id).ok_or_else(|| self.deleted())?;
        let (looked, room) = (state.looked(), state.room(events_max));
        if is_by_limits && room > 0 && looked < last {
            return Ok(Look::Read {
                from: looked.next().max(first),
                last,
                n: READ_EVENTS_MAX,
            });
        }
        let given = state.deliver(now, self.member, events_max);
        if state.has_dead() {
            self.log.store.dying.notify_one();
        }
        if given.is_empty() {
            return Ok(Look::Wait(state.poll_timeout()));
        }
        // Another member may take what is left.
        self.members.told.notify_one();
        Ok(Look::Given(given))
    }

    /// Of events that were read, as many as the consumer has room for; `last` was the newest before that.
    fn offer(&self, range: &RangeRead, last: Position) {
        let mut inner = self.log.lock();
        let Some(state) = inner.set.state_mut(self.id) else {
            return;
        };
        for StoredEvent {
            position, event, ..
        } in &range.events
        {
            if state.room(usize::MAX) == 0 {
                return;
            }
            if state.wants(*position, &event.topic) {
                state.offer(*position, OrderKey::of(event));
            } else {
                state.look_up_to(*position);
            }
        }
        if range.is_end {
            state.look_up_to(last);
        }
    }

    /// The events at these positions, from memory or else from the file.
    async fn collect(
        &self,
        mut unsent: Unsent<'_>,
        read: &mut HashMap<Position, StoredEvent>,
    ) -> Result<Vec<StoredEvent>, Error> {
        let mut missing = Vec::new();
        {
            let inner = self.log.lock();
            for (position, _) in &unsent.given {
                match inner.recent.find(*position) {
                    Some(event) => drop(read.insert(*position, event.clone())),
                    None if read.contains_key(position) => {}
                    None => missing.push(*position),
                }
            }
        }
        if !missing.is_empty() {
            let log = &self.log;
            let events = log.store.disk.events(&log.tables, missing).await;
            let events = events.map_err(|error| error.to_error(&log.name))?;
            read.extend(events.into_iter().map(|event| (event.position, event)));
        }
        let mut events = Vec::with_capacity(unsent.given.len());
        let mut gone = Vec::new();
        for (position, n_deliveries) in std::mem::take(&mut unsent.given) {
            match read.remove(&position) {
                Some(event) => events.push(StoredEvent {
                    n_deliveries,
                    ..event
                }),
                None => gone.push(position),
            }
        }
        if !gone.is_empty() {
            let mut inner = self.log.lock();
            if let Some(state) = inner.set.state_mut(self.id) {
                gone.into_iter()
                    .for_each(|position| state.on_gone(position));
            }
        }
        Ok(events)
    }

    fn acknowledge(&self, positions: &[Position]) -> BoxFuture<Result<u64, Error>> {
        let mut inner = self.log.lock();
        if inner.set.state(self.id).is_none() {
            return Box::pin(std::future::ready(Err(self.deleted())));
        }
        let n = inner.set.acknowledge(self.id, positions);
        if n == 0 {
            return Box::pin(std::future::ready(Ok(0)));
        }
        let writing = self.log.sync(&mut inner, self.id);
        drop(inner);
        self.members.told.notify_one();
        Box::pin(async move { writing.await.map(|()| n) })
    }

    fn refuse(
        &self,
        position: Position,
        redelivery: Redelivery,
        reason: Text,
    ) -> BoxFuture<Result<(), Error>> {
        let now = clock::now();
        let mut inner = self.log.lock();
        let Some(state) = inner.set.state_mut(self.id) else {
            return Box::pin(std::future::ready(Err(self.deleted())));
        };
        let was_held = state.refuse(now, position, redelivery, reason);
        state.handle_timeout(now);
        if state.has_dead() {
            self.log.store.dying.notify_one();
        }
        let writing: BoxFuture<_> = if was_held && redelivery != Redelivery::Released {
            self.log.sync(&mut inner, self.id)
        } else {
            Box::pin(std::future::ready(Ok(())))
        };
        drop(inner);
        self.members.tell_all();
        writing
    }

    /// Gives events back that were not seen.
    fn release(&self, positions: impl Iterator<Item = Position>) {
        let now = clock::now();
        let mut inner = self.log.lock();
        if let Some(state) = inner.set.state_mut(self.id) {
            for position in positions {
                state.refuse(now, position, Redelivery::Released, Text::default());
            }
        }
        drop(inner);
        self.members.tell_all();
    }

    fn deleted(&self) -> Error {
        Error::not_found(format!("the durable name {} was deleted", self.name))
    }
}

impl EventConsumer for LocalConsumer {
    fn take(&self, events_max: usize) -> BoxFuture<Result<Vec<StoredEvent>, Error>> {
        Box::pin(Arc::clone(&self.membership).take(events_max))
    }

    fn acknowledge(&self, positions: Vec<Position>) -> BoxFuture<Result<u64, Error>> {
        self.membership.acknowledge(&positions)
    }

    fn refuse(
        &self,
        position: Position,
        redelivery: Redelivery,
        reason: Text,
    ) -> BoxFuture<Result<(), Error>> {
        self.membership.refuse(position, redelivery, reason)
    }
}

impl Drop for LocalConsumer {
    fn drop(&mut self) {
        let Membership {
            log,
            id,
            member,
            members,
            ..
        } = &*self.membership;
        members.ids.lock().remove(member);
        let mut inner = log.lock();
        if let Some(state) = inner.set.state_mut(*id) {
            state.release(*member);
        }
        drop(inner);
        members.tell_all();
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        let given = std::mem::take(&mut self.given);
        if !given.is_empty() {
            self.membership.release(given.into_iter().map(|(at, _)| at));
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("log", &self.log.name)
            .field("consumer", &self.name)
            .field("member", &self.member)
            .finish()
    }
}

/// Has a consumer look at what is in memory, as far as it has room.
fn offer_recent(inner: &mut LogInner, id: ConsumerId, wanted: usize) {
    let (recent, set) = (&inner.recent, &mut inner.set);
    let Some(state) = set.state_mut(id) else {
        return;
    };
    let from = state.looked().next();
    if recent.first().is_none_or(|first| from < first) {
        return;
    }
    for StoredEvent {
        position, event, ..
    } in recent.from(from)
    {
        if state.room(wanted) == 0 {
            break;
        }
        if state.wants(*position, &event.topic) {
            state.offer(*position, OrderKey::of(event));
        } else {
            state.look_up_to(*position);
        }
    }
}

/// Events of one read.
const READ_EVENTS_MAX: usize = 256;
