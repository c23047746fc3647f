//! What files say of services elsewhere: `proto` of `[services.NAME]`. Read and compiled before a
//! configuration is in force, so that one whose files cannot be used changes nothing; read again when the
//! files change, each service by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use postern_core::Text;

use crate::{
    config::Config,
    proto::{self, ProtoSchema, SchemaFiles, SchemaSight},
};

/// Schemas by service; what holds for all services stands under no name.
#[derive(Debug, Default)]
pub(crate) struct UpstreamSchemas {
    by_service: BTreeMap<Text, FileSchema>,
    /// Everything that was looked at for them, as it was then.
    sight: SchemaSight,
}

/// A schema and what it was compiled from.
#[derive(Debug, Clone)]
struct FileSchema {
    files: SchemaFiles,
    /// Where these lie.
    paths: BTreeSet<PathBuf>,
    schema: Arc<ProtoSchema>,
}

/// Why the files of a service cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("services.{service}.proto: {reason}")]
pub(crate) struct UpstreamSchemaError {
    /// `default` for what holds for all services.
    pub service: Text,
    pub reason: String,
}

impl UpstreamSchemas {
    /// Those that `config` names. What `before` has of the same files stays. Blocks.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub(crate) fn read(config: &Config, before: &Self) -> Result<Self, UpstreamSchemaError> {
        let (schemas, refused) = Self::read_each(config, before);
        refused.into_iter().next().map_or(Ok(schemas), Err)
    }

    /// Those that `config` names, and why some cannot be used: of these, what `before` has stays. Blocks.
    pub(crate) fn read_each(config: &Config, before: &Self) -> (Self, Vec<UpstreamSchemaError>) {
        let default = &config.services.default.proto;
        let own = config.services.own();
        let own = own.map(|(name, service)| (Text::from(name), &service.proto));
        let (mut schemas, mut refused) = (Self::default(), Vec::new());
        for (service, paths) in std::iter::once((Text::default(), default)).chain(own) {
            if paths.is_empty() {
                continue;
            }
            let known = before.by_service.get(&service);
            let read = read_one(paths, known, &mut schemas.sight).and_then(|read| {
                let mut declared = read.schema.services().iter();
                let is_described = service.is_empty() || declared.any(|info| info.name == service);
                match is_described || paths == default {
                    true => Ok(read),
                    false => Err(format!("no file declares a service {service}")),
                }
            });
            let kept = match read {
                Ok(read) => Some(read),
                Err(reason) => {
                    let service = match service.is_empty() {
                        true => Text::from_static("default"),
                        false => service.clone(),
                    };
                    refused.push(UpstreamSchemaError { service, reason });
                    known.cloned()
                }
            };
            schemas.by_service.extend(kept.map(|kept| (service, kept)));
        }
        (schemas, refused)
    }

    /// What files say of `service`.
    pub(super) fn of(&self, service: &Text) -> Option<Arc<ProtoSchema>> {
        let found = self
            .by_service
            .get(service)
            .or_else(|| self.by_service.get(&Text::default()))?;
        let mut declared = found.schema.services().iter();
        let is_described = declared.any(|info| info.name == *service);
        is_described.then(|| Arc::clone(&found.schema))
    }

    /// Files and folders that `config` names.
    pub(crate) fn paths(config: &Config) -> impl Iterator<Item = &PathBuf> {
        let own = config.services.own().map(|(_, service)| service);
        let all = std::iter::once(&config.services.default).chain(own);
        all.flat_map(|service| &service.proto)
    }

    /// Files that they were read from.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.by_service.values().flat_map(|found| &found.paths)
    }

    /// Whether each service has the schema that it has in `other`.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let known = |(service, found): (&Text, &FileSchema)| {
            let same = other.by_service.get(service);
            same.is_some_and(|same| Arc::ptr_eq(&same.schema, &found.schema))
        };
        self.by_service.len() == other.by_service.len() && self.by_service.iter().all(known)
    }

    /// Everything that was looked at, as it was then: whatever of it changes may change them.
    pub(crate) const fn sight(&self) -> &SchemaSight {
        &self.sight
    }
}

