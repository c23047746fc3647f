//! What happens in the directory by itself: time passes, peers are followed, leases are written.

use std::{sync::Arc, time::Duration};

use postern_core::registry::directory::DirectoryEvent;
use postern_net::Shutdown;
use tracing::info;

use super::{SharedDirectory, peers};

/// How long after a lease's end it is looked at. A heartbeat that lies in a socket by then counts.
const SLACK: Duration = Duration::from_millis(50);

impl SharedDirectory {
    /// Follows time and peers and writes leases until `shutdown` drains; then watchers are let go
    /// and what is left to write is written. Run it once.
    pub(crate) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let work = async {
            tokio::join!(
                self.follow_time(),
                peers::follow_all(&self),
                self.write_leases()
            )
        };
        tokio::select! {
            _ = work => {}
            () = shutdown.draining() => {}
        }
        self.closing.drain();
        self.lease_store.close();
        self.flush().await;
    }

    /// Ends leases and holds when their time has come. Never ends by itself.
    async fn follow_time(&self) {
        loop {
            let next = self.state.lock().next;
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until((at + SLACK).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.expire(),
                () = self.rescheduled.notified() => {}
            }
        }
    }

    fn expire(&self) {
        let events = self.change(|state, now| state.machine.poll(now));
        for event in events {
            match event {
                DirectoryEvent::LeaseExpired(record) => {
                    let (owner, instance) = (&record.key.owner, &record.key.instance);
                    info!(%owner, %instance, "lease has ended without a heartbeat");
                    self.lease_store.mark(&record.key);
                }
                DirectoryEvent::GraceOver(record) => {
                    let (owner, instance) = (&record.key.owner, &record.key.instance);
                    info!(%owner, %instance, "entry of a lost peer is gone");
                }
                DirectoryEvent::Recovered(key) => {
                    info!(owner = %key.owner, instance = %key.instance, "instance is up");
                }
            }
        }
    }
}
