//! What files say of services elsewhere: `proto` of `[services.NAME]`. Read and compiled before a
//! configuration is in force, so that one whose files cannot be used changes nothing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use postern_core::Text;

use crate::{
    config::Config,
    proto::{self, ProtoSchema, SchemaFiles},
};

/// Schemas by service; what holds for all services stands under no name.
#[derive(Debug, Default)]
pub(crate) struct UpstreamSchemas(BTreeMap<Text, FileSchema>);

/// A schema and what it was compiled from.
#[derive(Debug, Clone)]
struct FileSchema {
    files: SchemaFiles,
    schema: Arc<ProtoSchema>,
}

/// Why the files of a service cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("services.{service}.proto: {reason}")]
pub(crate) struct UpstreamSchemaError {
    service: Text,
    reason: String,
}

impl UpstreamSchemas {
    /// Those that `config` names. What `before` has of the same files stays. Blocks.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub(crate) fn read(config: &Config, before: &Self) -> Result<Self, UpstreamSchemaError> {
        let default = (Text::default(), &config.services.default.proto);
        let own = config.services.own();
        let own = own.map(|(name, service)| (Text::from(name), &service.proto));
        let mut schemas = BTreeMap::new();
        for (service, paths) in std::iter::once(default).chain(own) {
            if paths.is_empty() {
                continue;
            }
            let refused = |reason| UpstreamSchemaError {
                service: match service.is_empty() {
                    true => Text::from_static("default"),
                    false => service.clone(),
                },
                reason,
            };
            let files = files_of(paths).map_err(refused)?;
            let known = before.0.get(&service).filter(|known| known.files == files);
            let schema = match known {
                Some(known) => Arc::clone(&known.schema),
                None => Arc::new(compile(&files).map_err(refused)?),
            };
            let mut declared = schema.services().iter();
            let is_described = service.is_empty() || declared.any(|info| info.name == service);
            if !is_described && paths != &config.services.default.proto {
                return Err(refused(format!("no file declares a service {service}")));
            }
            schemas.insert(service, FileSchema { files, schema });
        }
        Ok(Self(schemas))
    }

    /// What files say of `service`.
    pub(super) fn of(&self, service: &Text) -> Option<Arc<ProtoSchema>> {
        let found = self
            .0
            .get(service)
            .or_else(|| self.0.get(&Text::default()))?;
        let mut declared = found.schema.services().iter();
        let is_described = declared.any(|info| info.name == *service);
        is_described.then(|| Arc::clone(&found.schema))
    }
}

/// The files at `paths` with what they import.
fn files_of(paths: &[PathBuf]) -> Result<SchemaFiles, String> {
    let mut all = SchemaFiles::default();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| format!("{} is not the name of a file", path.display()))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        // As beside a component in that folder whose manifest names the file.
        let manifest = format!("proto = [{}]", toml::Value::from(name));
        let read = proto::read(&folder.join("instances"), Some(&manifest));
        let read = read.map_err(|error| error.to_string())?;
        let files = read.files.unwrap_or_default();
        if let Some(fault) = files.fault {
            return Err(format!("{}: {fault}", folder.display()));
        }
        all.roots.extend(files.roots);
        all.files.extend(files.files);
    }
    Ok(all)
}

fn compile(files: &SchemaFiles) -> Result<ProtoSchema, String> {
    let compiled = ProtoSchema::of_deployment(Some(files), &[]);
    let schema = compiled.map_err(|faults| faults.to_string())?;
    schema.ok_or_else(|| "there is no schema in the files".to_owned())
}