/// The schema of the files at `paths`, which `known` has where they are as they were. `sight` is told what
/// was looked at.
fn read_one(
    paths: &[PathBuf],
    known: Option<&FileSchema>,
    sight: &mut SchemaSight,
) -> Result<FileSchema, String> {
    let (files, paths) = files_of(paths, sight)?;
    let same = known.filter(|known| known.files == files);
    let schema = match same {
        Some(known) => Arc::clone(&known.schema),
        None => Arc::new(compile(&files)?),
    };
    Ok(FileSchema {
        files,
        paths,
        schema,
    })
}

/// The files at `paths` with what they import, and where all of them lie.
fn files_of(
    paths: &[PathBuf],
    sight: &mut SchemaSight,
) -> Result<(SchemaFiles, BTreeSet<PathBuf>), String> {
    let (mut all, mut lie_at) = (SchemaFiles::default(), BTreeSet::new());
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| format!("{} is not the name of a file", path.display()))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        // Before it is read: what cannot be read may be read when it has changed.
        sight.look(path);
        // As beside a component in that folder whose manifest names the file.
        let manifest = format!("proto = [{}]", toml::Value::from(name));
        let read = proto::read(&folder.join("instances"), Some(&manifest));
        let read = read.map_err(|error| error.to_string())?;
        sight.add(read.sight);
        let files = read.files.unwrap_or_default();
        if let Some(fault) = files.fault {
            return Err(format!("{}: {fault}", folder.display()));
        }
        all.roots.extend(files.roots);
        all.files.extend(files.files);
        lie_at.extend(read.paths.into_values());
    }
    Ok((all, lie_at))
}

fn compile(files: &SchemaFiles) -> Result<ProtoSchema, String> {
    let compiled = ProtoSchema::of_deployment(Some(files), &[]);
    let schema = compiled.map_err(|faults| faults.to_string())?;
    schema.ok_or_else(|| "there is no schema in the files".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_cannot_be_used_leave_what_was_before_and_others_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, method: &str| {
            let text = format!(
                "syntax = \"proto3\"; package t; message A {{}} service {name} {{ rpc {method}(A) returns (A); }}"
            );
            let path = folder.path().join(name).with_extension("proto");
            fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let tables = ["One", "Two"].map(|name| {
            let path = write(name, "Get");
            format!("[services.\"t.{name}\"]\nproto = [{path:?}]\n")
        });
        let config = crate::config::parse("x", &tables.concat(), &BTreeMap::new());
        let (config, _) = config.expect("good");
        let methods = |schemas: &UpstreamSchemas| {
            ["t.One", "t.Two"].map(|name| {
                let schema = schemas.of(&name.into()).expect("described");
                let has = |method| schema.method_info(name, method).is_some();
                ["Get", "Put"].map(has)
            })
        };
        let first = UpstreamSchemas::read(&config, &UpstreamSchemas::default()).expect("good");
        assert_eq!(methods(&first), [[true, false]; 2]);
        write("One", "Put(");
        write("Two", "Put");
        let mut sight = first.sight().clone();
        assert_eq!(sight.changed().len(), 2);
        let (second, refused) = UpstreamSchemas::read_each(&config, &first);
        assert_eq!(methods(&second), [[true, false], [false, true]]);
        let told: Vec<_> = refused.iter().map(ToString::to_string).collect();
        assert!(
            told[0].starts_with("services.t.One.proto: One.proto:1:"),
            "{told:?}"
        );
        assert_eq!(told.len(), 1);
        assert!(UpstreamSchemas::read(&config, &first).is_err());
        // What is as it was is not compiled again.
        let kept = |schemas: &UpstreamSchemas| schemas.of(&"t.One".into()).expect("described");
        assert!(Arc::ptr_eq(&kept(&first), &kept(&second)));
    }
}
