//! Sockets of WASI by grant: outgoing TCP connections and datagrams to the addresses and ports that the manifest
//! names. A guest never listens.

use std::{net::SocketAddr, sync::Arc};

use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};

use crate::{
    denial,
    socket_grant::{SocketGrant, SocketProtocol},
    state::Guest,
};

/// Lets a store of `guest` reach what its manifest names, and nothing else.
pub(crate) fn grant(builder: &mut WasiCtxBuilder, guest: &Arc<Guest>) {
    let grants = &guest.spec.grants.sockets;
    builder.allow_ip_name_lookup(grants.contains(&SocketGrant::Names));
    let guest = Arc::clone(guest);
    builder.socket_addr_check(move |address, what| {
        let is_granted = is_granted(&guest, address, what);
        Box::pin(async move { is_granted })
    });
}

fn is_granted(guest: &Guest, address: SocketAddr, what: SocketAddrUse) -> bool {
    let grants = &guest.spec.grants.sockets;
    let protocol = match what {
        SocketAddrUse::TcpConnect => SocketProtocol::Tcp,
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => SocketProtocol::Udp,
        // What precedes a connection or a datagram: any port of the machine, nothing that others count on.
        SocketAddrUse::TcpBind => {
            return is_any(address) && allows_any(grants, SocketProtocol::Tcp);
        }
        SocketAddrUse::UdpBind => {
            return is_any(address) && allows_any(grants, SocketProtocol::Udp);
        }
        SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => return false,
    };
    if grants.iter().any(|grant| grant.allows(protocol, address)) {
        return true;
    }
    // Whoever sends a guest datagrams is not asked for by it.
    if !matches!(what, SocketAddrUse::UdpReceive) {
        let name = protocol.name();
        let line = format!("sockets = [\"{name}:{address}\"]");
        denial::tell(guest, "sockets", &format!("{name} to {address}"), &line);
    }
    false
}

fn is_any(address: SocketAddr) -> bool {
    address.ip().is_unspecified() && address.port() == 0
}

fn allows_any(grants: &[SocketGrant], protocol: SocketProtocol) -> bool {
    grants.iter().any(|grant| grant.is_of(protocol))
}
