//! VSTP on QUIC connections: what the acceptor serves.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use postern_core::{Peer, Transport};

use super::{
    QuicServer, connection,
    served::{ServedLink, Server},
    settings::Settings,
};
use crate::{
    acceptor::{self, AcceptLimits, ConnectionFacts, Serve},
    counters::Counters,
    quic::{QuicConnection, QuicControl, QuicHandshake, QuicIncoming, QuicListener},
    shutdown::Shutdown,
};

/// How long the packets that close connections may take to leave.
const LAST_WORD: Duration = Duration::from_millis(500);

impl QuicServer {
    /// What changes the settings of its connections while it serves.
    #[must_use]
    pub fn quic_control(&self) -> QuicControl {
        self.link.control()
    }
}

impl ServedLink for QuicListener {
    const TRANSPORT: Transport = Transport::Quic;

    type Address = SocketAddr;

    fn served_at(&self) -> io::Result<SocketAddr> {
        self.endpoint().local_addr()
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        let Server { link, settings, .. } = server;
        let endpoint = link.endpoint().clone();
        let counters = Arc::clone(&settings.current().counters);
        let sessions = Arc::new(QuicSessions { settings, counters });
        acceptor::run(link, QuicHandshake, sessions, shutdown).await;
        // Whoever is not told in time finds out by itself.
        let _ = tokio::time::timeout(LAST_WORD, endpoint.wait_idle()).await;
    }
}

/// The sessions of one server.
struct QuicSessions {
    settings: Settings,
    counters: Arc<Counters>,
}

impl Serve<QuicIncoming, QuicConnection> for QuicSessions {
    fn limits(&self) -> AcceptLimits {
        AcceptLimits::from(&*self.settings.current().config)
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    async fn turn_away(&self, accepted: QuicIncoming, _: usize) {
        accepted.refuse();
    }

    async fn serve(
        self: Arc<Self>,
        accepted: QuicConnection,
        facts: ConnectionFacts,
        shutdown: Shutdown,
    ) {
        let QuicConnection { link, connection } = accepted;
        let mut settings = self.settings.clone();
        // As if asked for the first time: later changes are changes to this.
        let shared = settings.begin();
        let peer = Peer {
            tls: facts.tls,
            ..Peer::new(Transport::Quic, facts.origin)
        };
        connection::serve(link, Some(connection), peer, shared, settings, shutdown).await;
    }
}
