//! Where changes of the policies on traps are told: one queue for all plugins, read by whoever looks after them.

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::on_trap::TrapChange;

/// Changes that wait to be read. A plugin makes a few in a second at most (`traps.back-off`); of those that
/// nobody reads the latest are lost, and the log has told of them.
const NOTICES_MAX: usize = 1024;

/// The queue.
#[derive(Debug)]
pub(crate) struct TrapNotices {
    sender: mpsc::Sender<TrapChange>,
    /// Until it is taken.
    receiver: Mutex<Option<mpsc::Receiver<TrapChange>>>,
}

impl TrapNotices {
    pub(crate) fn tell(&self, change: TrapChange) {
        if let Err(error) = self.sender.try_send(change) {
            tracing::debug!(%error, "nobody is told of a plugin's change");
        }
    }

    /// The end to read from. There is one.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<TrapChange>> {
        self.receiver.lock().take()
    }
}

impl Default for TrapNotices {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(NOTICES_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}
