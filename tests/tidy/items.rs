//! What a file of Rust declares, imports and names, read from its tokens; code of tests is left out.
//!
//! No parser of the language: it knows items, `use` trees and paths, which is all that the rules ask.
//! What a macro defines is not seen, and a method that is called by `.name()` is no path.

use crate::tokens::{is_word, tokens};

/// What stands in one module. An inline module is a child with `content`.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) imports: Vec<Import>,
    pub(crate) children: Vec<Child>,
    /// Paths in bodies and signatures, in order, each with its parts.
    pub(crate) paths: Vec<NamedPath>,
    /// Words of the messages of `tracing`'s macros.
    pub(crate) log_lines: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    /// `struct`, `fn` and so on.
    pub(crate) keyword: String,
    pub(crate) name: String,
    /// `pub` or `pub(crate)`: known beyond its folder.
    pub(crate) is_public: bool,
}

/// One leaf of a `use` tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// Under what name it is known here; `*` for everything.
    pub(crate) name: String,
    /// A re-export, of whatever reach.
    pub(crate) is_public: bool,
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) content: Option<Items>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) parts: Vec<String>,
    /// Followed by `(` or `!`.
    pub(crate) is_called: bool,
}

/// Reads a file.
pub(crate) fn scan(text: &str) -> Items {
    let tokens = tokens(text);
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
    };
    let mut items = Items::default();
    reader.items(&mut items);
    items
}

const TYPES: [&str; 5] = ["struct", "enum", "union", "trait", "type"];
const LOG_MACROS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Items that end with a semicolon, whatever braces they hold.
const STATEMENTS: [&str; 5] = ["const", "static", "type", "use", "let"];
/// What stands before the keyword that says what an item is.
const QUALIFIERS: [&str; 5] = ["async", "unsafe", "default", "extern", "auto"];

impl Definition {
    pub(crate) fn is_type(&self) -> bool {
        TYPES.contains(&self.keyword.as_str())
    }
}

/// Who may name an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    File,
    Folder,
    Crate,
    World,
}

