//! Components out of core modules: a world of what the code has, and the encoding.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{Parser, Payload, TypeRef};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, SourceMap, UnresolvedPackageGroup};

use super::{outcome::BuildError, sdk};

/// Name of the world that a build writes.
const WORLD: &str = "plugin";

/// The WIT that this binary carries.
pub(super) struct Wit {
    pub resolve: Resolve,
    /// `postern:gateway`.
    pub package: PackageId,
}

/// What a core module imports and exports of interfaces, which is what its world has to have.
#[derive(Debug, Default, PartialEq, Eq)]
struct CoreModule {
    /// Full names of our interfaces.
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    /// Whether it imports from WASI's first preview.
    is_wasi: bool,
}

impl Wit {
    /// Reads it.
    ///
    /// # Errors
    /// What the parser says.
    pub(super) fn packed() -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group("wit/")?);
        let package = package.map_err(|error| error.to_string())?;
        Ok(Self { resolve, package })
    }

    /// Our own package, as `postern:gateway/`.
    fn prefix(&self) -> String {
        let package = self.resolve.packages.get(self.package);
        package.map_or_else(String::new, |package| {
            format!("{}:{}/", package.name.namespace, package.name.name)
        })
    }
}

/// The component of the plugin `name` out of its core module. It has the roles whose functions the
/// module exports, and imports what the module imports. One that uses WASI's first preview gets the
/// adapter of the SDKs.
///
/// # Errors
/// `NoRole` when it exports none, `NotEncoded` with what does not fit.
pub(super) fn encode(name: &str, mut core: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    let not_encoded = |reason: String| BuildError::NotEncoded {
        name: name.to_owned(),
        reason,
    };
    let wit = Wit::packed().map_err(not_encoded)?;
    let module = CoreModule::read(&core, &wit.prefix()).map_err(not_encoded)?;
    if module.exports.is_empty() {
        return Err(BuildError::NoRole {
            name: name.to_owned(),
        });
    }
    let world = world_text(&module.imports, &module.exports);
    let encoded = embed(&mut core, wit.resolve, &world, WORLD).and_then(|()| {
        let adapter = module.is_wasi.then(adapter).transpose()?;
        component(&core, adapter.as_deref())
    });
    encoded.map_err(not_encoded)
}

impl CoreModule {
    fn read(core: &[u8], prefix: &str) -> Result<Self, String> {
        let mut module = Self::default();
        let shown = |error: &wasmparser::BinaryReaderError| error.to_string();
        for payload in Parser::new(0).parse_all(core) {
            let payload = payload.map_err(|error| shown(&error))?;
            if let Payload::ImportSection(imports) = payload {
                for import in imports.into_imports() {
                    let import = import.map_err(|error| shown(&error))?;
                    if !matches!(import.ty, TypeRef::Func(_)) {
                        continue;
                    }
                    module.is_wasi |= import.module == PREVIEW1;
                    if import.module.starts_with(prefix) {
                        module.imports.insert(import.module.to_owned());
                    }
                }
            } else if let Payload::ExportSection(exports) = payload {
                for export in exports {
                    let export = export.map_err(|error| shown(&error))?;
                    // A function that goes on after it has returned has a second one beside it.
                    let name = export.name.strip_prefix("[async-lift]");
                    let name = name.unwrap_or(export.name);
                    if let Some((interface, _)) = name.split_once('#')
                        && interface.starts_with(prefix)
                    {
                        module.exports.insert(interface.to_owned());
                    }
                }
            }
        }
        Ok(module)
    }
}

fn world_text(imports: &BTreeSet<String>, exports: &BTreeSet<String>) -> String {
    let imports = imports
        .iter()
        .map(|import| format!("    import {import};\n"));
    let exports = exports
        .iter()
        .map(|export| format!("    export {export};\n"));
    let lines: String = imports.chain(exports).collect();
    format!("package postern:{WORLD};\n\nworld {WORLD} {{\n{lines}}}\n")
}

/// Writes a world into a core module, for the encoder to find.
fn embed(core: &mut Vec<u8>, mut resolve: Resolve, text: &str, world: &str) -> Result<(), String> {
    let package = resolve.push_source("plugin.wit", text);
    let package = package.map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], Some(world));
    let world = world.map_err(|error| format!("{error:#}"))?;
    let embedded = embed_component_metadata(core, &resolve, world, StringEncoding::UTF8);
    embedded.map_err(|error| format!("{error:#}"))
}

