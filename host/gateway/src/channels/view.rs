//! Channels for operators: how they stand, and what they carried.

use std::sync::atomic::Ordering::Relaxed;

use postern_core::channel::MemberStanding;
use postern_system::clock;
use serde::Serialize;

use super::{Channels, channel::EventChannel, member::Member};

/// One channel.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ChannelView {
    pub name: String,
    pub topics: Vec<String>,
    pub services: Vec<String>,
    pub direction: &'static str,
    pub delivery: &'static str,
    /// The broker that carries; none before the first was well.
    pub current: Option<String>,
    /// Whether it is well.
    pub is_well: bool,
    pub members: Vec<ChannelMemberView>,
    #[serde(flatten)]
    pub counts: ChannelCountsView,
}

/// One broker of a channel.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ChannelMemberView {
    pub broker: String,
    pub protocol: &'static str,
    pub is_current: bool,
    /// `well`, `failing` (its connection holds) or `away`.
    pub state: &'static str,
    /// For how long.
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    pub connects: u64,
    pub sent: u64,
    pub failed: u64,
    pub received: u64,
}

/// Events of a channel since it began.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ChannelCountsView {
    pub acknowledged: u64,
    pub repeated: u64,
    pub lost: u64,
    pub refused: u64,
    pub received: u64,
    pub duplicates: u64,
    pub switches: u64,
    pub waiting: u64,
    pub in_flight: u64,
}

/// For the exporter.
pub(crate) type ChannelNumbers = ChannelView;

impl Channels {
    /// Every channel by name.
    #[must_use]
    pub(crate) fn view(&self) -> Vec<ChannelView> {
        let running = self.running.lock();
        running
            .values()
            .map(|running| running.channel.view())
            .collect()
    }
}

impl EventChannel {
    pub(super) fn view(&self) -> ChannelView {
        let selector = self.selector.lock();
        let current = selector.current();
        let is_well = selector.usable().is_some();
        let standings: Vec<_> = (0..self.members.len())
            .map(|member| selector.standing(member))
            .collect();
        drop(selector);
        let members = self.members.iter().zip(standings).enumerate();
        let members = members.map(|(index, (member, standing))| {
            member_view(member, standing, current == Some(index))
        });
        let counts = &self.counts;
        ChannelView {
            name: self.name.to_string(),
            topics: self.patterns.iter().map(ToString::to_string).collect(),
            services: self.settings.services.clone(),
            direction: self.settings.direction.name(),
            delivery: self.settings.delivery.name(),
            current: current
                .and_then(|current| self.members.get(current))
                .map(|member| member.label.to_string()),
            is_well,
            members: members.collect(),
            counts: ChannelCountsView {
                acknowledged: counts.acknowledged.load(Relaxed),
                repeated: counts.repeated.load(Relaxed),
                lost: counts.lost.load(Relaxed),
                refused: counts.refused.load(Relaxed),
                received: counts.received.load(Relaxed),
                duplicates: counts.duplicates.load(Relaxed),
                switches: counts.switches.load(Relaxed),
                waiting: counts.waiting.load(Relaxed),
                in_flight: counts.in_flight.load(Relaxed),
            },
        }
    }
}

fn member_view(
    member: &Member,
    standing: Option<MemberStanding>,
    is_current: bool,
) -> ChannelMemberView {
    let broker = member.broker.standing();
    let (state, since) = match standing {
        Some(MemberStanding::Well(since)) => ("well", Some(since)),
        Some(MemberStanding::Unwell(since)) if broker.is_connected => ("failing", Some(since)),
        Some(MemberStanding::Unwell(since)) => ("away", Some(since)),
        None => ("away", None),
    };
    ChannelMemberView {
        broker: member.label.to_string(),
        protocol: member.broker.protocol(),
        is_current,
        state,
        seconds: since.map_or(0.0, |since| clock::since(since).as_secs_f64()),
        fault: broker.fault.map(|fault| fault.to_string()),
        connects: broker.n_connects,
        sent: member.n_sent.load(Relaxed),
        failed: member.n_failed.load(Relaxed),
        received: member.n_received.load(Relaxed),
    }
}
