//! The links on a path. Whoever wants to know of every change watches the folder of each of them.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// Every name by which a change of `path` can be told, each in its real folder: the links on it, one
/// after the other, and the end, or the first name that is not there.
///
/// ```text
/// plugins/echo.wasm → ..data/echo.wasm, plugins/..data → ..v7
///   plugins/echo.wasm   plugins/..data   plugins/..v7/echo.wasm
/// ```
pub(crate) fn names(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    names_below(PathBuf::new(), &path)
}

/// As `names` for `path` below `real`, a folder without links on it.
pub(crate) fn names_below(mut real: PathBuf, path: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut rest = VecDeque::new();
    push_front(&mut rest, path);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            real.pop();
            continue;
        }
        let here = real.join(&part);
        let is_end = rest.is_empty();
        match fs::read_link(&here) {
            Ok(target) => {
                names.push(here);
                if names.len() > LINKS_MAX {
                    break;
                }
                if target.has_root() {
                    real = PathBuf::new();
                }
                push_front(&mut rest, &target);
            }
            // No link, or not there: the next part finds out.
            Err(_) if !is_end && (here.parent().is_none() || here.symlink_metadata().is_ok()) => {
                real = here;
            }
            Err(_) => {
                names.push(here);
                break;
            }
        }
    }
    names
}

fn push_front(rest: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        if part != Component::CurDir {
            rest.push_front(part.as_os_str().to_owned());
        }
    }
}

/// As many as Linux follows (path_resolution(7)).
const LINKS_MAX: usize = 40;
