//! From files to a pool of descriptors. Nothing is read: what is imported is among the files, or built
//! in.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use miette::Diagnostic as _;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use protox::{
    Compiler, Error,
    file::{File, FileResolver},
};

use super::{
    bounds::{BRACKETS_DEPTH_MAX, FILES_MAX, is_too_deep},
    built_in,
    files::{SchemaFiles, is_source},
};
use crate::config::{ConfigFault, Faults, Provenance};

/// A pool, and which of its files were asked for.
pub(super) struct Compiled {
    pub pool: DescriptorPool,
    pub roots: Vec<String>,
}

/// `google.protobuf.FileDescriptorSet` with its files as octets: options that are extensions, such as
/// `google.api.http`, stay in them.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedDescriptorSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// Compiles `files`.
///
/// # Errors
/// The first fault, with its place where it is one of a source.
pub(super) fn compile(files: &SchemaFiles) -> Result<Compiled, Faults> {
    if let Some(fault) = &files.fault {
        return Err(whole("", fault.clone(), String::new()));
    }
    let mut resolver = SchemaResolver::default();
    let mut roots = Vec::new();
    for (name, octets) in &files.files {
        let is_root = files.roots.contains(name);
        if !is_source(name) {
            let within = resolver.add_set(&octets.0);
            roots.extend(within.map_err(|reason| whole(name, reason, SET_REMEDY.to_owned()))?);
            continue;
        }
        let Some(text) = files.text(name) else {
            let reason = "it is not UTF-8".to_owned();
            return Err(whole(name, reason, "save it as UTF-8".to_owned()));
        };
        if is_too_deep(text) {
            let reason = format!("brackets are nested more than {BRACKETS_DEPTH_MAX} times");
            return Err(whole(name, reason, "nest less".to_owned()));
        }
        resolver.sources.insert(name.clone(), text.to_owned());
        roots.extend(is_root.then(|| name.clone()));
    }
    roots.sort_unstable();
    roots.dedup();
    let pool = open_all(resolver, roots.iter().map(String::as_str));
    let pool = pool.map_err(|error| faults_of(&error, files))?;
    Ok(Compiled { pool, roots })
}

/// Compiles a serialized set of descriptors.
///
/// # Errors
/// As `compile`; `name` says what it is.
pub(super) fn compile_set(name: &str, octets: &Bytes) -> Result<Compiled, Faults> {
    let mut resolver = SchemaResolver::default();
    let mut roots = resolver
        .add_set(octets)
        .map_err(|reason| whole(name, reason, SET_REMEDY.to_owned()))?;
    roots.sort_unstable();
    roots.dedup();
    let pool = open_all(resolver, roots.iter().map(String::as_str));
    let pool = pool.map_err(|error| whole(name, error.to_string(), SET_REMEDY.to_owned()))?;
    Ok(Compiled { pool, roots })
}

/// Compiles files that are built in.
///
/// # Errors
/// When one is not.
pub(super) fn compile_built_in<'a>(
    names: impl Iterator<Item = &'a str>,
) -> Result<DescriptorPool, Error> {
    open_all(SchemaResolver::default(), names)
}

/// Compiles one source that imports nothing but what is built in.
///
/// # Errors
/// As the compiler says.
pub(super) fn compile_source(name: &str, source: &str) -> Result<DescriptorPool, Error> {
    let mut resolver = SchemaResolver::default();
    resolver.sources.insert(name.to_owned(), source.to_owned());
    open_all(resolver, std::iter::once(name))
}

fn open_all<'a>(
    resolver: SchemaResolver,
    names: impl Iterator<Item = &'a str>,
) -> Result<DescriptorPool, Error> {
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(names)?;
    Ok(compiler.descriptor_pool())
}

/// Names of the files that `source` imports; none where it cannot be read, which compiling tells.
pub(super) fn imports(name: &str, source: &str) -> Vec<String> {
    if is_too_deep(source) {
        return Vec::new();
    }
    let file = File::from_source(name, source);
    file.map(|file| file.file_descriptor_proto().dependency.clone())
        .unwrap_or_default()
}

/// Whether a file of that name need not be among those of a schema.
pub(super) fn is_built_in(name: &str) -> bool {
    built_in::open(name).is_ok()
}

/// The files of a schema before those that are built in.
#[derive(Default)]
struct SchemaResolver {
    sources: BTreeMap<String, String>,
    /// Serialized descriptors.
    descriptors: BTreeMap<String, Bytes>,
}

impl SchemaResolver {
    /// Takes the files of a set; gives their names.
    fn add_set(&mut self, octets: &Bytes) -> Result<Vec<String>, String> {
        let no_set = |error: &prost::DecodeError| format!("it is no set of descriptors: {error}");
        let set = EncodedDescriptorSet::decode(octets.clone()).map_err(|error| no_set(&error))?;
        let n_files = set.file.len();
        if n_files == 0 {
            return Err("it is a set of no descriptors".to_owned());
        }
        if n_files > FILES_MAX {
            return Err(format!("{n_files} files exceed the limit of {FILES_MAX}"));
        }
        let mut names = Vec::with_capacity(n_files);
        for file in set.file {
            let descriptor = FileDescriptorProto::decode(file.clone());
            let name = descriptor
                .map_err(|error| no_set(&error))?
                .name
                .unwrap_or_default();
            if self.sources.contains_key(&name) {
                return Err(format!("it has {name}, which is there as a source too"));
            }
            // What other compilers put into their sets is the same everywhere.
            if !is_built_in(&name) {
                names.push(name.clone());
                self.descriptors.insert(name, file);
            }
        }
        Ok(names)
    }
}

