//! What a component is and wants, read from its type: roles by exported interface, imports by name.

use std::collections::{BTreeMap, BTreeSet};

use wasmtime::{
    AsContext, Engine, Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Func, Instance as Raw, Lift, Lower,
        types::{self, ComponentFunc, ComponentItem},
    },
};

use crate::{
    bindings::{PACKAGE, VERSION},
    role::Role,
};

/// Interfaces of WASI 0.2 that are linked, with nothing granted behind them.
const OFFERED_WASI: [&str; 27] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];
const WASI_VERSION: &str = "0.2";

/// Where the functions of the roles are found in an instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports {
    /// One bit for each role, asked at every entry.
    roles: u32,
    /// The functions of each role, in the order of its `Functions::EXPORTS`.
    found: BTreeMap<Role, Vec<ComponentExportIndex>>,
}

/// The functions of one role in one instance.
pub(crate) trait Functions: Sized + Send + 'static {
    const ROLE: Role;
    /// By name and shape. Names are unique over all roles.
    const EXPORTS: &'static [Export];

    /// Takes what `EXPORTS` names, in that order.
    ///
    /// # Errors
    /// When one has another shape.
    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self>;
}

/// A function that a role exports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Export {
    pub(crate) name: &'static str,
    check: fn(&ComponentFunc, &types::Component) -> wasmtime::Result<()>,
}

/// Why a component's type does not fit this host.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("imports {import}, which this host does not offer; it offers {offered}")]
    UnknownImport { import: String, offered: String },
    #[error("imports {import}; this host offers version {offered}.x of it")]
    ImportVersion {
        import: String,
        offered: &'static str,
    },
    #[error("exports no known role; it exports {exports}; roles are {roles}")]
    NoRole { exports: String, roles: String },
    #[error("exports {export}; this host knows version {VERSION}.x of it")]
    RoleVersion { export: String },
    #[error("exports {export} without its function `{function}`")]
    NoFunction {
        export: String,
        function: &'static str,
    },
    #[error("exports {export} whose function `{function}` has another shape: {reason}")]
    Shape {
        export: String,
        function: &'static str,
        reason: String,
    },
}

impl Export {
    /// A function that takes `P` and gives `R`.
    pub(crate) const fn new<P, R>(name: &'static str) -> Self
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        Self {
            name,
            check: |func, component| func.typecheck::<P, R>(&component.instance_type()),
        }
    }
}

