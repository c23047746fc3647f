//! Goals of others: a call for each, whose items are feedback and whose last is the result. Cancelling
//! drops the call.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    Error, Handler, Text,
    vyra::{
        GoalItem, GoalItems, GoalStatus, KEY_EXPIRY_SECONDS, VyraAnswer, VyraCancel,
        VyraCancelAnswer, VyraGoal, VyraTopic, VyraUpdate, as_result, goal_state, is_goal_id,
    },
};
use postern_system::clock;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

use super::{
    module::{FunctionCounts, OwnModule, no_redis, persist},
    redis::VyraRedis,
};

/// Takes goals of the function for ever.
pub(super) async fn serve(module: Arc<OwnModule>, name: Text, topic: VyraTopic) {
    let what = format!("vyra goals of {name}");
    persist(what, || listen(&module, &name, &topic)).await;
}

/// One goal function, as its goals share it.
struct GoalFunction {
    module: Arc<OwnModule>,
    redis: Arc<dyn VyraRedis>,
    name: Text,
    topic: VyraTopic,
    running: Mutex<BTreeMap<Text, AbortHandle>>,
}

async fn listen(module: &Arc<OwnModule>, name: &Text, topic: &VyraTopic) -> Result<(), Error> {
    let redis = module.redis.clone().ok_or_else(no_redis)?;
    let (goals, cancellations) = (topic.goals(), topic.cancellations());
    let mut source = redis.subscribe(vec![goals.clone(), cancellations]).await?;
    let function = Arc::new(GoalFunction {
        module: Arc::clone(module),
        redis,
        name: name.clone(),
        topic: topic.clone(),
        running: Mutex::default(),
    });
    // Goals that run when this ends are dropped, as their calls are.
    let mut executing = JoinSet::new();
    loop {
        let message = tokio::select! {
            message = source.next() => message,
            Some(_) = executing.join_next() => continue,
        };
        let Some(message) = message else {
            return Ok(());
        };
        match message.topic.as_str() == goals {
            true => function.on_goal(&message.payload, &mut executing).await,
            false => function.on_cancel(&message.payload).await,
        }
    }
}

impl GoalFunction {
    async fn on_goal(self: &Arc<Self>, payload: &Bytes, executing: &mut JoinSet<()>) {
        let goal = VyraGoal::read(payload).filter(|goal| {
            let is_new = !self.running.lock().contains_key(&goal.goal_id);
            is_goal_id(&goal.goal_id)
                && is_new
                && self.topic.is_answer_channel(&goal.response_channel)
        });
        let Some(goal) = goal else {
            return self.module.pass_over(&self.name);
        };
        let permit = Arc::clone(&self.module.permits).try_acquire_owned().ok();
        let answer = VyraAnswer {
            goal_id: goal.goal_id.clone(),
            is_accepted: permit.is_some(),
        };
        if permit.is_some() {
            self.set_state(&goal.goal_id, GoalStatus::Accepted).await;
        }
        self.publish(goal.response_channel.to_string(), answer.write())
            .await;
        let Some(permit) = permit else {
            return self.module.pass_over(&self.name);
        };
        if let Some(counts) = self.module.counts(&self.name) {
            FunctionCounts::add(&counts.taken);
        }
        let (function, id) = (Arc::clone(self), goal.goal_id.clone());
        // Registered before it runs: it takes itself off the list when it ends.
        let mut running = self.running.lock();
        let task = executing.spawn(async move {
            function.execute(&goal).await;
            function.running.lock().remove(&goal.goal_id);
            drop(permit);
        });
        running.insert(id, task);
    }

    async fn on_cancel(&self, payload: &Bytes) {
        let cancel = VyraCancel::read(payload);
        let cancel = cancel.filter(|cancel| self.topic.is_answer_channel(&cancel.response_channel));
        let Some(cancel) = cancel else {
            return self.module.pass_over(&self.name);
        };
        let task = self.running.lock().remove(&cancel.goal_id);
        let is_canceled = task.is_some();
        if let Some(task) = task {
            // The call is dropped with it, which cancels it wherever it is.
            task.abort();
            self.set_state(&cancel.goal_id, GoalStatus::Canceled).await;
        }
        let answer = VyraCancelAnswer {
            goal_id: cancel.goal_id,
            is_canceled,
            error: (!is_canceled).then(|| "Goal not found".into()),
        };
        self.publish(cancel.response_channel.to_string(), answer.write())
            .await;
    }

    async fn execute(&self, goal: &VyraGoal) {
        self.set_state(&goal.goal_id, GoalStatus::Executing).await;
        match self.run(goal).await {
            Ok(result) => {
                self.set(&goal.goal_id, "result", as_result(&result, "result"))
                    .await;
                self.set_state(&goal.goal_id, GoalStatus::Succeeded).await;
                self.notify(&goal.goal_id, true).await;
            }
            Err(error) => {
                if let Some(counts) = self.module.counts(&self.name) {
                    FunctionCounts::add(&counts.failed);
                }
                debug!(function = %self.name, goal = %goal.goal_id, %error, "a goal is aborted");
                self.set_state(&goal.goal_id, GoalStatus::Aborted).await;
            }
        }
    }

    /// Makes the call and tells its items; gives the result.
    async fn run(&self, goal: &VyraGoal) -> Result<Bytes, Error> {
        let call = self.module.call(&self.name, goal.goal.clone(), None)?;
        let reply = self.module.handler.call(call).await?;
        let mut stream = reply.body.into_messages(self.module.body_bytes_max);
        let mut items = GoalItems::default();
        while let Some(item) = stream.next().await {
            if let Some(GoalItem::Feedback(feedback)) = items.push(item?) {
                self.set(&goal.goal_id, "feedback", as_result(&feedback, "feedback"))
                    .await;
                self.notify(&goal.goal_id, false).await;
            }
        }
        match items.finish() {
            GoalItem::Result(result) | GoalItem::Feedback(result) => Ok(result),
        }
    }

    async fn set_state(&self, id: &Text, status: GoalStatus) {
        self.set(id, "state", goal_state(status, clock::unix_time()))
            .await;
    }

    async fn set(&self, id: &Text, kind: &str, value: Bytes) {
        let key = self.topic.of_goal(id, kind);
        let expiry = Duration::from_secs(KEY_EXPIRY_SECONDS);
        if let Err(error) = self.redis.set(key, value, expiry).await {
            warn!(function = %self.name, goal = %id, %error, kind, "not kept");
        }
    }

    async fn notify(&self, id: &Text, is_result: bool) {
        let update = VyraUpdate {
            goal_id: id.clone(),
            is_result,
        };
        self.publish(self.topic.of_goal(id, "updates"), update.write())
            .await;
    }

    async fn publish(&self, channel: String, payload: Bytes) {
        if let Err(error) = self.redis.publish(channel, payload).await {
            warn!(function = %self.name, %error, "a message is not sent");
        }
    }
}
