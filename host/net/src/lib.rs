//! Everything of Postern that touches a socket. No decision is made here: the pure machines of
//! `postern_core::wire` decide, this crate moves octets and time.

mod acceptor;
pub mod byte_budget;
mod calls;
pub mod client;
pub mod counters;
pub mod dial;
mod driver;
pub mod event_brokers;
pub mod fuzz;
pub mod grpc;
pub mod http;
pub mod json_payload;
pub mod link;
pub mod memory;
pub mod mqtt;
pub mod mqtt_client;
mod passed;
pub mod pool;
pub mod quic;
pub mod redis;
pub mod resp;
pub mod server;
pub mod shutdown;
mod sockets;
mod streams;
pub mod tcp;
pub mod tls;
mod trusted;
pub mod udp;
pub mod unix;
pub mod upstream;
pub mod velithon;
pub mod vyra;
pub mod websocket;

pub use acceptor::proxy_protocol::ProxyVersion;
pub use byte_budget::{ByteBudget, ByteBudgetError, ConnectionBytes, HeldBytes};
pub use client::{Client, ClientConfig, Speak};
pub use counters::Counters;
pub use dial::{Destination, Target};
pub use driver::Alarm;
pub use passed::{PassedError, PassedSockets};
pub use pool::{HostSnapshot, Pool, PoolConfig, PoolConfigError, PoolSnapshot};
pub use quic::{
    QuicConfig, QuicConfigError, QuicControl, QuicDialer, QuicListener, QuicTls, RestartKey,
};
pub use resp::{RespConfig, RespReconfigure, RespServer};
pub use server::{
    Frames, MemoryDatagramServer, MemoryServer, QuicServer, ServedLink, Server, ServerConfig,
    ServerControl, TcpServer, UdpServer, UnixServer,
};
pub use shutdown::Shutdown;
pub use sockets::{LocalAddress, SocketListener};
pub use trusted::{TrustedProxies, TrustedProxy, TrustedProxyError};
pub use unix::{UnixAccess, UnixAddress, UnixAddressError, UnixSocketListener};
pub use upstream::{Probe, Probed, Upstream};
pub use websocket::WebSocketConfig;
