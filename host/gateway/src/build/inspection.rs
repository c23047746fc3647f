//! What is in a component file, without compiling it: roles, imports, who made it, and what keeps it from
//! being served here.

use std::collections::{BTreeMap, BTreeSet};

use postern_wasm::{ImportFault, Role, check_import};
use wasmparser::{Encoding, KnownCustom, Parser, Payload, ProducersSectionReader};
use wit_parser::{
    Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, WorldItem,
    decoding::{DecodedWasm, decode},
};

use super::world::Wit;
use crate::plugins::reuse;

/// What a component file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentReport {
    pub octets: u64,
    /// Core modules in it, those of components within it included.
    pub modules: usize,
    pub roles: Vec<Role>,
    /// Exports that are no role of this gateway.
    pub other_exports: Vec<String>,
    pub imports: Vec<ImportReport>,
    /// From the sections `producers`: `language`, `sdk`, `processed-by`, with names and versions.
    pub producers: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Why an instance of it answers one request, where that is so.
    pub answers_once: Option<&'static str>,
    /// Why this gateway does not serve it; empty when it does.
    pub missing: Vec<String>,
}

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImportReport {
    pub name: String,
    pub fault: Option<ImportFault>,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectionError {
    #[error("it is no WebAssembly: {0}")]
    NoWasm(String),
    #[error("it is a core module, and no component")]
    CoreModule,
    #[error("it is a WIT package, and no component")]
    WitPackage,
    #[error("its type cannot be read: {0}")]
    Unreadable(String),
}

/// Reads the octets of a component file.
///
/// # Errors
/// Everything in `InspectionError`.
pub(crate) fn inspect(octets: &[u8]) -> Result<ComponentReport, InspectionError> {
    let contents = contents(octets)?;
    let unreadable = |error: String| InspectionError::Unreadable(error);
    let decoded = decode(octets).map_err(|error| unreadable(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        return Err(InspectionError::WitPackage);
    };
    let world = resolve.worlds.get(*world);
    let world = world.ok_or_else(|| unreadable("it has no world".to_owned()))?;
    let mut report = ComponentReport {
        octets: octets.len() as u64,
        modules: contents.modules,
        producers: contents.producers,
        roles: Vec::new(),
        other_exports: Vec::new(),
        imports: Vec::new(),
        answers_once: reuse::answers_once(octets),
        missing: Vec::new(),
    };
    for (key, item) in &world.imports {
        let name = resolve.name_world_key(key);
        if !needs_host(resolve, item) {
            continue;
        }
        let fault = check_import(&name).err();
        if let Some(fault) = fault {
            report.missing.push(format!("imports {name}: {fault}"));
        }
        report.imports.push(ImportReport { name, fault });
    }
    let ours = Wit::packed().map_err(unreadable)?;
    for (key, item) in &world.exports {
        let name = resolve.name_world_key(key);
        match (ours.role(&name), item) {
            (Some(role), WorldItem::Interface { id, .. }) => {
                report
                    .missing
                    .extend(ours.faults(role, &name, resolve, *id));
                report.roles.push(role);
            }
            (None | Some(_), _) => {
                let interface = name
                    .split_once('@')
                    .map_or(&*name, |(interface, _)| interface);
                if let Some((_, known)) = Role::of_foreign(interface) {
                    let missing =
                        format!("exports {name}; this host knows version {known}.x of it");
                    report.missing.push(missing);
                }
                report.other_exports.push(name);
            }
        }
    }
    report.roles.sort();
    if !report.roles.iter().any(|role| role.works()) {
        let roles = Role::ALL.into_iter().filter(|role| role.works());
        let shown = |role: Role| {
            role.foreign()
                .map_or_else(|| role.name(), |(interface, _)| interface)
        };
        let roles: Vec<_> = roles.map(shown).collect();
        let roles = roles.join(", ");
        report.missing.push(format!(
            "exports no role that takes calls or events: {roles}"
        ));
    }
    Ok(report)
}

/// Whether a host must provide something. Interfaces of types alone need nothing.
fn needs_host(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Interface { id, .. } => resolve.interfaces.get(*id).is_none_or(|interface| {
            let mut types = interface.types.values();
            !interface.functions.is_empty() || types.any(|id| is_resource(resolve, *id))
        }),
        WorldItem::Function(_) => true,
        WorldItem::Type { .. } => false,
    }
}

fn is_resource(resolve: &Resolve, id: TypeId) -> bool {
    let found = resolve.types.get(id);
    found.is_some_and(|found| matches!(found.kind, TypeDefKind::Resource))
}

/// What the sections of a component say, those of what is in it included.
#[derive(Default)]
struct Contents {
    modules: usize,
    producers: BTreeMap<String, BTreeSet<(String, String)>>,
    interpreter: Option<&'static Interpreter>,
}

/// Something that runs a language, whose sections `producers` tell what it is written in itself.
struct Interpreter {
    /// Name of its core module within the component.
    module: &'static str,
    language: &'static str,
    tool: &'static str,
}

fn interpreter_in(names: &[u8]) -> Option<&'static Interpreter> {
    let is_named = |interpreter: &&Interpreter| {
        let name = interpreter.module.as_bytes();
        names.windows(name.len()).any(|window| window == name)
    };
    INTERPRETERS.iter().find(is_named)
}

