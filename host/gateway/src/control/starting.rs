//! The order in which versions of one plugin are taken that lie in the folder at a start: one after the other, from the
//! oldest on (`label::at_start`), each judged by what the ones before it have become. What a version is compared with,
//! and so which one is held, follows from their names and from nothing else.

use std::{collections::BTreeSet, convert::Infallible};

use tokio::sync::oneshot;
use tracing::info;

use super::FoundAtStart;
use crate::plugins::label::plugin_of;

/// One version, which waits for the ones before it.
pub(super) struct Waiter {
    /// Ends when the version before has been taken, or refused.
    before: Option<oneshot::Receiver<Infallible>>,
    own: Taking,
}

/// A version that is being taken, for as long as this lives.
pub(super) struct Taking(oneshot::Sender<Infallible>);

impl Waiter {
    /// Waits until the version before has been taken, or refused.
    pub(super) async fn wait(self) -> Taking {
        if let Some(before) = self.before {
            // Nothing is ever sent.
            drop(before.await);
        }
        self.own
    }
}

impl Taking {
    /// The version was taken, or refused.
    pub(super) fn end(self) {
        drop(self.0);
    }
}

/// Each version of `found`, which is sorted, with what it waits by among those of its plugin.
pub(super) fn in_order(found: Vec<(String, FoundAtStart)>) -> Vec<(Waiter, String, FoundAtStart)> {
    let mut last: Option<(String, oneshot::Receiver<Infallible>)> = None;
    let waiters = found.into_iter().map(|(label, found)| {
        let plugin = plugin_of(&label);
        let before = last.take().filter(|(before, _)| before == plugin);
        let (own, ended) = oneshot::channel();
        last = Some((plugin.to_owned(), ended));
        let waiter = Waiter {
            before: before.map(|(_, ended)| ended),
            own: Taking(own),
        };
        (waiter, label, found)
    });
    waiters.collect()
}

/// Tells of plugins of which several versions come and none of them has ever served (`kept`): nothing but their order
/// says which one the others are compared with.
pub(super) fn tell_order(found: &[(String, FoundAtStart)], kept: &BTreeSet<String>) {
    for versions in found.chunk_by(|(one, _), (next, _)| plugin_of(one) == plugin_of(next)) {
        let labels: Vec<_> = versions.iter().map(|(label, _)| label.as_str()).collect();
        let ([first, _, ..], false) = (&*labels, labels.iter().any(|label| kept.contains(*label)))
        else {
            continue;
        };
        let (plugin, order) = (plugin_of(first), labels.join(", "));
        info!(
            plugin,
            order,
            "several versions are new: they are taken in this order, each compared with those before"
        );
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_version_waits_for_those_of_its_plugin_before_it_and_for_nobody_else() {
        let found = ["a@1", "a@2", "a@3", "b"].map(|label| {
            let found = FoundAtStart::Unread(String::new());
            (label.to_owned(), found)
        });
        let mut waiters = in_order(found.into())
            .into_iter()
            .map(|(waiter, ..)| waiter);
        let mut next = || Box::pin(waiters.next().expect("four").wait());
        let (mut first, mut second, mut third, mut other) = (next(), next(), next(), next());
        assert!(other.as_mut().now_or_never().is_some());
        let running = first.as_mut().now_or_never().expect("it is the first");
        assert!(second.as_mut().now_or_never().is_none());
        running.end();
        let running = second.as_mut().now_or_never().expect("none is before it");
        assert!(third.as_mut().now_or_never().is_none());
        // One that comes to nothing lets the next one come as well.
        drop(running);
        assert!(third.as_mut().now_or_never().is_some());
    }
}
