//! A relay that stands in front of a listener and shows what passes. Octets go on unchanged and at
//! once; only when whoever watches is slow do both sides wait.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use super::dissect::{Stream, StreamPrefix, dissect};

/// Bound sockets, not relaying yet.
#[derive(Debug)]
pub(crate) struct Relay {
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
    to: SocketAddr,
}

/// Something that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub transport: &'static str,
    /// Whoever speaks to the relay.
    pub peer: SocketAddr,
    pub direction: RelayDirection,
    pub event: RelayEvent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayDirection {
    ToTarget,
    ToPeer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RelayEvent {
    Opened,
    Closed,
    Found(StreamPrefix),
    /// The target cannot be reached, or a side broke off.
    Failed(String),
}

type Sights = mpsc::Sender<Relayed>;

impl Relay {
    /// Binds both transports, or one of them, at `listen`. With port 0 both get the same free one.
    ///
    /// # Errors
    /// Whatever the system says of the address.
    pub(crate) async fn bind(
        listen: SocketAddr,
        to: SocketAddr,
        tcp: bool,
        udp: bool,
    ) -> io::Result<Self> {
        let tcp = if tcp {
            Some(TcpListener::bind(listen).await?)
        } else {
            None
        };
        let listen = match &tcp {
            Some(listener) => listener.local_addr()?,
            None => listen,
        };
        let udp = if udp {
            Some(UdpSocket::bind(listen).await?)
        } else {
            None
        };
        Ok(Self { tcp, udp, to })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match (&self.tcp, &self.udp) {
            (Some(tcp), _) => tcp.local_addr(),
            (None, Some(udp)) => udp.local_addr(),
            (None, None) => Err(io::Error::other("the relay has no transport")),
        }
    }

    /// Relays until it is dropped or nobody watches any more.
    ///
    /// # Errors
    /// A socket of the relay itself that breaks.
    pub(crate) async fn serve(self, sights: Sights) -> io::Result<()> {
        let Self { tcp, udp, to } = self;
        let streams = async {
            match tcp {
                Some(listener) => relay_streams(listener, to, sights.clone()).await,
                None => std::future::pending().await,
            }
        };
        let datagrams = async {
            match udp {
                Some(socket) => relay_datagrams(socket, to, sights.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = streams => result,
            result = datagrams => result,
            () = sights.closed() => Ok(()),
        }
    }
}

async fn relay_streams(listener: TcpListener, to: SocketAddr, sights: Sights) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (inbound, peer) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        if connections.len() >= PEERS_MAX {
            tell(&sights, "tcp", peer, refused()).await;
            continue;
        }
        connections.spawn(relay_stream(inbound, peer, to, sights.clone()));
    }
}

async fn relay_stream(inbound: TcpStream, peer: SocketAddr, to: SocketAddr, sights: Sights) {
    tell(&sights, "tcp", peer, RelayEvent::Opened).await;
    let outbound = match TcpStream::connect(to).await {
        Ok(outbound) => outbound,
        Err(error) => {
            let event = RelayEvent::Failed(format!("{to} does not answer: {error}"));
            return tell(&sights, "tcp", peer, event).await;
        }
    };
    // Small frames are answered at once; waiting for more would show in every figure.
    let _ = (inbound.set_nodelay(true), outbound.set_nodelay(true));
    let (from_peer, to_peer) = inbound.into_split();
    let (from_target, to_target) = outbound.into_split();
    let sight = |direction| Relayed {
        transport: "tcp",
        peer,
        direction,
        event: RelayEvent::Closed,
    };
    let (there, back) = tokio::join!(
        copy(
            from_peer,
            to_target,
            sight(RelayDirection::ToTarget),
            &sights
        ),
        copy(from_target, to_peer, sight(RelayDirection::ToPeer), &sights),
    );
    let event = match there.and(back) {
        Ok(()) => RelayEvent::Closed,
        Err(error) => RelayEvent::Failed(error.to_string()),
    };
    tell(&sights, "tcp", peer, event).await;
}

/// Moves one direction until its end, and shows the frames in it.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    sight: Relayed,
    sights: &Sights,
) -> io::Result<()> {
    let mut stream = Stream::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        let octets = buffer.get(..length).unwrap_or_default();
        if octets.is_empty() {
            break;
        }
        to.write_all(octets).await?;
        stream.push(octets);
        while let Some((_, found)) = stream.next_found() {
            show(sights, &sight, found).await;
        }
    }
    if let Some((_, found)) = stream.finish() {
        show(sights, &sight, found).await;
    }
    to.shutdown().await
}

async fn relay_datagrams(socket: UdpSocket, to: SocketAddr, sights: Sights) -> io::Result<()> {
    let socket = Arc::new(socket);
    let mut peers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, peer) = tokio::select! {
            received = socket.recv_from(&mut buffer) => received?,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok(peer) = ended {
                    peers.remove(&peer);
                }
                continue;
            }
        };
        let outbound = match peers.get(&peer) {
            Some(outbound) => Arc::clone(outbound),
            None if peers.len() >= PEERS_MAX => {
                tell(&sights, "udp", peer, refused()).await;
                continue;
            }
            None => {
                let outbound = Arc::new(connected(to).await?);
                peers.insert(peer, Arc::clone(&outbound));
                let back = (Arc::clone(&outbound), Arc::clone(&socket));
                tasks.spawn(relay_back(back, peer, sights.clone()));
                tell(&sights, "udp", peer, RelayEvent::Opened).await;
                outbound
            }
        };
        let octets = buffer.get(..length).unwrap_or_default();
        if let Some(found) = dissect(octets) {
            let (direction, event) = (RelayDirection::ToTarget, RelayEvent::Found(found));
            // Whoever does not watch any more is seen by `serve`.
            let _ = sights
                .send(Relayed {
                    transport: "udp",
                    peer,
                    direction,
                    event,
                })
                .await;
        }
        // A target that is not there answers by an ICMP message: told by the way back.
        let _ = outbound.send(octets).await;
    }
}