fn contents(octets: &[u8]) -> Result<Contents, InspectionError> {
    let no_wasm =
        |error: &wasmparser::BinaryReaderError| InspectionError::NoWasm(error.to_string());
    let mut contents = Contents::default();
    let mut outermost = None;
    for payload in Parser::new(0).parse_all(octets) {
        let payload = payload.map_err(|error| no_wasm(&error))?;
        if let Payload::Version { encoding, .. } = payload {
            outermost = outermost.or(Some(encoding));
            contents.modules += usize::from(encoding == Encoding::Module);
        } else if let Payload::CustomSection(section) = payload {
            if let KnownCustom::Producers(producers) = section.as_known() {
                let read = contents.add_producers(producers);
                read.map_err(|error| no_wasm(&error))?;
            }
            if section.name() == "component-name" {
                let found = || interpreter_in(section.data());
                contents.interpreter = contents.interpreter.or_else(found);
            }
        }
    }
    contents.name_language();
    match outermost {
        Some(Encoding::Component) => Ok(contents),
        Some(Encoding::Module) => Err(InspectionError::CoreModule),
        None => Err(InspectionError::NoWasm("it is empty".to_owned())),
    }
}

impl Contents {
    /// Says what people wrote in the place of what the interpreter is written in, and what bindings tell
    /// of a compiler whose own section was stripped.
    fn name_language(&mut self) {
        let said = |name: &str| (name.to_owned(), String::new());
        if let Some(Interpreter { language, tool, .. }) = self.interpreter {
            self.producers
                .insert("language".to_owned(), BTreeSet::from([said(language)]));
            let tools = self.producers.entry("processed-by".to_owned()).or_default();
            tools.insert(said(tool));
            return;
        }
        let mut tools = self.producers.get("processed-by").into_iter().flatten();
        let is_rust = tools.any(|(name, _)| name == "wit-bindgen-rust");
        if is_rust && !self.producers.contains_key("language") {
            self.producers
                .insert("language".to_owned(), BTreeSet::from([said("Rust")]));
        }
    }

    fn add_producers(&mut self, section: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in section {
            let field = field?;
            let all = self.producers.entry(field.name.to_owned()).or_default();
            for made_by in field.values {
                let made_by = made_by?;
                all.insert((made_by.name.to_owned(), made_by.version.to_owned()));
            }
        }
        Ok(())
    }
}

impl Wit {
    /// The role that an export is for, in any patch of the version that is known here.
    fn role(&self, export: &str) -> Option<Role> {
        let (interface, version) = export.split_once('@')?;
        if let Some((role, known)) = Role::of_foreign(interface) {
            let patch = version.strip_prefix(known)?;
            return (patch.starts_with('.') && !patch.contains('-')).then_some(role);
        }
        let package = self.resolve.packages.get(self.package)?;
        let own = package.name.version.as_ref()?;
        let path = format!("{}:{}/", package.name.namespace, package.name.name);
        let name = interface.strip_prefix(&path)?;
        let minor = format!("{}.{}.", own.major, own.minor);
        let mut own = Role::ALL
            .into_iter()
            .filter(|role| role.foreign().is_none());
        let role = own.find(|role| role.name() == name)?;
        version.starts_with(&minor).then_some(role)
    }

