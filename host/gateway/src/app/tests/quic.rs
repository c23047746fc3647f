//! Listeners of QUIC: `transports = ["quic"]`, and the keys of `[listeners.NAME.quic]`, which are
//! `keep-alive` and `idle-timeout`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use postern_core::Error;
use postern_net::{Client, QuicConfig, QuicDialer};
use tokio::{
    net::UdpSocket,
    task::{AbortHandle, JoinSet},
};

use super::{
    authority::{
        Authority, assert_answers, edge, session_over, start, with_certificates, write_pair,
    },
    fixture::GatewayFixture,
};

/// Passes datagrams on between one client and `server`, while it is there.
struct Path {
    address: SocketAddr,
    /// Datagrams that came from the server.
    n_answers: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Path {
    async fn to(server: SocketAddr) -> Self {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let near = Arc::new(UdpSocket::bind(any).await.expect("a free port"));
        let far = Arc::new(UdpSocket::bind(any).await.expect("a free port"));
        far.connect(server).await.expect("any address");
        let address = near.local_addr().expect("bound");
        let n_answers = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&n_answers);
        let mut both = JoinSet::new();
        let (client, heard) = tokio::sync::watch::channel(None);
        let (from, to) = (Arc::clone(&near), Arc::clone(&far));
        both.spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok((n_octets, peer)) = from.recv_from(&mut datagram).await {
                client.send_replace(Some(peer));
                // What cannot be sent is lost, as on any path.
                let _ = to.send(&datagram[..n_octets]).await;
            }
        });
        both.spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok(n_octets) = far.recv(&mut datagram).await {
                counted.fetch_add(1, Ordering::Relaxed);
                let peer = *heard.borrow();
                if let Some(peer) = peer {
                    let _ = near.send_to(&datagram[..n_octets], peer).await;
                }
            }
        });
        let task = tokio::spawn(async move { while both.join_next().await.is_some() {} });
        Self {
            address,
            n_answers,
            task: task.abort_handle(),
        }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The configuration of a listener `edge` with further keys of its `quic`.
fn listener(folder: &tempfile::TempDir, quic: &str) -> String {
    let text = edge(folder, "vstp", "", "");
    let text = text.replace("[\"tcp\"]", "[\"quic\"]");
    format!("{text}[listeners.edge.quic]\n{quic}")
}

async fn session(address: SocketAddr, authority: &Authority) -> Result<Client, Error> {
    let dialer = Arc::<QuicDialer>::default();
    session_over(dialer, address, authority.client(None)).await
}

/// A reading of the listener `edge`.
fn reading(fixture: &GatewayFixture, name: &str) -> u64 {
    let transports = fixture.gateway.numbers().transports;
    let mut transports = transports.iter();
    let edge = transports.find(|one| one.listener == "edge" && one.transport == "quic");
    let readings = edge.map(|edge| edge.readings.iter());
    let found = readings.and_then(|mut readings| readings.find(|one| one.name == name));
    found.expect("counted").value
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_among_transports_takes_sessions_which_outlive_their_certificate() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let extra = listener(&folder, "");
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "quic");
    let before = session(address, &authority).await.expect("a session");
    assert_answers(&before).await;
    let shown = || fixture.gateway.certificates().shown()[0].info.fingerprint;
    let old = shown();
    let replaced = Authority::new();
    write_pair(fixture.folder.path(), "edge", replaced.pair("localhost"));
    fixture.until("in force", || shown() != old).await;
    let refused = session(address, &authority).await.expect_err("not theirs");
    assert!(refused.message.contains("certificate"), "{refused}");
    let after = session(address, &replaced).await.expect("a session");
    for client in [before, after] {
        assert_answers(&client).await;
        client.close().await;
    }
    let metrics = fixture.admin("GET", "/metrics").await.body;
    for name in ["retries_sent", "datagrams_dropped"] {
        let series = format!("postern_{name}_total{{listener=\"edge\",transport=\"quic\"}} 0");
        assert!(metrics.contains(&series), "{series} is not in {metrics}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_other_keys_keeps_the_sessions_of_quic() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let extra = listener(&folder, "");
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "quic");
    let client = session(address, &authority).await.expect("a session");
    let changed = extra.replace(
        "[listeners.edge.quic]",
        "[listeners.edge.quic]\nkeep-alive = \"5s\"",
    );
    fixture.configure(&GatewayFixture::text(&fixture.folder, &changed));
    let keep_alive = || {
        fixture.gateway.loaded().config.listeners["edge"]
            .quic
            .keep_alive
    };
    fixture
        .until("in force", || keep_alive() == Duration::from_secs(5))
        .await;
    assert_eq!(fixture.address("edge", "quic"), address);
    assert_answers(&client).await;
    client.close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_quic_that_is_gone_is_found_out_within_the_idle_timeout() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    // Neither is reached within the patience of a test by its default.
    let extra = listener(&folder, "keep-alive = \"0s\"\nidle-timeout = \"1s\"\n");
    let fixture = start(folder, &extra).await;
    let path = Path::to(fixture.address("edge", "quic")).await;
    let client = session(path.address, &authority).await.expect("a session");
    assert_answers(&client).await;
    drop(path);
    fixture
        .until("it is closed", || {
            reading(&fixture, "connections_closed") == 1
        })
        .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_of_quic_is_kept_by_its_keep_alive() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let extra = listener(&folder, "keep-alive = \"50ms\"\n");
    let fixture = start(folder, &extra).await;
    let path = Path::to(fixture.address("edge", "quic")).await;
    let silent = QuicConfig {
        keep_alive: None,
        ..QuicConfig::default()
    };
    let dialer = Arc::new(QuicDialer::default().with_config(silent));
    let client = session_over(dialer, path.address, authority.client(None)).await;
    let client = client.expect("a session");
    // The path is probed with a few packets, and the dialect asks after 30 s.
    let begun = path.n_answers.load(Ordering::Relaxed);
    fixture
        .until("it is asked again and again", || {
            path.n_answers.load(Ordering::Relaxed) > begun + 40
        })
        .await;
    assert_answers(&client).await;
    client.close().await;
    fixture.end().await;
}