fn component(core: &[u8], adapter: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default().validate(true).module(core);
    let encoder = encoder.and_then(|encoder| match adapter {
        Some(adapter) => encoder.adapter(PREVIEW1, adapter),
        None => Ok(encoder),
    });
    let encoded = encoder.and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

/// What stands between a guest's WASI of the first preview and what a plugin may import anywhere.
fn adapter() -> Result<Vec<u8>, String> {
    let core = sdk::octets(ADAPTER).ok_or("there is no adapter for WASI in this binary")?;
    let mut core = core.to_vec();
    let mut dependencies = BTreeMap::new();
    for (name, text) in sdk::texts(ADAPTER_DEPENDENCIES) {
        if let Some((package, file)) = name.split_once('/') {
            let sources: &mut SourceMap = dependencies.entry(package).or_default();
            sources.push_str(file, text);
        }
    }
    let dependencies = dependencies.into_values().map(parse);
    let dependencies: Result<Vec<_>, _> = dependencies.chain([group("wit/")]).collect();
    let mut own = SourceMap::default();
    for (name, text) in sdk::texts(ADAPTER_WIT).filter(|(name, _)| !name.contains('/')) {
        own.push_str(name, text);
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_groups(parse(own)?, dependencies?);
    let package = package.map_err(|error| error.to_string())?;
    let world = resolve.select_world(&[package], None);
    let world = world.map_err(|error| format!("{error:#}"))?;
    let embedded = embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8);
    embedded
        .map(|()| core)
        .map_err(|error| format!("{error:#}"))
}

fn group(prefix: &str) -> Result<UnresolvedPackageGroup, String> {
    let mut sources = SourceMap::default();
    for (name, text) in sdk::texts(prefix).filter(|(name, _)| name.ends_with(".wit")) {
        sources.push_str(name, text);
    }
    parse(sources)
}

fn parse(sources: SourceMap) -> Result<UnresolvedPackageGroup, String> {
    sources.parse().map_err(|(_, error)| error.to_string())
}

const PREVIEW1: &str = "wasi_snapshot_preview1";
const ADAPTER: &str = "guest-sdk/go/adapter/preview1.wasm";
const ADAPTER_WIT: &str = "guest-sdk/go/adapter/wit/";
const ADAPTER_DEPENDENCIES: &str = "guest-sdk/go/adapter/wit/deps/";

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every call with an empty message.
    const HANDLER: &str = r#"(module
        (memory (export "memory") 1)
        (global $free (mut i32) (i32.const 1024))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (global.get $free))
            (global.set $free (i32.add (global.get $free) (local.get 3)))
            (local.get $at))
        (func (export "postern:gateway/handler@0.1.0#handle")
            (param i32 i32 i32 i32 i32 i32) (result i32)
            (i32.const 64)))"#;

    fn core(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("a module")
    }

    /// Names of imports and exports of a component.
    fn names(component: &[u8]) -> (Vec<String>, Vec<String>) {
        let decoded = wit_parser::decoding::decode(component).expect("a component");
        let resolve = decoded.resolve();
        let (_, world) = resolve.worlds.iter().next().expect("a world");
        let imports = world.imports.keys().map(|key| resolve.name_world_key(key));
        let exports = world.exports.keys().map(|key| resolve.name_world_key(key));
        (imports.collect(), exports.collect())
    }

    #[test]
    fn a_core_module_becomes_a_component_with_the_roles_it_has() {
        let component = encode("greeter", core(HANDLER)).expect("it fits");
        let (imports, exports) = names(&component);
        assert_eq!(exports, ["postern:gateway/handler@0.1.0"]);
        assert_eq!(
            imports,
            ["postern:gateway/types@0.1.0"],
            "for the kinds of failure"
        );
    }

    #[test]
    fn a_function_that_goes_on_after_it_has_returned_is_a_role_too() {
        let text = r#"(module
            (import "[export]postern:gateway/async-stream-handler@0.1.0" "[task-return]handle-async"
                (func (param i32 i32 i32 i32 i32 i32 i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "[async-lift]postern:gateway/async-stream-handler@0.1.0#handle-async")
                (param i32 i32 i32 i32 i32) (result i32)
                (i32.const 0))
            (func (export "[callback][async-lift]postern:gateway/async-stream-handler@0.1.0#handle-async")
                (param i32 i32 i32) (result i32)
                (i32.const 0)))"#;
        let component = encode("streamer", core(text)).expect("it fits");
        let (_, exports) = names(&component);
        assert_eq!(exports, ["postern:gateway/async-stream-handler@0.1.0"]);
        let report = crate::build::inspection::inspect(&component).expect("a component");
        assert_eq!(report.roles, [postern_wasm::Role::AsyncStreamHandler]);
        assert!(report.missing.is_empty(), "{:?}", report.missing);
    }

    #[test]
    fn a_module_without_a_role_or_with_another_shape_is_refused() {
        let none = encode("greeter", core("(module)")).expect_err("it has none");
        assert!(matches!(none, BuildError::NoRole { .. }));
        assert!(
            none.to_string()
                .contains("handler, batch-handler, stream-handler"),
            "{none}"
        );
        let other = HANDLER.replace("(param i32 i32 i32 i32 i32 i32)", "(param i32)");
        let other = encode("greeter", core(&other))
            .expect_err("another shape")
            .to_string();
        assert!(other.starts_with("greeter is no component: "), "{other}");
        let unknown = HANDLER.replace("#handle", "#answer");
        let unknown = encode("greeter", core(&unknown)).expect_err("no such function");
        assert!(unknown.to_string().contains("handle"), "{unknown}");
    }

    #[test]
    fn a_module_that_uses_wasi_gets_the_adapter_and_no_more_than_it_calls() {
        let wasi = "(module (import \"wasi_snapshot_preview1\" \"random_get\" \
                    (func (param i32 i32) (result i32)))";
        let wasi = HANDLER.replacen("(module", wasi, 1);
        let component = encode("greeter", core(&wasi)).expect("it fits");
        let (imports, _) = names(&component);
        assert!(
            imports
                .iter()
                .any(|name| name.starts_with("wasi:random/random@0.2."))
        );
        assert!(
            !imports
                .iter()
                .any(|name| name.starts_with("wasi:filesystem/")),
            "{imports:?}"
        );
    }
}