    /// Functions of the role that the export lacks, or has in another shape.
    fn faults(&self, role: Role, export: &str, resolve: &Resolve, id: InterfaceId) -> Vec<String> {
        let own = self.resolve.packages.get(self.package);
        let own = own.and_then(|package| package.interfaces.get(role.name()));
        let own = own.and_then(|id| self.resolve.interfaces.get(*id));
        let (Some(own), Some(theirs)) = (own, resolve.interfaces.get(id)) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for (name, function) in &own.functions {
            let wanted = signature(&self.resolve, function);
            match theirs
                .functions
                .get(name)
                .map(|function| signature(resolve, function))
            {
                None => faults.push(format!("exports {export} without its function `{name}`")),
                Some(found) if found != wanted => faults.push(format!(
                    "exports {export} whose function `{name}` is {found}, and should be {wanted}"
                )),
                Some(_) => {}
            }
        }
        faults
    }
}

/// Parameters and result without the names of types: what has to agree.
fn signature(resolve: &Resolve, function: &wit_parser::Function) -> String {
    let params = function
        .params
        .iter()
        .map(|param| shape(resolve, &param.ty));
    let params: Vec<_> = params.collect();
    let result = function.result.as_ref();
    let result = result.map_or_else(|| "nothing".to_owned(), |result| shape(resolve, result));
    format!("({}) -> {result}", params.join(", "))
}

fn shape(resolve: &Resolve, of: &Type) -> String {
    match of {
        Type::Id(id) => shape_of(resolve, *id),
        Type::Bool => "bool".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::S8 => "s8".to_owned(),
        Type::S16 => "s16".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::F32 => "f32".to_owned(),
        Type::F64 => "f64".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::ErrorContext => "error-context".to_owned(),
    }
}

fn shape_of(resolve: &Resolve, id: TypeId) -> String {
    let Some(defined) = resolve.types.get(id) else {
        return "unknown".to_owned();
    };
    let of = |inner: &Type| shape(resolve, inner);
    let or = |inner: &Option<Type>| inner.as_ref().map_or_else(|| "_".to_owned(), of);
    let list = |parts: Vec<String>| parts.join(", ");
    let named = |id: TypeId| {
        let name = resolve.types.get(id).and_then(|found| found.name.clone());
        name.unwrap_or_default()
    };
    match &defined.kind {
        TypeDefKind::Type(inner) => of(inner),
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            let fields = fields.map(|field| format!("{}: {}", field.name, of(&field.ty)));
            format!("record {{ {} }}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter();
            let cases = cases.map(|case| format!("{}({})", case.name, or(&case.ty)));
            format!("variant {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Enum(cases) => {
            let cases = cases.cases.iter().map(|case| case.name.clone());
            format!("enum {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Flags(flags) => {
            let flags = flags.flags.iter().map(|flag| flag.name.clone());
            format!("flags {{ {} }}", list(flags.collect()))
        }
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", list(tuple.types.iter().map(of).collect()))
        }
        TypeDefKind::Option(inner) => format!("option<{}>", of(inner)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", or(&result.ok), or(&result.err)),
        TypeDefKind::List(inner) => format!("list<{}>", of(inner)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", of(key), of(value)),
        TypeDefKind::FixedLengthList(inner, length) => format!("list<{}, {length}>", of(inner)),
        TypeDefKind::Future(inner) => format!("future<{}>", or(inner)),
        TypeDefKind::Stream(inner) => format!("stream<{}>", or(inner)),
        TypeDefKind::Handle(Handle::Own(id)) => named(*id),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", named(*id)),
        TypeDefKind::Resource => named(id),
        TypeDefKind::Unknown => "unknown".to_owned(),
    }
}

static INTERPRETERS: [Interpreter; 2] = [
    Interpreter {
        module: "libcomponentize_py_runtime.so",
        language: "Python",
        tool: "componentize-py",
    },
    Interpreter {
        module: "componentize_qjs_runtime.wasm",
        language: "JavaScript",
        tool: "componentize-qjs",
    },
];

#[cfg(test)]
mod tests;
