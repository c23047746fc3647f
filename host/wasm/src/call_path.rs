//! The two paths of a call of one message into a component: inline, as a plain function call on the
//! thread that serves, or async, on a fiber.
//!
//! A call of a synchronous world costs wasmtime 0.28 us inline and 0.42 on a fiber (ADR 16). On the
//! inline path it may not wait. A call begins there, and when that was wrong it bails out: it begins
//! anew on the async path, with what is left of its time:
//!
//! ```text
//!          ┌─ answer, or a trap of the guest: the end
//! inline ──┤
//!          └─ bailout: its instance is gone ─► async, another instance ─► the end
//! ```
//! That is right because nothing outside its store knows of a call that bailed out: what has an effect
//! or may wait is linked here as a bailout and does nothing, and what a pooled instance keeps from
//! call to call is not promised to anybody.

use wasmtime::{
    Engine,
    component::{Component, Linker, LinkerInstance, ResourceType, types::ComponentItem},
};

use crate::{capability, state::State};

/// How an instance is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallPath {
    Inline,
    Async,
}

/// Why a call leaves the inline path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bailout {
    /// It called something that has an effect outside its store, or for which it may have to wait.
    #[error("a call on the inline path asked for what only the async path can give")]
    HostCall,
    /// More ticks than `TICKS_MAX` found it at work.
    #[error("a call on the inline path took longer than a tick")]
    Overran,
}

/// Ticks of the epoch that a call may see before it bails out. One: a tick comes at any moment, and the
/// system may have taken the thread away in the middle of a call of a microsecond; whoever sees a
/// second one was at work for all the time between the two. So a call holds its thread for two ticks
/// at most.
pub(crate) const TICKS_MAX: u8 = 1;

/// What this host offers to `component` on the inline path: everything, with a bailout in the place
/// of what has effects or may wait.
pub(crate) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    capability::link_inline(&mut linker)?;
    for (name, item) in component.component_type().imports(engine) {
        let interface = name
            .split_once('@')
            .map_or(name, |(interface, _)| interface);
        if capability::HARMLESS.contains(&interface) {
            continue;
        }
        let ComponentItem::ComponentInstance(imported) = item.ty else {
            continue;
        };
        let mut offered = linker.instance(name)?;
        for (name, item) in imported.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    if !capability::link_clock(&mut offered, interface, name)? {
                        link_bailout(&mut offered, name)?;
                    }
                }
                // Nobody ever holds one: what would make it bails out.
                ComponentItem::Resource(_) => {
                    offered.resource(name, ResourceType::host::<Bailout>(), |_, _| Ok(()))?;
                }
                ComponentItem::CoreFunc(_)
                | ComponentItem::Module(_)
                | ComponentItem::Component(_)
                | ComponentItem::ComponentInstance(_)
                | ComponentItem::Type(_) => {}
            }
        }
    }
    Ok(linker)
}

/// Links a function that bails out.
pub(crate) fn link_bailout(
    interface: &mut LinkerInstance<'_, State>,
    name: &str,
) -> wasmtime::Result<()> {
    interface.func_new(name, |_, _, _, _| Err(Bailout::HostCall.into()))
}
