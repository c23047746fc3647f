//! Every open listener, and how a change of the configuration opens, closes and changes them: all of it
//! or nothing. A socket stays, with its connections, while its listener has the same transport at
//! the same address.

use std::{collections::BTreeMap, io, time::Duration};

use postern_core::Transport;
use postern_net::{LocalAddress, PassedSockets, Shutdown};
use postern_system::clock;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    listener::{self, BindError, BoundAddress, ListenerControl, ListenerServer},
    listener_settings::{ListenerDependencies, ListenerSettings},
    sockets,
};
use crate::config::{Config, ListenAddress};

/// All listeners of a gateway, by name.
pub(crate) struct Listeners {
    dependencies: ListenerDependencies,
    shutdown: Shutdown,
    open: BTreeMap<String, Open>,
    /// What should be open and is not.
    lost: Vec<Lost>,
    /// Servers that serve or drain.
    tasks: JoinSet<()>,
}

/// A listener and its servers, by transport.
struct Open {
    settings: ListenerSettings,
    servers: BTreeMap<Transport, Running>,
}

/// A server whose socket is bound, and what turns it.
struct Running {
    bound: BoundAddress,
    control: ListenerControl,
    shutdown: Shutdown,
}

/// A socket that is to be bound.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    name: &'a str,
    transport: Transport,
    settings: &'a ListenerSettings,
}

/// A server that is told to drain, and what it was opened with.
struct Closed {
    name: String,
    settings: ListenerSettings,
    bound: BoundAddress,
}

/// A server that was closed for a change that failed, and whose address somebody else took meanwhile.
struct Lost {
    closed: Closed,
    error: BindError,
}

impl Listeners {
    pub(crate) fn new(dependencies: ListenerDependencies, shutdown: Shutdown) -> Self {
        Self {
            dependencies,
            shutdown,
            open: BTreeMap::new(),
            lost: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Opens, closes and changes listeners until they are those of `config`.
    ///
    /// A socket stays as long as its listener has that transport at that address; it takes over what
    /// else has changed while it serves. Others are bound anew, and those without a listener drain.
    ///
    /// # Errors
    /// The first socket that cannot be bound; then all is as before, but for what `lost` tells.
    pub(crate) async fn apply(&mut self, config: &Config) -> Result<(), BindError> {
        let settings = wanted(config, &self.dependencies.passed);
        let missing: Vec<_> = settings
            .iter()
            .flat_map(|(name, settings)| wanted_servers(name, settings))
            .filter(|wanted| self.kept(wanted).is_none())
            .collect();
        self.check_kept(&settings)?;
        let surplus = self.surplus(&settings);
        // Addresses that are free are taken first: if one is not, nothing has been touched yet.
        let (freed, free): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|wanted| self.is_freed(wanted, &surplus));
        let mut bound = Vec::new();
        for wanted in free {
            let address = self.address_of(wanted, &bound);
            let server = ListenerServer::bind(
                wanted.name,
                wanted.transport,
                &address,
                wanted.settings,
                &self.dependencies,
            );
            bound.push((wanted, server?));
        }
        let closed = self.close(&surplus);
        for wanted in freed {
            let address = self.address_of(wanted, &bound);
            match self.bind_freed(wanted, &address).await {
                Ok(server) => bound.push((wanted, server)),
                Err(error) => {
                    drop(bound);
                    self.open_again(closed).await;
                    let was_closed = true;
                    return Err(BindError {
                        was_closed,
                        ..error
                    });
                }
            }
        }
        for (wanted, server) in bound {
            self.open_server(wanted, server);
        }
        // Everything that is wanted is open.
        self.lost.clear();
        self.reconfigure(&settings);
        Ok(())
    }

    /// Where each listener was bound, by name.
    pub(crate) fn bound_addresses(&self) -> BTreeMap<String, Vec<BoundAddress>> {
        self.open
            .iter()
            .map(|(name, open)| {
                let bound_addresses = open.servers.values().map(|running| running.bound.clone());
                (name.clone(), bound_addresses.collect())
            })
            .collect()
    }

    /// What should be open and is not, each with the reason.
    pub(crate) fn lost(&self) -> BTreeMap<String, String> {
        let told = self.lost.iter().map(|Lost { closed, error }| {
            let subject = format!("{} ({})", closed.name, closed.bound.transport);
            (subject, format!("it is closed, and tried again: {error}"))
        });
        told.collect()
    }

    /// Tries to open what was lost; whether anything of it is open.
    pub(crate) fn open_lost(&mut self) -> bool {
        let mut has_opened = false;
        for Lost { closed, .. } in std::mem::take(&mut self.lost) {
            let wanted = closed.wanted();
            let (address, dependencies) = (closed.address(), &self.dependencies);
            let Wanted {
                name,
                transport,
                settings,
            } = wanted;
            match ListenerServer::bind(name, transport, &address, settings, dependencies) {
                Ok(server) => {
                    self.open_server(wanted, server);
                    has_opened = true;
                }
                Err(error) => self.lost.push(Lost { closed, error }),
            }
        }
        has_opened
    }

    /// Completes when every listener is closed, which the shutdown begins.
    pub(crate) async fn closed(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            warn_of_panic(ended);
        }
    }

