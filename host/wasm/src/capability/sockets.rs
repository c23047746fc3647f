//! Sockets of WASI by grant: a guest without one makes none, so that it holds no descriptor of the gateway, and is
//! told what would grant it.

use std::error::Error;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    TrappableError,
    p2::{
        TcpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddressFamily},
            tcp_create_socket::Host as TcpHost,
            udp_create_socket::Host as UdpHost,
        },
    },
    p3::bindings::sockets::types as p3,
    sockets::WasiSocketsView,
};

use crate::{
    bindings::WASI_VERSION, denial::Denial, shadowed, socket_grant::SocketProtocol,
    state::StoreState,
};

type Store<'a> = StoreContextMut<'a, StoreState>;
type Created<T, E> = wasmtime::Result<(Result<Resource<T>, E>,)>;

/// The sockets of WASI 0.3, as wasmtime links them.
const TYPES_OF_3: &str = "wasi:sockets/types@0.3.0";

/// Replaces what makes sockets, which is linked before.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut tcp = linker.instance(&format!("wasi:sockets/tcp-create-socket@{WASI_VERSION}"))?;
    tcp.func_wrap(
        "create-tcp-socket",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| -> Created<TcpSocket, ErrorCode> {
            let state = store.data_mut();
            told(match may_make(state, SocketProtocol::Tcp) {
                true => state.sockets().create_tcp_socket(family),
                false => Err(ErrorCode::AccessDenied.into()),
            })
        },
    )?;
    let mut udp = linker.instance(&format!("wasi:sockets/udp-create-socket@{WASI_VERSION}"))?;
    udp.func_wrap_async(
        "create-udp-socket",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                told(match may_make(state, SocketProtocol::Udp) {
                    true => state.sockets().create_udp_socket(family).await,
                    false => Err(ErrorCode::AccessDenied.into()),
                })
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same of WASI 0.3.
pub(crate) fn link_concurrent(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES_OF_3)?;
    types.func_wrap(
        "[static]tcp-socket.create",
        |mut store: Store<'_>,
         (family,): (p3::IpAddressFamily,)|
         -> Created<p3::TcpSocket, p3::ErrorCode> {
            let state = store.data_mut();
            told(match may_make(state, SocketProtocol::Tcp) {
                true => p3::HostTcpSocket::create(&mut state.sockets(), family),
                false => Err(p3::ErrorCode::AccessDenied.into()),
            })
        },
    )?;
    types.func_wrap_async(
        "[static]udp-socket.create",
        |mut store: Store<'_>, (family,): (p3::IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                told(match may_make(state, SocketProtocol::Udp) {
                    true => p3::HostUdpSocket::create(&mut state.sockets(), family).await,
                    false => Err(p3::ErrorCode::AccessDenied.into()),
                })
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Whether the guest may make a socket at all. Where that leads is judged when it is used.
fn may_make(state: &StoreState, protocol: SocketProtocol) -> bool {
    let guest = &state.guest;
    let mut grants = guest.spec.grants.sockets.iter();
    if grants.any(|grant| grant.is_of(protocol)) {
        let context = state.context();
        return shadowed::permit(context, "a socket").is_ok()
            && guest.may_open(context.is_some(), "a socket");
    }
    let name = protocol.name();
    // A socket has a code for it, and no text.
    drop(guest.deny(&Denial {
        grant: "sockets",
        what: "sockets of",
        name,
        value: &format!("{name}:ADDRESS:PORT"),
    }));
    false
}

fn told<T, E>(socket: Result<Resource<T>, TrappableError<E>>) -> Created<T, E>
where
    T: 'static,
    E: Error + Send + Sync + 'static,
{
    match socket {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
