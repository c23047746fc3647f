//! Frames of HTTP/2 by which a client has the gateway work for nothing: PING and SETTINGS, which are
//! answered, and streams that are begun and reset (CVE-2023-44487). Pure.
//!
//! h2 bounds what such frames take up in memory, and how many reset streams wait to be accepted; how often
//! they come it does not. Here they are counted for `WINDOW`, against what the connection is good for
//! meanwhile:
//!
//! | counted | forgiven |
//! | --- | --- |
//! | PING and SETTINGS that are no acknowledgements | all, by a request or a piece of a reply: clients measure their bandwidth so |
//! | RST_STREAM | one, by each request that was replied to |

use std::time::{Duration, Instant};

use super::Http2Config;

/// How many may come within `WINDOW`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FloodLimits {
    pub(super) pings_max: u32,
    pub(super) resets_max: u32,
}

/// Frames that have come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FrameCounts {
    pub(super) n_pings: u64,
    pub(super) n_resets: u64,
}

/// What the connection has been good for so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Requests, and pieces of replies.
    pub(super) n_steps: u64,
    pub(super) n_replies: u64,
}

/// What a client sends too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    Pings,
    Resets,
}

/// Counts within the window.
#[derive(Debug)]
pub(super) struct FloodGuard {
    limits: FloodLimits,
    began: Instant,
    /// As of the begin of the window; of pings, as of the last step.
    frames: FrameCounts,
    progress: Progress,
    n_steps: u64,
}

impl FloodLimits {
    pub(super) const fn of(config: &Http2Config) -> Self {
        Self {
            pings_max: config.pings_max,
            resets_max: config.resets_max,
        }
    }
}

impl FloodGuard {
    pub(super) fn new(limits: FloodLimits, now: Instant) -> Self {
        Self {
            limits,
            began: now,
            frames: FrameCounts::default(),
            progress: Progress::default(),
            n_steps: 0,
        }
    }

    /// Looks at what has come so far.
    ///
    /// # Errors
    /// What is too much.
    pub(super) fn handle_frames(
        &mut self,
        now: Instant,
        frames: FrameCounts,
        progress: Progress,
    ) -> Result<(), Flood> {
        if now.saturating_duration_since(self.began) >= WINDOW {
            (self.began, self.frames, self.progress) = (now, frames, progress);
            self.n_steps = progress.n_steps;
            return Ok(());
        }
        if progress.n_steps != self.n_steps {
            self.n_steps = progress.n_steps;
            self.frames.n_pings = frames.n_pings;
        }
        if frames.n_pings - self.frames.n_pings > self.limits.pings_max.into() {
            return Err(Flood::Pings);
        }
        let n_resets = frames.n_resets - self.frames.n_resets;
        let n_replies = progress.n_replies - self.progress.n_replies;
        if n_resets.saturating_sub(n_replies) > self.limits.resets_max.into() {
            return Err(Flood::Resets);
        }
        Ok(())
    }
}

impl Flood {
    /// The GOAWAY that ends the connection: ENHANCE_YOUR_CALM, and in words of other servers what there
    /// was too much of (RFC 9113 section 6.8). No stream is named: those in flight end with it.
    pub(super) const fn goaway(self) -> &'static [u8] {
        match self {
            Self::Pings => b"\0\0\x16\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo_many_pings",
            Self::Resets => b"\0\0\x17\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo_many_resets",
        }
    }
}

/// How long is counted. A client that asks twice a second whether the server is there is far from both
/// limits.
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    const LIMITS: FloodLimits = FloodLimits {
        pings_max: 3,
        resets_max: 2,
    };

    /// Looks at (seconds, pings, resets, steps, replies), each as of then; the last has this outcome.
    #[track_caller]
    fn check(looks: &[(u64, u64, u64, u64, u64)], expected: Result<(), Flood>) {
        let now = clock::now();
        let mut guard = FloodGuard::new(LIMITS, now);
        let (last, before) = looks.split_last().expect("a look");
        let mut look = |(seconds, n_pings, n_resets, n_steps, n_replies)| {
            let frames = FrameCounts { n_pings, n_resets };
            let progress = Progress { n_steps, n_replies };
            guard.handle_frames(now + Duration::from_secs(seconds), frames, progress)
        };
        for before in before {
            assert_eq!(look(*before), Ok(()), "{before:?}");
        }
        assert_eq!(look(*last), expected);
    }

    #[test]
    fn one_ping_more_than_the_limit_is_a_flood() {
        check(&[(0, 3, 0, 0, 0)], Ok(()));
        check(&[(0, 3, 0, 0, 0), (9, 4, 0, 0, 0)], Err(Flood::Pings));
        check(&[(0, 3, 0, 0, 0), (10, 4, 0, 0, 0)], Ok(()));
        check(&[(0, 4, 0, 0, 0)], Err(Flood::Pings));
    }

    #[test]
    fn pings_of_a_client_that_asks_or_is_answered_are_none() {
        let looks = [(0, 3, 0, 0, 0), (1, 6, 0, 1, 0), (2, 9, 0, 1, 0)];
        check(&looks, Ok(()));
        check(&[(0, 3, 0, 1, 0), (1, 7, 0, 1, 0)], Err(Flood::Pings));
    }

    #[test]
    fn resets_count_beyond_what_was_replied_to() {
        check(&[(0, 0, 2, 2, 0)], Ok(()));
        check(&[(0, 0, 3, 3, 0)], Err(Flood::Resets));
        check(&[(0, 0, 3, 3, 1)], Ok(()));
        check(
            &[(0, 0, 2, 2, 0), (10, 0, 3, 3, 0), (11, 0, 5, 5, 0)],
            Ok(()),
        );
        let looks = [(0, 0, 2, 2, 0), (10, 0, 3, 3, 0), (11, 0, 6, 6, 0)];
        check(&looks, Err(Flood::Resets));
    }

    #[test]
    fn the_goaway_is_as_long_as_it_says() {
        for flood in [Flood::Pings, Flood::Resets] {
            let frame = flood.goaway();
            assert_eq!(usize::from(frame[2]), frame.len() - 9);
        }
    }
}
