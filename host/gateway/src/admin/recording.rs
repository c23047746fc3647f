//! Recordings over the admin listener: lines as they are made, and lines that are replayed.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use postern_system::clock;
use postern_wasm::{CallRecording, CallReplayer, RecordedGeneration, RecordingFilter};
use serde::Serialize;
use serde_json::json;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Interval, interval, timeout},
};

use super::{guard, view::AdminFailure};
use crate::{
    app::gateway::Gateway,
    control::BegunRecording,
    recording::{
        CREDENTIAL_HEADERS, LINE_BYTES_MAX, RecordedLine, RecordingHeader, RecordingReader,
        ReplayCounts, report,
    },
};

/// Calls of a recording where nobody says how many.
const CALLS_DEFAULT: u64 = 100;
/// Most calls of one recording.
const CALLS_MAX: u64 = 1_000_000;
/// How often a recording says how far it is, which is also how a client that is gone is noticed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the next piece of a recording that is replayed may take.
const PIECE_TIME_MAX: Duration = Duration::from_secs(30);
/// Files that are replayed at one time; each computes.
static REPLAYS: Semaphore = Semaphore::const_new(2);

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordQuery {
    calls: Option<u64>,
    share: Option<f64>,
    method: Option<String>,
    /// After how many milliseconds it ends, whether there are as many calls or not.
    time_ms: Option<u64>,
    #[serde(default)]
    credentials: bool,
}

/// A recording on its way to a client.
struct Made {
    gateway: Arc<Gateway>,
    name: String,
    /// The version that is recorded.
    label: String,
    /// `None` once it has ended.
    recording: Option<CallRecording>,
    left_out: Arc<[String]>,
    /// The generation whose header was sent last.
    headed: Option<Arc<RecordedGeneration>>,
    progress: Interval,
    end: Option<tokio::time::Instant>,
}

/// A file on its way through a plugin.
struct Replayed {
    gateway: Arc<Gateway>,
    name: String,
    lines: BodyLines,
    reader: RecordingReader,
    under: Option<(Arc<RecordingHeader>, CallReplayer)>,
    counts: ReplayCounts,
    is_over: bool,
    _permit: SemaphorePermit<'static>,
}

/// The lines of a request's body.
struct BodyLines {
    body: BodyDataStream,
    buffer: Vec<u8>,
    /// Octets of the buffer that hold no LF.
    n_searched: usize,
}

type Line = Result<Bytes, std::convert::Infallible>;

pub(super) async fn record(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Query(query): Query<RecordQuery>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    let end = query.time_ms.map(Duration::from_millis);
    let end = end.and_then(|time| clock::now().checked_add(time));
    let filter = filter_of(query)?;
    let left_out = Arc::clone(&filter.left_out);
    let recording = gateway.control().record(&name, filter);
    let recording = recording.ok_or_else(|| gateway.control().unknown(&name))?;
    let recording = recording.map_err(|reason| AdminFailure::new(StatusCode::CONFLICT, reason))?;
    let BegunRecording { label, calls } = recording;
    let made = Made {
        gateway,
        name,
        label,
        recording: Some(calls),
        left_out,
        headed: None,
        progress: interval(PROGRESS_INTERVAL),
        end: end.map(Into::into),
    };
    Ok(lines(stream::unfold(made, next_made)))
}

fn filter_of(query: RecordQuery) -> Result<RecordingFilter, AdminFailure> {
    let wrong = |message: String| AdminFailure::new(StatusCode::BAD_REQUEST, message);
    let calls_max = query.calls.unwrap_or(CALLS_DEFAULT);
    if !(1..=CALLS_MAX).contains(&calls_max) {
        return Err(wrong(format!(
            "calls={calls_max} is not within 1 to {CALLS_MAX}"
        )));
    }
    let share = query.share.unwrap_or(1.0);
    if !(share > 0.0 && share <= 1.0) {
        return Err(wrong(format!("share={share} is not above 0 and at most 1")));
    }
    let left_out = CREDENTIAL_HEADERS.iter().map(|name| (*name).to_owned());
    Ok(RecordingFilter {
        method: query.method,
        share,
        calls_max,
        left_out: match query.credentials {
            true => Arc::default(),
            false => left_out.collect(),
        },
    })
}

