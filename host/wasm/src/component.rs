//! What a component is and wants, read from its type: roles by exported interface, imports by name.

use std::collections::{BTreeMap, BTreeSet};

use wasmtime::{
    Engine,
    component::{
        Component, ComponentExportIndex,
        types::{self, ComponentFunc, ComponentItem},
    },
};

use crate::bindings::{
    HandleBatchParams, HandleParams, HandleResult, HandleStreamParams, PACKAGE, Report, Service,
    VERSION, extension as shape,
};

/// Our interfaces that a component may import.
const OFFERED: [&str; 11] = [
    "call",
    "candidates",
    "client",
    "config",
    "events",
    "frame",
    "kv",
    "log",
    "request",
    "response",
    "types",
];

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

/// What a component does for the gateway. It may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Handler,
    BatchHandler,
    StreamHandler,
    Balancer,
    RequestInterceptor,
    ResponseInterceptor,
    FrameExtension,
    Authenticator,
    Authorizer,
    EventHandler,
    Health,
    Describe,
}

/// Where the functions of the roles are found in an instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports {
    pub(crate) handle: Option<ComponentExportIndex>,
    pub(crate) handle_batch: Option<ComponentExportIndex>,
    pub(crate) handle_stream: Option<ComponentExportIndex>,
    pub(crate) check: Option<ComponentExportIndex>,
    pub(crate) services: Option<ComponentExportIndex>,
    /// One bit for each role, asked at every entry.
    roles: u16,
    /// The functions of each role, in the order of `Role::functions`.
    found: BTreeMap<Role, Vec<ComponentExportIndex>>,
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

impl Role {
    pub const ALL: [Self; 12] = [
        Self::Handler,
        Self::BatchHandler,
        Self::StreamHandler,
        Self::Balancer,
        Self::RequestInterceptor,
        Self::ResponseInterceptor,
        Self::FrameExtension,
        Self::Authenticator,
        Self::Authorizer,
        Self::EventHandler,
        Self::Health,
        Self::Describe,
    ];

    /// Name of the interface in the package `postern:gateway`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::BatchHandler => "batch-handler",
            Self::StreamHandler => "stream-handler",
            Self::Balancer => "balancer",
            Self::RequestInterceptor => "request-interceptor",
            Self::ResponseInterceptor => "response-interceptor",
            Self::FrameExtension => "frame-extension",
            Self::Authenticator => "authenticator",
            Self::Authorizer => "authorizer",
            Self::EventHandler => "event-handler",
            Self::Health => "health",
            Self::Describe => "describe",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    const fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Handler => &["handle"],
            Self::BatchHandler => &["handle-batch"],
            Self::StreamHandler => &["handle-stream"],
            Self::Balancer => &["update", "pick", "done"],
            Self::RequestInterceptor => &["on-request"],
            Self::ResponseInterceptor => &["on-response"],
            Self::FrameExtension => &["should-handle", "handle-frame"],
            Self::Authenticator => &["authenticate"],
            Self::Authorizer => &["authorize"],
            Self::EventHandler => &["on-event"],
            Self::Health => &["check"],
            Self::Describe => &["services"],
        }
    }

    /// Whether a component may be there for this role alone. `batch-handler` stands beside `handler`;
    /// `health` and `describe` tell of others.
    const fn works(self) -> bool {
        !matches!(self, Self::BatchHandler | Self::Health | Self::Describe)
    }

    /// Whether it is entered directly (`direct/`), or may be.
    pub(crate) const fn is_direct(self) -> bool {
        matches!(
            self,
            Self::Balancer
                | Self::RequestInterceptor
                | Self::ResponseInterceptor
                | Self::FrameExtension
                | Self::Authenticator
                | Self::Authorizer
        )
    }

    fn named(interface: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == interface)
    }
}

impl Exports {
    /// Finds the roles of `component`. Exports that are no role of ours are left alone: some
    /// toolchains add their own.
    pub(crate) fn find(component: &Component, engine: &Engine) -> Result<Self, Misfit> {
        let mut found = Self::default();
        let mut names = Vec::new();
        for (name, item) in component.component_type().exports(engine) {
            names.push(name.to_owned());
            if !matches!(item.ty, ComponentItem::ComponentInstance(_)) {
                continue;
            }
            let Some((interface, version)) = ours(name) else {
                continue;
            };
            let Some(role) = Role::named(interface) else {
                continue;
            };
            if !is_version(version, VERSION) {
                return Err(Misfit::RoleVersion {
                    export: name.to_owned(),
                });
            }
            let functions = role.functions().iter().map(|function| {
                let interface = component.get_export_index(None, name);
                interface
                    .and_then(|interface| component.get_export_index(Some(&interface), function))
                    .ok_or_else(|| Misfit::NoFunction {
                        export: name.to_owned(),
                        function,
                    })
            });
            found
                .found
                .insert(role, functions.collect::<Result<_, _>>()?);
            found.roles |= role.bit();
        }
        if !found.found.keys().any(|role| role.works()) {
            return Err(Misfit::NoRole {
                exports: list(names),
                roles: role_names(),
            });
        }
        let only = |role| found.of(role).map(|[function]| function);
        Ok(Self {
            handle: only(Role::Handler),
            handle_batch: only(Role::BatchHandler),
            handle_stream: only(Role::StreamHandler),
            check: only(Role::Health),
            services: only(Role::Describe),
            ..found
        })
    }

