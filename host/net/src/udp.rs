//! UDP with many datagrams per system call: `recvmmsg` and GRO when receiving, GSO when sending,
//! where the kernel has them (quinn-udp finds out).

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use postern_core::{BoxFuture, Error, Transport};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket};

use crate::{
    client::{Client, ClientConfig},
    dial::{Destination, SessionDialer, Target, unreachable},
    link::{Datagram, DatagramLink},
};

/// Largest UDP datagram, rounded up; also what the kernel joins at most with GRO.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Octets joined into one GSO transmit: the largest UDP payload over IPv4 (65,535 - 20 - 8).
const TRANSMIT_BYTES_MAX: usize = 65_507;
/// Larger datagrams are sent one by one: GSO cuts below the path's MTU only.
const SEGMENT_BYTES_MAX: usize = 1_452;
/// Buffer that short datagrams share. Those of a quarter of it have one of their own.
const SHARED_BYTES_MAX: usize = 16 * 1024;
/// Asked of the kernel for both directions; it grants what its limits allow.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Opens sessions over UDP. Requests are acknowledged, repeated and cut into datagrams as needed.
#[derive(Debug)]
pub struct UdpDialer;

/// A UDP socket.
pub struct UdpLink {
    socket: UdpSocket,
    state: UdpSocketState,
    /// There is one peer, and on Linux the kernel tells when nobody listens there.
    connected: Option<SocketAddr>,
    /// Bound to no address in particular: each datagram says which one it came to.
    is_wildcard: bool,
    /// `BATCH_SIZE` slots of `DATAGRAM_BYTES_MAX` octets.
    received: Box<[u8]>,
    /// Where datagrams are joined for GSO.
    joined: Vec<u8>,
}

/// Asks the kernel for larger buffers of `socket`.
///
/// # Errors
/// What the operating system says of the socket.
pub(crate) fn with_large_buffers(socket: &std::net::UdpSocket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    // The kernel's answer is not an error: smaller buffers lose more under load, no more.
    for result in [
        state.set_recv_buffer_size(UdpSockRef::from(socket), SOCKET_BUFFER_BYTES),
        state.set_send_buffer_size(UdpSockRef::from(socket), SOCKET_BUFFER_BYTES),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "udp socket buffers keep the system's default size");
        }
    }
    Ok(state)
}

impl UdpLink {
    /// Binds `address`. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::on(std::net::UdpSocket::bind(address)?)
    }

    /// Binds a free port for datagrams to and from `peer` alone. On Linux `poll_recv` and `poll_send`
    /// then fail with `ConnectionRefused` when the peer's host answers that nobody listens; the link
    /// goes on, should somebody. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn connect(peer: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        // Elsewhere a connected socket takes no datagrams with a destination, which all of ours have.
        if cfg!(target_os = "linux") {
            socket.connect(peer)?;
        }
        Ok(Self {
            connected: Some(peer),
            is_wildcard: false,
            ..Self::on(socket)?
        })
    }

    /// Takes a socket that is bound. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn on(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = with_large_buffers(&socket)?;
        let is_wildcard = socket.local_addr()?.ip().is_unspecified();
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
            connected: None,
            is_wildcard,
            received: vec![0; BATCH_SIZE * DATAGRAM_BYTES_MAX].into_boxed_slice(),
            joined: Vec::new(),
        })
    }

    fn is_refusal(&self, error: &io::Error) -> bool {
        cfg!(target_os = "linux")
            && self.connected.is_some()
            && error.kind() == io::ErrorKind::ConnectionRefused
    }

    /// Sends the first `n_datagrams` of `queue`, all to one peer, in one system call.
    fn send_front(&mut self, queue: &VecDeque<Datagram>, n_datagrams: usize) -> io::Result<()> {
        let Some(first) = queue.front() else {
            return Ok(());
        };
        let contents = if n_datagrams == 1 {
            &first.bytes[..]
        } else {
            self.joined.clear();
            for datagram in queue.iter().take(n_datagrams) {
                self.joined.extend_from_slice(&datagram.bytes);
            }
            &self.joined[..]
        };
        let transmit = Transmit {
            destination: first.peer,
            ecn: None,
            contents,
            segment_size: (n_datagrams > 1).then_some(first.bytes.len()),
            src_ip: first.local,
        };
        self.socket.try_io(Interest::WRITABLE, || {
            self.state
                .try_send(UdpSockRef::from(&self.socket), &transmit)
        })
    }
}

impl Target {
    #[must_use]
    pub fn udp(address: SocketAddr) -> Self {
        Self::new(Arc::new(UdpDialer), Destination::Ip(address))
    }
}

