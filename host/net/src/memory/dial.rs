//! Sessions over a network in memory.

use postern_core::{BoxFuture, Error};

use super::Network;
use crate::{
    client::{Client, ClientConfig},
    dial::{Destination, SessionDialer, unreachable},
};

/// Opens sessions over streams of a network.
#[derive(Debug)]
pub(super) struct StreamDialer(pub(super) Network);

/// Opens sessions over datagrams of a network.
#[derive(Debug)]
pub(super) struct DatagramDialer(pub(super) Network);

impl SessionDialer for StreamDialer {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        let (network, destination) = (self.0.clone(), destination.clone());
        Box::pin(async move {
            match network.connect(destination.ip()?) {
                Ok(link) => Client::over_stream(link, destination, config).await,
                Err(error) => Err(unreachable(&destination, error)),
            }
        })
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
