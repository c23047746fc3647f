//! Durable topics as streams: storing events, and reading what is stored. A stream is called as the
//! topic of its events, or as the pattern of a log, which has those of all its topics.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use postern_core::{
    BoxFuture, Text,
    event::{ChangingSubscription, Event, Publisher, QueueBounds, QueueTaken, durable::Position},
    resp::{
        AddOptions, RangeEnd, ReadOptions, RespCommand, RespError, RespRequest, RespValue,
        StreamId, StreamStart,
        arguments::{integer, is},
        range_from, range_until,
    },
};

use super::{
    client::{ClientState, RedisClient},
    entry::{self, EntryEvent},
    failure::Refusal,
    listener::RedisListener,
    stream::Stream,
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

impl RedisClient {
    pub(super) fn stream_job(
        &self,
        request: RespRequest,
        command: &'static RespCommand,
    ) -> BoxFuture<Result<RespValue, Refusal>> {
        let job = StreamJob {
            listener: Arc::clone(&self.listener),
            state: Arc::clone(&self.state),
            publisher: Publisher::of(Arc::clone(&self.peer)),
            client: self.id,
            request,
            command,
        };
        Box::pin(job.answer())
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
        let mut events = VecDeque::new();
        let told = std::future::poll_fn(|cx| self.0.poll_take(cx, &mut events));
        // Whoever stores events tells of them, unless that was told before they could be read.
        match tokio::time::timeout(LOOK_AGAIN, told).await {
            Ok(taken) => taken != QueueTaken::Ended,
            Err(_) => true,
        }
    }
}

/// How often a reader that waits looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
