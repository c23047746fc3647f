//! The two stages of stopping: draining (take nothing new, finish what is in flight) and ended
//! (drop everything). Whoever spawns a task keeps it in a `JoinSet` and awaits it after `draining`.

use tokio_util::sync::CancellationToken;

/// Tells every task that holds a clone when to drain and when to stop at once.
///
/// ```text
/// running ──drain()──▶ draining ──end()──▶ ended
///    └───────────────end()─────────────────▶┘
/// ```
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    ended: CancellationToken,
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins draining. Repeated calls change nothing.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Ends at once; draining has begun, too.
    pub fn end(&self) {
        self.draining.cancel();
        self.ended.cancel();
    }

    /// Completes when draining has begun; at once when it had before.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Completes when the end has come; at once when it had before.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// A part that drains and ends with the whole, and can also be stopped alone: one listener of
    /// a gateway, for instance.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            draining: self.draining.child_token(),
            ended: self.ended.child_token(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn draining_does_not_end() {
        let shutdown = Shutdown::new();
        let seen = shutdown.clone();
        assert!(seen.draining().now_or_never().is_none());
        shutdown.drain();
        assert!(seen.draining().now_or_never().is_some());
        assert!(seen.ended().now_or_never().is_none());
    }

    #[test]
    fn ending_drains_too() {
        let shutdown = Shutdown::new();
        shutdown.end();
        assert!(shutdown.is_draining() && shutdown.is_ended());
    }

    #[test]
    fn a_child_stops_alone_but_never_outlives_the_whole() {
        let whole = Shutdown::new();
        let (one, other) = (whole.child(), whole.child());
        one.end();
        assert!(one.is_ended() && !whole.is_draining() && !other.is_draining());
        whole.drain();
        assert!(other.is_draining() && !other.is_ended());
    }
}
