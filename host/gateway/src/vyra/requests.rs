//! Answers of peers over Redis: who waits for which. One subscription for each channel of answers, made
//! before the first request that is answered there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{Blame, Error, Text};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::redis::VyraRedis;

/// Answers of one kind, which have an id each.
#[derive(Debug)]
pub(super) struct VyraAnswers {
    redis: Arc<dyn VyraRedis>,
    /// The id and what is answered, of a message.
    read: fn(&Bytes) -> Option<(Text, Bytes)>,
    waiting: Arc<Mutex<HashMap<Text, oneshot::Sender<Bytes>>>>,
    /// By channel.
    listening: AsyncMutex<BTreeMap<String, AbortOnDropHandle<()>>>,
}

/// Takes a request off the list however it ends.
struct Waiting<'a> {
    answers: &'a VyraAnswers,
    id: Text,
}

impl VyraAnswers {
    pub(super) fn new(
        redis: Arc<dyn VyraRedis>,
        read: fn(&Bytes) -> Option<(Text, Bytes)>,
    ) -> Self {
        Self {
            redis,
            read,
            waiting: Arc::default(),
            listening: AsyncMutex::default(),
        }
    }

    /// Publishes `message` on `channel` and waits for the answer with `id` on `answers`. The first counts.
    ///
    /// # Errors
    /// `deadline-exceeded` when none comes until `deadline`: a handler that fails answers nothing.
    pub(super) async fn ask(
        &self,
        id: Text,
        (channel, message): (String, Bytes),
        answers: String,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let late = || {
            let message =
                format!("no answer came on {answers}: nobody is there, or the handler failed");
            Error::deadline_exceeded(Blame::Upstream, message)
        };
        let (told, answer) = oneshot::channel();
        let asking = async {
            self.listen(&answers).await?;
            self.waiting.lock().insert(id.clone(), told);
            let _waiting = Waiting {
                answers: self,
                id: id.clone(),
            };
            self.redis.publish(channel, message).await?;
            // The sender is on the list until it has answered.
            answer.await.map_err(|_| late())
        };
        let answered = tokio::time::timeout_at(deadline.into(), asking).await;
        answered.unwrap_or_else(|_| Err(late()))
    }

    /// Subscribes to a channel of answers, unless that is done.
    async fn listen(&self, channel: &str) -> Result<(), Error> {
        let mut listening = self.listening.lock().await;
        listening.retain(|_, task| !task.is_finished());
        if listening.contains_key(channel) {
            return Ok(());
        }
        let mut source = self.redis.subscribe(vec![channel.to_owned()]).await?;
        let (read, waiting) = (self.read, Arc::clone(&self.waiting));
        let task = tokio::spawn(async move {
            while let Some(message) = source.next().await {
                let Some((id, answer)) = read(&message.payload) else {
                    continue;
                };
                if let Some(told) = waiting.lock().remove(&id) {
                    // Whoever asked may have given up.
                    let _ = told.send(answer);
                }
            }
        });
        listening.insert(channel.to_owned(), AbortOnDropHandle::new(task));
        Ok(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answers.waiting.lock().remove(&self.id);
    }
}
