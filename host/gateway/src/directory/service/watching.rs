//! `watch`: a picture and what changes, as a stream, or one batch at a time for callers without
//! streams. Nothing is skipped: who was away for more changes than are kept is given a fresh
//! picture, and is told so.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{
    Blame, Body, BodyStream, Context, Error, Headers, Kind, Reply, Retry,
    registry::{Changes, Cursor, WatchQuery},
};
use postern_system::clock::now;
use tokio::sync::{OwnedSemaphorePermit, watch::Receiver};

use super::request::Watched;
use crate::directory::{
    SharedDirectory,
    batch::{Batch, CHANGES_MAX, CursorText},
};

/// The longest wait of a long poll. Intermediaries give up after a minute.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// What a long poll leaves of the caller's deadline for the way back.
const WAY_BACK: Duration = Duration::from_millis(250);

/// One watcher.
struct Watcher {
    directory: Arc<SharedDirectory>,
    watch: WatchQuery,
    cursor: Option<Cursor>,
    told: Receiver<u64>,
    pages: VecDeque<Batch>,
    _permit: OwnedSemaphorePermit,
}

/// With `wait-ms`, and for callers that have no stream, one batch; else a stream.
pub(super) async fn answer(
    directory: Arc<SharedDirectory>,
    watched: Watched,
    context: &Context,
) -> Result<Reply, Error> {
    let watch = WatchQuery {
        scope: watched.scope.into(),
        query: watched.asked.query(directory.caller(context))?,
    };
    if directory.closing.is_draining() {
        // An answer without changes would be asked for again at once.
        let message = "this gateway is ending; watch another one";
        return Err(Error::unavailable(Blame::Gateway, message));
    }
    let permit = Arc::clone(&directory.watchers).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let limit = directory.built_with.watchers_max;
        let message = format!("{limit} callers watch, which is the limit; try again later");
        let retry = Retry::After(Duration::from_secs(1));
        Error::new(Kind::ResourceExhausted, Blame::Gateway, message).with_retry(retry)
    })?;
    let told = directory.changes.subscribe();
    let watcher = Watcher {
        cursor: watched.cursor.map(|CursorText(cursor)| cursor),
        directory,
        watch,
        told,
        pages: VecDeque::new(),
        _permit: permit,
    };
    let has_stream = watched.is_stream || context.peer.transport.is_http();
    if watched.wait_ms.is_none() && has_stream {
        let batches = stream::unfold(watcher, |mut watcher| async {
            let batch = watcher.next().await?;
            Some((Ok::<Bytes, Error>(batch.to_json()), watcher))
        });
        return Ok(Reply::new(
            Headers::new(),
            Body::Messages(BodyStream::new(batches)),
        ));
    }
    let wait = Duration::from_millis(watched.wait_ms.unwrap_or_default()).min(WAIT_MAX);
    let left = context.remaining(now()).unwrap_or(wait + WAY_BACK);
    let wait = wait.min(left.saturating_sub(WAY_BACK));
    Ok(Reply::one(watcher.one(wait).await.to_json()))
}

impl Watcher {
    /// The next batch; `None` when the gateway ends.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.pages.pop_front() {
                return Some(batch);
            }
            // Before the read, so that a change after it wakes.
            self.told.borrow_and_update();
            match self.read() {
                Some(batch) => return Some(batch),
                None => self.changed().await?,
            }
        }
    }

    /// What there is after at most `wait`; no changes when there are none.
    async fn one(mut self, wait: Duration) -> Batch {
        let next = tokio::time::timeout(wait, self.next()).await;
        if let Ok(Some(batch)) = next {
            return batch;
        }
        // A timeout that was over at once may not have looked.
        self.read().unwrap_or_else(|| {
            let cursor = self.directory.state.lock().machine.cursor();
            Batch::of_changes(&[], self.cursor.unwrap_or(cursor))
        })
    }

    /// What there is at present, if it is anything.
    fn read(&mut self) -> Option<Batch> {
        let (changes, picture) = {
            let machine = &self.directory.state.lock().machine;
            let changes = match self.cursor {
                Some(cursor) => machine.changes_since(cursor, &self.watch, CHANGES_MAX),
                None => Changes::TooOld,
            };
            match changes {
                Changes::Since { changes, cursor } => (Some((changes, cursor)), None),
                Changes::TooOld => (None, Some(machine.watch_snapshot(&self.watch))),
            }
        };
        if let Some((changes, cursor)) = changes {
            self.cursor = Some(cursor);
            return (!changes.is_empty()).then(|| Batch::of_changes(&changes, cursor));
        }
        let picture = picture?;
        self.pages = Batch::pages(&picture.records, picture.cursor).into();
        if self.cursor.replace(picture.cursor).is_some() {
            for page in &mut self.pages {
                page.too_old = true;
            }
        }
        self.pages.pop_front()
    }

    async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            changed = self.told.changed() => changed.ok(),
            () = self.directory.closing.draining() => None,
        }
    }
}
