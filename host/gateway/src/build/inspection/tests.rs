//! Reports on components that are written here as text.

use super::*;

fn report(text: &str) -> ComponentReport {
    inspect(&wat::parse_str(text).expect("a component")).expect("a report")
}

/// A function that is there, without a body worth having.
const UNREACHABLE: &str = r#"(core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "check") (result i32) unreachable)
    (func (export "on-event") (param i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))"#;

#[test]
fn what_the_host_offers_and_lacks_is_told_of_each_import() {
    let report = report(
        r#"(component
            (import "postern:gateway/log@0.1.0" (instance (export "enabled" (func (result bool)))))
            (import "postern:gateway/kv@0.7.0" (instance (export "size" (func (result u32)))))
            (import "acme:db/query@1.0.0" (instance (export "run" (func))))
            (import "acme:db/kinds@1.0.0" (instance (type $id u32) (export "id" (type (eq $id)))))
        )"#,
    );
    let imports = report
        .imports
        .iter()
        .map(|import| (import.name.as_str(), import.fault));
    let other = ImportFault::OtherVersion { offered: "0.1" };
    assert_eq!(
        imports.collect::<Vec<_>>(),
        [
            ("postern:gateway/log@0.1.0", None),
            ("postern:gateway/kv@0.7.0", Some(other)),
            ("acme:db/query@1.0.0", Some(ImportFault::NotOffered)),
        ],
        "types alone need nothing"
    );
    assert_eq!(report.roles, []);
    assert_eq!(
        report.missing.get(..2),
        Some(
            &[
                "imports postern:gateway/kv@0.7.0: this host offers version 0.1.x of it".to_owned(),
                "imports acme:db/query@1.0.0: this host does not offer it".to_owned(),
            ][..]
        )
    );
    let last = report
        .missing
        .last()
        .map(String::as_str)
        .unwrap_or_default();
    assert!(
        last.starts_with("exports no role that takes calls or events: handler, "),
        "{last}"
    );
    assert!(!last.contains("describe"), "{last}");
}

#[test]
fn a_role_with_another_shape_or_without_its_function_is_told() {
    let text = format!(
        r#"(component {UNREACHABLE}
            (func $check (result u32) (canon lift (core func $i "check")))
            (instance $health (export "check" (func $check)))
            (export "postern:gateway/health@0.1.0" (instance $health))
            (instance $handler (export "answer" (func $check)))
            (export "postern:gateway/handler@0.1.3" (instance $handler))
            (export "init" (func $check))
        )"#
    );
    let report = report(&text);
    assert_eq!(report.roles, [Role::Handler, Role::Health]);
    assert_eq!(report.other_exports, ["init"]);
    assert_eq!(report.modules, 1);
    let [health, handler] = &report.missing[..] else {
        panic!("two things are missing: {:?}", report.missing);
    };
    assert!(
        health.starts_with(
            "exports postern:gateway/health@0.1.0 whose function `check` is () -> u32, and should \
             be () -> record { status: enum { serving, degraded, not-serving }, "
        ),
        "{health}"
    );
    let lacks = "exports postern:gateway/handler@0.1.3 without its function `handle`";
    assert_eq!(handler, lacks);
}

#[test]
fn what_is_no_component_is_told_from_what_is_no_wasm() {
    let module = wat::parse_str("(module)").expect("a module");
    assert!(matches!(inspect(&module), Err(InspectionError::CoreModule)));
    assert!(matches!(
        inspect(b"#!/bin/sh\n"),
        Err(InspectionError::NoWasm(_))
    ));
    assert!(matches!(inspect(b""), Err(InspectionError::NoWasm(_))));
}

#[test]
fn who_made_it_is_read_from_every_module_in_it() {
    let report = report(
        r#"(component
            (core module (@producers (language "Go" "1.26.8") (processed-by "tool" "2.0")))
            (component (core module (@producers (language "C" ""))))
        )"#,
    );
    let made = report.producers.into_iter().flat_map(|(field, made_by)| {
        made_by
            .into_iter()
            .map(move |(name, version)| format!("{field}: {name} {version}"))
    });
    assert_eq!(
        made.collect::<Vec<_>>(),
        [
            "language: C ",
            "language: Go 1.26.8",
            "processed-by: tool 2.0"
        ]
    );
}

#[test]
fn an_interpreter_is_told_by_its_name_and_not_by_what_it_is_written_in() {
    let report = report(
        r#"(component
            (core module $libcomponentize_py_runtime.so (@producers (language "Rust" "1.96.0")))
        )"#,
    );
    let made_by = |field: &str| {
        let made_by = report.producers[field].iter();
        made_by.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(made_by("language"), ["Python"]);
    assert_eq!(made_by("processed-by"), ["componentize-py"]);
}

#[test]
fn a_stripped_component_in_rust_is_told_by_its_bindings() {
    let language = |producers: &str| {
        let text = format!("(component (core module (@producers {producers})))");
        let language = report(&text).producers.remove("language");
        language.map(|languages| {
            languages
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        })
    };
    let bindings = "(processed-by \"wit-bindgen-rust\" \"0.45.0\")";
    assert_eq!(language(bindings), Some(vec!["Rust".to_owned()]));
    let other = format!("(language \"Zig\" \"0.17\") {bindings}");
    assert_eq!(language(&other), Some(vec!["Zig".to_owned()]));
    assert_eq!(
        language("(processed-by \"wit-component\" \"0.254.2\")"),
        None
    );
}
