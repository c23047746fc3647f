//! Puts an artifact into the plugin folder: every file is written beside its place, then all are renamed,
//! the component last.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::artifact::Artifact;
use crate::{
    plugins::{
        folder::{files, signature_of},
        origin,
    },
    proto::SCHEMA_ENDS,
};

/// What becomes of a manifest that lies there and is not that of the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ManifestChoice {
    /// It stays.
    Keep,
    /// That of the artifact takes its place.
    Replace,
}

/// What was done in the folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    pub written: Vec<PathBuf>,
    /// Manifests of before.
    pub kept: Vec<PathBuf>,
    /// Signatures of what was replaced.
    pub removed: Vec<PathBuf>,
}

/// Why the folder is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutFault {
    #[error("{} is there and is not that of the artifact", .0.display())]
    OtherManifest(PathBuf),
    #[error("{} is there, and the schema of the artifact is to lie beside it as .{end}", there.display())]
    OtherSchema { there: PathBuf, end: &'static str },
    #[error("{} is there and cannot be read: {source}", path.display())]
    Unread { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}", path.display())]
    Unwritten { path: PathBuf, source: io::Error },
}

/// Puts `artifact`, which came from `reference`, into `folder` as the plugin `name`, where its component lies
/// already, or else beside the others.
///
/// # Errors
/// Why not. Until all that is to come is written beside its place nothing has changed.
pub(crate) fn put(
    folder: &Path,
    name: &str,
    (artifact, reference): (&Artifact, &str),
    choice: Option<ManifestChoice>,
) -> Result<Placed, PutFault> {
    let [flat, flat_manifest, nested, nested_manifest] = files(folder, name);
    let (component, manifest) = match !flat.exists() && nested.exists() {
        true => (nested, nested_manifest),
        false => (flat, flat_manifest),
    };
    let mut placed = Placed::default();
    let there = match fs::read(&manifest) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // What it says is not known, and it is the operator's.
        Err(source) => {
            let path = manifest;
            return Err(PutFault::Unread { path, source });
        }
    };
    let differs = |octets: &Vec<u8>| there.as_ref().is_some_and(|there| there != octets);
    let takes_manifest = match (&artifact.manifest, choice) {
        (Some(octets), None) if differs(octets) => {
            return Err(PutFault::OtherManifest(manifest));
        }
        (Some(octets), Some(ManifestChoice::Keep)) => !differs(octets),
        (Some(_), None | Some(ManifestChoice::Replace)) => true,
        (None, _) => false,
    };
    if !takes_manifest && there.is_some() {
        placed.kept.push(manifest.clone());
    }
    let of_schema = schema_files(&component, artifact)?;
    let signatures = [&component, &manifest].map(|file| signature_of(file));
    let [component_signature, manifest_signature] = signatures;
    let own = |octets: &Option<Vec<u8>>| octets.clone().filter(|_| takes_manifest);
    let note = origin::path_of(&component);
    let files = [
        (
            manifest_signature,
            own(&artifact.manifest_signature),
            takes_manifest,
        ),
        (manifest, own(&artifact.manifest), false),
    ];
    let last = [
        (
            component_signature,
            artifact.component_signature.clone(),
            true,
        ),
        (
            note,
            Some(origin::note(reference, &artifact.component)),
            false,
        ),
        (component, Some(artifact.component.clone()), false),
    ];
    let files: Vec<_> = files.into_iter().chain(of_schema).chain(last).collect();
    rename_all(&files, placed)
}

/// A file with what it is to have, and whether it goes where that is nothing.
type FileToPut = (PathBuf, Option<Vec<u8>>, bool);

/// The schema beside `component` and its signature. It is the component's, and replaced with it; what lies there
/// stays where the artifact has none.
fn schema_files(component: &Path, artifact: &Artifact) -> Result<Vec<FileToPut>, PutFault> {
    let Some(schema) = &artifact.schema else {
        return Ok(Vec::new());
    };
    let path = component.with_extension(schema.end);
    // One with another end, or a folder, would be there as well.
    let others = SCHEMA_ENDS.map(|end| component.with_extension(end));
    let mut others = others.into_iter();
    let other = others.find(|other| other.is_dir() || (*other != path && other.exists()));
    if let Some(there) = other {
        let end = schema.end;
        return Err(PutFault::OtherSchema { there, end });
    }
    Ok(vec![
        (signature_of(&path), schema.signature.clone(), true),
        (path, Some(schema.octets.clone()), false),
    ])
}

