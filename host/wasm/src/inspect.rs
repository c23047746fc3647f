//! What a component is and wants, without running any of it: for tools that check before deploying.

use wasmtime::{Engine, component::Component};

use crate::{
    cache::wants_concurrency,
    capability,
    component::{self, Exports, Role, imports},
    engine::{Flavor, Pooling, config},
    reload::{Refusal, Stage},
};

/// What a component's type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What it does for the gateway.
    pub roles: Vec<Role>,
    /// Interfaces of the gateway that it imports, by name, without package and version.
    pub imports: Vec<String>,
}

/// Compiles and links `source` as a deployment would, and stops there. Takes milliseconds to half a
/// minute; nothing is cached.
///
/// # Errors
/// What a deployment would refuse before it runs the component.
pub fn inspect(source: &[u8]) -> Result<Inspection, Refusal> {
    let failed = |error: wasmtime::Error| Stage::Compiled.refuse(format!("{error:#}"));
    let pooling = Pooling {
        instances_max: 1,
        ..Pooling::default()
    };
    let compile = |flavor| {
        let engine = Engine::new(&config(&pooling, flavor))?;
        Component::from_binary(&engine, source)
    };
    let component = match compile(Flavor::Synchronous) {
        Err(error) if wants_concurrency(&error) => compile(Flavor::Concurrent),
        compiled => compiled,
    };
    let component = component.map_err(failed)?;
    let engine = component.engine();
    let misfit = |error| Stage::Linked.refuse(format!("{error}"));
    let imported = imports(&component, engine).map_err(misfit)?;
    let exports = Exports::find(&component, engine).map_err(misfit)?;
    let unlinked = |error: wasmtime::Error| Stage::Linked.refuse(format!("{error:#}"));
    let linker = capability::linker(engine).map_err(unlinked)?;
    linker.instantiate_pre(&component).map_err(unlinked)?;
    component::check_shapes(&component, engine).map_err(misfit)?;
    Ok(Inspection {
        roles: exports.roles(),
        imports: imported.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_component_and_names_what_is_missing() {
        for source in [&b""[..], b"garbage", b"\0asm\x0d\0\x01"] {
            let refusal = inspect(source).expect_err("no component");
            assert!(!refusal.reason.contains('\n'), "{refusal}");
        }
        let unknown = wat::parse_str(r#"(component (import "acme:gpu/mine@1.0.0" (func)))"#);
        let refusal = inspect(&unknown.expect("valid text")).expect_err("no such import");
        assert!(
            refusal.to_string().contains("acme:gpu/mine@1.0.0"),
            "{refusal}"
        );
        let empty = wat::parse_str("(component)").expect("valid text");
        let refusal = inspect(&empty).expect_err("no role");
        assert!(
            refusal.to_string().contains("exports no known role"),
            "{refusal}"
        );
    }
}
