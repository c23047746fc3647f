//! A client that takes nothing: what TLS holds for it counts as not taken.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use postern_core::{
    Handler, Headers,
    wire::{Frame, FrameType},
};
use postern_net::{
    Counters, MemoryServer, ServerConfig, Shutdown,
    memory::{Conditions, Network},
    tls::{ServerTls, ServerTlsSettings, alpn},
};
use postern_system::clock;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use crate::{Echo, certificates::Authority, trusting};

const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// More than the link takes at a time, and less than TLS holds by itself.
const REPLY_BYTES: usize = 20_000;

#[tokio::test(start_paused = true)]
async fn a_reply_that_stays_in_tls_ends_its_session_after_the_write_timeout() {
    let authority = Authority::new("own");
    let settings = ServerTlsSettings::new(authority.pair(&["localhost"]));
    let tls = ServerTls::new(settings, &[alpn::VSTP]).expect("good");
    let network = Network::new(
        1,
        Conditions {
            window_bytes: 4096,
            ..Conditions::default()
        },
    );
    let config = ServerConfig {
        write_timeout: WRITE_TIMEOUT,
        ..ServerConfig::default()
    };
    let (listener, counters) = (network.listen(), Arc::<Counters>::default());
    let address = listener.local_addr();
    let handler: Arc<dyn Handler> = Arc::<Echo>::default();
    let server = MemoryServer::new(listener, Arc::new(config), handler, Arc::clone(&counters));
    let server = server
        .expect("it has an address")
        .with_tls(Some(Arc::new(tls)));
    let shutdown = Shutdown::new();
    let serving = tokio::spawn(server.serve(shutdown.clone()));

    let client = trusting(&authority).config(&[alpn::VSTP]).expect("made");
    let link = network.connect(address).expect("it listens");
    let name = "localhost".try_into().expect("a name");
    let connected = TlsConnector::from(client).connect(name, link).await;
    let mut client = connected.expect("a good certificate");
    let mut headers = Headers::new();
    headers.push("service", "echo").expect("short");
    headers.push("method", "Say").expect("short");
    let request = Frame {
        headers,
        payload: vec![7; REPLY_BYTES].into(),
        ..Frame::new(FrameType::Data)
    };
    let mut octets = BytesMut::new();
    request.encode(&mut octets).expect("short");
    client.write_all(&octets).await.expect("written");
    client.flush().await.expect("written");
    let asked = clock::now();
    let closing = async {
        while counters.connections_closed.value() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(4 * WRITE_TIMEOUT, closing).await;
    closed.expect("it is closed");
    assert_eq!(counters.slow_readers.value(), 1);
    assert!(clock::since(asked) >= WRITE_TIMEOUT);
    drop(client);
    shutdown.drain();
    serving.await.expect("no panic");
}
