//! Source in, executable component out; compiled once per content and engine, then mapped.
//!
//! A cache file is native code, so the folder must be the gateway's alone and every file is compared
//! with its own digest before it is mapped. Files are written under another name and renamed, never
//! changed in place: running code is mapped from them.

use std::{
    fs::{self, DirBuilder, File},
    hash::{Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use postern_system::clock;
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{
    digest::Digest,
    engine::{Engines, Flavor},
};

/// Compiled components kept; the one that was not used for longest goes first.
const FILES_MAX: usize = 256;
/// Octets of compiled components kept. 2 GiB holds some sixty of the largest kind (Python).
const BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// A folder of compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    files_max: usize,
    bytes_max: u64,
}

/// A component that can be instantiated, and where it came from.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) flavor: Flavor,
    pub(crate) cached: bool,
}

/// Why the cache folder cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cache folder {folder}: {source}")]
    Io { folder: PathBuf, source: io::Error },
    #[error(
        "cache folder {folder} has mode {mode:03o}: others may write native code into it; make it 0700"
    )]
    Shared { folder: PathBuf, mode: u32 },
    #[error("cache folder {folder} belongs to user {owner}, not to this process's user {user}")]
    Foreign {
        folder: PathBuf,
        owner: u32,
        user: u32,
    },
}

impl Cache {
    /// Opens `folder`, creating it with mode 0700.
    pub(crate) fn open(folder: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io {
            folder: folder.to_owned(),
            source,
        };
        create_private(folder).map_err(io)?;
        check_private(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            files_max: FILES_MAX,
            bytes_max: BYTES_MAX,
        })
    }

    /// The component of `source`: from the cache, or compiled and kept. Takes milliseconds to half a
    /// minute; not for a thread that serves.
    pub(crate) fn compile(
        &self,
        engines: &Engines,
        digest: &Digest,
        source: &[u8],
    ) -> wasmtime::Result<Compiled> {
        if let Some(compiled) = self.load(engines, digest)? {
            return Ok(compiled);
        }
        let engine = engines.of(Flavor::Synchronous)?;
        let (engine, component, flavor) = match Component::from_binary(&engine, source) {
            Ok(component) => (engine, component, Flavor::Synchronous),
            Err(error) if wants_concurrency(&error) => {
                let engine = engines.of(Flavor::Concurrent)?;
                let component = Component::from_binary(&engine, source)?;
                (engine, component, Flavor::Concurrent)
            }
            Err(error) => return Err(error),
        };
        let component = self.kept(&engine, flavor, digest, component);
        Ok(Compiled {
            component,
            flavor,
            cached: false,
        })
    }

    /// The component of `source` for the engine that counts, from the cache where it is there.
    ///
    /// # Errors
    /// What the compiler says; without `source`, that the cache has it no longer.
    pub(crate) fn compile_metered(
        &self,
        engines: &Engines,
        digest: &Digest,
        source: &[u8],
    ) -> wasmtime::Result<Component> {
        if let Some(component) = self.load_one(engines, digest, Flavor::Metered)? {
            return Ok(component);
        }
        let engine = engines.of(Flavor::Metered)?;
        let component = Component::from_binary(&engine, source)?;
        Ok(self.kept(&engine, Flavor::Metered, digest, component))
    }

    /// The component with that digest if it is in the cache, whole.
    pub(crate) fn load(
        &self,
        engines: &Engines,
        digest: &Digest,
    ) -> wasmtime::Result<Option<Compiled>> {
        for flavor in [Flavor::Synchronous, Flavor::Concurrent] {
            if let Some(component) = self.load_one(engines, digest, flavor)? {
                return Ok(Some(Compiled {
                    component,
                    flavor,
                    cached: true,
                }));
            }
        }
        Ok(None)
    }

    fn load_one(
        &self,
        engines: &Engines,
        digest: &Digest,
        flavor: Flavor,
    ) -> wasmtime::Result<Option<Component>> {
        // An engine is not built to find that there is nothing for it.
        if !self.has(digest, flavor) {
            return Ok(None);
        }
        let engine = engines.of(flavor)?;
        let file = self.file(&engine, flavor, digest);
        if !self.is_whole(&file) {
            return Ok(None);
        }
        match map(&engine, &file) {
            Ok(component) => {
                touch(&file);
                Ok(Some(component))
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "cached component refused");
                if !is_of_system(&error) {
                    self.forget(&file);
                }
                Ok(None)
            }
        }
    }

    /// What was kept is mapped, as at the next start: the pages of a file can be let go at need.
    /// Where it cannot be kept, running from memory is as good; only the next start is slower.
    fn kept(
        &self,
        engine: &Engine,
        flavor: Flavor,
        digest: &Digest,
        component: Component,
    ) -> Component {
        match self.keep(engine, flavor, digest, &component) {
            Ok(()) => map(engine, &self.file(engine, flavor, digest)).unwrap_or(component),
            Err(error) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "compiled component not cached");
                component
            }
        }
    }

    fn keep(
        &self,
        engine: &Engine,
        flavor: Flavor,
        digest: &Digest,
        component: &Component,
    ) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let file = self.file(engine, flavor, digest);
        write_beside(&sum_of(&file), Digest::of(&code).to_string().as_bytes())?;
        write_beside(&file, &code)?;
        self.shrink(&file)
    }

    /// Whether the file is there with the content that was written.
    fn is_whole(&self, file: &Path) -> bool {
        let Ok(code) = fs::read(file) else {
            return false;
        };
        let expected = match fs::read_to_string(sum_of(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return false,
            expected => expected.unwrap_or_default(),
        };
        let whole = expected == Digest::of(&code).to_string();
        if !whole {
            tracing::warn!(file = %file.display(), "cached component is damaged, compiling again");
            self.forget(file);
        }
        whole
    }

    fn forget(&self, file: &Path) {
        // A file that cannot be removed is only compared and refused again the next time.
        drop(fs::remove_file(file));
        drop(fs::remove_file(sum_of(file)));
    }

    /// Removes the files used least recently until the bounds hold. `newest` stays.
    fn shrink(&self, newest: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "cwasm")
                && path != newest
            {
                let metadata = fs::metadata(&path)?;
                files.push((
                    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    metadata.len(),
                    path,
                ));
            }
        }
        files.sort();
        let newest_len = fs::metadata(newest)?.len();
        let mut n_files = files.len() + 1;
        let mut n_bytes = newest_len + files.iter().map(|(_, len, _)| len).sum::<u64>();
        for (_, len, path) in files {
            if n_files <= self.files_max && n_bytes <= self.bytes_max {
                break;
            }
            self.forget(&path);
            n_files -= 1;
            n_bytes -= len;
        }
        Ok(())
    }

    /// Whether there is a file for `digest` and any engine of that flavor.
    fn has(&self, digest: &Digest, flavor: Flavor) -> bool {
        let prefix = format!("{digest}-{}-", flavor.name());
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return false;
        };
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
    }

    fn file(&self, engine: &Engine, flavor: Flavor, digest: &Digest) -> PathBuf {
        let mut hasher = EngineHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = Digest::from(hasher.0);
        self.folder.join(format!(
            "{digest}-{}-{}.cwasm",
            flavor.name(),
            engine.short()
        ))
    }
}

