//! A network in memory with faults on purpose: loss, duplication, reordering, delay, a largest
//! datagram, cuts. Chance is seeded and time is tokio's, so that a test repeats exactly. Messages
//! are encoded as on any other link.

mod datagram;
mod dial;
mod stream;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{Origin, testing::Rng};
use tokio::sync::mpsc;

use self::{datagram::Inbox, stream::Pipe};
pub use self::{datagram::MemorySocket, stream::MemoryStream};
use crate::link::Listener;

/// Connections that wait for `MemoryListener::accept`, as in a TCP backlog.
const BACKLOG: usize = 128;

/// What the network does to what it carries. The default is perfect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Datagrams lost, in percent.
    pub loss_percent: u8,
    /// Datagrams that arrive twice, in percent.
    pub duplicate_percent: u8,
    /// Datagrams that later ones may overtake, in percent: their delay is up to four times longer,
    /// at least 1 ms.
    pub reorder_percent: u8,
    /// One way, for streams and datagrams.
    pub delay: Duration,
    /// Largest datagram, in octets; larger ones are lost. Also the most a stream gives per read.
    pub mtu: usize,
    /// Octets a stream holds in one direction before writing waits.
    pub window_bytes: usize,
}

/// Handles to one network; clones share it.
#[derive(Debug, Clone)]
pub struct Network(Arc<Mutex<State>>);

/// Accepts the streams made to its address.
#[derive(Debug)]
pub struct MemoryListener {
    address: SocketAddr,
    incoming: mpsc::Receiver<MemoryStream>,
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    rng: Rng,
    next_port: u16,
    cut: bool,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<MemoryStream>>,
    inboxes: BTreeMap<SocketAddr, Weak<Inbox>>,
    pipes: Vec<Weak<Mutex<Pipe>>>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            loss_percent: 0,
            duplicate_percent: 0,
            reorder_percent: 0,
            delay: Duration::ZERO,
            mtu: 65_507,
            window_bytes: 256 * 1024,
        }
    }
}

impl Network {
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self(Arc::new(Mutex::new(State {
            conditions,
            rng: Rng::new(seed),
            next_port: 1,
            cut: false,
            listeners: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            pipes: Vec::new(),
        })))
    }

    /// A listener for streams at an address of its own.
    #[must_use]
    pub fn listen(&self) -> MemoryListener {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        let mut state = self.0.lock();
        let address = state.address();
        state.listeners.insert(address, sender);
        MemoryListener { address, incoming }
    }

    /// A stream to the listener at `address`.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens or the backlog is full, `TimedOut` on a cut network.
    pub fn connect(&self, address: SocketAddr) -> io::Result<MemoryStream> {
        let mut state = self.0.lock();
        if state.cut {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let local = state.address();
        let (near, far) = MemoryStream::pair(&state.conditions, local, address);
        let listener = state
            .listeners
            .get(&address)
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        listener
            .try_send(far)
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        state.pipes.retain(|pipe| pipe.strong_count() > 0);
        state.pipes.extend(near.pipes());
        Ok(near)
    }

    /// A datagram socket at an address of its own.
    #[must_use]
    pub fn socket(&self) -> MemorySocket {
        let mut state = self.0.lock();
        let address = state.address();
        let inbox = Arc::new(Inbox::default());
        state.inboxes.retain(|_, inbox| inbox.strong_count() > 0);
        state.inboxes.insert(address, Arc::downgrade(&inbox));
        MemorySocket::new(self.clone(), address, inbox)
    }

    /// Breaks every stream and loses every datagram until `heal`.
    pub fn cut(&self) {
        let mut state = self.0.lock();
        state.cut = true;
        for pipe in state.pipes.drain(..).filter_map(|pipe| pipe.upgrade()) {
            pipe.lock().cut();
        }
    }

    /// Ends a cut. Streams stay broken; new ones can be made.
    pub fn heal(&self) {
        self.0.lock().cut = false;
    }

    /// Changes what happens to what is sent from here on; streams keep what they began with.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.0.lock().conditions = conditions;
    }
}

impl MemoryListener {
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Listener for MemoryListener {
    type Link = MemoryStream;

    /// # Errors
    /// `NotConnected` when the network is gone.
    async fn accept(&mut self) -> io::Result<(MemoryStream, Origin)> {
        let stream = self
            .incoming
            .recv()
            .await
            .ok_or(io::ErrorKind::NotConnected)?;
        let peer = stream.peer_addr();
        Ok((stream, Origin::Ip(peer)))
    }
}

impl State {
    /// Addresses are 127.0.0.1 with ports that count up, so that they print like real ones.
    fn address(&mut self) -> SocketAddr {
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(1);
        (Ipv4Addr::LOCALHOST, port).into()
    }
}
