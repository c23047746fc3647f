//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use postern_core::mqtt::{
    FilterRequest, Qos, Reason, RetainHandling, SharedFilter, Subscribe, SubscriptionOptions,
    TopicFilter, Unsubscribe,
};

use super::{
    Connection,
    opening::open_queue,
    shared_queues::not_opened,
    taking::{NOT_STORED, Step, Subscribed},
};
use crate::{link::StreamLink, mqtt::keeping::stored};

impl<S: StreamLink> Connection<S> {
    pub(super) fn on_subscribe(&mut self, subscribe: Subscribe) {
        let mut retained = Vec::new();
        let mut has_stored = false;
        let mut reasons = Vec::with_capacity(subscribe.requests.len());
        for request in subscribe.requests {
            let reason = match self.subscribe(request, &mut retained) {
                Ok(qos) => {
                    has_stored = true;
                    Reason(qos.bits())
                }
                Err(reason) => reason,
            };
            reasons.push(reason);
        }
        let subscribed = Subscribed {
            id: subscribe.id,
            reasons,
            is_unsubscribe: false,
            retained,
            stored: None,
            shares: Vec::new(),
        };
        self.answer(subscribed, has_stored);
    }

    pub(super) fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let mut was_there = false;
        let reasons = unsubscribe.filters.into_iter().map(|filter| {
            let Ok(filter) = filter else {
                return Reason::TOPIC_FILTER_INVALID;
            };
            let removed = self.session.subscriptions.lock().remove(&filter);
            if removed.is_none() {
                return Reason::NO_SUBSCRIPTION_EXISTED;
            }
            was_there = true;
            self.shares.retain(|share| share.member.filter != filter);
            self.broker
                .shared
                .routes
                .unsubscribe(&filter, &self.session);
            Reason::SUCCESS
        });
        let reasons = reasons.collect();
        let subscribed = Subscribed {
            id: unsubscribe.id,
            reasons,
            is_unsubscribe: true,
            retained: Vec::new(),
            stored: None,
            shares: Vec::new(),
        };
        self.answer(subscribed, was_there);
    }

    /// One filter: the QoS that is granted, or why none is.
    fn subscribe(
        &self,
        request: FilterRequest,
        retained: &mut Vec<(TopicFilter, SubscriptionOptions)>,
    ) -> Result<Qos, Reason> {
        let filter = request.filter.map_err(|_| Reason::TOPIC_FILTER_INVALID)?;
        let mut options = request.options;
        options.qos = options.qos.min(self.limits.qos_max);
        self.check(&filter)?;
        let mut subscriptions = self.session.subscriptions.lock();
        subscriptions.insert(filter.clone(), options);
        drop(subscriptions);
        let is_new = self
            .broker
            .shared
            .routes
            .subscribe(&filter, &self.session, options);
        let wants_retained = match options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if filter.group.is_some() && !self.session.is_durable() {
            // It may be stored for the sake of others.
            self.session.on_shares_changed();
        }
        // A share is not given what is retained (section 4.8.2).
        if wants_retained && filter.group.is_none() {
            retained.push((filter.filter, options));
        }
        Ok(options.qos)
    }

    fn check(&self, filter: &SharedFilter) -> Result<(), Reason> {
        let has_wildcards = filter.filter.as_str().contains(['+', '#']);
        if has_wildcards && !self.limits.wildcards {
            return Err(Reason::WILDCARDS_NOT_SUPPORTED);
        }
        if filter.group.is_some() && !self.limits.shared_subscriptions {
            return Err(Reason::SHARED_NOT_SUPPORTED);
        }
        self.service.backend.may_subscribe(&self.client, filter)?;
        let has_room = self.retained.has_room(self.limits.subscriptions_max);
        match has_room && self.session.may_subscribe(filter, &self.limits) {
            true => Ok(()),
            false => Err(Reason::QUOTA_EXCEEDED),
        }
    }

    /// Answers once what has changed is kept, where it is to be.
    fn answer(&mut self, mut subscribed: Subscribed, has_changed: bool) {
        let is_durable = self.session.is_durable();
        let has_ended_shares = self.broker.shared.routes.has_ended_shares();
        if !has_changed || !(is_durable || has_ended_shares) {
            let step = Step::Subscribed(Box::new(subscribed));
            self.taking.push(Box::pin(std::future::ready(step)));
            return;
        }
        let (broker, session) = (self.broker.clone(), Arc::clone(&self.session));
        if !is_durable {
            self.taking.push(Box::pin(async move {
                broker.end_shares().await;
                Step::Subscribed(Box::new(subscribed))
            }));
            return;
        }
        let expiry_s = self.machine.negotiated().session_expiry_s;
        let state = stored(&self.session, self.machine.kept(), expiry_s, false);
        let state = session.record.replace(state);
        let in_flight_max = self.limits.in_flight_max;
        let known_shares = self.known_shares();
        self.taking.push(Box::pin(async move {
            broker.end_shares().await;
            let mut queue = match broker.save_state(&session, state).await {
                true => open_queue(&broker, &session, in_flight_max).await,
                false => Err(NOT_STORED.to_owned()),
            };
            if queue.is_ok() {
                match broker.open_shares(&session, &known_shares).await {
                    Ok(shares) => subscribed.shares = shares,
                    Err(error) => queue = Err(not_opened(&error)),
                }
            }
            subscribed.stored = Some(queue);
            Step::Subscribed(Box::new(subscribed))
        }));
    }
}