/// What the target answers to one peer, until it has been silent for long.
async fn relay_back(
    (outbound, socket): (Arc<UdpSocket>, Arc<UdpSocket>),
    peer: SocketAddr,
    sights: Sights,
) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(received) = timeout(PEER_IDLE_MAX, outbound.recv(&mut buffer)).await {
        let event = match received {
            Ok(length) => {
                let octets = buffer.get(..length).unwrap_or_default();
                let _ = socket.send_to(octets, peer).await;
                match dissect(octets) {
                    Some(found) => RelayEvent::Found(found),
                    None => continue,
                }
            }
            Err(error) => RelayEvent::Failed(error.to_string()),
        };
        let _ = sights
            .send(Relayed {
                transport: "udp",
                peer,
                direction: RelayDirection::ToPeer,
                event,
            })
            .await;
    }
    tell(&sights, "udp", peer, RelayEvent::Closed).await;
    peer
}

async fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

async fn show(sights: &Sights, sight: &Relayed, found: StreamPrefix) {
    let _ = sights
        .send(Relayed {
            event: RelayEvent::Found(found),
            ..sight.clone()
        })
        .await;
}

async fn tell(sights: &Sights, transport: &'static str, peer: SocketAddr, event: RelayEvent) {
    let _ = sights
        .send(Relayed {
            transport,
            peer,
            direction: RelayDirection::ToTarget,
            event,
        })
        .await;
}

fn refused() -> RelayEvent {
    RelayEvent::Failed(format!("turned away: {PEERS_MAX} peers are relayed"))
}

const PEERS_MAX: usize = 1024;
const PEER_IDLE_MAX: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 64 * 1024;
const DATAGRAM_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::{super::from_hex, *};

    fn hello() -> Vec<u8> {
        from_hex("565401030000000000000548656c6c6f326d0910").expect("hex")
    }

    async fn relay(
        to: SocketAddr,
    ) -> (SocketAddr, mpsc::Receiver<Relayed>, JoinSet<io::Result<()>>) {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let relay = Relay::bind(any, to, true, true).await.expect("a free port");
        let address = relay.local_addr().expect("bound");
        let (sights, seen) = mpsc::channel(16);
        let mut task = JoinSet::new();
        task.spawn(relay.serve(sights));
        (address, seen, task)
    }

    async fn next_frame(seen: &mut mpsc::Receiver<Relayed>) -> (&'static str, RelayDirection) {
        loop {
            let sight = seen.recv().await.expect("the relay serves");
            if let RelayEvent::Found(StreamPrefix::Frame(_)) = sight.event {
                return (sight.transport, sight.direction);
            }
        }
    }

    #[tokio::test]
    async fn streams_pass_unchanged_and_are_seen_both_ways() {
        let target = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, mut seen, _task) = relay(target.local_addr().expect("bound")).await;
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (mut server, _) = target.accept().await.expect("the relay connects");
        client.write_all(&hello()).await.expect("sent");
        let mut got = vec![0; hello().len()];
        server.read_exact(&mut got).await.expect("received");
        assert_eq!(got, hello());
        assert_eq!(
            next_frame(&mut seen).await,
            ("tcp", RelayDirection::ToTarget)
        );
        server.write_all(&hello()).await.expect("sent");
        client.read_exact(&mut got).await.expect("received");
        assert_eq!(got, hello());
        assert_eq!(next_frame(&mut seen).await, ("tcp", RelayDirection::ToPeer));
    }

    #[tokio::test]
    async fn datagrams_pass_unchanged_and_are_seen_both_ways() {
        let target = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let (address, mut seen, _task) = relay(target.local_addr().expect("bound")).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        client.send_to(&hello(), address).await.expect("sent");
        let mut got = vec![0; 100];
        let (length, from) = target.recv_from(&mut got).await.expect("received");
        assert_eq!(got[..length], hello());
        assert_eq!(
            next_frame(&mut seen).await,
            ("udp", RelayDirection::ToTarget)
        );
        target.send_to(&hello(), from).await.expect("sent");
        let (length, _) = client.recv_from(&mut got).await.expect("received");
        assert_eq!(got[..length], hello());
        assert_eq!(next_frame(&mut seen).await, ("udp", RelayDirection::ToPeer));
    }

    #[tokio::test]
    async fn a_target_that_is_not_there_is_told() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let to = gone.local_addr().expect("bound");
        drop(gone);
        let (address, mut seen, _task) = relay(to).await;
        let _client = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(
            seen.recv().await.expect("a sight").event,
            RelayEvent::Opened
        );
        let failed = seen.recv().await.expect("a sight").event;
        assert!(matches!(failed, RelayEvent::Failed(told) if told.contains("does not answer")));
    }
}
