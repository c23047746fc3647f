//! What is linked into a component: the imports that this host offers, one line each, and the roles that
//! it knows. A store that may wait, one on the inline path and one that is entered directly are linked
//! differently.

use std::sync::Arc;

use wasmtime::{
    Engine,
    component::{Component, Linker, types::ComponentItem},
};

use crate::{
    bindings::PACKAGE,
    call_path::link_bailout,
    capability::{
        async_call, batch, call, candidates, client, config, directory, events, exchange, frame,
        http, io, keyvalue, kv, log, metrics, outgoing, poll, sockets, stream, wasi, wasi_config,
    },
    exports::{Export, Functions},
    instance::{self, Find},
    role::Role,
    state::StoreState,
    trap::waiting,
    worker_local::{AnyLocal, DirectCode, DirectFunctions, WorkerLocal},
};

type Link = fn(&mut Linker<StoreState>) -> wasmtime::Result<()>;

/// An import. What one of our interfaces does not link for a kind of store is linked by name there, for
/// each component: as a bailout on the inline path, as a trap where it is entered directly.
struct Import {
    /// Without package and version; `None` for WASI.
    name: Option<&'static str>,
    on_async: Option<Link>,
    on_inline: Option<Link>,
    direct: Option<Link>,
}

const IMPORTS: [Import; 24] = [
    ours("async-call", async_call::link)
        .inline(async_call::link)
        .direct(async_call::link),
    ours("call", call::link)
        .inline(call::link)
        .direct(call::link),
    ours("call", http::link)
        .inline(http::link)
        .direct(http::link),
    ours("call", batch::link)
        .inline(batch::link)
        .direct(batch::link),
    ours("call", stream::link)
        .inline(stream::link)
        .direct(stream::link),
    ours("call", stream::link_async)
        .inline(stream::link_inline)
        .direct(stream::link_direct),
    ours("candidates", candidates::link).direct(candidates::link),
    ours("client", client::link),
    ours("config", config::link)
        .inline(config::link)
        .direct(config::link),
    ours("directory", directory::link)
        .inline(directory::link_inline)
        .direct(directory::link_direct),
    ours("events", events::link).direct(events::link_direct),
    ours("request", exchange::link).direct(exchange::link),
    ours("frame", frame::link).direct(frame::link),
    ours("kv", kv::link),
    ours("log", log::link)
        .inline(log::link_inline)
        .direct(log::link),
    ours("metrics", metrics::link)
        .inline(metrics::link_inline)
        .direct(metrics::link),
    wasi(Some(wasi::link_async))
        .inline(wasi::link_sync)
        .direct(wasi::link_sync),
    wasi(None).inline(io::link).direct(io::link),
    wasi(Some(poll::link)),
    wasi(Some(sockets::link)),
    wasi(Some(outgoing::link_async))
        .inline(outgoing::link_sync)
        .direct(outgoing::link_sync),
    wasi(Some(wasi_config::link))
        .inline(wasi_config::link)
        .direct(wasi_config::link),
    wasi(Some(log::link_wasi))
        .inline(log::link_wasi_inline)
        .direct(log::link_wasi),
    wasi(Some(keyvalue::link))
        .inline(keyvalue::link_inline)
        .direct(keyvalue::link_direct),
];

/// What the host knows of a role. The table of all stands in `plugin.rs`.
pub(crate) struct RoleSpec {
    pub(crate) role: Role,
    pub(crate) exports: &'static [Export],
    /// There when the role is entered through the pool, or may be.
    pub(crate) find: Option<Find>,
    /// There when the role is entered directly, or may be.
    pub(crate) direct: Option<DirectSpec>,
}

/// What the host knows of a role that is entered directly.
pub(crate) struct DirectSpec {
    pub(crate) is_always: bool,
    pub(crate) is_per_use: bool,
    /// Whether direct entries have no time by this plugin's budgets.
    pub(crate) is_off: fn(&DirectCode) -> bool,
    pub(crate) new: fn(&Arc<DirectCode>) -> Box<dyn AnyLocal>,
}

impl RoleSpec {
    /// A role that is entered through the pool.
    pub(crate) const fn pooled<F: Functions>() -> Self {
        Self {
            role: F::ROLE,
            exports: F::EXPORTS,
            find: Some(instance::find::<F>),
            direct: None,
        }
    }

    /// A role that is entered directly.
    pub(crate) const fn direct<F: DirectFunctions>() -> Self {
        let find: Option<Find> = if F::ALWAYS {
            None
        } else {
            Some(instance::find::<F>)
        };
        Self {
            role: F::ROLE,
            exports: F::EXPORTS,
            find,
            direct: Some(DirectSpec {
                is_always: F::ALWAYS,
                is_per_use: F::PER_USE,
                is_off: |code| F::budget(&code.guest.spec.budgets).is_zero(),
                new: |code| Box::new(WorkerLocal::<F>::new(code)),
            }),
        }
    }
}

