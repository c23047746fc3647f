//! tonic as a client, of messages that are octets.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::Stream;
use postern_tests::OctetsCodec;
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};

pub(crate) async fn connect(address: SocketAddr) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    Grpc::new(
        endpoint
            .connect()
            .await
            .expect("the gateway takes connections"),
    )
}

/// A call of one message each way.
///
/// # Errors
/// The status that it ends with.
pub(crate) async fn unary(
    mut client: Grpc<Channel>,
    path: &'static str,
    message: Bytes,
) -> Result<Bytes, Status> {
    ready(&mut client).await?;
    let path = http::uri::PathAndQuery::from_static(path);
    let reply = client
        .unary(Request::new(message), path, OctetsCodec)
        .await?;
    Ok(reply.into_inner())
}

/// A call of many messages each way.
///
/// # Errors
/// The status that it ends with before its first message.
pub(crate) async fn duplex(
    mut client: Grpc<Channel>,
    path: &'static str,
    messages: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<tonic::Streaming<Bytes>, Status> {
    ready(&mut client).await?;
    let path = http::uri::PathAndQuery::from_static(path);
    let reply = client
        .streaming(Request::new(messages), path, OctetsCodec)
        .await?;
    Ok(reply.into_inner())
}

async fn ready(client: &mut Grpc<Channel>) -> Result<(), Status> {
    let ready = client.ready().await;
    ready.map_err(|error| Status::unknown(error.to_string()))
}
