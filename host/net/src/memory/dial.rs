//! Sessions over a network in memory.

use std::{net::SocketAddr, sync::Arc};

use postern_core::{BoxFuture, Error};

use super::{MemoryStream, Network};
use crate::{
    client::{Client, ClientConfig},
    dial::{Carried, Destination, SessionDialer, StreamDialer, Target, unreachable},
    tls::ClientTls,
};

/// Opens sessions over streams of a network.
#[derive(Debug)]
struct MemoryStreamDialer(Network);

/// Opens sessions over datagrams of a network.
#[derive(Debug)]
struct DatagramDialer(Network);

impl Network {
    /// A client's way to the listener at `address`.
    #[must_use]
    pub fn target(&self, address: SocketAddr) -> Target {
        Target::new(
            Arc::new(MemoryStreamDialer(self.clone())),
            Destination::Ip(address),
        )
    }

    /// A client's way to the datagram socket at `address`.
    #[must_use]
    pub fn datagram_target(&self, address: SocketAddr) -> Target {
        Target::new(
            Arc::new(DatagramDialer(self.clone())),
            Destination::Ip(address),
        )
    }
}

impl StreamDialer for MemoryStreamDialer {
    const NAME: &'static str = "memory";

    type Link = MemoryStream;

    fn open(
        &self,
        destination: &Destination,
        _: Carried,
        _: &ClientTls,
    ) -> BoxFuture<Result<MemoryStream, Error>> {
        let connected = destination.ip().and_then(|address| {
            let connected = self.0.connect(address);
            connected.map_err(|error| unreachable(destination, error))
        });
        Box::pin(std::future::ready(connected))
    }
}

impl SessionDialer for DatagramDialer {
    fn name(&self) -> &'static str {
        "memory-datagram"
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        let (network, destination) = (self.0.clone(), destination.clone());
        Box::pin(async move {
            let address = destination.ip()?;
            Client::over_datagrams(network.socket(), address, config).await
        })
    }
}
