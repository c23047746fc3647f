//! Whether a component is made of more than the files in its project's folder: packages, which a package
//! manager puts there or finds above, and files of other folders. Told by words, and in doubt it is: a build
//! too many does no harm. Python's packages of pyproject.toml are not more: a build installs them into one
//! folder, in which it is looked what they are (`content`).

use std::{fs, io, path::Path};

use serde_json::Value as Json;

use super::language::Language;

/// Whether a project in `folder` asks for packages, or has some, of which nobody knows what they are.
///
/// # Errors
/// Whatever the system says of the project's file.
pub(super) fn has_packages(folder: &Path, language: Language) -> io::Result<bool> {
    let file = fs::read_to_string(folder.join(language.project_file()))?;
    Ok(match language {
        // It may name files of other folders, by words that only pip knows.
        Language::Python => folder.join("requirements.txt").exists(),
        Language::JavaScript => {
            let mut above = folder.ancestors().skip(1);
            names_packages_of_npm(&file)
                || holds_others(&folder.join("node_modules"), &OWN_OF_NODE)
                || above.any(|folder| folder.join("node_modules").exists())
        }
        // What go.mod names has its hash in go.sum, and C has no packages.
        Language::Go | Language::C | Language::Rust => false,
    })
}

fn names_packages_of_npm(file: &str) -> bool {
    let package: Json = serde_json::from_str(file).unwrap_or_default();
    let fields = [
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
    ];
    let mut named = fields.iter().filter_map(|field| package.get(field));
    named.any(|named| named.as_object().is_some_and(|named| !named.is_empty()))
}

/// Whether a folder has an entry beside `own`; one that is not there has none.
fn holds_others(folder: &Path, own: &[&str]) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names = entries.filter_map(Result::ok).map(|it| it.file_name());
    names.any(|name| !own.iter().any(|own| name == *own))
}

/// Whether a file at `path` in a project names files outside of the project's folder.
pub(super) fn leaves(path: &Path, content: &[u8]) -> bool {
    let end = path.extension().unwrap_or_default();
    if !ENDS.iter().any(|known| end == *known) {
        return false;
    }
    let text = String::from_utf8_lossy(content);
    let is_settings = path == Path::new(Language::Python.project_file());
    let text = match is_settings {
        // What follows is for other tools, such as the runner of unit tests.
        true => text.split("[tool.").next().unwrap_or_default(),
        false => &text,
    };
    let n_folders = path.components().count().saturating_sub(1);
    let mut lines = text.lines();
    lines.any(|line| steps_up(line) > n_folders || names_absolute_path(line))
}

/// How often a line says "the folder above". Three dots are another thing in every language.
fn steps_up(line: &str) -> usize {
    let runs = line.split(|c: char| c != '.');
    runs.filter(|dots| dots.len() == 2).count()
}

/// Whether a line that names a file or a module names one from the root.
fn names_absolute_path(line: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    has(&FROM_ROOT) || has(&WORDS) && has(&QUOTED_FROM_ROOT)
}

/// What the SDK and npm put into `node_modules` of a project without packages.
const OWN_OF_NODE: [&str; 2] = ["postern", ".package-lock.json"];
/// Of files that name others.
const ENDS: [&str; 18] = [
    "c", "h", "inc", "go", "mod", "py", "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx",
    "json", "toml", "txt", "s",
];
/// As go.mod replaces a module, and as package managers name a folder.
const FROM_ROOT: [&str; 2] = ["=> /", "file:/"];
const WORDS: [&str; 8] = [
    "import", "from", "require", "extends", "include", "embed", "incbin", "sys.path",
];
const QUOTED_FROM_ROOT: [&str; 4] = ["\"/", "'/", "`/", "</"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_with_packages_is_made_of_more_than_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("project");
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        let has = |language| has_packages(&folder, language).expect("readable");
        write("package.json", r#"{"dependencies":{}}"#);
        write("node_modules/postern/package.json", "{}");
        assert!(!has(Language::JavaScript));
        write("package.json", r#"{"devDependencies":{"a":"1"}}"#);
        assert!(has(Language::JavaScript));
        write("package.json", "{}");
        write("node_modules/a/package.json", "{}");
        assert!(has(Language::JavaScript), "nobody named it");

        write("pyproject.toml", "[project]\ndependencies = [\"a\"]\n");
        write(".postern/build/packages/a/__init__.py", "");
        assert!(!has(Language::Python), "what they are is known");
        write("requirements.txt", "-r /b\n");
        assert!(has(Language::Python));
    }

    #[track_caller]
    fn check(path: &str, text: &str, expected: bool) {
        assert_eq!(leaves(Path::new(path), text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn files_above_the_folder_are_told_by_the_depth_of_who_names_them() {
        check("src/plugin.c", "#include \"../own.h\"\n", false);
        check("src/plugin.c", "#include \"../../other.h\"\n", true);
        check("src/plugin.c", "#include \"/other/other.h\"\n", true);
        check("src/a/b.ts", "import { c } from \"../../c.ts\";", false);
        check("src/a.ts", "import { c } from \"../../c.ts\";", true);
        check("index.js", "import c from '..';", true);
        check("index.js", "const all = [...some, ...others];", false);
        check("index.js", "on(\"/users\", () => users);", false);
        check("index.js", "import a from \"/a.js\";", true);
        check("tsconfig.json", "{\"extends\": \"../base.json\"}", true);
        check("go.mod", "replace a.org/b => ./b", false);
        check("go.mod", "replace a.org/b => ../b", true);
        check("go.mod", "replace a.org/b => /b", true);
        check("plugin.py", "sys.path.append(\"/b\")", true);
        check("page.html", "<a href=\"../\">", false);
        let of_tools = "[tool.pytest.ini_options]\npythonpath = [\"../sdk\"]\n";
        check("pyproject.toml", of_tools, false);
        check("requirements.txt", "./../b", true);
    }
}
