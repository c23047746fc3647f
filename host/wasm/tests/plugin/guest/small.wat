;; The least that serves: `handle` gives its body back. No imports but the type of a failure.
(component
  (import "postern:gateway/types@0.1.0" (instance $types
    (type $k (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
      "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
      "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
    (export "kind" (type $kind (eq $k)))
    (type $f (record (field "kind" $kind) (field "message" string) (field "details" (option string))))
    (export "failure" (type (eq $f)))))
  (alias export $types "failure" (type $failure))
  (core module $main
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $heap)
      (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get 3)) (i32.const 15)) (i32.const -8))))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get 4))
      (i32.store (i32.const 24) (local.get 5))
      (i32.const 16))
    (func (export "post") (param i32) (global.set $heap (i32.const 1024))))
  (core instance $main (instantiate $main))
  (func $handle (param "service" string) (param "method" string) (param "body" (list u8))
    (result (result (list u8) (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))
      (post-return (core func $main "post"))))
  (instance $handler (export "handle" (func $handle)))
  (export "postern:gateway/handler@0.1.0" (instance $handler)))