    /// The server that stays what is wanted.
    fn kept(&self, wanted: &Wanted<'_>) -> Option<&Running> {
        let open = self.open.get(wanted.name)?;
        let (before, after) = (&open.settings.listener, &wanted.settings.listener);
        let is_same = before.address == after.address && before.unix == after.unix;
        open.servers.get(&wanted.transport).filter(|_| is_same)
    }

    /// Whether sockets that were passed may stay what they are under `settings`. Of others the
    /// configuration has said so.
    ///
    /// # Errors
    /// The first that may not.
    fn check_kept(&self, settings: &BTreeMap<String, ListenerSettings>) -> Result<(), BindError> {
        let wanted = settings
            .iter()
            .flat_map(|(name, settings)| wanted_servers(name, settings));
        for wanted in wanted {
            let Some(running) = self.kept(&wanted) else {
                continue;
            };
            let (transport, listener) = (wanted.transport, &wanted.settings.listener);
            let has_tls = listener.tls.is_on() && transport != Transport::Udp;
            let table = format!("listeners.{}", wanted.name);
            let local = &running.bound.address;
            let checked = sockets::check_place(local, has_tls, listener.insecure, &table);
            checked.map_err(|source| BindError {
                listener: wanted.name.to_owned(),
                transport,
                address: listener.address.clone(),
                was_closed: false,
                source,
            })?;
        }
        Ok(())
    }

    /// Servers that `settings` has no listener for, by name and transport.
    fn surplus(&self, settings: &BTreeMap<String, ListenerSettings>) -> Vec<(String, Transport)> {
        let is_surplus = |name: &str, transport: Transport| {
            let wanted = settings.get_key_value(name).and_then(|(name, settings)| {
                wanted_servers(name, settings).find(|wanted| wanted.transport == transport)
            });
            wanted.is_none_or(|wanted| self.kept(&wanted).is_none())
        };
        let servers = self.open.iter().flat_map(|(name, open)| {
            let transports = open.servers.keys();
            transports.map(move |transport| (name.clone(), *transport))
        });
        servers
            .filter(|(name, transport)| is_surplus(name, *transport))
            .collect()
    }

    /// Whether a server that closes gives up the address that is wanted.
    fn is_freed(&self, wanted: &Wanted<'_>, surplus: &[(String, Transport)]) -> bool {
        let address = &wanted.settings.listener.address;
        let closing = surplus.iter().filter_map(|(name, transport)| {
            self.open
                .get(name)
                .and_then(|open| open.servers.get(transport))
        });
        let mut bound_addresses = closing.map(|running| &running.bound);
        bound_addresses.any(|bound| {
            let is_same_kind = bound.transport.has_datagrams() == wanted.transport.has_datagrams();
            let bound = match &bound.address {
                LocalAddress::Ip(address) => ListenAddress::Ip(*address),
                LocalAddress::Unix(address) => ListenAddress::Unix(address.clone()),
            };
            is_same_kind && bound.collides_with(address)
        })
    }

