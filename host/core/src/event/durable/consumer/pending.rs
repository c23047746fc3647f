//! An event in the window of a consumer, and how it stands with it.

use std::time::Instant;

use super::MemberId;
use crate::{event::durable::OrderKey, text::Text};

#[derive(Debug)]
pub(super) struct Pending {
    pub key: OrderKey,
    pub n_deliveries: u32,
    pub standing: PendingStanding,
}

#[derive(Debug)]
pub(super) enum PendingStanding {
    Ready,
    Held {
        member: MemberId,
        until: Option<Instant>,
    },
    BackOff {
        until: Instant,
    },
    /// `until` is when its dead letter is tried again; none while one is under way.
    Dead {
        reason: Text,
        until: Option<Instant>,
    },
}

impl Pending {
    pub(super) const fn is_dead(&self) -> bool {
        matches!(self.standing, PendingStanding::Dead { .. })
    }
}

impl PendingStanding {
    pub(super) const fn until(&self) -> Option<Instant> {
        match self {
            Self::Ready => None,
            Self::BackOff { until } => Some(*until),
            Self::Held { until, .. } | Self::Dead { until, .. } => *until,
        }
    }
}

impl Pending {
    pub(super) const fn new(key: OrderKey, n_deliveries: u32) -> Self {
        Self {
            key,
            n_deliveries,
            standing: PendingStanding::Ready,
        }
    }
}