    pub(crate) fn roles(&self) -> Vec<Role> {
        self.found.keys().copied().collect()
    }

    pub(crate) const fn has(&self, role: Role) -> bool {
        self.roles & role.bit() != 0
    }

    /// The functions of `role`, as many as it has; `None` without the role.
    pub(crate) fn of<const N: usize>(&self, role: Role) -> Option<[ComponentExportIndex; N]> {
        self.found.get(&role)?.as_slice().try_into().ok()
    }
}

/// Compares the functions of the roles of `component` with the shapes that the host calls.
pub(crate) fn check_shapes(component: &Component, engine: &Engine) -> Result<(), Misfit> {
    let component = component.component_type();
    for (name, item) in component.exports(engine) {
        let role = ours(name).and_then(|(interface, _)| Role::named(interface));
        let (Some(role), ComponentItem::ComponentInstance(interface)) = (role, item.ty) else {
            continue;
        };
        for function in role.functions() {
            let Some(item) = interface.get_export(engine, function) else {
                continue;
            };
            let checked = match &item.ty {
                ComponentItem::ComponentFunc(func) => check_shape(function, func, &component),
                ComponentItem::CoreFunc(_)
                | ComponentItem::Module(_)
                | ComponentItem::Component(_)
                | ComponentItem::ComponentInstance(_)
                | ComponentItem::Type(_)
                | ComponentItem::Resource(_) => Err(wasmtime::format_err!("it is no function")),
            };
            checked.map_err(|error| {
                let (export, reason) = (name.to_owned(), format!("{error:#}"));
                Misfit::Shape {
                    export,
                    function,
                    reason,
                }
            })?;
        }
    }
    Ok(())
}

/// Names of functions are unique over all roles.
fn check_shape(
    function: &str,
    func: &ComponentFunc,
    component: &types::Component,
) -> wasmtime::Result<()> {
    let types = component.instance_type();
    match function {
        "handle" => func.typecheck::<HandleParams<'static>, (HandleResult,)>(&types),
        "handle-batch" => {
            func.typecheck::<HandleBatchParams<'static>, (Vec<HandleResult>,)>(&types)
        }
        // `authorize` has the shape of `handle-stream`.
        "handle-stream" | "authorize" => {
            func.typecheck::<HandleStreamParams<'static>, (shape::Nothing,)>(&types)
        }
        "update" => func.typecheck::<shape::UpdateParams, ()>(&types),
        "pick" => func.typecheck::<shape::PickParams, shape::PickResult>(&types),
        "done" => func.typecheck::<shape::DoneParams, ()>(&types),
        "on-request" => func.typecheck::<(), shape::OnRequestResult>(&types),
        "on-response" => func.typecheck::<(), (shape::Nothing,)>(&types),
        "should-handle" => func.typecheck::<shape::ShouldHandleParams, (bool,)>(&types),
        "handle-frame" => func.typecheck::<(), shape::HandleFrameResult>(&types),
        "authenticate" => {
            func.typecheck::<shape::AuthenticateParams, shape::AuthenticateResult>(&types)
        }
        "on-event" => func.typecheck::<shape::OnEventParams<'static>, (shape::Nothing,)>(&types),
        "check" => func.typecheck::<(), (Report,)>(&types),
        "services" => func.typecheck::<(), (Vec<Service>,)>(&types),
        _ => Err(wasmtime::format_err!("no shape is known for it")),
    }
}

/// The interfaces of ours that `component` imports.
///
/// # Errors
/// `UnknownImport` and `ImportVersion` for the first import that this host does not offer.
pub(crate) fn imports(component: &Component, engine: &Engine) -> Result<BTreeSet<String>, Misfit> {
    let mut imported = BTreeSet::new();
    for (name, item) in component.component_type().imports(engine) {
        if !needs_host(&item.ty, engine) {
            continue;
        }
        check_import(name)?;
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

fn check_import(name: &str) -> Result<(), Misfit> {
    let (interface, version) = split_version(name);
    let offered = if let Some(ours) = interface
        .strip_prefix(PACKAGE)
        .and_then(|n| n.strip_prefix('/'))
    {
        OFFERED.contains(&ours).then_some(VERSION)
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
            offered: offer(),
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

fn offer() -> String {
    let ours = OFFERED.map(|name| format!("{PACKAGE}/{name}@{VERSION}.x"));
    let wasi = OFFERED_WASI.map(|name| format!("{name}@{WASI_VERSION}.x"));
    list(ours.into_iter().chain(wasi).collect())
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
