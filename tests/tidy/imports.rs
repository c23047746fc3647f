//! The structure that imports give each crate of the host: modules, layers, and circles.
//!
//! A file is a node. It points to the files that define what it imports or names by a path; `mod` lines
//! and re-exports point nowhere, and who imports a re-exported name points to the file that defines it.
//! Code of tests does not count.
//!
//! Two files that know each other, as a type and its parts do, are no circle, and neither is a type with
//! several parts that know only it. Where a way leads from a file through two others back to it, all
//! files on such ways are one circle. Layers are the files on the longest way down, those that reach
//! each other taken as one.

use std::collections::BTreeMap;

use crate::{
    Source, assert_none, figure,
    graph::{Blocks, Components, Graph, restricted},
    items::{self, Import, Items, NamedPath},
    sources,
};

/// Each crate, and the layers that it promises not to pass where it promises any.
const CRATES: [(&str, Option<usize>); 5] = [
    ("host/core", None),
    ("host/system", None),
    ("host/net", None),
    ("host/wasm", Some(8)),
    ("host/gateway", None),
];

/// A circle of more files is refused.
const CIRCLE_FILES_MAX: usize = 2;

#[test]
fn imports_make_no_circle_and_no_more_layers_than_promised() {
    let mut faults = Vec::new();
    for (krate, layers_max) in CRATES {
        let found = Structure::of(&sources(&format!("{krate}/src"), &[".rs"]));
        let (n_layers, n_circles) = (found.layers.len(), found.circles.len());
        figure(&format!(
            "imports of {krate}: {} modules, {n_layers} layers, {n_circles} circles of more than \
             {CIRCLE_FILES_MAX} files",
            found.n_modules,
        ));
        if n_circles > 0 {
            faults.push(format!("{krate}: {n_circles} circles\n{found}"));
        }
        if let Some(limit) = layers_max.filter(|limit| n_layers > *limit) {
            faults.push(format!(
                "{krate}: {n_layers} layers, the limit is {limit}\n{found}"
            ));
        }
    }
    assert_none(&faults);
}

/// What imports make of a crate.
#[derive(Debug, PartialEq, Eq)]
struct Structure {
    n_modules: usize,
    /// The longest way down, a circle as one step.
    layers: Vec<String>,
    /// The files of each, with what they import from the same circle.
    circles: Vec<Graph>,
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "  longest way down:")?;
        for layer in &self.layers {
            writeln!(f, "    {layer}")?;
        }
        for circle in &self.circles {
            writeln!(f, "  circle of {}:", circle.len())?;
            for (file, imported) in circle {
                let imported: Vec<_> = imported.iter().map(String::as_str).collect();
                writeln!(f, "    {file} imports {}", imported.join(", "))?;
            }
        }
        Ok(())
    }
}

impl Structure {
    /// Of the crate whose files these are; paths end in `src/...`.
    fn of(files: &[Source]) -> Self {
        let graph = Modules::of(files).graph();
        let components = Components::of(&graph);
        let circles = components.members.iter().flat_map(|members| {
            let within = restricted(&graph, members);
            let circles = Blocks::of(&within).into_iter();
            let circles = circles.filter(|files| files.len() > CIRCLE_FILES_MAX);
            circles.map(move |files| restricted(&within, &files))
        });
        Self {
            n_modules: graph.len(),
            layers: components.longest_way_down(&graph),
            circles: circles.collect(),
        }
    }
}

/// All modules of a crate. The first is its root.
struct Modules(Vec<Module>);

struct Module {
    file: String,
    parent: usize,
    children: BTreeMap<String, usize>,
    items: Items,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(usize),
    /// An item that the module defines.
    Item(usize),
}

/// How many re-exports a name may pass through. More are a name that leads to itself.
const HOPS_MAX: usize = 12;

