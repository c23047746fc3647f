//! Every open door, and how a change of the configuration opens, closes and keeps them: all of it
//! or nothing. A door whose settings stay is not touched, nor are its connections.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use postern_net::Shutdown;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::door::{BindError, Door, DoorSettings, Inside, Place};
use crate::config::Config;

/// All doors of a gateway, by name.
pub(crate) struct Listeners {
    inside: Inside,
    shutdown: Shutdown,
    open: BTreeMap<String, Open>,
    /// Doors that serve or drain.
    tasks: JoinSet<()>,
}

struct Open {
    settings: DoorSettings,
    places: Vec<Place>,
    shutdown: Shutdown,
}

impl Listeners {
    pub(crate) fn new(inside: Inside, shutdown: Shutdown) -> Self {
        Self {
            inside,
            shutdown,
            open: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Opens, closes and keeps doors until they are those of `config`.
    ///
    /// # Errors
    /// The first door that cannot be opened; then the doors are those from before.
    pub(crate) async fn apply(&mut self, config: &Config) -> Result<(), BindError> {
        let wanted = wanted(config);
        let is_kept = |name: &String, open: &Open| wanted.get(name) == Some(&open.settings);
        let changed: BTreeMap<_, _> = wanted
            .iter()
            .filter(|(name, _)| !self.open.get(*name).is_some_and(|open| is_kept(name, open)))
            .collect();
        let closing: Vec<_> = self
            .open
            .iter()
            .filter(|(name, open)| !is_kept(name, open))
            .map(|(name, _)| name.clone())
            .collect();
        // Addresses that are free are taken first: if one is not, nothing has been touched yet.
        let (freed, free): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|(_, settings)| self.is_freed(settings, &closing));
        let mut bound = Vec::new();
        for (name, settings) in free {
            bound.push((
                name,
                settings,
                Door::bind(name, settings, &self.inside).await?,
            ));
        }
        let mut closed = Vec::new();
        for name in closing {
            if let Some(open) = self.open.remove(&name) {
                open.shutdown.drain();
                closed.push((name, open.settings));
            }
        }
        for (name, settings) in freed {
            match self.bind_freed(name, settings).await {
                Ok(door) => bound.push((name, settings, door)),
                Err(error) => {
                    drop(bound);
                    self.open_again(closed).await;
                    return Err(error);
                }
            }
        }
        for (name, settings, door) in bound {
            self.open_door(name, settings, door);
        }
        Ok(())
    }

    /// Where each door listens, by name.
    pub(crate) fn places(&self) -> BTreeMap<String, Vec<Place>> {
        self.open
            .iter()
            .map(|(name, open)| (name.clone(), open.places.clone()))
            .collect()
    }

    /// Completes when every door is closed, which the shutdown begins.
    pub(crate) async fn closed(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            warn_of_panic(ended);
        }
    }

    /// Whether a door that closes gives up the address that `settings` wants.
    fn is_freed(&self, settings: &DoorSettings, closing: &[String]) -> bool {
        let wanted = settings.listener.address;
        let closing = closing.iter().filter_map(|name| self.open.get(name));
        let mut places = closing.flat_map(|open| &open.places);
        places.any(|place| {
            let ips = [place.address.ip(), wanted.ip()];
            let is_same_ip = ips[0] == ips[1] || ips.iter().any(std::net::IpAddr::is_unspecified);
            is_same_ip && place.address.port() == wanted.port()
        })
    }

    /// The door before lets go of its socket within a few milliseconds.
    async fn bind_freed(&self, name: &str, settings: &DoorSettings) -> Result<Door, BindError> {
        let until = Instant::now() + FREED_WAIT;
        loop {
            match Door::bind(name, settings, &self.inside).await {
                Err(error)
                    if error.source.kind() == io::ErrorKind::AddrInUse
                        && Instant::now() < until =>
                {
                    tokio::time::sleep(FREED_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Undoes the closing of doors after a change that failed.
    async fn open_again(&mut self, closed: Vec<(String, DoorSettings)>) {
        for (name, settings) in closed {
            match self.bind_freed(&name, &settings).await {
                Ok(door) => self.open_door(&name, &settings, door),
                Err(error) => warn!(%error, "a listener could not be opened again"),
            }
        }
    }

    fn open_door(&mut self, name: &str, settings: &DoorSettings, door: Door) {
        let (places, shutdown) = (door.places(), self.shutdown.child());
        for Place { transport, address } in &places {
            info!(listener = name, transport, %address, "listening");
        }
        // Doors that have drained since the last change.
        while let Some(ended) = self.tasks.try_join_next() {
            warn_of_panic(ended);
        }
        self.tasks.spawn(door.serve(shutdown.clone()));
        self.open.insert(
            name.to_owned(),
            Open {
                settings: settings.clone(),
                places,
                shutdown,
            },
        );
    }
}

fn wanted(config: &Config) -> BTreeMap<String, DoorSettings> {
    let body_bytes_max = config.calls.body_bytes_max.octets();
    let enabled = config
        .listeners
        .iter()
        .filter(|(_, listener)| listener.enabled);
    enabled
        .map(|(name, listener)| {
            (
                name.clone(),
                DoorSettings {
                    listener: listener.clone(),
                    body_bytes_max,
                },
            )
        })
        .collect()
}

fn warn_of_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!(%error, "a listener ended by a panic");
    }
}

const FREED_WAIT: Duration = Duration::from_secs(2);
const FREED_PAUSE: Duration = Duration::from_millis(5);
