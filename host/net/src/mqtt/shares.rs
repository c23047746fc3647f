//! Shared subscriptions whose messages are stored: their queues come with the first session that outlives
//! its connection, and go with the last member.

use std::sync::Arc;

use postern_core::{
    Error,
    mqtt::{Qos, ShareKey, SharedFilter, SubscriptionOptions},
};

use super::{
    Broker,
    session::Session,
    share_member::{HeldShare, ShareMember},
};

impl Broker {
    /// The stored shares that a session is a member of, but for those of `known`. Those that its
    /// subscriptions make stored are so when this resolves.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn open_shares(
        &self,
        session: &Session,
        known: &[ShareKey],
    ) -> Result<Vec<ShareMember>, Error> {
        let mut members = Vec::new();
        for (filter, options) in session.shared_subscriptions() {
            let makes_stored = is_stored_share(session, &filter, &options);
            let member = self.open_share(filter, makes_stored, known).await?;
            members.extend(member);
        }
        Ok(members)
    }

    async fn open_share(
        &self,
        filter: SharedFilter,
        makes_stored: bool,
        known: &[ShareKey],
    ) -> Result<Option<ShareMember>, Error> {
        let routes = &self.shared.routes;
        // Left meanwhile, where there is none.
        let Some(share) = routes.share_of(&filter) else {
            return Ok(None);
        };
        if known.contains(&share.key) || !(makes_stored || share.is_stored()) {
            return Ok(None);
        }
        // Its queue cannot be on its way out while it has this member.
        let _changing = match share.is_stored() {
            true => None,
            false => Some(self.shared.changing_shares.lock().await),
        };
        let consumer = self.shared.store.share_queue(filter.clone()).await?;
        routes.set_share_stored(&share);
        Ok(Some(ShareMember {
            key: share.key,
            filter,
            consumer: Arc::from(consumer),
        }))
    }

    /// Takes the queues of shares away that nobody is subscribed to any more.
    pub(super) async fn end_shares(&self) {
        let routes = &self.shared.routes;
        if !routes.has_ended_shares() {
            return;
        }
        let _changing = self.shared.changing_shares.lock().await;
        for filter in routes.take_ended_shares() {
            // Somebody has subscribed again, and has the queue.
            let share = routes.share_of(&filter);
            if share.is_some_and(|share| share.is_stored()) {
                continue;
            }
            if let Err(error) = self.shared.store.delete_share(filter.clone()).await {
                tracing::warn!(%filter, %error, "the queue of a shared subscription was not deleted");
            }
        }
    }

    /// The session is over: what it was given with QoS 2 is given to nobody else.
    pub(super) async fn drop_held_shares(&self, session: &Session) {
        for HeldShare { member, positions } in session.take_held_shares() {
            // A queue that has ended needs no acknowledgement.
            let _ = member.consumer.acknowledge(positions).await;
        }
    }
}

/// Whether the subscription has its share stored.
pub(super) fn is_stored_share(
    session: &Session,
    filter: &SharedFilter,
    options: &SubscriptionOptions,
) -> bool {
    filter.group.is_some() && options.qos != Qos::AtMostOnce && session.is_durable()
}