impl FileResolver for SchemaResolver {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        if let Some(source) = self.sources.get(name) {
            return File::from_source(name, source);
        }
        match self.descriptors.get(name) {
            Some(descriptor) => {
                File::decode_file_descriptor_proto(descriptor.clone()).map_err(Error::new)
            }
            None => built_in::open(name),
        }
    }
}

/// A fault of the compiler's at its place.
fn faults_of(error: &Error, files: &SchemaFiles) -> Faults {
    let message = error.to_string();
    let name = error.file().unwrap_or_default();
    let Some(text) = files.text(name).filter(|_| is_source(name)) else {
        return whole(name, message, SET_REMEDY.to_owned());
    };
    let label = error.labels().and_then(|mut labels| labels.next());
    let span = label.map(|label| Range {
        start: label.offset(),
        end: label.offset() + label.len(),
    });
    let remedy = match error.help() {
        Some(help) => help.to_string(),
        None if error.is_file_not_found() => IMPORT_REMEDY.to_owned(),
        None => String::from("mend it; what served before serves until then"),
    };
    let fault = ConfigFault {
        path: String::new(),
        place: span.map(Provenance::File),
        message,
        remedy,
    };
    Faults::new(name, text, vec![fault])
}

/// A fault of a file as a whole.
pub(super) fn whole(name: &str, message: String, remedy: String) -> Faults {
    let fault = ConfigFault {
        path: name.to_owned(),
        place: None,
        message,
        remedy,
    };
    Faults::new(name, "", vec![fault])
}

const SET_REMEDY: &str = "write it anew, with everything that it imports: `buf build -o NAME.binpb` or `protoc \
     --include_imports --descriptor_set_out=NAME.binpb`";
const IMPORT_REMEDY: &str = "put it into the folder of the component, under the name by which it is \
     imported; nothing outside of that folder is read";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::files::FileOctets;

    fn files(sources: &[(&str, &str)]) -> SchemaFiles {
        let file = |(name, text): &(&str, &str)| {
            let octets = Bytes::copy_from_slice(text.as_bytes());
            ((*name).to_owned(), FileOctets(octets))
        };
        SchemaFiles {
            roots: sources
                .iter()
                .take(1)
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            files: sources.iter().map(file).collect(),
            fault: None,
        }
    }

    fn faults(sources: &[(&str, &str)]) -> String {
        match compile(&files(sources)) {
            Ok(_) => panic!("it is refused"),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn files_are_compiled_with_what_they_import() {
        let user = "syntax = \"proto3\"; package user; import \"common/page.proto\";\n\
            import \"google/api/annotations.proto\"; import \"google/protobuf/timestamp.proto\";\n\
            message User { google.protobuf.Timestamp at = 1; common.Page page = 2; }\n\
            service Users { rpc Get(User) returns (User) { option (google.api.http) = { get: \"/u\" }; } }";
        let page = "syntax = \"proto3\"; package common; message Page {}";
        let sources = [("user.proto", user), ("common/page.proto", page)];
        let compiled = compile(&files(&sources)).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(compiled.roots, ["user.proto"]);
        assert!(compiled.pool.get_message_by_name("common.Page").is_some());
        // As a set it means the same, its options included.
        let set = Bytes::from(compiled.pool.encode_to_vec());
        let again = compile_set("users.binpb", &set).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(again.roots, ["common/page.proto", "user.proto"]);
        let service = again.pool.get_service_by_name("user.Users").expect("there");
        let method = service.methods().next().expect("there");
        let http = again
            .pool
            .get_extension_by_name("google.api.http")
            .expect("there");
        assert!(method.options().has_extension(&http));
    }

    #[test]
    fn faults_have_their_place_and_say_what_is_wrong() {
        let check = |source: &str, expected: &str| {
            let told = faults(&[("a.proto", source)]);
            assert!(told.starts_with(expected), "{told}");
        };
        check(
            "syntax = \"proto3\";\nmessage A {\n  B b = 1;\n}",
            "a.proto:3:3: name 'B' is not defined",
        );
        check(
            "syntax = \"proto3\";\nimport \"b.proto\";",
            "a.proto:2:1: import 'b.proto' not found",
        );
        check("syntax = \"proto3\";\nmesage A {}", "a.proto:2:1: expected");
        check("import \"../b.proto\";", "a.proto:1:");
        check(
            &"{".repeat(BRACKETS_DEPTH_MAX + 1),
            "a.proto: brackets are nested more than 64 times",
        );
        let circle = [
            ("a.proto", "import \"b.proto\";"),
            ("b.proto", "import \"a.proto\";"),
        ];
        assert!(faults(&circle).contains("import cycle detected"));
    }

    #[test]
    fn what_is_no_set_of_descriptors_is_refused() {
        let told = |octets: &'static [u8]| match compile_set("a.binpb", &Bytes::from_static(octets))
        {
            Ok(_) => panic!("it is refused"),
            Err(faults) => faults.to_string(),
        };
        assert_eq!(told(b""), "a.binpb: it is a set of no descriptors");
        assert!(told(b"\x0A\xFF").starts_with("a.binpb: it is no set of descriptors: "));
    }
}
