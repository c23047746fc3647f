//! Packs the SDKs and the WIT into the binary, so that plugins are made without a checkout. What is
//! WebAssembly as text is packed as octets, too.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let manifest = folder("CARGO_MANIFEST_DIR")?;
    let root = manifest.join("../..").canonicalize()?;
    let out = folder("OUT_DIR")?;
    let mut files = Vec::new();
    for packed in ["guest-sdk", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(packed).display());
        collect(&root.join(packed), &mut files)?;
    }
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts.join("/");
        list.push_str(&format!("({name:?}, include_bytes!({file:?})),\n"));
        if let Some(name) = name.strip_suffix(".wat") {
            let octets = wat::parse_file(file).map_err(io::Error::other)?;
            let made = out.join(format!("{}.wasm", name.replace('/', "-")));
            fs::write(&made, octets)?;
            list.push_str(&format!("(\"{name}.wasm\", include_bytes!({made:?})),\n"));
        }
    }
    list.push_str("]\n");
    fs::write(out.join("packed.rs"), list)
}

/// Regular files only: a link leads to what is packed under its own name.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let kind = entry.file_type()?;
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && !LEFT_OUT.contains(&name) {
            collect(&entry.path(), files)?;
        } else if kind.is_file() && !LEFT_OUT_ENDS.iter().any(|end| name.ends_with(end)) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn folder(variable: &str) -> io::Result<PathBuf> {
    let missing = || io::Error::other(format!("cargo sets no {variable}"));
    env::var_os(variable).map(PathBuf::from).ok_or_else(missing)
}

/// Tests of the SDKs themselves, and what runtimes, compilers and package managers leave behind.
const LEFT_OUT: [&str; 6] = [
    "tests",
    "test",
    "target",
    "node_modules",
    "__pycache__",
    "dist",
];
const LEFT_OUT_ENDS: [&str; 4] = ["_test.go", ".pyc", ".wasm", ".lock"];