impl Modules {
    fn of(files: &[Source]) -> Self {
        let texts: BTreeMap<_, _> = files
            .iter()
            .filter_map(|file| {
                let (_, path) = file.path.split_once("src/")?;
                Some((path, file.text.as_str()))
            })
            .collect();
        let root = texts.get("lib.rs").expect("a crate has a root");
        let mut modules = Self(Vec::new());
        modules.add("lib.rs", "", 0, items::scan(root), &texts);
        modules
    }

    /// Adds the module that stands in `file` and whose children's files lie in `folder`.
    fn add(
        &mut self,
        file: &str,
        folder: &str,
        parent: usize,
        mut items: Items,
        texts: &BTreeMap<&str, &str>,
    ) -> usize {
        let index = self.0.len();
        let children = std::mem::take(&mut items.children);
        self.0.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            items,
        });
        for child in children {
            let below = format!("{folder}{}/", child.name);
            let added = match child.content {
                Some(items) => self.add(file, &below, index, items, texts),
                None => {
                    let names = [
                        format!("{folder}{}.rs", child.name),
                        format!("{below}mod.rs"),
                    ];
                    let found = names
                        .iter()
                        .find_map(|name| texts.get_key_value(name.as_str()));
                    let (name, text) = found.unwrap_or_else(|| panic!("{names:?} of {file}"));
                    self.add(name, &below, index, items::scan(text), texts)
                }
            };
            if let Some(module) = self.0.get_mut(index) {
                module.children.insert(child.name, added);
            }
        }
        index
    }

    fn at(&self, index: usize) -> &Module {
        self.0.get(index).expect("indices come from `add`")
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (index, module) in self.0.iter().enumerate().filter(|(i, _)| *i > 0) {
            let imports = module.items.imports.iter().filter(|i| !i.is_public);
            let imported = imports.filter_map(|import| match import.name.as_str() {
                "*" => None,
                _ => self.item(index, &import.path),
            });
            let named = module.items.paths.iter();
            let named = named.filter_map(|path| self.named(index, path));
            let targets: Vec<_> = imported.chain(named).collect();
            let edges = graph.entry(module.file.clone()).or_default();
            for target in targets {
                // What the crate's root defines is below everything.
                let file = &self.at(target).file;
                if target > 0 && *file != module.file {
                    edges.insert(file.clone());
                }
            }
        }
        graph
    }

    /// The module that defines what a path in code names.
    fn named(&self, from: usize, path: &NamedPath) -> Option<usize> {
        if let [name] = path.parts.as_slice() {
            // One word may be a variable, unless it is written like a type, or called.
            let is_type = name.starts_with(char::is_uppercase);
            return match self.lookup(from, name, false, HOPS_MAX)? {
                Target::Item(module) if is_type || path.is_called => Some(module),
                Target::Item(_) | Target::Module(_) => None,
            };
        }
        self.item(from, &path.parts)
    }

    fn item(&self, from: usize, path: &[String]) -> Option<usize> {
        match self.resolve(from, path, HOPS_MAX)? {
            Target::Item(module) => Some(module),
            Target::Module(_) => None,
        }
    }

    fn resolve(&self, from: usize, path: &[String], hops: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.at(from).parent),
            name => self.lookup(from, name, !rest.is_empty(), hops)?,
        };
        while let (Target::Module(module), Some((name, after))) = (at, rest.split_first()) {
            at = match name.as_str() {
                "super" => Target::Module(self.at(module).parent),
                name => self
                    .lookup(module, name, !after.is_empty(), hops)
                    // What a macro defines.
                    .unwrap_or(Target::Item(module)),
            };
            rest = after;
        }
        Some(at)
    }

    /// What `name` is in a module; a module rather than an item where more of the path follows.
    fn lookup(&self, from: usize, name: &str, is_inner: bool, hops: usize) -> Option<Target> {
        let module = self.at(from);
        let child = module
            .children
            .get(name)
            .map(|child| Target::Module(*child));
        let defined = module.items.definitions.iter().any(|d| d.name == name);
        let defined = defined.then_some(Target::Item(from));
        let own = match is_inner {
            true => child.or(defined),
            false => defined.or(child),
        };
        let hops = hops.checked_sub(1)?;
        let leads = |import: &&Import| import.name == name && !import.path.is_empty();
        let imported = || {
            let imports = module.items.imports.iter().filter(leads);
            let targets: Vec<_> = imports
                // A name that stands for itself is another crate.
                .filter(|import| import.path.first().is_none_or(|first| first != name))
                .filter_map(|import| self.resolve(from, &import.path, hops))
                .collect();
            let is_wanted = |target: &&Target| matches!(target, Target::Module(_)) == is_inner;
            targets
                .iter()
                .find(is_wanted)
                .or_else(|| targets.first())
                .copied()
        };
        let through_globs = || {
            let globs = module.items.imports.iter().filter(|i| i.name == "*");
            globs
                .filter_map(|glob| self.resolve(from, &glob.path, hops))
                .find_map(|target| match target {
                    Target::Module(module) => self.lookup(module, name, is_inner, hops),
                    Target::Item(_) => None,
                })
        };
        // A re-export beside a private module of the same name: `mod handler; pub use handler::handler`.
        match own {
            Some(Target::Module(_)) if !is_inner => imported().or(own),
            Some(own) => Some(own),
            None => imported().or_else(through_globs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by `name: text`, each text one line.
    fn check(files: &[(&str, &str)], edges: &str, circles: &[&[&str]], layers: usize) {
        let sources: Vec<_> = files
            .iter()
            .map(|(path, text)| Source {
                path: format!("host/x/src/{path}"),
                text: (*text).to_owned(),
            })
            .collect();
        let graph = Modules::of(&sources).graph();
        let written = graph.iter().flat_map(|(file, imported)| {
            imported
                .iter()
                .map(move |imported| format!("{file}>{imported}"))
        });
        let written: Vec<_> = written.map(|edge| edge.replace(".rs", "")).collect();
        assert_eq!(written.join(" "), edges);
        let found = Structure::of(&sources);
        let names: Vec<Vec<_>> = found
            .circles
            .iter()
            .map(|circle| circle.keys().map(String::as_str).collect())
            .collect();
        assert_eq!(names, circles);
        assert_eq!(found.layers.len(), layers, "{found}");
    }

    #[test]
    fn a_reexported_name_leads_to_the_file_that_defines_it() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::Inner;"),
                (
                    "a/mod.rs",
                    "mod inner; pub(crate) use inner::Inner as Shown; pub use self::inner::*;",
                ),
                ("a/inner.rs", "pub struct Inner; pub fn run() {}"),
                (
                    "b.rs",
                    "use crate::a::{self, Shown}; fn f() { a::run() } fn g(_: crate::Inner) {}",
                ),
            ],
            "b>a/inner",
            &[],
            2,
        );
    }

    #[test]
    fn paths_globs_and_what_macros_define_count() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "make!(Made); pub struct Own;"),
                (
                    "b.rs",
                    "use super::a::*; fn f(own: Own) { let a = own; a.b() }",
                ),
                ("c.rs", "fn f() -> crate::a::Made { todo(super::b::f) }"),
            ],
            "b>a c>a c>b",
            &[],
            3,
        );
    }

    #[test]
    fn a_type_and_its_parts_are_no_circle_and_three_files_in_a_ring_are_one() {
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod b; mod c; use b::B; use c::C; pub struct A;"),
                ("a/b.rs", "pub struct B(super::A);"),
                (
                    "a/c.rs",
                    "pub struct C(super::A); #[cfg(test)] mod tests { use crate::a::b::B; }",
                ),
            ],
            "a>a/b a>a/c a/b>a a/c>a",
            &[],
            1,
        );
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c; mod d;"),
                ("a.rs", "use crate::b::B; pub struct A;"),
                ("b.rs", "use crate::c::C; pub struct B;"),
                ("c.rs", "use crate::{a::A, d::D}; pub struct C;"),
                ("d.rs", "use crate::c::C; pub struct D;"),
            ],
            "a>b b>c c>a c>d d>c",
            &[&["a.rs", "b.rs", "c.rs"]],
            1,
        );
    }
}
