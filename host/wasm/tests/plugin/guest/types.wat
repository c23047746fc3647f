  (import "postern:gateway/types@0.1.0" (instance $types
    (type $k (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
      "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
      "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
    (export "kind" (type $kind (eq $k)))
    (type $f (record (field "kind" $kind) (field "message" string) (field "details" (option string))))
    (export "failure" (type (eq $f)))))
  (alias export $types "kind" (type $kind))
  (alias export $types "failure" (type $failure))
  ;; Memory and an allocator that only goes up; `main` starts it over when it is entered.
  (core module $libc
    (memory (export "memory") 2)
    (global $heap (export "heap") (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32) (param $align i32) (param $size i32)
      (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
        (br_if $fits (i32.ge_s (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const 0)))
        unreachable)
      (local.get $at)))
  (core instance $libc (instantiate $libc))
