//! A component small enough to be written by hand: it answers every call with one text.

/// The octets of a component that exports `handler` and always answers `reply`.
pub(crate) fn answering(reply: &str) -> Vec<u8> {
    with_pages(reply, 1)
}

/// As `answering`, with a memory of so many pages of 64 KiB.
pub(crate) fn with_pages(reply: &str, n_pages: u32) -> Vec<u8> {
    assert!(
        reply.len() < 1000 && !reply.contains(['"', '\\']),
        "fits into the data segment"
    );
    let text = TEXT
        .replace("REPLY-LENGTH", &reply.len().to_string())
        .replace("REPLY-TEXT", reply)
        .replace("PAGES", &n_pages.to_string());
    wat::parse_str(text).expect("a valid component")
}

const TEXT: &str = r#"
(component
  (core module $module
    (memory (export "memory") PAGES)
    (data (i32.const 64) "REPLY-TEXT")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (i32.const 4096))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 64))
      (i32.store (i32.const 24) (i32.const REPLY-LENGTH))
      (i32.const 16)))
  (core instance $core (instantiate $module))
  (type $kind (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
    "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
    "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
  (type $failure (record (field "kind" $kind) (field "message" string)
    (field "details" (option string))))
  (func $handle
    (param "service" string) (param "method" string) (param "body" (list u8))
    (result (result (list u8) (error $failure)))
    (canon lift (core func $core "handle") (memory (core memory $core "memory"))
      (realloc (core func $core "realloc"))))
  (component $shim
    (type $kind0 (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
      "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
      "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
    (import "kind" (type $kind1 (eq $kind0)))
    (type $failure0 (record (field "kind" $kind1) (field "message" string)
      (field "details" (option string))))
    (import "failure" (type $failure1 (eq $failure0)))
    (import "handle" (func $handle
      (param "service" string) (param "method" string) (param "body" (list u8))
      (result (result (list u8) (error $failure1)))))
    (export $kind2 "kind" (type $kind0))
    (type $failure2 (record (field "kind" $kind2) (field "message" string)
      (field "details" (option string))))
    (export $failure3 "failure" (type $failure2))
    (export "handle" (func $handle) (func
      (param "service" string) (param "method" string) (param "body" (list u8))
      (result (result (list u8) (error $failure3))))))
  (instance $handler (instantiate $shim
    (with "kind" (type $kind))
    (with "failure" (type $failure))
    (with "handle" (func $handle))))
  (export "postern:gateway/handler@0.1.0" (instance $handler)))
"#;
