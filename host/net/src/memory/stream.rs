//! The stream half of the network in memory: two pipes with delay, a window and a cut.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use postern_system::clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::Conditions;

/// One end of a stream; dropping it ends the other's reading.
#[derive(Debug)]
pub struct MemoryStream {
    local: SocketAddr,
    peer: SocketAddr,
    conditions: Conditions,
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    /// Wakes the reader when delayed octets are due.
    due: Option<Pin<Box<Sleep>>>,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    chunks: VecDeque<(Instant, Bytes)>,
    octets: usize,
    ended: bool,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl MemoryStream {
    pub(super) fn pair(conditions: &Conditions, near: SocketAddr, far: SocketAddr) -> (Self, Self) {
        let (there, back) = (Arc::<Mutex<Pipe>>::default(), Arc::<Mutex<Pipe>>::default());
        let end = |local, peer, incoming: &Arc<_>, outgoing: &Arc<_>| Self {
            local,
            peer,
            conditions: conditions.clone(),
            incoming: Arc::clone(incoming),
            outgoing: Arc::clone(outgoing),
            due: None,
        };
        (end(near, far, &back, &there), end(far, near, &there, &back))
    }

    pub(super) fn pipes(&self) -> [Weak<Mutex<Pipe>>; 2] {
        [
            Arc::downgrade(&self.incoming),
            Arc::downgrade(&self.outgoing),
        ]
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut pipe = this.incoming.lock();
        if pipe.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let now = clock::now();
        let mut room = buf.remaining().min(this.conditions.mtu);
        let before = buf.filled().len();
        while let Some((due, chunk)) = pipe.chunks.front_mut()
            && *due <= now
            && room > 0
        {
            let part = chunk.split_to(chunk.len().min(room));
            let spent = chunk.is_empty();
            room -= part.len();
            buf.put_slice(&part);
            pipe.octets -= part.len();
            if spent {
                pipe.chunks.pop_front();
            }
        }
        if buf.filled().len() > before {
            wake(&mut pipe.writer);
            return Poll::Ready(Ok(()));
        }
        if pipe.ended && pipe.chunks.is_empty() {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(cx.waker().clone());
        let due = pipe.chunks.front().map(|(due, _)| *due);
        drop(pipe);
        this.due = due.map(|due| Box::pin(tokio::time::sleep_until(due.into())));
        if let Some(sleep) = &mut this.due
            && sleep.as_mut().poll(cx).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.lock();
        if pipe.cut || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.conditions.window_bytes.saturating_sub(pipe.octets);
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let part = octets.copy_to_bytes(octets.len().min(room));
        let written = part.len();
        pipe.octets += written;
        pipe.chunks
            .push_back((clock::now() + self.conditions.delay, part));
        wake(&mut pipe.reader);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.lock().end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.outgoing.lock().end();
        // Nobody will read: the other end's writes fail as on a closed socket.
        self.incoming.lock().end();
    }
}

impl Pipe {
    pub(super) fn cut(&mut self) {
        self.cut = true;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn end(&mut self) {
        self.ended = true;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{super::Network, *};
    use crate::link::Listener;

    async fn pair(conditions: Conditions) -> (Network, MemoryStream, MemoryStream) {
        let network = Network::new(1, conditions);
        let mut listener = network.listen();
        let near = network
            .connect(listener.local_addr())
            .expect("somebody listens");
        let (far, _) = listener.accept().await.expect("just connected");
        (network, near, far)
    }

    #[tokio::test(start_paused = true)]
    async fn octets_arrive_after_the_delay_and_in_order() {
        let delay = Duration::from_millis(20);
        let conditions = Conditions {
            delay,
            mtu: 3,
            ..Conditions::default()
        };
        let (_network, mut near, mut far) = pair(conditions).await;
        let begin = clock::now();
        near.write_all(b"hello").await.expect("room");
        near.shutdown().await.expect("open");
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.expect("whole");
        assert_eq!(read, b"hello");
        assert!(clock::since(begin) >= delay);
    }

    #[tokio::test]
    async fn writing_waits_at_a_full_window() {
        let conditions = Conditions {
            window_bytes: 4,
            ..Conditions::default()
        };
        let (_network, mut near, mut far) = pair(conditions).await;
        assert_eq!(near.write(b"hello").await.expect("room for four"), 4);
        let more = tokio::spawn(async move { near.write(b"o").await });
        tokio::task::yield_now().await;
        assert!(!more.is_finished());
        let mut four = [0; 4];
        far.read_exact(&mut four).await.expect("four");
        assert_eq!(more.await.expect("no panic").expect("room again"), 1);
    }

    #[tokio::test]
    async fn a_cut_fails_both_ends_and_heals_for_new_streams() {
        let (network, mut near, mut far) = pair(Conditions::default()).await;
        network.cut();
        assert!(near.write(b"x").await.is_err());
        assert!(far.read_u8().await.is_err());
        let nowhere = network.listen();
        assert!(network.connect(nowhere.local_addr()).is_err());
        network.heal();
        assert!(network.connect(nowhere.local_addr()).is_ok());
    }
}
