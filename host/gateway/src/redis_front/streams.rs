//! Durable topics as streams: storing events, and reading what is stored. A stream is called as the
//! topic of its events, or as the pattern of a log, which has those of all its topics.

use std::{sync::Arc, time::Duration};

use postern_core::{
    BoxFuture, Error, Text,
    event::{
        ChangingSubscription, Event, Publisher, QueueBounds, TopicPattern,
        durable::{EventLog, LogInfo, Position, StoredEvent},
    },
    resp::{
        AddOptions, RangeEnd, ReadOptions, RespCommand, RespError, RespRequest, RespValue,
        StreamId, StreamStart,
        arguments::{integer, is},
        range_from, range_until,
    },
};
use postern_system::clock;

use super::{
    RedisFront, RedisListener,
    client::{ClientState, RedisClient},
    entry::{self, EntryEvent},
    failure::Refusal,
};

/// A command for streams on its way.
pub(super) struct StreamJob {
    pub listener: Arc<RedisListener>,
    pub state: Arc<ClientState>,
    pub publisher: Publisher,
    pub client: u64,
    pub request: RespRequest,
    pub command: &'static RespCommand,
}

/// A stream: a log, and which of its events.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub key: Text,
    /// Of the log: its pattern.
    pub log_name: Text,
    pub log: Arc<dyn EventLog>,
    pub pattern: TopicPattern,
}

impl RedisClient {
    pub(super) fn stream_job(
        &self,
        request: RespRequest,
        command: &'static RespCommand,
    ) -> BoxFuture<Result<RespValue, Refusal>> {
        let job = StreamJob {
            listener: Arc::clone(&self.listener),
            state: Arc::clone(&self.state),
            publisher: Publisher {
                peer: Arc::clone(&self.peer),
                ..Publisher::default()
            },
            client: self.id,
            request,
            command,
        };
        Box::pin(job.answer())
    }
}

impl RedisFront {
    /// The stream that `name` is.
    pub(super) fn log_of(&self, name: &[u8]) -> Option<Stream> {
        let name = std::str::from_utf8(name).ok()?;
        let topics = self.events.topics();
        let pattern = TopicPattern::new(name).ok()?;
        let is_topic = !name.split('.').any(|level| level == "*" || level == ">");
        if is_topic && !topics.is_durable(name) {
            return None;
        }
        let mut matching = topics.matching(std::slice::from_ref(&pattern)).into_iter();
        let durable = matching.find(|durable| match is_topic {
            true => durable.log.wants(name),
            false => durable.pattern == pattern,
        })?;
        Some(Stream {
            key: name.into(),
            log_name: Text::from(durable.pattern.as_str()),
            log: durable.log,
            pattern,
        })
    }
}

impl Stream {
    /// Whether every event of the log is one of the stream.
    pub(super) fn is_whole(&self) -> bool {
        self.log_name == self.key
    }

    fn has(&self, stored: &StoredEvent) -> bool {
        self.is_whole() || self.pattern.matches(&stored.event.topic)
    }

    /// Up to `count` events from `from` to `until`, in order.
    async fn read(
        &self,
        from: Position,
        until: Position,
        count: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        let (mut next, mut found) = (from.max(Position(1)), Vec::new());
        while found.len() < count && next <= until {
            let n_wanted = (count - found.len()).clamp(PAGE_MIN, PAGE_MAX);
            let page = self.log.read(next, n_wanted).await?;
            let Some(last) = page.last() else {
                break;
            };
            next = Position(last.position.0.saturating_add(1));
            let within = page
                .into_iter()
                .take_while(|stored| stored.position <= until);
            found.extend(within.filter(|stored| self.has(stored)));
        }
        found.truncate(count);
        Ok(found)
    }

    /// As `read`, the newest first.
    async fn read_back(
        &self,
        from: Position,
        until: Position,
        count: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        let info = self.log.info().await?;
        let (from, mut end) = (from.max(info.first).max(Position(1)), until.min(info.last));
        let (mut found, mut n_page) = (Vec::new(), count.clamp(PAGE_MIN, PAGE_MAX) as u64);
        while found.len() < count && end >= from && end.0 > 0 {
            let start = Position(end.0.saturating_sub(n_page - 1)).max(from);
            let page = self.read(start, end, usize::MAX).await?;
            found.extend(page.into_iter().rev());
            end = Position(start.0 - 1);
            n_page = n_page.saturating_mul(2).min(PAGE_MAX as u64);
        }
        found.truncate(count);
        Ok(found)
    }