async fn next_made(mut made: Made) -> Option<(Line, Made)> {
    let recording = made.recording.as_mut()?;
    let end = made.end;
    let over = async move {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    let recorded = tokio::select! {
        biased;
        recorded = recording.next() => recorded,
        () = over => None,
        _ = made.progress.tick() => {
            let line = counts("progress", recording);
            return Some((Ok(line.into()), made));
        }
    };
    let line = match recorded {
        Some((generation, call)) => [made.header(generation), to_line(&call)].concat(),
        None => {
            let line = counts("end", recording);
            // Whoever reads the end may begin another one.
            made.recording = None;
            line
        }
    };
    Some((Ok(line.into()), made))
}

/// How many calls there are, under the word `what`.
fn counts(what: &str, recording: &CallRecording) -> Vec<u8> {
    let recorded = recording.n_recorded();
    to_line(&json!({ what: { "recorded": recorded, "skipped": recording.skipped() } }))
}

impl Made {
    /// The header of `generation`, where it has none yet.
    fn header(&mut self, generation: Arc<RecordedGeneration>) -> Vec<u8> {
        let headed = self.headed.as_ref();
        if headed.is_some_and(|headed| Arc::ptr_eq(headed, &generation)) {
            return Vec::new();
        }
        let component = generation.component.to_string();
        let manifest = self.gateway.control().manifest_of(&self.label, &component);
        let made = clock::unix_time().as_secs();
        let left_out = &self.left_out;
        let header = RecordingHeader::new(&self.name, &generation, manifest, left_out, made);
        self.headed = Some(generation);
        to_line(&header)
    }
}

pub(super) async fn replay(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    gateway.control().check_name(&name)?;
    let permit = REPLAYS.try_acquire().map_err(|_| {
        let message = "as many recordings as may be are being replayed";
        AdminFailure::new(StatusCode::TOO_MANY_REQUESTS, message).with_hint("try again later")
    })?;
    let replayed = Replayed {
        gateway,
        name,
        lines: BodyLines {
            body: body.into_data_stream(),
            buffer: Vec::new(),
            n_searched: 0,
        },
        reader: RecordingReader::default(),
        under: None,
        counts: ReplayCounts::default(),
        is_over: false,
        _permit: permit,
    };
    Ok(lines(stream::unfold(replayed, next_replayed)))
}

async fn next_replayed(mut replayed: Replayed) -> Option<(Line, Replayed)> {
    if replayed.is_over {
        return None;
    }
    let line = match replayed.next().await {
        Ok(Some(line)) => line,
        Ok(None) => {
            replayed.is_over = true;
            to_line(&json!({ "end": replayed.counts }))
        }
        Err(fault) => {
            replayed.is_over = true;
            to_line(&json!({ "fault": fault }))
        }
    };
    Some((Ok(line.into()), replayed))
}

impl Replayed {
    /// What came of the next call, as a line; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let Some(line) = self.lines.next().await? else {
                return match self.reader.has_header() {
                    true => Ok(None),
                    false => Err("the recording is empty".to_owned()),
                };
            };
            let read = self.reader.read(&line).map_err(|fault| fault.to_string())?;
            match read {
                None => {}
                Some(RecordedLine::Header(header)) => {
                    let replayer = self.gateway.control().replayer(&self.name, header.terms());
                    let gone = || format!("plugin {} was removed meanwhile", self.name);
                    self.under = Some((header, replayer.ok_or_else(gone)??));
                }
                Some(RecordedLine::Call(call)) => {
                    let Some((header, replayer)) = &self.under else {
                        continue;
                    };
                    let outcome = replayer.replay(&call).await;
                    let report = report(self.reader.n_lines(), header, &call, &outcome);
                    self.counts.count(&report);
                    return Ok(Some(to_line(&report)));
                }
            }
        }
    }
}

impl BodyLines {
    /// The next line with its LF; the last may have none.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let fresh = self.buffer.get(self.n_searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|octet| *octet == b'\n') {
                let rest = self.buffer.split_off(self.n_searched + at + 1);
                self.n_searched = 0;
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            self.n_searched = self.buffer.len();
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(format!(
                    "a line exceeds the limit of {LINE_BYTES_MAX} octets"
                ));
            }
            let piece = timeout(PIECE_TIME_MAX, self.body.next()).await;
            let late = |_| "the recording stopped coming for 30 seconds".to_owned();
            match piece.map_err(late)? {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Err(format!("the recording did not come: {error}")),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    self.n_searched = 0;
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
            }
        }
    }
}

fn lines(lines: impl futures_util::Stream<Item = Line> + Send + 'static) -> Response {
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

fn to_line(value: &impl Serialize) -> Vec<u8> {
    // Everything that is sent can be written as JSON.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
