//! Sockets of WASI by grant: a guest without one makes none, so that it holds no descriptor of the gateway, and is
//! told what would grant it.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    p2::{
        SocketError, SocketResult, TcpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddressFamily},
            tcp_create_socket::Host as TcpHost,
            udp_create_socket::Host as UdpHost,
        },
    },
    sockets::WasiSocketsView,
};

use crate::{
    bindings::WASI_VERSION, denial::Denial, socket_grant::SocketProtocol, state::StoreState,
};

type Store<'a> = StoreContextMut<'a, StoreState>;
type Created<T> = wasmtime::Result<(Result<Resource<T>, ErrorCode>,)>;

/// Replaces what makes sockets, which is linked before.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut tcp = linker.instance(&format!("wasi:sockets/tcp-create-socket@{WASI_VERSION}"))?;
    tcp.func_wrap(
        "create-tcp-socket",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| -> Created<TcpSocket> {
            let state = store.data_mut();
            let socket = match check(state, SocketProtocol::Tcp) {
                Ok(()) => state.sockets().create_tcp_socket(family),
                Err(denied) => Err(denied),
            };
            told(socket)
        },
    )?;
    let mut udp = linker.instance(&format!("wasi:sockets/udp-create-socket@{WASI_VERSION}"))?;
    udp.func_wrap_async(
        "create-udp-socket",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                let socket = match check(state, SocketProtocol::Udp) {
                    Ok(()) => state.sockets().create_udp_socket(family).await,
                    Err(denied) => Err(denied),
                };
                told(socket)
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Whether the guest may make a socket at all. Where that leads is judged when it is used.
fn check(state: &StoreState, protocol: SocketProtocol) -> Result<(), SocketError> {
    let guest = &state.guest;
    let mut grants = guest.spec.grants.sockets.iter();
    if grants.any(|grant| grant.is_of(protocol)) {
        return Ok(());
    }
    let name = protocol.name();
    // A socket has a code for it, and no text.
    drop(guest.deny(&Denial {
        grant: "sockets",
        what: "sockets of",
        name,
        value: &format!("{name}:ADDRESS:PORT"),
    }));
    Err(ErrorCode::AccessDenied.into())
}

fn told<T>(socket: SocketResult<Resource<T>>) -> Created<T>
where
    T: 'static,
{
    match socket {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