    /// Events that it has.
    pub(super) async fn len(&self, info: &LogInfo) -> Result<u64, Error> {
        if self.is_whole() {
            return Ok(info.n_events);
        }
        let (mut next, mut n_found) = (info.first.max(Position(1)), 0);
        while next <= info.last {
            let page = self.log.read(next, PAGE_MAX).await?;
            let Some(last) = page.last() else {
                break;
            };
            next = Position(last.position.0.saturating_add(1));
            n_found += page.iter().filter(|stored| self.has(stored)).count() as u64;
        }
        Ok(n_found)
    }

    pub(super) async fn first_and_last(&self) -> Result<[Option<StoredEvent>; 2], Error> {
        let all = Position(u64::MAX);
        let first = self.read(Position(1), all, 1).await?;
        let last = self.read_back(Position(1), all, 1).await?;
        Ok([first.into_iter().next(), last.into_iter().next()])
    }
}

impl StreamJob {
    async fn answer(self) -> Result<RespValue, Refusal> {
        match self.command.name {
            "xadd" => self.add().await,
            "xlen" => match self.stream(1) {
                Some(stream) => {
                    let info = stream.log.info().await?;
                    let n = stream.len(&info).await?;
                    Ok(RespValue::Integer(i64::try_from(n).unwrap_or(i64::MAX)))
                }
                None => Ok(RespValue::Integer(0)),
            },
            "xrange" | "xrevrange" => self.range().await,
            "xread" => self.read().await,
            _ => self.answer_group().await,
        }
    }

    /// The stream that an argument names.
    pub(super) fn stream(&self, idx: usize) -> Option<Stream> {
        self.listener.front.log_of(self.request.octets(idx))
    }

    async fn add(&self) -> Result<RespValue, Refusal> {
        let options = AddOptions::read(&self.request)?;
        let Some(stream) = self
            .stream(1)
            .filter(|stream| !stream.key.contains(['*', '>']))
        else {
            if options.needs_stream {
                return Ok(RespValue::Null);
            }
            let name = self.request.octets(1);
            let shown = postern_core::resp::arguments::shown(name);
            return Err(RespError::new(format!(
                "ERR '{shown}' is no durable topic; make it one by a table [topics.\"{shown}\"]"
            ))
            .into());
        };
        let fields: Vec<_> = (options.fields_idx..self.request.len())
            .step_by(2)
            .map(|idx| (self.request.octets(idx), self.request.octets(idx + 1)))
            .collect();
        let EntryEvent { headers, payload } = entry::event_of(&fields)?;
        let event = Event {
            topic: stream.key.clone(),
            headers,
            payload,
            publisher: self.publisher.clone(),
        };
        let position = self
            .listener
            .front
            .events
            .publisher()
            .publish_at(event)
            .await?;
        Ok(RespValue::bulk(StreamId::of(position).to_string()))
    }

    async fn range(&self) -> Result<RespValue, Refusal> {
        let is_reversed = self.command.name == "xrevrange";
        let (from_idx, until_idx) = if is_reversed { (3, 2) } else { (2, 3) };
        let from = range_from(self.request.octets(from_idx))?;
        let until = range_until(self.request.octets(until_idx))?;
        let limit = self.listener.settings.load().redis.entries_max;
        let count = match (self.request.try_octets(4), self.request.try_octets(5)) {
            (None, _) => None,
            (Some(word), Some(count)) if is(word, "COUNT") && self.request.len() == 6 => {
                Some(integer(count)?.max(0))
            }
            (Some(_), _) => return Err(RespError::SYNTAX.into()),
        };
        let count = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let (RangeEnd::At(from), RangeEnd::At(until)) = (from, until) else {
            return Ok(RespValue::Array(Vec::new()));
        };
        let Some(stream) = self.stream(1) else {
            return Ok(RespValue::Array(Vec::new()));
        };
        if count == Some(0) {
            return Ok(RespValue::NullArray);
        }
        let most = count.unwrap_or(usize::MAX).min(limit.saturating_add(1));
        let found = match is_reversed {
            false => stream.read(from, until, most).await?,
            true => stream.read_back(from, until, most).await?,
        };
        if found.len() > limit {
            return Err(RespError::new(format!(
                "ERR the answer has more than {limit} entries; ask for fewer by COUNT"
            ))
            .into());
        }
        let entries = found
            .iter()
            .map(|stored| entry::entry_of(stored, stream.key.as_bytes()));
        Ok(RespValue::Array(entries.collect()))
    }