/// Writes every file of `files` that has octets beside its place, and then renames them in order. What has none
/// goes, where it says so.
fn rename_all(files: &[FileToPut], mut placed: Placed) -> Result<Placed, PutFault> {
    let mut beside = Vec::new();
    for (path, octets, _) in files {
        if let Some(octets) = octets {
            let written = write_beside(path, octets);
            let written = written.map_err(|source| {
                discard(&beside);
                let path = path.clone();
                PutFault::Unwritten { path, source }
            })?;
            beside.push((written, path.clone()));
        }
    }
    for (path, octets, is_stale) in files {
        // A signature of what was there before says nothing of what comes.
        if octets.is_none() && *is_stale && fs::remove_file(path).is_ok() {
            placed.removed.push(path.clone());
        }
    }
    for (written, path) in &beside {
        if let Err(source) = fs::rename(written, path) {
            discard(&beside);
            let path = path.clone();
            return Err(PutFault::Unwritten { path, source });
        }
        placed.written.push(path.clone());
    }
    Ok(placed)
}

/// A name that no plugin has, in the same folder.
fn write_beside(path: &Path, octets: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}~", std::process::id()));
    // Left by a process of the same number that was killed.
    drop(fs::remove_file(&beside));
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).open(&beside);
    let written = opened.and_then(|mut file| file.write_all(octets).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(beside),
        Err(error) => {
            // What was not written is of no use to anybody.
            drop(fs::remove_file(&beside));
            Err(error)
        }
    }
}

