//! Whoever owns a client, as its driver knows it.

use std::fmt;

use postern_core::{BoxFuture, Text, mqtt::Reason};

use super::message::BrokerMessage;

/// What is told of a client's connections, and given its messages.
pub trait BrokerObserver: Send + Sync + fmt::Debug + 'static {
    /// Begins to take a message of one of the client's own subscriptions. With QoS 1 and 2 the broker is
    /// told what it resolves to; a failure is for good, the message does not come again. Messages are
    /// begun in the order in which they came.
    fn take(&self, message: BrokerMessage) -> BoxFuture<Reason>;

    /// The broker has taken a connection; it has kept what is under way or not.
    fn on_connected(&self, has_session: bool);

    /// A connection has ended that the broker had taken, or the first failed since one had.
    fn on_lost(&self, reason: &str);

    /// A filter of the client's own is not granted.
    fn on_refused(&self, filter: &Text, reason: Reason);
}