impl Exports {
    /// Finds the roles of `component`, of those that `known` has with their functions. Exports that are
    /// no role of ours are left alone: some toolchains add their own.
    pub(crate) fn find(
        component: &Component,
        engine: &Engine,
        known: &[(Role, &'static [Export])],
    ) -> Result<Self, Misfit> {
        let mut found = Self::default();
        let mut names = Vec::new();
        for (name, item) in component.component_type().exports(engine) {
            names.push(name.to_owned());
            if !matches!(item.ty, ComponentItem::ComponentInstance(_)) {
                continue;
            }
            let Some((role, version)) = role_of(name) else {
                continue;
            };
            if !is_version(version, VERSION) {
                return Err(Misfit::RoleVersion {
                    export: name.to_owned(),
                });
            }
            let functions = exports_of(known, role).iter().map(|function| {
                let interface = component.get_export_index(None, name);
                let index = |interface| component.get_export_index(Some(&interface), function.name);
                interface.and_then(index).ok_or_else(|| Misfit::NoFunction {
                    export: name.to_owned(),
                    function: function.name,
                })
            });
            let functions = functions.collect::<Result<_, _>>()?;
            found.found.insert(role, functions);
            found.roles |= role.bit();
        }
        if !found.found.keys().any(|role| role.works()) {
            return Err(Misfit::NoRole {
                exports: list(names),
                roles: role_names(),
            });
        }
        Ok(found)
    }

    pub(crate) fn roles(&self) -> Vec<Role> {
        self.found.keys().copied().collect()
    }

    pub(crate) const fn has(&self, role: Role) -> bool {
        self.roles & role.bit() != 0
    }

    /// The functions of the role of `F` in an instance.
    pub(crate) fn functions<F: Functions, T: 'static>(
        &self,
        raw: &Raw,
        store: &mut Store<T>,
    ) -> wasmtime::Result<F> {
        let missing = || wasmtime::format_err!("the component has no role `{}`", F::ROLE.name());
        let indices = self.found.get(&F::ROLE).ok_or_else(missing)?;
        let mut funcs = Vec::with_capacity(indices.len());
        for index in indices {
            funcs.push(raw.get_func(&mut *store, index).ok_or_else(missing)?);
        }
        F::find(&funcs, &*store)
    }
}

/// Compares the functions of the roles of `component` with the shapes that the host calls.
pub(crate) fn check_shapes(
    component: &Component,
    engine: &Engine,
    known: &[(Role, &'static [Export])],
) -> Result<(), Misfit> {
    let component = component.component_type();
    for (name, item) in component.exports(engine) {
        let (Some((role, _)), ComponentItem::ComponentInstance(interface)) =
            (role_of(name), item.ty)
        else {
            continue;
        };
        for function in exports_of(known, role) {
            let Some(item) = interface.get_export(engine, function.name) else {
                continue;
            };
            let checked = match &item.ty {
                ComponentItem::ComponentFunc(func) => (function.check)(func, &component),
                ComponentItem::CoreFunc(_)
                | ComponentItem::Module(_)
                | ComponentItem::Component(_)
                | ComponentItem::ComponentInstance(_)
                | ComponentItem::Type(_)
                | ComponentItem::Resource(_) => Err(wasmtime::format_err!("it is no function")),
            };
            checked.map_err(|error| Misfit::Shape {
                export: name.to_owned(),
                function: function.name,
                reason: format!("{error:#}"),
            })?;
        }
    }
    Ok(())
}

/// So many functions.
///
/// # Errors
/// When there are more or fewer.
pub(crate) fn functions<const N: usize>(funcs: &[Func]) -> wasmtime::Result<[Func; N]> {
    <[Func; N]>::try_from(funcs)
        .map_err(|_| wasmtime::format_err!("{} functions in the place of {N}", funcs.len()))
}

/// The role that an export is for, and its version.
fn role_of(name: &str) -> Option<(Role, &str)> {
    let (interface, version) = ours(name)?;
    Some((Role::named(interface)?, version))
}

fn exports_of(known: &[(Role, &'static [Export])], role: Role) -> &'static [Export] {
    let mut known = known.iter();
    known
        .find(|(other, _)| *other == role)
        .map_or(&[], |(_, exports)| exports)
}

/// The interfaces of ours that `component` imports, of those that are `offered`.
///
/// # Errors
/// `UnknownImport` and `ImportVersion` for the first import that this host does not offer.
pub(crate) fn imports(
    component: &Component,
    engine: &Engine,
    offered: &[&str],
) -> Result<BTreeSet<String>, Misfit> {
    let mut imported = BTreeSet::new();
    for (name, item) in component.component_type().imports(engine) {
        if !needs_host(&item.ty, engine) {
            continue;
        }
        check_import(name, offered)?;
        if let Some((interface, _)) = ours(name) {
            imported.insert(interface.to_owned());
        }
    }
    Ok(imported)
}

/// Whether a host must provide something for an import. Interfaces of types alone need nothing.
fn needs_host(import: &ComponentItem, engine: &Engine) -> bool {
    match import {
        ComponentItem::ComponentInstance(instance) => {
            let mut exports = instance.exports(engine);
            exports.any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        }
        ComponentItem::Type(_) => false,
        ComponentItem::ComponentFunc(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Resource(_) => true,
    }
}

pub(crate) fn check_import(name: &str, ours: &[&str]) -> Result<(), Misfit> {
    let (interface, version) = split_version(name);
    let offered = if let Some(interface) = interface
        .strip_prefix(PACKAGE)
        .and_then(|n| n.strip_prefix('/'))
    {
        ours.contains(&interface).then_some(VERSION)
    } else {
        OFFERED_WASI.contains(&interface).then_some(WASI_VERSION)
    };
    match offered {
        Some(offered) if is_version(version, offered) => Ok(()),
        Some(offered) => Err(Misfit::ImportVersion {
            import: name.to_owned(),
            offered,
        }),
        None => Err(Misfit::UnknownImport {
            import: name.to_owned(),
            offered: offer(ours),
        }),
    }
}

/// `postern:gateway/handler@0.1.0` as `("handler", "0.1.0")`; `None` for other packages.
fn ours(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = split_version(name);
    Some((interface.strip_prefix(PACKAGE)?.strip_prefix('/')?, version))
}

fn split_version(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// Whether `version` is a patch of `minor` (`0.1`), which is compatible by semantic versioning.
fn is_version(version: &str, minor: &str) -> bool {
    version
        .strip_prefix(minor)
        .is_some_and(|patch| patch.starts_with('.'))
}

fn offer(ours: &[&str]) -> String {
    let ours = ours
        .iter()
        .map(|name| format!("{PACKAGE}/{name}@{VERSION}.x"));
    let wasi = OFFERED_WASI.map(|name| format!("{name}@{WASI_VERSION}.x"));
    list(ours.chain(wasi).collect())
}

fn role_names() -> String {
    list(
        Role::ALL
            .map(|role| format!("{PACKAGE}/{}@{VERSION}.x", role.name()))
            .to_vec(),
    )
}

fn list(names: Vec<String>) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_import(name: &str) -> Result<(), Misfit> {
        super::check_import(name, &["kv", "log"])
    }

    #[test]
    fn any_patch_of_our_version_fits() {
        assert_eq!(check_import("postern:gateway/log@0.1.0"), Ok(()));
        assert_eq!(check_import("postern:gateway/log@0.1.9"), Ok(()));
        assert_eq!(check_import("wasi:io/streams@0.2.12"), Ok(()));
    }

    #[test]
    fn another_minor_version_is_named_with_what_is_offered() {
        let import = "postern:gateway/kv@0.2.0".to_owned();
        let error = Misfit::ImportVersion {
            import: import.clone(),
            offered: "0.1",
        };
        assert_eq!(check_import(&import), Err(error));
        assert!(check_import("postern:gateway/kv@0.10.0").is_err());
        assert!(check_import("postern:gateway/kv").is_err());
    }

    #[test]
    fn an_unknown_import_is_named_with_the_offer() {
        let error = check_import("acme:db/query@1.0.0").unwrap_err().to_string();
        assert!(error.starts_with("imports acme:db/query@1.0.0, which this host does not offer"));
        assert!(error.contains("postern:gateway/kv@0.1.x"));
        assert!(error.contains("wasi:cli/stdin@0.2.x"));
    }
}
