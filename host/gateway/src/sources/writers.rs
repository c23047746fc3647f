//! Who has a file open for writing, though no notice told of it: for what is read at the start, when a
//! writer may have begun before anybody could notice it. Blocks.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{settle::HELD_OPEN_MAX, sight::Identity};

/// Those of `paths` that a process has open for writing and that were written within
/// `HELD_OPEN_MAX`: a writer that rests for longer counts as done. Says nothing of processes that
/// this one may not look at (other users', outside of a container), nor where there is no `/proc`.
pub(crate) fn being_written(paths: impl IntoIterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    let young = paths.into_iter().filter_map(|path| {
        let metadata = fs::metadata(&path).ok()?;
        let age = SystemTime::now().duration_since(metadata.modified().ok()?);
        // A time to come says nothing about how long the file has rested.
        let is_young = age.is_ok_and(|age| age < HELD_OPEN_MAX);
        (is_young && metadata.is_file()).then(|| (path, Identity::of(&metadata)))
    });
    let young: Vec<_> = young.collect();
    if young.is_empty() {
        return BTreeSet::new();
    }
    let written = identities_written(|identity| young.iter().any(|(_, own)| own == identity));
    let written = |identity: &Identity| written.contains(identity);
    let open = young.into_iter().filter(|(_, identity)| written(identity));
    open.map(|(path, _)| path).collect()
}

/// Waits while `path` is being written, and calls `tell` when it has to.
pub(crate) fn wait_until_closed(path: &Path, tell: impl FnOnce()) {
    let is_written = || !being_written([path.to_owned()]).is_empty();
    if !is_written() {
        return;
    }
    tell();
    // Longer than a writer that goes on writing is waited for, too.
    let until = Instant::now() + HELD_OPEN_MAX;
    while is_written() && Instant::now() < until {
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// Files that are open for writing, of those that are `wanted`.
fn identities_written(wanted: impl Fn(&Identity) -> bool) -> Vec<Identity> {
    let numbers = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        names.filter(|name| {
            name.to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        })
    };
    let proc = Path::new("/proc");
    let mut written = Vec::new();
    for process in numbers(proc) {
        let process = proc.join(process);
        for descriptor in numbers(&process.join("fd")) {
            // Processes and descriptors come and go meanwhile.
            let Ok(metadata) = fs::metadata(process.join("fd").join(&descriptor)) else {
                continue;
            };
            let identity = Identity::of(&metadata);
            if wanted(&identity) && is_for_writing(&process.join("fdinfo").join(&descriptor)) {
                written.push(identity);
            }
        }
    }
    written
}

/// Whether an open file's flags, which proc_pid_fdinfo(5) gives in octal, allow writing.
fn is_for_writing(info: &Path) -> bool {
    let info = fs::read_to_string(info).unwrap_or_default();
    let mut lines = info.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
}

/// `O_ACCMODE` of open(2): `O_RDONLY` is 0 in it.
const ACCESS_MODE: u32 = 0o3;
const LOOK_PAUSE: Duration = Duration::from_millis(20);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{File, OpenOptions};

    use super::*;

    #[track_caller]
    fn check(path: &Path, expected: bool) {
        let is_written = !being_written([path.to_owned()]).is_empty();
        assert_eq!(is_written, expected);
    }

    #[test]
    fn a_file_is_being_written_while_it_is_open_for_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("postern.toml");
        check(&path, false);
        let writer = File::create(&path).expect("created");
        check(&path, true);
        let other = folder.path().join("other.toml");
        fs::write(&other, "").expect("written");
        assert_eq!(
            being_written([other, path.clone()]),
            BTreeSet::from([path.clone()])
        );
        drop(writer);
        check(&path, false);
        let reader = File::open(&path).expect("there");
        check(&path, false);
        drop(reader);
        let appending = OpenOptions::new().append(true).open(&path);
        check(&path, true);
        // Found by a link as well, and not when it has rested for long.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        check(&link, true);
        let long_ago = SystemTime::now() - HELD_OPEN_MAX;
        let appending = appending.expect("there");
        appending.set_modified(long_ago).expect("set");
        check(&path, false);
    }

    #[test]
    fn whoever_waits_goes_on_when_it_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("postern.toml");
        let writer = File::create(&path).expect("created");
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || {
                wait_until_closed(&path, || tell.send(()).unwrap_or_default())
            })
        };
        told.recv().expect("it waits");
        drop(writer);
        waiting.join().expect("it goes on");
        wait_until_closed(&path, || unreachable!("nobody writes"));
    }
}