    async fn read(&self) -> Result<RespValue, Refusal> {
        let options = ReadOptions::read(&self.request, false)?;
        let limit = self.listener.settings.load().redis.entries_max;
        let count = match options.count {
            0 => limit,
            count => count.min(limit),
        };
        let mut streams = Vec::new();
        for (key, start) in &options.streams {
            let Some(stream) = self.listener.front.log_of(key) else {
                continue;
            };
            let from = match start {
                StreamStart::After(id) => id.next(),
                StreamStart::New | StreamStart::Undelivered => {
                    let last = stream.log.info().await?.last;
                    Position(last.0.saturating_add(1))
                }
            };
            streams.push((stream, from));
        }
        let Some(block_ms) = options.block_ms else {
            return self
                .read_once(&streams, count)
                .await
                .map(|found| self.answer_of(found));
        };
        let mut news = self.news(streams.iter().map(|(stream, _)| stream))?;
        let waiting = async {
            loop {
                let found = self.read_once(&streams, count).await?;
                if !found.is_empty() || !news.next().await {
                    return Ok::<_, Refusal>(found);
                }
            }
        };
        let found = match block_ms {
            0 => waiting.await,
            ms => {
                let waited = tokio::time::timeout(Duration::from_millis(ms), waiting).await;
                waited.unwrap_or_else(|_| Ok(Vec::new()))
            }
        };
        found.map(|found| self.answer_of(found))
    }

    async fn read_once(
        &self,
        streams: &[(Stream, Position)],
        count: usize,
    ) -> Result<Vec<(RespValue, RespValue)>, Refusal> {
        let mut found = Vec::new();
        for (stream, from) in streams {
            let events = stream.read(*from, Position(u64::MAX), count).await?;
            if !events.is_empty() {
                let key = stream.key.as_bytes();
                let entries = events.iter().map(|stored| entry::entry_of(stored, key));
                let key = RespValue::bulk(key.to_vec());
                found.push((key, RespValue::Array(entries.collect())));
            }
        }
        Ok(found)
    }

    /// As `XREAD` and `XREADGROUP` tell of streams.
    pub(super) fn answer_of(&self, found: Vec<(RespValue, RespValue)>) -> RespValue {
        if found.is_empty() {
            return RespValue::NullArray;
        }
        match self.state.version() {
            postern_core::resp::RespVersion::V3 => RespValue::Map(found),
            postern_core::resp::RespVersion::V2 => {
                let pairs = found
                    .into_iter()
                    .map(|(key, entries)| RespValue::Array(vec![key, entries]));
                RespValue::Array(pairs.collect())
            }
        }
    }

    fn news<'s>(&self, streams: impl Iterator<Item = &'s Stream>) -> Result<News, Refusal> {
        let queue = QueueBounds {
            events_max: 1,
            bytes_max: 1,
        };
        let owner = Text::from(format!("redis client {}", self.client));
        let subscription = self
            .listener
            .front
            .events
            .hub()
            .subscribe_changing(&owner, queue)?;
        for stream in streams {
            subscription.add_pattern(&stream.pattern);
        }
        Ok(News(subscription))
    }
}

/// Says when there may be something new.
struct News(ChangingSubscription);

impl News {
    /// False when nothing comes any more.
    async fn next(&mut self) -> bool {
        let told = std::future::poll_fn(|cx| self.0.poll_next(cx));
        // Whoever stores events tells of them, unless that was told before they could be read.
        match tokio::time::timeout(LOOK_AGAIN, told).await {
            Ok(delivery) => delivery.is_some(),
            Err(_) => true,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    u64::try_from(clock::unix_time().as_millis()).unwrap_or(u64::MAX)
}

/// Events that are read at one time.
const PAGE_MIN: usize = 64;
const PAGE_MAX: usize = 1024;
/// How often a reader that waits looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
