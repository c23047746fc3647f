//! What only QUIC has: streams of calls, datagrams, migration, certificates, Retry.

use std::net::{Ipv4Addr, SocketAddr};

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::io::Join;

use crate::server::quic::certificate;

/// The session's stream of a connection without a client of ours.
pub(crate) async fn raw(address: SocketAddr) -> (Join<RecvStream, SendStream>, Connection) {
    let connection = connect(address).await;
    let (send, recv) = connection.open_bi().await.expect("a stream");
    (tokio::io::join(recv, send), connection)
}

async fn connect(address: SocketAddr) -> Connection {
    let mut tls = certificate().client();
    tls.alpn_protocols = vec![b"vstp".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let connecting = endpoint.connect_with(config, address, "127.0.0.1");
    connecting.expect("settings").await.expect("up")
}
