//! Acknowledged calls over UDP: 1 KiB beside the published crate, 50 KB alone, because its own
//! receiver loses what it sends at that size.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_net::{Client, ClientConfig, Target};
use postern_tests::{Percentiles, call};

use crate::{
    serve::{Role, Server},
    table::{Goal, Table, ratio, show},
};

const CALLS: usize = 2000;

pub(crate) async fn run(table: &mut Table) {
    let (native, peer) = (Server::start(Role::NativeUdp), Server::start(Role::PeerUdp));
    let (ours, theirs) = (
        measure(&native, 1 << 10).await,
        measure_peer(&peer, 1 << 10).await,
    );
    for percent in [50, 99] {
        let (a, b) = (ours.at(percent), theirs.at(percent));
        let what = format!("udp echo 1 KiB acknowledged, p{percent} (vstp)");
        table.compare(what, show(a), show(b), ratio(b, a), Goal::None);
    }
    let ours = measure(&native, 50_000).await;
    for percent in [50, 99] {
        let value = ours.at(percent);
        let what = format!("udp echo 50 KB acknowledged, p{percent}, us");
        table.figure(what, show(value), value.as_secs_f64() * 1e6, Goal::None);
    }
}

async fn measure(server: &Server, n_octets: usize) -> Percentiles {
    let target = Target::udp(server.address);
    let client = Client::connect(target, ClientConfig::default())
        .await
        .expect("connects");
    let body = Bytes::from(vec![b'1'; n_octets]);
    let mut durations = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begin = Instant::now();
        let reply = call(&client, "echo/Echo", body.clone())
            .await
            .expect("answers");
        durations.push(begin.elapsed());
        assert_eq!(reply.len(), n_octets);
    }
    Percentiles::new(durations)
}

/// Its client waits for the acknowledgement, then for the reply.
async fn measure_peer(server: &Server, n_octets: usize) -> Percentiles {
    let mut client = vstp::VstpUdpClient::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let mut durations: Vec<Duration> = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let frame = vstp::Frame::new(vstp::FrameType::Data).with_payload(vec![b'1'; n_octets]);
        let begin = Instant::now();
        client
            .send_with_ack(frame, server.address)
            .await
            .expect("acknowledged");
        let (reply, _) = client.recv().await.expect("answers");
        durations.push(begin.elapsed());
        assert_eq!(reply.payload.len(), n_octets);
    }
    Percentiles::new(durations)
}
