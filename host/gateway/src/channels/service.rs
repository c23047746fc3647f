//! Calls over a channel: to the broker that carries, and to the next where nothing began.

use std::sync::Arc;

use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply, Retry, channel::SendFailure};
use postern_system::clock;

use super::channel::{EventChannel, failure_of};

/// Answers for a service over a channel.
pub(super) struct ChannelService(Arc<EventChannel>);

impl ChannelService {
    pub(super) const fn new(channel: Arc<EventChannel>) -> Self {
        Self(channel)
    }
}

impl Handler for ChannelService {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let channel = Arc::clone(&self.0);
        Box::pin(async move { channel.call(call).await })
    }
}

impl EventChannel {
    async fn call(&self, call: Call) -> Result<Reply, Error> {
        let mut left = Some(call);
        let mut failed: Option<Error> = None;
        for member in self.by_preference() {
            let Some(call) = left.take() else { break };
            let Some(broker) = self.members.get(member) else {
                continue;
            };
            // A stream can be read once only, so that it goes to one broker alone.
            left = call.try_clone();
            match broker.broker.call(call).await {
                Ok(reply) => {
                    self.selector.lock().on_success(clock::now(), member);
                    return Ok(reply);
                }
                Err(error) => {
                    let failure = failure_of(&error);
                    if failure == SendFailure::NotSent {
                        self.selector.lock().on_failure(clock::now(), member);
                    }
                    // What may have begun is not begun elsewhere: that is for the caller to say.
                    let may_go_on =
                        error.retry == Retry::Elsewhere && failure == SendFailure::NotSent;
                    if !may_go_on {
                        return Err(error);
                    }
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            let message = format!("channel {} has no broker that is well", self.name);
            Error::unavailable(Blame::Upstream, message)
        }))
    }

    /// The broker that carries, then the others that are well, the best first.
    fn by_preference(&self) -> Vec<usize> {
        let selector = self.selector.lock();
        let current = selector.current();
        let others = (0..self.members.len()).filter(|member| Some(*member) != current);
        let all = current.into_iter().chain(others);
        all.filter(|member| selector.is_well(*member)).collect()
    }
}
