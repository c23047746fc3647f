;; A frame extension that handles DATA frames and does what the header `do` says. A head with flag
;; 0x10 traps.
(component
(; TYPES ;)
  (import "postern:gateway/frame@0.1.0" (instance $frame
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "header" (func (param "name" string) (result (option string))))
    (export "set-header" (func (param "name" string) (param "value" string) (result (result (error $failure)))))
    (export "payload" (func (result (list u8))))
    (export "set-payload" (func (param "payload" (list u8)) (result (result (error $failure)))))))
  (core func $header (canon lower (func $frame "header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-header (canon lower (func $frame "set-header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $payload (canon lower (func $frame "payload") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-payload (canon lower (func $frame "set-payload") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "host" "header" (func $header (param i32 i32 i32)))
    (import "host" "set-header" (func $set-header (param i32 i32 i32 i32 i32)))
    (import "host" "payload" (func $payload (param i32)))
    (import "host" "set-payload" (func $set-payload (param i32 i32 i32)))
    (data (i32.const 16) "do")
    (data (i32.const 32) "x-tag")
    (data (i32.const 48) "on")
    (data (i32.const 64) "not this")
    (func $verdict (param $verdict i32) (result i32)
      (i32.store (i32.const 256) (i32.const 0))
      (i32.store (i32.const 260) (local.get $verdict))
      (i32.const 256))
    (func (export "should-handle") (param $kind i32) (param $direction i32) (param $flags i32)
      (param $headers i32) (param $payload i32) (result i32)
      (if (i32.and (local.get $flags) (i32.const 0x10)) (then unreachable))
      (i32.eq (local.get $kind) (i32.const 2)))
    (func (export "handle-frame") (result i32) (local $what i32)
      (global.set $heap (i32.const 4096))
      (call $header (i32.const 16) (i32.const 2) (i32.const 320))
      (if (i32.load8_u (i32.const 320)) (then
        (local.set $what (i32.load8_u (i32.load (i32.const 324))))))
      ;; d: drop
      (if (i32.eq (local.get $what) (i32.const 100)) (then (return (call $verdict (i32.const 1)))))
      ;; g: the payload back
      (if (i32.eq (local.get $what) (i32.const 103)) (then
        (call $payload (i32.const 384))
        (call $set-payload (i32.load (i32.const 384)) (i32.load (i32.const 388)) (i32.const 400))
        (return (call $verdict (i32.const 0)))))
      ;; l: for ever
      (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $again (br $again))))
      ;; r: refuses
      (if (i32.eq (local.get $what) (i32.const 114)) (then
        (i32.store (i32.const 256) (i32.const 1))
        (i32.store (i32.const 260) (i32.const 2))
        (i32.store (i32.const 264) (i32.const 64))
        (i32.store (i32.const 268) (i32.const 8))
        (i32.store (i32.const 272) (i32.const 0))
        (return (i32.const 256))))
      ;; t: changes and traps
      (call $set-header (i32.const 32) (i32.const 5) (i32.const 48) (i32.const 2) (i32.const 384))
      (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
      ;; everything else: header x-tag: on
      (call $verdict (i32.const 0))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "header" (func $header))
      (export "set-header" (func $set-header))
      (export "payload" (func $payload))
      (export "set-payload" (func $set-payload))))))

  (type $frame-kind (enum "hello" "welcome" "data" "ping" "pong" "bye" "ack" "err"))
  (type $direction (enum "inbound" "outbound"))
  (type $head (record (field "kind" $frame-kind) (field "direction" $direction)
    (field "flag-bits" u8) (field "header-bytes" u32) (field "payload-bytes" u32)))
  (type $verdict (enum "pass" "drop"))
  (func $should-handle (param "head" $head) (result bool)
    (canon lift (core func $main "should-handle")))
  (func $handle-frame (result (result $verdict (error $failure)))
    (canon lift (core func $main "handle-frame") (memory (core memory $libc "memory"))))
  (component $extension
    (type $k (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
      "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
      "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
    (import "kind" (type $kind (eq $k)))
    (type $f (record (field "kind" $kind) (field "message" string) (field "details" (option string))))
    (import "failure" (type $failure (eq $f)))
    (type $fk (enum "hello" "welcome" "data" "ping" "pong" "bye" "ack" "err"))
    (import "frame-kind" (type $frame-kind (eq $fk)))
    (type $d (enum "inbound" "outbound"))
    (import "direction" (type $direction (eq $d)))
    (type $h (record (field "kind" $frame-kind) (field "direction" $direction)
      (field "flag-bits" u8) (field "header-bytes" u32) (field "payload-bytes" u32)))
    (import "frame-head" (type $head (eq $h)))
    (type $v (enum "pass" "drop"))
    (import "verdict" (type $verdict (eq $v)))
    (import "should-handle" (func $should-handle (param "head" $head) (result bool)))
    (import "handle-frame" (func $handle-frame (result (result $verdict (error $failure)))))
    (export $fk2 "frame-kind" (type $fk))
    (export $d2 "direction" (type $d))
    (type $h2 (record (field "kind" $fk2) (field "direction" $d2)
      (field "flag-bits" u8) (field "header-bytes" u32) (field "payload-bytes" u32)))
    (export $head2 "frame-head" (type $h2))
    (export $v2 "verdict" (type $v))
    (export "should-handle" (func $should-handle) (func (param "head" $head2) (result bool)))
    (export "handle-frame" (func $handle-frame) (func (result (result $v2 (error $failure))))))
  (instance $extension (instantiate $extension
    (with "kind" (type $kind)) (with "failure" (type $failure)) (with "frame-kind" (type $frame-kind))
    (with "direction" (type $direction)) (with "frame-head" (type $head)) (with "verdict" (type $verdict))
    (with "should-handle" (func $should-handle)) (with "handle-frame" (func $handle-frame))))
  (export "postern:gateway/frame-extension@0.1.0" (instance $extension)))