/// The interfaces of ours that a component may import, without package and version.
pub(crate) fn offered() -> Vec<&'static str> {
    // `response` is linked with `request`, and `types` has nothing to link.
    let mut names = vec!["response", "types"];
    names.extend(IMPORTS.iter().filter_map(|import| import.name));
    names.sort_unstable();
    names.dedup();
    names
}

/// Everything that this host offers.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<StoreState>> {
    let mut linker = Linker::new(engine);
    for link in IMPORTS.iter().filter_map(|import| import.on_async) {
        link(&mut linker)?;
    }
    Ok(linker)
}

/// Everything that this host offers to components with asynchronous functions.
pub(crate) fn concurrent_linker(engine: &Engine) -> wasmtime::Result<Linker<StoreState>> {
    let mut linker = linker(engine)?;
    outgoing::link_concurrent(&mut linker)?;
    sockets::link_concurrent(&mut linker)?;
    Ok(linker)
}

/// What this host offers to `component` on the inline path: everything, with a bailout in the place
/// of what has effects or may wait.
pub(crate) fn inline_linker(
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<Linker<StoreState>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    for link in IMPORTS.iter().filter_map(|import| import.on_inline) {
        link(&mut linker)?;
    }
    for (name, item) in component.component_type().imports(engine) {
        let (interface, _) = name.split_once('@').unwrap_or((name, ""));
        if is_linked(interface, |import| import.on_inline.is_some()) || is_draft(interface) {
            continue;
        }
        let ComponentItem::ComponentInstance(imported) = item.ty else {
            continue;
        };
        let mut offered = linker.instance(&linked_name(interface))?;
        for (function, item) in imported.exports(engine) {
            let is_function = matches!(item.ty, ComponentItem::ComponentFunc(_));
            if is_function && !wasi::is_harmless(interface, function) {
                link_bailout(&mut offered, function)?;
            }
        }
    }
    Ok(linker)
}

/// What this host offers to a component that is entered directly: the same, with a trap in the place
/// of every function that may wait. Such functions would make all calls of the store asynchronous,
/// and wasmtime's own synchronous ones would block a thread that serves others.
pub(crate) fn direct_linker(
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<Linker<StoreState>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    for link in IMPORTS.iter().filter_map(|import| import.direct) {
        link(&mut linker)?;
    }
    for (name, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        let (interface, _) = name.split_once('@').unwrap_or((name, ""));
        if !may_wait(interface) {
            continue;
        }
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                link_trap(&mut linker, interface, function)?;
            }
        }
    }
    Ok(linker)
}

/// Whether a component that imports so many of our interfaces wants what a direct entry cannot give.
pub(crate) fn wants_to_wait<'a>(imports: impl IntoIterator<Item = &'a String>) -> bool {
    let mut imports = imports.into_iter();
    imports.any(|name| may_wait(&format!("{PACKAGE}/{name}")))
}

/// Whether the functions of an interface wait where nothing else is linked for direct entries. Of
/// `wasi:io`, `io` decides itself.
fn may_wait(interface: &str) -> bool {
    let is_ours = is_linked(interface, |import| import.on_async.is_some());
    is_ours && !is_linked(interface, |import| import.direct.is_some())
        || ["wasi:filesystem/types", outgoing::OUTGOING_HANDLER].contains(&interface)
        || interface.starts_with("wasi:sockets/")
}

/// Whether an interface is one of WASI's drafts, which are linked for every kind of store.
fn is_draft(interface: &str) -> bool {
    const DRAFTS: [&str; 3] = ["wasi:config/", "wasi:keyvalue/", "wasi:logging/"];
    DRAFTS.iter().any(|draft| interface.starts_with(draft))
}

/// Whether an import of that name is linked somewhere.
fn is_linked(interface: &str, is: impl Fn(&Import) -> bool) -> bool {
    let name = interface
        .strip_prefix(PACKAGE)
        .and_then(|name| name.strip_prefix('/'));
    let is_it = |import: &&Import| name.is_some() && import.name == name;
    IMPORTS.iter().filter(is_it).any(is)
}

fn link_trap(
    linker: &mut Linker<StoreState>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    let name = format!("{interface}.{function}");
    let mut instance = linker.instance(&linked_name(interface))?;
    instance.func_new(function, move |_, _, _, _| Err(waiting(&name)))
}

/// An interface with the version under which it is linked; imports of other patches find it.
fn linked_name(interface: &str) -> String {
    let version = match interface.starts_with("wasi:") {
        true => io::WASI_VERSION,
        false => "0.1.0",
    };
    format!("{interface}@{version}")
}

const fn ours(name: &'static str, on_async: Link) -> Import {
    Import {
        name: Some(name),
        on_async: Some(on_async),
        on_inline: None,
        direct: None,
    }
}

const fn wasi(on_async: Option<Link>) -> Import {
    Import {
        name: None,
        on_async,
        on_inline: None,
        direct: None,
    }
}

impl Import {
    const fn inline(self, link: Link) -> Self {
        Self {
            on_inline: Some(link),
            ..self
        }
    }

    const fn direct(self, link: Link) -> Self {
        Self {
            direct: Some(link),
            ..self
        }
    }
}
