//! Which broker of a channel carries. Time is passed in; a broker is its position in the order of
//! preference.
//!
//! ```text
//!              on_connected                         on_failure, or the connection is lost
//!   unwell ───────────────────▶ well since T ──────────────────────────────────────────▶ unwell since T
//!
//!   none carries ── the first is well, or `failover_after` is over ──▶ the best that is well
//!   A carries ───── A unwell for `failover_after`, another well ─────▶ the best that is well
//!   A carries ───── a better one well for `return_after` ────────────▶ the better one
//! ```
//!
//! A broker that answers nothing while its connection holds is unwell by its failures. It counts as well
//! again when something succeeds, when its connection is made anew, or when nothing has failed for
//! `return_after`: whoever is not used cannot succeed. Where none is well, `failover_after` is enough, so
//! that the channel tries again.

use std::time::{Duration, Instant};

/// When a channel changes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailoverConfig {
    /// How long the broker that carries may be unwell before the next one carries. Default 1 s.
    pub failover_after: Duration,
    /// How long a better one must have been well before it carries again. Default 10 s.
    pub return_after: Duration,
}

/// Selects one of several brokers.
#[derive(Debug, Clone)]
pub struct ChannelSelector {
    config: FailoverConfig,
    members: Vec<Member>,
    current: Option<usize>,
    /// Until when a better one is waited for at the beginning: connections are not made in order.
    settled_at: Instant,
}

/// The channel goes over another broker from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSwitch {
    /// `None` when none carried.
    pub from: Option<usize>,
    pub to: usize,
}

/// How it stands with one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberStanding {
    /// Since when.
    Well(Instant),
    Unwell(Instant),
}

#[derive(Debug, Clone, Copy)]
struct Member {
    is_connected: bool,
    standing: MemberStanding,
    /// The last failure since it was well.
    failed_at: Option<Instant>,
}

impl Default for FailoverConfig {
    fn default() -> Self {
        Self {
            failover_after: Duration::from_secs(1),
            return_after: Duration::from_secs(10),
        }
    }
}

impl ChannelSelector {
    /// Of `n_members` brokers, none of which is connected at `now`.
    #[must_use]
    pub fn new(config: FailoverConfig, n_members: usize, now: Instant) -> Self {
        let member = Member {
            is_connected: false,
            standing: MemberStanding::Unwell(now),
            failed_at: None,
        };
        Self {
            config,
            members: vec![member; n_members],
            current: None,
            settled_at: now + config.failover_after,
        }
    }

    /// The broker that carries. It may be unwell: then the channel waits.
    #[must_use]
    pub const fn current(&self) -> Option<usize> {
        self.current
    }

    /// The broker that carries, where it is well.
    #[must_use]
    pub fn usable(&self) -> Option<usize> {
        self.current.filter(|member| self.is_well(*member))
    }

    #[must_use]
    pub fn is_well(&self, member: usize) -> bool {
        let standing = self.members.get(member).map(|member| member.standing);
        matches!(standing, Some(MemberStanding::Well(_)))
    }

    /// `None` for a position that there is not.
    #[must_use]
    pub fn standing(&self, member: usize) -> Option<MemberStanding> {
        self.members.get(member).map(|member| member.standing)
    }

    /// A connection was lost and made anew between two looks at it.
    pub fn on_reconnected(&mut self, now: Instant, member: usize) {
        self.handle_connection(now, member, false);
        self.handle_connection(now, member, true);
    }

    /// How it stands with the connection to a broker at `now`. Told as often as it is looked at.
    pub fn handle_connection(&mut self, now: Instant, member: usize, is_connected: bool) {
        let Some(member) = self.members.get_mut(member) else {
            return;
        };
        if member.is_connected == is_connected {
            return;
        }
        member.is_connected = is_connected;
        match is_connected {
            true => member.recover(now),
            false => member.fall_ill(now),
        }
    }

    /// A broker has acknowledged something.
    pub fn on_success(&mut self, now: Instant, member: usize) {
        let Some(member) = self.members.get_mut(member) else {
            return;
        };
        member.is_connected = true;
        if let MemberStanding::Unwell(_) = member.standing {
            member.recover(now);
        }
    }

    /// A broker has failed, or not answered in its time.
    pub fn on_failure(&mut self, now: Instant, member: usize) {
        if let Some(member) = self.members.get_mut(member) {
            member.fall_ill(now);
            member.failed_at = Some(now);
        }
    }

    /// Changes over where it is time to. At most one change at a time.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ChannelSwitch> {
        let quiet = self.quiet();
        for member in &mut self.members {
            let is_quiet = member.failed_at.is_some_and(|at| now >= at + quiet);
            if member.is_connected && is_quiet {
                member.recover(now);
            }
        }
        let to = self.wanted(now)?;
        let from = self.current.replace(to);
        Some(ChannelSwitch { from, to })
    }

    /// When to look again, though nothing is told until then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let failed = self.members.iter().filter(|member| member.is_connected);
        let quiet = failed.filter_map(|member| Some(member.failed_at? + self.quiet()));
        quiet.chain(self.change_at()).min()
    }

    /// How long nothing may have failed of one that is to count as well again.
    fn quiet(&self) -> Duration {
        match self.best() {
            Some(_) => self.config.return_after,
            None => self.config.failover_after,
        }
    }

    /// The broker that should carry at `now`, where it is not the one that does.
    fn wanted(&self, now: Instant) -> Option<usize> {
        let Some(current) = self.current else {
            let is_settled = now >= self.settled_at;
            return self.best().filter(|best| *best == 0 || is_settled);
        };
        if !self.is_well(current) {
            let is_over = self.change_at().is_some_and(|at| now >= at);
            return self.best().filter(|_| is_over);
        }
        (0..current).find(|member| match self.standing(*member) {
            Some(MemberStanding::Well(since)) => now >= since + self.config.return_after,
            Some(MemberStanding::Unwell(_)) | None => false,
        })
    }

    /// When the next change is due, as things stand.
    fn change_at(&self) -> Option<Instant> {
        let Some(current) = self.current else {
            return self.best().map(|_| self.settled_at);
        };
        match self.standing(current)? {
            MemberStanding::Unwell(since) => {
                self.best().map(|_| since + self.config.failover_after)
            }
            MemberStanding::Well(_) => {
                let better = (0..current).filter_map(|member| self.standing(member));
                let due = better.filter_map(|standing| match standing {
                    MemberStanding::Well(since) => Some(since + self.config.return_after),
                    MemberStanding::Unwell(_) => None,
                });
                due.min()
            }
        }
    }

    /// The most preferred of those that are well.
    fn best(&self) -> Option<usize> {
        (0..self.members.len()).find(|member| self.is_well(*member))
    }
}

impl Member {
    fn recover(&mut self, now: Instant) {
        self.standing = MemberStanding::Well(now);
        self.failed_at = None;
    }

    fn fall_ill(&mut self, now: Instant) {
        if let MemberStanding::Well(_) = self.standing {
            self.standing = MemberStanding::Unwell(now);
        }
    }
}

#[cfg(test)]
mod tests;