impl SessionDialer for UdpDialer {
    fn name(&self) -> &'static str {
        Transport::Udp.name()
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        let destination = destination.clone();
        Box::pin(async move {
            let address = destination.ip()?;
            match UdpLink::connect(address) {
                Ok(link) => Client::over_datagrams(link, address, config).await,
                Err(error) => Err(unreachable(&destination, error)),
            }
        })
    }
}

impl DatagramLink for UdpLink {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn renew(&self) -> io::Result<Self> {
        self.connected
            .map_or_else(|| Err(io::ErrorKind::Unsupported.into()), Self::connect)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<Datagram>,
    ) -> Poll<io::Result<()>> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let mut slots = self.received.chunks_mut(DATAGRAM_BYTES_MAX);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
            let received = self.socket.try_io(Interest::READABLE, || {
                self.state
                    .recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas)
            });
            match received {
                Ok(n_slots) => {
                    let metas = metas.iter().take(n_slots);
                    split(&self.received, metas, self.is_wildcard, into);
                    if !into.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) if passes(&error) && !self.is_refusal(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut VecDeque<Datagram>,
    ) -> Poll<io::Result<()>> {
        let mut n_segments_max = self.state.max_gso_segments();
        while !queue.is_empty() {
            let n_datagrams = joinable(queue, n_segments_max);
            match self.send_front(queue, n_datagrams) {
                Ok(()) => drop(queue.drain(..n_datagrams)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_send_ready(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // About a datagram before; this one waits for the next call.
                Err(error) if self.is_refusal(&error) => return Poll::Ready(Err(error)),
                Err(error) if n_datagrams > 1 => {
                    tracing::debug!(%error, "segmentation offload refused, sending one by one");
                    n_segments_max = 1;
                }
                Err(error) => {
                    if let Some(first) = queue.front_mut()
                        && first.local.take().is_some()
                    {
                        // The address it came to may be one that nothing leaves from: a broadcast
                        // address, or one that was taken away since.
                        continue;
                    }
                    let peer = queue.pop_front().map(|datagram| datagram.peer);
                    tracing::debug!(%error, ?peer, "datagram not sent");
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for UdpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpLink")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Not a fault of this socket: nothing was there, or an ICMP answer to something sent before.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
    )
}

/// Copies what the slots hold and cuts it into datagrams. Short ones share a buffer, which lives as
/// long as any of them; a long one, or one that is kept for long, so keeps little else.
fn split<'a>(
    received: &[u8],
    metas: impl Iterator<Item = &'a RecvMeta> + Clone,
    is_wildcard: bool,
    into: &mut Vec<Datagram>,
) {
    let mut n_left: usize = metas.clone().map(|meta| meta.len).sum();
    let mut shared = BytesMut::new();
    for (meta, slot) in metas.zip(received.chunks(DATAGRAM_BYTES_MAX)) {
        // A stride of zero comes with an empty datagram, which no frame is.
        let Some(octets) = slot.get(..meta.len) else {
            continue;
        };
        let local = meta.dst_ip.filter(|_| is_wildcard);
        for datagram in octets.chunks(meta.stride.max(1)) {
            let bytes: Bytes = if datagram.len() >= SHARED_BYTES_MAX / 4 {
                Bytes::copy_from_slice(datagram)
            } else {
                if shared.capacity() < datagram.len() {
                    shared = BytesMut::with_capacity(n_left.min(SHARED_BYTES_MAX));
                }
                shared.extend_from_slice(datagram);
                shared.split().freeze()
            };
            n_left = n_left.saturating_sub(datagram.len());
            into.push(Datagram {
                peer: meta.addr,
                local,
                bytes,
            });
        }
    }
}

/// How many datagrams at the front of `queue` fit in one GSO transmit: one peer, one source, equal
/// lengths, only the last may be shorter.
fn joinable(queue: &VecDeque<Datagram>, n_segments_max: usize) -> usize {
    let Some(first) = queue.front() else { return 0 };
    let length = first.bytes.len();
    if length == 0 || length > SEGMENT_BYTES_MAX {
        return 1;
    }
    let n_max = n_segments_max.min(TRANSMIT_BYTES_MAX / length).max(1);
    let mut n_datagrams = 0;
    for datagram in queue.iter().take(n_max) {
        let is_other = datagram.peer != first.peer || datagram.local != first.local;
        if is_other || datagram.bytes.len() > length {
            break;
        }
        n_datagrams += 1;
        if datagram.bytes.len() < length {
            break;
        }
    }
    n_datagrams
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn datagram(port: u16, length: usize) -> Datagram {
        Datagram {
            peer: (Ipv4Addr::LOCALHOST, port).into(),
            local: None,
            bytes: Bytes::from(vec![7; length]),
        }
    }

    fn check(lengths: &[(u16, usize)], n_segments_max: usize, expected: usize) {
        let queue = lengths
            .iter()
            .map(|(port, length)| datagram(*port, *length))
            .collect();
        assert_eq!(joinable(&queue, n_segments_max), expected, "{lengths:?}");
    }

    #[test]
    fn joins_equal_lengths_to_one_peer() {
        check(&[(1, 10), (1, 10), (1, 10)], 64, 3);
        check(&[(1, 10), (1, 10), (2, 10)], 64, 2);
        check(&[(1, 10), (1, 11)], 64, 1);
        check(&[(1, 10), (1, 4), (1, 4)], 64, 2);
        check(&[(1, 10), (1, 10), (1, 10)], 2, 2);
        check(&[(1, 10), (1, 10)], 1, 1);
        check(&[(1, 1_452), (1, 1_452)], 64, 2);
        check(&[(1, 1_453), (1, 1_453)], 64, 1);
        check(&[], 64, 0);
    }

    #[test]
    fn a_joined_transmit_stays_within_the_largest_udp_payload() {
        check(&[(1, 1_200); 60], 64, 54);
        check(&[(1, 1_200); 54], 64, 54);
    }

    #[test]
    fn splits_a_received_slot_by_its_stride() {
        let mut received = vec![0; 2 * DATAGRAM_BYTES_MAX];
        received[..5].copy_from_slice(b"aabbc");
        received[DATAGRAM_BYTES_MAX..][..3].copy_from_slice(b"ddd");
        let meta = |len, stride| RecvMeta {
            len,
            stride,
            ..RecvMeta::default()
        };
        let mut datagrams = Vec::new();
        let metas = [meta(5, 2), meta(3, 3)];
        split(&received, metas.iter(), false, &mut datagrams);
        let bytes: Vec<_> = datagrams
            .iter()
            .map(|datagram| &datagram.bytes[..])
            .collect();
        assert_eq!(bytes, [&b"aa"[..], b"bb", b"c", b"ddd"]);
    }

    fn split_of(lengths: impl Iterator<Item = usize>) -> Vec<Bytes> {
        let received = vec![7; BATCH_SIZE * DATAGRAM_BYTES_MAX];
        let meta = |len| RecvMeta {
            len,
            stride: len,
            ..RecvMeta::default()
        };
        let metas: Vec<RecvMeta> = lengths.take(BATCH_SIZE).map(meta).collect();
        let mut datagrams = Vec::new();
        split(&received, metas.iter(), false, &mut datagrams);
        assert_eq!(datagrams.len(), metas.len());
        datagrams
            .into_iter()
            .map(|datagram| datagram.bytes)
            .collect()
    }

    #[test]
    fn a_short_datagram_that_is_kept_keeps_no_more_than_16_kib() {
        let mut run = 0;
        let mut end = std::ptr::null();
        for bytes in split_of(std::iter::repeat(1_200)) {
            let range = bytes.as_ptr_range();
            run = if range.start == end {
                run + bytes.len()
            } else {
                bytes.len()
            };
            assert!(run <= SHARED_BYTES_MAX, "{run} octets in one buffer");
            end = range.end;
        }
    }

    #[test]
    fn a_long_datagram_that_is_kept_keeps_nothing_else() {
        let mut datagrams = split_of([4_096, 60_000, 1_200].into_iter().cycle());
        let kept = datagrams.swap_remove(0);
        drop(datagrams);
        let buffer = kept.try_into_mut().expect("nobody else has it");
        assert!(buffer.capacity() < 5_000, "{} octets", buffer.capacity());
    }

    #[tokio::test]
    async fn a_thousand_datagrams_arrive_whole_over_loopback() {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let (mut near, mut far) = (
            UdpLink::bind(any).expect("bind"),
            UdpLink::bind(any).expect("bind"),
        );
        let peer = far.local_addr().expect("bound");
        let mut got = Vec::new();
        for round in 0..20_u8 {
            let bytes = Bytes::from(vec![round; 1_200]);
            let mut queue: VecDeque<_> = (0..50)
                .map(|_| Datagram {
                    peer,
                    local: None,
                    bytes: bytes.clone(),
                })
                .collect();
            std::future::poll_fn(|cx| near.poll_send(cx, &mut queue))
                .await
                .expect("sent");
            while got.len() < 50 * (usize::from(round) + 1) {
                std::future::poll_fn(|cx| far.poll_recv(cx, &mut got))
                    .await
                    .expect("received");
            }
        }
        assert_eq!(got.len(), 1000);
        for (index, datagram) in got.iter().enumerate() {
            assert_eq!(datagram.bytes.len(), 1_200);
            assert_eq!(usize::from(datagram.bytes[0]), index / 50);
        }
    }
}
