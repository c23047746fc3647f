//! What a guest may import: one file per interface, linked into one linker per engine.

use wasmtime::{
    Engine, StoreContextMut,
    component::{Component, Linker, LinkerInstance, types::ComponentItem},
};
use wasmtime_wasi::{
    cli::{WasiCli, WasiCliView},
    clocks::{WasiClocks, WasiClocksView},
    p2::bindings::{
        cli,
        clocks::{self, monotonic_clock::Host as _},
        random,
    },
    random::{WasiRandom, WasiRandomView},
};

use crate::{direct::fuel, state::State};

mod call;
mod candidates;
pub(crate) mod client;
mod config;
pub(crate) mod events;
mod exchange;
mod frame;
mod http;
mod io;
pub(crate) mod kv;
pub(crate) mod log;
mod text;
mod wait;
pub(crate) mod wasi;

/// Interfaces of which `link_inline` links every function.
pub(crate) const HARMLESS: [&str; 9] = [
    "postern:gateway/call",
    "postern:gateway/config",
    "postern:gateway/log",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:clocks/wall-clock",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Everything that this host offers.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    link_quick(&mut linker)?;
    call::link_waiting(&mut linker)?;
    client::link(&mut linker)?;
    kv::link(&mut linker)?;
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// What this host offers to a component that is entered directly: the same, with a trap in the place
/// of every function that may wait. Such functions would make all calls of the store asynchronous,
/// and wasmtime's own synchronous ones would block a thread that serves others.
pub(crate) fn direct_linker(
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    link_quick(&mut linker)?;
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    io::link(&mut linker)?;
    for (name, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        let (interface, _) = name.split_once('@').unwrap_or((name, ""));
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) && waits(interface, function) {
                link_trap(&mut linker, interface, function)?;
            }
        }
    }
    Ok(linker)
}

/// What answers at once.
fn link_quick(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    call::link(linker)?;
    candidates::link(linker)?;
    config::link(linker)?;
    events::link(linker)?;
    exchange::link(linker)?;
    frame::link(linker)?;
    log::link(linker)
}

/// What neither waits nor has an effect outside the store. Where an interface has both, the rest of
/// it bails out.
pub(crate) fn link_inline(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    call::link(linker)?;
    call::link_inline(linker)?;
    config::link(linker)?;
    log::link_inline(linker)?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    random::insecure::add_to_linker::<State, WasiRandom>(linker, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(linker, State::random)?;
    random::random::add_to_linker::<State, WasiRandom>(linker, State::random)
}

/// Links the function `name` of `interface` if it only looks at the clock; whether it does. What else
/// that clock offers is for those who wait.
pub(crate) fn link_clock(
    instance: &mut LinkerInstance<'_, State>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    type Store<'a> = StoreContextMut<'a, State>;
    match (interface, name) {
        ("wasi:clocks/monotonic-clock", "now") => {
            instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
                Ok((store.data_mut().clocks().now()?,))
            })?;
        }
        ("wasi:clocks/monotonic-clock", "resolution") => {
            instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
                Ok((store.data_mut().clocks().resolution()?,))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Whether a function may wait. Of `wasi:io`, `io` decides itself.
fn waits(interface: &str, function: &str) -> bool {
    match interface {
        "postern:gateway/call" => matches!(function, "next" | "send"),
        "postern:gateway/client" | "postern:gateway/kv" | "wasi:filesystem/types" => true,
        _ => interface.starts_with("wasi:sockets/"),
    }
}

fn link_trap(linker: &mut Linker<State>, interface: &str, function: &str) -> wasmtime::Result<()> {
    let version = if interface.starts_with("wasi:") {
        io::WASI_VERSION
    } else {
        "0.1.0"
    };
    let name = format!("{interface}.{function}");
    let mut instance = linker.instance(&format!("{interface}@{version}"))?;
    instance.func_new(function, move |_, _, _, _| Err(waiting(&name)))
}

/// The trap of a function that would wait in a store that cannot.
fn waiting(name: &str) -> wasmtime::Error {
    wasmtime::format_err!("{name} may wait, which a component that is entered directly may not")
}