struct Reader<'t> {
    tokens: &'t [String],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> &str {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> &str {
        self.tokens.get(self.at + n).map_or("", String::as_str)
    }

    fn take(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Items until the closing brace of the module, which is taken, or the end.
    fn items(&mut self, items: &mut Items) {
        while !self.is_done() {
            if self.peek() == "}" {
                self.at += 1;
                return;
            }
            if self.attributes() {
                self.skip_item();
                continue;
            }
            self.item(items);
        }
    }

    /// Takes attributes; whether what follows is compiled for tests only.
    fn attributes(&mut self) -> bool {
        let mut is_test = false;
        while self.peek() == "#" && (self.ahead(1) == "[" || self.ahead(1) == "!") {
            let is_inner = self.ahead(1) == "!";
            self.at += if is_inner { 2 } else { 1 };
            let begin = self.at;
            self.skip_group();
            let end = self.at.min(self.tokens.len());
            let attribute = self.tokens.get(begin..end).unwrap_or_default().concat();
            is_test |= !is_inner && (attribute == "[cfg(test)]" || attribute == "[test]");
        }
        is_test
    }

    fn item(&mut self, items: &mut Items) {
        let reach = self.visibility();
        let is_public = matches!(reach, Reach::Crate | Reach::World);
        self.qualifiers();
        if self.peek() == "const" && (self.ahead(1) == "fn" || self.ahead(1) == "unsafe") {
            self.at += 1;
            self.qualifiers();
        }
        let keyword = self.peek().to_owned();
        let name = match keyword.as_str() {
            "use" => {
                self.at += 1;
                return self.import(&[], reach != Reach::File, items);
            }
            "mod" => return self.module(items),
            "static" if self.ahead(1) == "mut" => self.ahead(2),
            "macro_rules" => self.ahead(2),
            "fn" | "const" | "static" => self.ahead(1),
            keyword if TYPES.contains(&keyword) => self.ahead(1),
            _ => "",
        };
        if !name.is_empty() {
            items.definitions.push(Definition {
                keyword: keyword.clone(),
                name: name.to_owned(),
                is_public,
            });
        }
        self.body(items, STATEMENTS.contains(&keyword.as_str()));
    }

    fn qualifiers(&mut self) {
        while QUALIFIERS.contains(&self.peek()) || self.peek().starts_with('"') {
            self.at += 1;
        }
    }

    fn visibility(&mut self) -> Reach {
        if self.peek() != "pub" {
            return Reach::File;
        }
        self.at += 1;
        if self.peek() != "(" || !matches!(self.ahead(1), "crate" | "super" | "self" | "in") {
            return Reach::World;
        }
        let is_crate = self.ahead(1) == "crate";
        self.skip_group();
        if is_crate {
            Reach::Crate
        } else {
            Reach::Folder
        }
    }

    fn module(&mut self, items: &mut Items) {
        self.at += 1;
        let name = self.take();
        let content = (self.take() == "{").then(|| {
            let mut inner = Items::default();
            self.items(&mut inner);
            inner
        });
        items.children.push(Child { name, content });
    }

    /// A `use` tree up to its `;`, `,` or `}`.
    fn import(&mut self, above: &[String], is_public: bool, items: &mut Items) {
        let mut path = above.to_vec();
        let mut name = None;
        loop {
            match self.peek() {
                "" => break,
                ";" => {
                    self.at += 1;
                    break;
                }
                "," | "}" => break,
                "::" => self.at += 1,
                "as" => {
                    self.at += 1;
                    name = Some(self.take());
                }
                "{" => {
                    self.at += 1;
                    while !self.is_done() && self.peek() != "}" {
                        self.import(&path, is_public, items);
                        self.at += usize::from(self.peek() == ",");
                    }
                    self.at += 1;
                    self.at += usize::from(self.peek() == ";");
                    return;
                }
                _ => path.push(self.take()),
            }
        }
        if path.len() > above.len() && path.last().is_some_and(|part| part == "self") {
            path.pop();
        }
        let is_glob = path.last().is_some_and(|part| part == "*");
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        if is_glob {
            path.pop();
        }
        items.imports.push(Import {
            path,
            name,
            is_public,
        });
    }

    /// What an item consists of: until its semicolon, or the end of its braces.
    fn body(&mut self, items: &mut Items, is_statement: bool) {
        while !self.is_done() {
            match self.peek() {
                ";" => {
                    self.at += 1;
                    return;
                }
                "}" => return,
                "{" => {
                    self.group(items);
                    if !is_statement {
                        return;
                    }
                }
                _ => self.part(items),
            }
        }
    }

    /// A group in brackets of any kind, and what it holds.
    fn group(&mut self, items: &mut Items) {
        self.at += 1;
        while !self.is_done() && !matches!(self.peek(), "}" | ")" | "]") {
            if self.attributes() {
                self.skip_item();
            } else if self.peek() == "use" {
                self.at += 1;
                self.import(&[], false, items);
            } else {
                self.part(items);
            }
        }
        self.at += 1;
    }

    fn part(&mut self, items: &mut Items) {
        match self.peek() {
            "{" | "(" | "[" => self.group(items),
            "." if self.ahead(1) == "." => self.at += 2,
            // A field or a method.
            "." => {
                self.at += 1;
                self.at += usize::from(is_word(self.peek()));
            }
            "::" => {
                // The rest of a path with types in it.
                self.at += 1;
                self.at += usize::from(is_word(self.peek()));
            }
            token if is_word(token) => self.path(items),
            _ => self.at += 1,
        }
    }

    fn path(&mut self, items: &mut Items) {
        let mut parts = vec![self.take()];
        while self.peek() == "::" && is_word(self.ahead(1)) {
            self.at += 1;
            parts.push(self.take());
        }
        let last = parts.last().map_or("", String::as_str);
        if self.peek() == "!" && self.ahead(1) == "(" && LOG_MACROS.contains(&last) {
            self.log_line(items);
        }
        let is_called = matches!(self.peek(), "(" | "!");
        items.paths.push(NamedPath { parts, is_called });
    }

    /// The texts in a log macro's brackets; fields are read as code afterwards.
    fn log_line(&self, items: &mut Items) {
        let rest = self.tokens.iter().skip(self.at + 1);
        let mut depth = 0;
        for token in rest {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                text if text.starts_with('"') => items.log_lines.push(text.to_owned()),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }

    /// Past the group that begins here.
    fn skip_group(&mut self) {
        let mut depth = 0;
        while !self.is_done() {
            match self.take().as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Past an item, a statement, a field or an arm.
    fn skip_item(&mut self) {
        self.visibility();
        let is_item = ["fn", "impl", "mod", "struct", "enum", "trait"].contains(&self.peek())
            || QUALIFIERS.contains(&self.peek())
            || self.ahead(1) == "fn";
        let is_statement = STATEMENTS.contains(&self.peek()) && !is_item;
        while !self.is_done() {
            match self.peek() {
                ";" => {
                    self.at += 1;
                    return;
                }
                "," if !is_item && !is_statement => {
                    self.at += 1;
                    return;
                }
                "}" | ")" | "]" => return,
                "{" => {
                    self.skip_group();
                    if !is_statement {
                        return;
                    }
                }
                "(" | "[" => self.skip_group(),
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r##"
        //! use crate::comment;
        pub(crate) use self::child::{Shown, other as Another};
        use std::{fmt, io::*};
        mod child;
        pub mod inline { pub(super) const fn f<'a>(x: &'a str) -> crate::Reply { x.call() } }
        #[cfg(test)]
        mod tests { use crate::only_in_tests; }
        #[derive(Debug)]
        pub struct Call(crate::text::Text);
        const SIZE: usize = { crate::limits::MAX };
        impl Call {
            #[cfg(test)]
            pub(crate) fn tested(&self) -> crate::Tested { self.0 }
            fn real(&self) { use super::Inner; let x = '"'; super::run(r#" crate::text "#, x..y) }
        }
        fn log() { tracing::warn!(key = crate::field, "the door {}", 1); }
    "##;

    fn joined(parts: &[String]) -> String {
        parts.join("::")
    }

    #[test]
    fn declarations_imports_and_paths_are_found() {
        let items = scan(FILE);
        let names: Vec<_> = items.definitions.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["Call", "SIZE", "log"]);
        let imports: Vec<_> = items
            .imports
            .iter()
            .map(|import| (joined(&import.path), import.name.as_str(), import.is_public))
            .collect();
        let expected = [
            ("self::child::Shown", "Shown", true),
            ("self::child::other", "Another", true),
            ("std::fmt", "fmt", false),
            ("std::io", "*", false),
            ("super::Inner", "Inner", false),
        ];
        let expected = expected.map(|(path, name, public)| (path.to_owned(), name, public));
        assert_eq!(imports, expected);
        let paths: Vec<_> = items.paths.iter().map(|path| joined(&path.parts)).collect();
        for path in [
            "crate::text::Text",
            "crate::limits::MAX",
            "super::run",
            "crate::field",
        ] {
            assert!(paths.iter().any(|found| found == path), "{path}: {paths:?}");
        }
        let hidden = [
            "crate::Tested",
            "crate::only_in_tests",
            "crate::text",
            "call",
        ];
        assert!(
            !paths.iter().any(|path| hidden.contains(&path.as_str())),
            "{paths:?}"
        );
        assert_eq!(items.log_lines, ["\"the door {}\""]);
    }

    #[test]
    fn modules_are_files_or_stand_inline() {
        let items = scan(FILE);
        let children: Vec<_> = items.children.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(children, ["child", "inline"]);
        let inline = items
            .children
            .iter()
            .find_map(|child| child.content.as_ref());
        let inline = inline.expect("one stands inline");
        assert_eq!(
            inline.definitions.first().map(|d| d.name.as_str()),
            Some("f")
        );
        assert!(
            inline
                .paths
                .iter()
                .any(|path| joined(&path.parts) == "crate::Reply")
        );
    }
}
