//! A goal that a peer pursues for a caller here: feedback and result become the items of its reply, and a
//! caller that leaves cancels it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use postern_core::{
    Blame, Body, BodyStream, Error, Headers, Kind, Reply, Text,
    event::broker::EventSource,
    vyra::{GoalStatus, VyraCancel, VyraTopic, VyraUpdate, status_of},
};
use tokio::{sync::mpsc, task::JoinSet, time::MissedTickBehavior};
use tracing::debug;

use super::redis::VyraRedis;

/// A goal that was accepted.
pub(super) struct PursuedGoal {
    pub(super) goal: GoalOfPeer,
    /// Notices of feedback and result, from before the goal was sent.
    pub(super) updates: Box<dyn EventSource>,
}

/// Where a goal and what is known of it is.
pub(super) struct GoalOfPeer {
    pub(super) redis: Arc<dyn VyraRedis>,
    pub(super) topic: VyraTopic,
    pub(super) id: Text,
    /// Where a cancellation is answered.
    pub(super) answers: String,
    pub(super) state_interval: Duration,
}

impl PursuedGoal {
    /// The reply that its feedback and its result are. One of `tasks` follows the goal.
    pub(super) fn into_reply(self, headers: Headers, tasks: &mut JoinSet<()>) -> Reply {
        let (items, taken) = mpsc::channel(ITEMS_MAX);
        tasks.spawn(self.follow(items));
        let stream = GoalStream { items: taken };
        Reply::new(headers, Body::Messages(BodyStream::new(stream)))
    }

    async fn follow(self, items: mpsc::Sender<Result<Bytes, Error>>) {
        let Self { goal, mut updates } = self;
        let outcome = tokio::select! {
            outcome = goal.pursue(updates.as_mut(), &items) => outcome,
            () = items.closed() => {
                goal.cancel().await;
                return;
            }
        };
        // The caller may have gone; the goal is over in any case.
        let _ = items.send(outcome).await;
    }
}

impl GoalOfPeer {
    /// Sends feedback until there is a result.
    async fn pursue(
        &self,
        updates: &mut dyn EventSource,
        items: &mpsc::Sender<Result<Bytes, Error>>,
    ) -> Result<Bytes, Error> {
        let mut looks = tokio::time::interval(self.state_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let update = tokio::select! {
                update = updates.next() => update,
                _ = looks.tick() => {
                    // A goal that is aborted is told by its state alone, and a notice may be lost.
                    if let Some(ended) = self.look().await? {
                        return ended;
                    }
                    continue;
                }
            };
            let Some(update) = update else {
                let message = "the connection to Redis was closed";
                return Err(Error::unavailable(Blame::Gateway, message));
            };
            let Some(update) = VyraUpdate::read(&update.payload) else {
                continue;
            };
            if update.goal_id != self.id {
                continue;
            }
            match update.is_result {
                true => return self.result().await,
                false => {
                    let feedback = self
                        .redis
                        .get(self.topic.of_goal(&self.id, "feedback"))
                        .await?;
                    if let Some(feedback) = feedback
                        && items.send(Ok(feedback)).await.is_err()
                    {
                        // The caller has gone, which is seen where this is polled.
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// How the goal has ended, if it has.
    async fn look(&self) -> Result<Option<Result<Bytes, Error>>, Error> {
        let state = self
            .redis
            .get(self.topic.of_goal(&self.id, "state"))
            .await?;
        let ended = |kind, word: &str| {
            let message = format!("goal {} of {} was {word}", self.id, self.topic);
            Some(Err(Error::new(kind, Blame::Upstream, message)))
        };
        Ok(match state.as_ref().and_then(status_of) {
            Some(GoalStatus::Aborted) => ended(Kind::Aborted, "aborted"),
            Some(GoalStatus::Canceled) => ended(Kind::Cancelled, "cancelled"),
            Some(GoalStatus::Succeeded) => Some(self.result().await),
            Some(GoalStatus::Accepted | GoalStatus::Executing) | None => None,
        })
    }

    async fn result(&self) -> Result<Bytes, Error> {
        let result = self
            .redis
            .get(self.topic.of_goal(&self.id, "result"))
            .await?;
        Ok(result.unwrap_or_else(|| Bytes::from_static(b"{}")))
    }

    async fn cancel(&self) {
        let cancel = VyraCancel {
            goal_id: self.id.clone(),
            response_channel: self.answers.as_str().into(),
        };
        let cancelled = self
            .redis
            .publish(self.topic.cancellations(), cancel.write());
        if let Err(error) = cancelled.await {
            debug!(goal = %self.id, %error, "a goal is not cancelled");
        }
    }
}

/// The items of a goal's reply. Whoever follows the goal cancels it when this is dropped.
struct GoalStream {
    items: mpsc::Receiver<Result<Bytes, Error>>,
}

impl Stream for GoalStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_recv(cx)
    }
}

/// Items that wait for the caller; the goal's feedback is read no faster.
const ITEMS_MAX: usize = 16;