fn discard(beside: &[(PathBuf, PathBuf)]) {
    for (written, _) in beside {
        // One that was renamed is not there.
        drop(fs::remove_file(written));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::oci::artifact::ArtifactSchema;

    fn artifact(manifest: Option<&str>, signature: Option<&str>) -> Artifact {
        let octets = |text: &str| text.as_bytes().to_vec();
        Artifact {
            digest: String::new(),
            component: octets("component"),
            manifest: manifest.map(octets),
            schema: None,
            component_signature: signature.map(octets),
            manifest_signature: signature.map(octets),
        }
    }

    /// Every file below `folder` with its text.
    fn found(folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).expect("there").flatten();
        let is_note = |name: &str| name == ".users.origin";
        let files = entries.filter(|entry| {
            entry.path().is_file() && !is_note(&entry.file_name().to_string_lossy())
        });
        let read = |path: PathBuf| fs::read_to_string(path).expect("readable");
        files
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, read(entry.path()))
            })
            .collect()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, text).expect("written");
        }
        folder
    }

    #[track_caller]
    fn check(folder: &Path, expected: &[(&str, &str)]) {
        let expected = expected.iter();
        let expected = expected.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        assert_eq!(found(folder), expected.collect());
    }

    #[test]
    fn every_part_gets_its_name_and_nothing_is_left_beside() {
        let folder = folder(&[]);
        let artifact = artifact(Some("m"), Some("s"));
        let placed =
            put(folder.path(), "users", (&artifact, "oci://r/users"), None).expect("placed");
        assert_eq!(placed.written.len(), 5, "and where it came from");
        assert_eq!(
            placed.written.last(),
            Some(&folder.path().join("users.wasm"))
        );
        let expected = [
            ("users.toml", "m"),
            ("users.toml.minisig", "s"),
            ("users.wasm", "component"),
            ("users.wasm.minisig", "s"),
        ];
        check(folder.path(), &expected);
    }

    #[test]
    fn a_manifest_of_the_operators_own_is_replaced_only_when_that_is_said() {
        let own = [("users.toml", "own"), ("users.toml.minisig", "old")];
        let artifact = artifact(Some("m"), None);
        let at = folder(&own);
        let fault =
            put(at.path(), "users", (&artifact, "oci://r/users"), None).expect_err("another");
        assert!(fault.to_string().contains("users.toml is there"), "{fault}");
        check(at.path(), &own);
        let placed = put(
            at.path(),
            "users",
            (&artifact, "oci://r/users"),
            Some(ManifestChoice::Keep),
        );
        assert_eq!(placed.expect("placed").kept.len(), 1);
        check(at.path(), &[own[0], own[1], ("users.wasm", "component")]);
        let placed = put(
            at.path(),
            "users",
            (&artifact, "oci://r/users"),
            Some(ManifestChoice::Replace),
        );
        assert_eq!(placed.expect("placed").removed.len(), 1, "its signature");
        check(
            at.path(),
            &[("users.toml", "m"), ("users.wasm", "component")],
        );
    }

    #[test]
    fn a_signature_of_the_component_before_goes_with_it() {
        let at = folder(&[("users.wasm", "old"), ("users.wasm.minisig", "old")]);
        put(
            at.path(),
            "users",
            (&artifact(None, None), "oci://r/users"),
            None,
        )
        .expect("placed");
        check(at.path(), &[("users.wasm", "component")]);
    }

    #[test]
    fn a_schema_is_replaced_with_its_component_and_no_other_lies_beside_it() {
        let with = |signature: Option<&str>| {
            let octets = |text: &str| text.as_bytes().to_vec();
            let schema = ArtifactSchema {
                end: "proto",
                octets: octets("schema"),
                signature: signature.map(octets),
            };
            Artifact {
                schema: Some(schema),
                ..artifact(None, None)
            }
        };
        let at = folder(&[("users.proto", "old"), ("users.proto.minisig", "old")]);
        let of = |artifact: &Artifact| put(at.path(), "users", (artifact, "oci://r/users"), None);
        of(&with(Some("s"))).expect("placed");
        let [component, schema] = [("users.wasm", "component"), ("users.proto", "schema")];
        check(
            at.path(),
            &[component, schema, ("users.proto.minisig", "s")],
        );
        let placed = of(&with(None)).expect("placed");
        assert_eq!(placed.removed.len(), 1, "a signature of what was replaced");
        check(at.path(), &[component, schema]);
        of(&artifact(None, None)).expect("placed");
        check(at.path(), &[component, schema]);
        for (there, other) in [
            ("chat.binpb", "chat.binpb"),
            ("chat.proto/a.proto", "chat.proto"),
        ] {
            let at = folder(&[(there, "own")]);
            let placed = put(at.path(), "chat", (&with(None), "oci://r/chat"), None);
            let told = placed.expect_err("two of them").to_string();
            let expected = format!("{} is there, and", at.path().join(other).display());
            assert!(told.starts_with(&expected), "{told}");
            assert!(!at.path().join("chat.wasm").exists());
        }
    }

    #[test]
    fn a_component_that_lies_in_its_own_folder_is_replaced_there() {
        let at = folder(&[("users/users.wasm", "old")]);
        put(
            at.path(),
            "users",
            (&artifact(Some("m"), None), "oci://r/users"),
            None,
        )
        .expect("placed");
        check(at.path(), &[]);
        let nested = at.path().join("users");
        check(&nested, &[("users.toml", "m"), ("users.wasm", "component")]);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_not_replaced() {
        let at = folder(&[]);
        fs::create_dir(at.path().join("users.toml")).expect("made");
        for choice in [
            None,
            Some(ManifestChoice::Keep),
            Some(ManifestChoice::Replace),
        ] {
            let artifact = artifact(Some("m"), None);
            let put = put(at.path(), "users", (&artifact, "oci://r/users"), choice);
            let fault = put.expect_err("nobody knows what it says").to_string();
            assert!(
                fault.contains("users.toml is there and cannot be read"),
                "{fault}"
            );
        }
        check(at.path(), &[]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let at = folder(&[]);
        let gone = at.path().join("gone");
        let fault = put(
            &gone,
            "users",
            (&artifact(None, None), "oci://r/users"),
            None,
        )
        .expect_err("no folder");
        assert!(fault.to_string().contains("cannot be written"), "{fault}");
    }
}