    /// Where to bind. All transports of a listener at port 0 take the port that the first was given.
    fn address_of(
        &self,
        wanted: Wanted<'_>,
        bound: &[(Wanted<'_>, ListenerServer)],
    ) -> ListenAddress {
        let address = &wanted.settings.listener.address;
        let Some(mut ip) = address.ip().filter(|ip| ip.port() == 0) else {
            return address.clone();
        };
        let new = bound
            .iter()
            .find(|(sibling, _)| sibling.name == wanted.name)
            .map(|(_, server)| server.bound_address());
        let kept = || {
            let mut siblings = wanted_servers(wanted.name, wanted.settings);
            siblings.find_map(|sibling| self.kept(&sibling).map(|running| running.bound.clone()))
        };
        let sibling = new.or_else(kept);
        if let Some(sibling) = sibling.and_then(|bound| bound.address.socket_addr()) {
            ip.set_port(sibling.port());
        }
        ip.into()
    }

    /// The server before lets go of its socket within a few milliseconds.
    async fn bind_freed(
        &self,
        wanted: Wanted<'_>,
        address: &ListenAddress,
    ) -> Result<ListenerServer, BindError> {
        let until = clock::now() + FREED_WAIT;
        loop {
            let Wanted {
                name,
                transport,
                settings,
            } = wanted;
            match ListenerServer::bind(name, transport, address, settings, &self.dependencies) {
                Err(error)
                    if error.source.kind() == io::ErrorKind::AddrInUse && clock::now() < until =>
                {
                    tokio::time::sleep(FREED_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Lets servers drain; what they were is needed to open them again.
    fn close(&mut self, surplus: &[(String, Transport)]) -> Vec<Closed> {
        let mut closed = Vec::new();
        for (name, transport) in surplus {
            let Some(open) = self.open.get_mut(name) else {
                continue;
            };
            if let Some(running) = open.servers.remove(transport) {
                running.shutdown.drain();
                closed.push(Closed {
                    name: name.clone(),
                    settings: open.settings.clone(),
                    bound: running.bound,
                });
            }
        }
        self.open.retain(|_, open| !open.servers.is_empty());
        closed
    }

    /// Undoes the closing of servers after a change that failed.
    async fn open_again(&mut self, closed: Vec<Closed>) {
        for closed in closed {
            let wanted = closed.wanted();
            match self.bind_freed(wanted, &closed.address()).await {
                Ok(server) => self.open_server(wanted, server),
                Err(error) => {
                    warn!(%error, "a listener could not be opened again, it is tried by itself");
                    self.lost.push(Lost { closed, error });
                }
            }
        }
    }

    fn open_server(&mut self, wanted: Wanted<'_>, server: ListenerServer) {
        let (bound, control) = (server.bound_address(), server.control());
        let BoundAddress { transport, address } = &bound;
        let transport = *transport;
        info!(listener = wanted.name, %transport, %address, "listening");
        let is_plain = !wanted.settings.listener.tls.is_on() || transport == Transport::Udp;
        let reached = address.socket_addr();
        let is_reached = reached.is_some_and(|address| !address.ip().is_loopback());
        if wanted.settings.listener.insecure && is_plain && is_reached {
            warn!(listener = wanted.name, %transport, %address, "plain, and other machines may reach it");
        }
        // Servers that have drained since the last change.
        while let Some(ended) = self.tasks.try_join_next() {
            warn_of_panic(ended);
        }
        let shutdown = self.shutdown.child();
        self.tasks.spawn(server.serve(shutdown.clone()));
        let open = self.open.entry(wanted.name.to_owned());
        let open = open.or_insert_with(|| Open {
            settings: wanted.settings.clone(),
            servers: BTreeMap::new(),
        });
        let running = Running {
            bound,
            control,
            shutdown,
        };
        open.servers.insert(transport, running);
    }

    /// Puts what has changed of listeners in force at the servers that they kept.
    fn reconfigure(&mut self, settings: &BTreeMap<String, ListenerSettings>) {
        for (name, open) in &mut self.open {
            let Some(settings) = settings.get(name) else {
                continue;
            };
            if open.settings == *settings {
                continue;
            }
            open.settings = settings.clone();
            for running in open.servers.values() {
                let (control, bound) = (&running.control, &running.bound);
                control.apply(name, bound, settings, &self.dependencies);
            }
            info!(listener = name, "settings changed, sockets kept");
        }
    }
}

impl Closed {
    /// Where it was, and is to be again.
    fn address(&self) -> ListenAddress {
        match (&self.settings.listener.address, &self.bound.address) {
            (passed @ ListenAddress::Passed(_), _) => passed.clone(),
            (_, LocalAddress::Ip(address)) => ListenAddress::Ip(*address),
            (_, LocalAddress::Unix(address)) => ListenAddress::Unix(address.clone()),
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            name: &self.name,
            transport: self.bound.transport,
            settings: &self.settings,
        }
    }
}

fn wanted_servers<'a>(
    name: &'a str,
    settings: &'a ListenerSettings,
) -> impl Iterator<Item = Wanted<'a>> {
    let transports = settings.transports.iter().copied();
    transports.map(move |transport| Wanted {
        name,
        transport,
        settings,
    })
}

fn wanted(config: &Config, passed: &PassedSockets) -> BTreeMap<String, ListenerSettings> {
    let body_bytes_max = config.calls.body_bytes_max.octets();
    let auth = &config.auth;
    let enabled = config
        .listeners
        .iter()
        .filter(|(_, listener)| listener.enabled);
    enabled
        .map(|(name, listener)| {
            (
                name.clone(),
                ListenerSettings {
                    transports: listener::transports(listener, passed),
                    listener: listener.clone(),
                    body_bytes_max,
                    mqtt: config.mqtt.clone(),
                    auth: auth.clone(),
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