/// Feeds what wasmtime hashes about an engine into a digest that means the same in every build.
struct EngineHasher(Sha256);

impl Hasher for EngineHasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Whether an engine without concurrency support refused for want of it.
pub(crate) fn wants_concurrency(error: &wasmtime::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("component model async") || text.contains("concurrency support")
}

/// Maps a compiled component.
#[expect(
    unsafe_code,
    reason = "wasmtime trusts compiled code; only this module writes and maps it"
)]
fn map(engine: &Engine, file: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the code must come from `Component::serialize` unchanged, and the file must not change
    // while it is mapped. The folder was checked to be writable by this user alone, only `keep`
    // writes into it, `is_whole` has just compared the content with the digest written with it, and
    // files are replaced by rename, never written in place. wasmtime itself refuses code of another
    // version or configuration.
    unsafe { Component::deserialize_file(engine, file) }
}

/// Whether the system was at fault, for want of descriptors or memory, rather than what was read.
pub(crate) fn is_of_system(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.is::<io::Error>())
}

/// Writes to a name of its own, makes it durable, then renames it to `path`.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension(format!("{}.new", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Marks a file as used, for `shrink`.
fn touch(file: &Path) {
    // Without the mark the file is only taken for older than it is.
    drop(File::open(file).and_then(|file| file.set_modified(clock::wall())));
}

fn sum_of(file: &Path) -> PathBuf {
    file.with_added_extension("sha256")
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn check_private(folder: &Path) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;

    let io = |source| CacheError::Io {
        folder: folder.to_owned(),
        source,
    };
    let metadata = fs::metadata(folder).map_err(io)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(CacheError::Shared {
            folder: folder.to_owned(),
            mode,
        });
    }
    // A file made here belongs to this process's user, whoever that is.
    let probe = folder.join(format!("{}.probe", std::process::id()));
    let user = File::create(&probe)
        .and_then(|file| file.metadata())
        .map_err(io)?
        .uid();
    fs::remove_file(&probe).map_err(io)?;
    if metadata.uid() != user {
        return Err(CacheError::Foreign {
            folder: folder.to_owned(),
            owner: metadata.uid(),
            user,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), CacheError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A cache of files of one octet, the first of them used longest ago.
    fn filled(folder: &Path, n_files: u64, files_max: usize, bytes_max: u64) -> (Cache, PathBuf) {
        let mut file = PathBuf::new();
        for number in 0..n_files {
            file = folder.join(format!("{number}.cwasm"));
            fs::write(&file, "x").unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
            File::open(&file).unwrap().set_modified(used).unwrap();
        }
        (
            Cache {
                folder: folder.to_owned(),
                files_max,
                bytes_max,
            },
            file,
        )
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_cache_is_left_alone_and_one_file_more_costs_the_oldest() {
        let folder = tempfile::TempDir::new().unwrap();
        let (cache, newest) = filled(folder.path(), 3, 3, 100);
        cache.shrink(&newest).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
        let (cache, newest) = filled(folder.path(), 4, 3, 100);
        cache.shrink(&newest).unwrap();
        assert_eq!(names(folder.path()), ["1.cwasm", "2.cwasm", "3.cwasm"]);
    }

    #[test]
    fn octets_are_bounded_too_and_the_newest_file_stays() {
        let folder = tempfile::TempDir::new().unwrap();
        let (cache, newest) = filled(folder.path(), 3, 100, 2);
        cache.shrink(&newest).unwrap();
        assert_eq!(names(folder.path()), ["1.cwasm", "2.cwasm"]);
        let (cache, _) = filled(folder.path(), 3, 100, 0);
        cache.shrink(&folder.path().join("0.cwasm")).unwrap();
        assert_eq!(names(folder.path()), ["0.cwasm"]);
    }
}
