;; An interceptor that does what the method says: its first octet in `on-request`, its second in
;; `on-response`. IMPORTS is replaced by what else it imports.
(component
(; TYPES ;)
(; IMPORTS ;)
  (import "postern:gateway/request@0.1.0" (instance $request
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "method" (func (result string)))
    (export "set-header" (func (param "name" string) (param "value" string) (result (result (error $failure)))))
    (export "payload" (func (result (result (list u8) (error $failure)))))
    (export "set-payload" (func (param "payload" (list u8)) (result (result (error $failure)))))))
  (import "postern:gateway/response@0.1.0" (instance $response
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "set-header" (func (param "name" string) (param "value" string) (result (result (error $failure)))))
    (export "payload" (func (result (result (list u8) (error $failure)))))
    (export "set-payload" (func (param "payload" (list u8)) (result (result (error $failure)))))))
  (core func $method (canon lower (func $request "method") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-header (canon lower (func $request "set-header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $payload (canon lower (func $request "payload") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-payload (canon lower (func $request "set-payload") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $reply-header (canon lower (func $response "set-header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $reply-payload (canon lower (func $response "payload") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-reply (canon lower (func $response "set-payload") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))

  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "host" "method" (func $method (param i32)))
    (import "host" "set-header" (func $set-header (param i32 i32 i32 i32 i32)))
    (import "host" "payload" (func $payload (param i32)))
    (import "host" "set-payload" (func $set-payload (param i32 i32 i32)))
    (import "host" "reply-header" (func $reply-header (param i32 i32 i32 i32 i32)))
    (import "host" "reply-payload" (func $reply-payload (param i32)))
    (import "host" "set-reply" (func $set-reply (param i32 i32 i32)))
    (data (i32.const 16) "x-tag")
    (data (i32.const 32) "on")
    (data (i32.const 48) "changed")
    (data (i32.const 64) "not you")
    (global $sum (mut i32) (i32.const 0))
    (func $ok (param $action i32) (result i32)
      (i32.store (i32.const 256) (i32.const 0))
      (i32.store (i32.const 260) (local.get $action))
      (i32.const 256))
    ;; permission-denied: not you
    (func $denied (result i32)
      (i32.store (i32.const 256) (i32.const 1))
      (i32.store (i32.const 260) (i32.const 6))
      (i32.store (i32.const 264) (i32.const 64))
      (i32.store (i32.const 268) (i32.const 7))
      (i32.store (i32.const 272) (i32.const 0))
      (i32.const 256))
    ;; What an import left at 384 (`result<_, failure>`), as this function's own answer.
    (func $pass-on (param $action i32) (result i32)
      (if (i32.load8_u (i32.const 384)) (then
        (memory.copy (i32.const 256) (i32.const 384) (i32.const 28))
        (return (i32.const 256))))
      (call $ok (local.get $action)))
    (func $octet (param $place i32) (result i32)
      (global.set $heap (i32.const 4096))
      (call $method (i32.const 320))
      (if (i32.le_u (i32.load (i32.const 324)) (local.get $place)) (then (return (i32.const 0))))
      (i32.load8_u (i32.add (i32.load (i32.const 320)) (local.get $place))))
    (func (export "on-request") (result i32) (local $what i32) (local $at i32) (local $left i32)
      (; EMPTY ;)
      (local.set $what (call $octet (i32.const 0)))
      ;; h: header x-tag: on
      (if (i32.eq (local.get $what) (i32.const 104)) (then
        (call $set-header (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 2) (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; b: another payload
      (if (i32.eq (local.get $what) (i32.const 98)) (then
        (call $set-payload (i32.const 48) (i32.const 7) (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; g: the payload back
      (if (i32.eq (local.get $what) (i32.const 103)) (then
        (call $payload (i32.const 384))
        (if (i32.load8_u (i32.const 384)) (then (return (call $pass-on (i32.const 0)))))
        (call $set-payload (i32.load (i32.const 388)) (i32.load (i32.const 392)) (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; s: sums the octets of the payload up
      (if (i32.eq (local.get $what) (i32.const 115)) (then
        (call $payload (i32.const 384))
        (local.set $at (i32.load (i32.const 388)))
        (local.set $left (i32.load (i32.const 392)))
        (loop $more
          (global.set $sum (i32.add (global.get $sum) (i32.load8_u (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $more (local.get $left)))
        (return (call $ok (i32.const 0)))))
      ;; a: an answer with a header
      (if (i32.eq (local.get $what) (i32.const 97)) (then
        (call $reply-header (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 2) (i32.const 384))
        (call $set-reply (i32.const 48) (i32.const 7) (i32.const 384))
        (return (call $pass-on (i32.const 1)))))
      ;; r: refuses
      (if (i32.eq (local.get $what) (i32.const 114)) (then (return (call $denied))))
      ;; t: changes and traps
      (if (i32.eq (local.get $what) (i32.const 116)) (then
        (call $set-header (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 2) (i32.const 384))
        (call $set-payload (i32.const 48) (i32.const 7) (i32.const 384))
        unreachable))
      ;; l: for ever
      (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $again (br $again))))
      (call $ok (i32.const 0)))
    (func (export "on-response") (result i32) (local $what i32)
      (; EMPTY ;)
      (local.set $what (call $octet (i32.const 1)))
      ;; h: header x-tag: on
      (if (i32.eq (local.get $what) (i32.const 104)) (then
        (call $reply-header (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 2) (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; b: another payload
      (if (i32.eq (local.get $what) (i32.const 98)) (then
        (call $set-reply (i32.const 48) (i32.const 7) (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; g: the payload of the reply back
      (if (i32.eq (local.get $what) (i32.const 103)) (then
        (call $reply-payload (i32.const 384))
        (if (i32.load8_u (i32.const 384)) (then (return (call $pass-on (i32.const 0)))))
        (call $set-reply (i32.load (i32.const 388)) (i32.load (i32.const 392)) (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; q: the payload of the request, which is gone
      (if (i32.eq (local.get $what) (i32.const 113)) (then
        (call $payload (i32.const 384))
        (return (call $pass-on (i32.const 0)))))
      ;; r: refuses
      (if (i32.eq (local.get $what) (i32.const 114)) (then (return (call $denied))))
      ;; t: changes and traps
      (if (i32.eq (local.get $what) (i32.const 116)) (then
        (call $set-reply (i32.const 48) (i32.const 7) (i32.const 384))
        unreachable))
      (call $ok (i32.const 0))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "method" (func $method))
      (export "set-header" (func $set-header))
      (export "payload" (func $payload))
      (export "set-payload" (func $set-payload))
      (export "reply-header" (func $reply-header))
      (export "reply-payload" (func $reply-payload))
      (export "set-reply" (func $set-reply))))))

  (type $action (enum "proceed" "answer"))
  (func $on-request (result (result $action (error $failure)))
    (canon lift (core func $main "on-request") (memory (core memory $libc "memory"))))
  (func $on-response (result (result (error $failure)))
    (canon lift (core func $main "on-response") (memory (core memory $libc "memory"))))
  (component $requests
    (type $k (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
      "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
      "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
    (import "kind" (type $kind (eq $k)))
    (type $f (record (field "kind" $kind) (field "message" string) (field "details" (option string))))
    (import "failure" (type $failure (eq $f)))
    (type $a (enum "proceed" "answer"))
    (import "action" (type $action (eq $a)))
    (import "on-request" (func $on-request (result (result $action (error $failure)))))
    (export $a2 "action" (type $a))
    (export "on-request" (func $on-request) (func (result (result $a2 (error $failure))))))
  (instance $requests (instantiate $requests
    (with "kind" (type $kind)) (with "failure" (type $failure)) (with "action" (type $action))
    (with "on-request" (func $on-request))))
  (instance $responses (export "on-response" (func $on-response)))
  (export "postern:gateway/request-interceptor@0.1.0" (instance $requests))
  (export "postern:gateway/response-interceptor@0.1.0" (instance $responses)))
