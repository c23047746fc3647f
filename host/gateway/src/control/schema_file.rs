//! Schemas of a plugin when it is deployed: the file that its manifest names, and whether all that it
//! tells can be used.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path},
    sync::Arc,
};

use postern_core::{
    Text,
    service::{ServiceInfo, TypeSchemas},
};
use serde_json::{Map, Value as Json};
use tokio::task::spawn_blocking;

use crate::schema;

/// The schemas of the file `name` in `folder`; none where no file is named.
///
/// # Errors
/// Why it cannot be read, or used.
pub(super) async fn read(folder: &Path, name: Option<&Path>) -> Result<Arc<TypeSchemas>, String> {
    let Some(name) = name else {
        return Ok(Arc::default());
    };
    let refused = |reason: String| format!("manifest: schemas: {}: {reason}", name.display());
    let is_below = name
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_below {
        let reason = "it is not in the plugin folder; write a name such as \"users.schemas.json\"";
        return Err(refused(reason.to_owned()));
    }
    let path = folder.join(name);
    let reading = spawn_blocking(move || {
        let text = read_bounded(&path).map_err(|error| error.to_string())?;
        parse(&text)
    });
    let read = reading.await;
    let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    read.map(Arc::new).map_err(refused)
}

/// Whether the schemas of all `services` can be used.
///
/// # Errors
/// The name of the first that cannot, and why.
pub(super) async fn check(services: &[ServiceInfo]) -> Result<(), String> {
    let all: Vec<_> = services
        .iter()
        .filter(|service| !service.schemas.is_empty())
        .map(|service| (service.name.clone(), Arc::clone(&service.schemas)))
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    let checking = spawn_blocking(move || {
        all.iter().try_for_each(|(service, schemas)| {
            let checked = schema::check_all(schemas);
            checked.map_err(|reason| format!("schemas: service {service}: {reason}"))
        })
    });
    let checked = checking.await;
    checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it is longer than {FILE_BYTES_MAX} octets");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<TypeSchemas, String> {
    let types: Map<String, Json> = serde_json::from_str(text)
        .map_err(|error| format!("it is no object of schemas by names of types: {error}"))?;
    let types = types.into_iter();
    let schemas = types.map(|(name, schema)| (Text::from(name), Text::from(schema.to_string())));
    let schemas: TypeSchemas = schemas.collect();
    schema::check_all(&schemas)?;
    Ok(schemas)
}

/// As for what a component tells.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_of(content: &str, name: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.json"), content).expect("written");
        let schemas = read(folder.path(), Some(Path::new(name))).await?;
        Ok(schemas.keys().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn a_file_has_schemas_by_names_of_types() {
        let good = "{\"A\":{\"type\":\"object\"},\"B\":true}";
        assert_eq!(
            read_of(good, "a.json").await,
            Ok(vec!["A".into(), "B".into()])
        );
        for (content, name, why) in [
            (
                "[]",
                "a.json",
                "it is no object of schemas by names of types",
            ),
            (
                "{\"A\":7}",
                "a.json",
                "the schema of type A is neither an object",
            ),
            (
                "{\"A\":{\"type\":\"text\"}}",
                "a.json",
                "the schema of type A cannot be used",
            ),
            (good, "b.json", "No such file"),
            (good, "../a.json", "it is not in the plugin folder"),
            (good, "/etc/passwd", "it is not in the plugin folder"),
        ] {
            let refused = read_of(content, name).await.expect_err("refused");
            assert!(refused.contains(why), "{refused}");
            assert!(
                refused.starts_with(&format!("manifest: schemas: {name}: ")),
                "{refused}"
            );
        }
        let long = format!("{{\"A\":{{\"title\":\"{}\"}}}}", "x".repeat(1024 * 1024));
        let refused = read_of(&long, "a.json").await.expect_err("refused");
        assert!(
            refused.ends_with("it is longer than 1048576 octets"),
            "{refused}"
        );
    }
}
