//! Guests that go on behind the end of what they answered, until they return or their time is over. Each
//! generation owns its own; they end with it.

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet};

/// The guests of one generation that go on.
#[derive(Default)]
pub(crate) struct Tails(Mutex<JoinSet<()>>);

impl Tails {
    /// Has `work` go on. Outside of a runtime it is dropped, which ends it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut all = self.0.lock();
        while all.try_join_next().is_some() {}
        all.spawn_on(work, &runtime);
    }
}
