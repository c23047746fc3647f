//! What the methods of the service take, as JSON.

use postern_core::event::durable::{ConsumerStart, Redelivery};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub topics: Vec<String>,
    pub durable: Option<String>,
    pub start: Option<Start>,
}

/// Where a durable name begins that nobody knows yet.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Start {
    First,
    New,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledging {
    pub deliveries: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusing {
    pub delivery: String,
    pub reason: Option<String>,
    pub redelivery: Option<RedeliveryWord>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RedeliveryWord {
    BackOff,
    Released,
    Never,
}

impl Start {
    pub(super) const fn to_consumer(self) -> ConsumerStart {
        match self {
            Self::First => ConsumerStart::First,
            Self::New => ConsumerStart::New,
        }
    }
}

impl RedeliveryWord {
    pub(super) const fn to_redelivery(self) -> Redelivery {
        match self {
            Self::BackOff => Redelivery::BackOff,
            Self::Released => Redelivery::Released,
            Self::Never => Redelivery::Never,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    pub subscription: String,
}
