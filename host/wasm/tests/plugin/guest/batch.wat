;; A handler that takes calls together. What it does with a body is said by the body's first octet,
;; see `answer`; three methods break the rules of `handle-batch` itself.
(component
(; TYPES ;)
  (import "postern:gateway/call@0.1.0" (instance $call
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "turn" (func (param "index" u32)))
    (export "header" (func (param "name" string) (result (option string))))
    (export "set-header" (func (param "name" string) (param "value" string) (result (result (error $failure)))))))
  (import "postern:gateway/kv@0.1.0" (instance $kv
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "set" (func (param "key" string) (param "value" (list u8)) (result (result (error $failure)))))))
  (core func $turn (canon lower (func $call "turn")))
  (core func $header (canon lower (func $call "header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-header (canon lower (func $call "set-header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $kv-set (canon lower (func $kv "set") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))

  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "turn" (func $turn (param i32)))
    (import "host" "header" (func $header (param i32 i32 i32)))
    (import "host" "set-header" (func $set-header (param i32 i32 i32 i32 i32)))
    (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
    (data (i32.const 16) "x-test")
    (data (i32.const 32) "no such thing")
    ;; Calls that this instance has had.
    (global $count (mut i32) (i32.const 0))
    ;; Index in the batch; -1 outside of one.
    (global $index (mut i32) (i32.const -1))

    (func $ok (param $at i32) (param $len i32) (result i32)
      (i32.store (i32.const 256) (i32.const 0))
      (i32.store (i32.const 260) (local.get $at))
      (i32.store (i32.const 264) (local.get $len))
      (i32.const 256))
    (func $not-found (result i32)
      (i32.store (i32.const 256) (i32.const 1))
      (i32.store (i32.const 260) (i32.const 4))
      (i32.store (i32.const 264) (i32.const 32))
      (i32.store (i32.const 268) (i32.const 13))
      (i32.store (i32.const 272) (i32.const 0))
      (i32.const 256))

    (func $answer (param $b i32) (param $bl i32) (result i32) (local $what i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (if (local.get $bl) (then (local.set $what (i32.load8_u (local.get $b)))))
      ;; c: how many calls this instance has had
      (if (i32.eq (local.get $what) (i32.const 99)) (then
        (i32.store8 (local.get $b) (global.get $count))))
      ;; f: a failure
      (if (i32.eq (local.get $what) (i32.const 102)) (then (return (call $not-found))))
      ;; h: the header x-test, which goes into the reply as well
      (if (i32.eq (local.get $what) (i32.const 104)) (then
        (if (i32.ge_s (global.get $index) (i32.const 0)) (then (call $turn (global.get $index))))
        (call $header (i32.const 16) (i32.const 6) (i32.const 384))
        (if (i32.eqz (i32.load8_u (i32.const 384))) (then (return (call $not-found))))
        (call $set-header (i32.const 16) (i32.const 6) (i32.load (i32.const 388)) (i32.load (i32.const 392)) (i32.const 400))
        (return (call $ok (i32.load (i32.const 388)) (i32.load (i32.const 392))))))
      ;; k: puts the body under itself
      (if (i32.eq (local.get $what) (i32.const 107)) (then
        (call $kv-set (local.get $b) (local.get $bl) (local.get $b) (local.get $bl) (i32.const 384))))
      ;; l: for ever
      (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $again (br $again))))
      ;; o: 64 KiB
      (if (i32.eq (local.get $what) (i32.const 111)) (then (return (call $ok (i32.const 0) (i32.const 65536)))))
      ;; t: trap
      (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
      ;; Everything else: the body.
      (call $ok (local.get $b) (local.get $bl)))

    (func (export "handle") (param $s i32) (param $sl i32) (param $m i32) (param $ml i32)
      (param $b i32) (param $bl i32) (result i32)
      (global.set $index (i32.const -1))
      (call $answer (local.get $b) (local.get $bl)))

    (func (export "handle-batch") (param $s i32) (param $sl i32) (param $m i32) (param $ml i32)
      (param $body i32) (param i32) (param $lengths i32) (param $n i32) (result i32)
      (local $length i32) (local $results i32) (local $what i32) (local $i i32)
      (local.set $what (i32.load8_u (local.get $m)))
      (local.set $results
        (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $n) (i32.const 28))))
      (loop $more
        (global.set $index (local.get $i))
        (local.set $length (i32.load (i32.add (local.get $lengths) (i32.shl (local.get $i) (i32.const 2)))))
        (memory.copy
          (i32.add (local.get $results) (i32.mul (local.get $i) (i32.const 28)))
          (call $answer (local.get $body) (local.get $length))
          (i32.const 28))
        (local.set $body (i32.add (local.get $body) (local.get $length)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
      ;; n: one result too few
      (if (i32.eq (local.get $what) (i32.const 110)) (then
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))))
      ;; x: a turn beyond the last
      (if (i32.eq (local.get $what) (i32.const 120)) (then (call $turn (local.get $n))))
      (i32.store (i32.const 320) (local.get $results))
      (i32.store (i32.const 324) (local.get $n))
      (i32.const 320))

    (func (export "post") (param i32) (global.set $heap (i32.const 4096))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "turn" (func $turn)) (export "header" (func $header))
      (export "set-header" (func $set-header)) (export "kv-set" (func $kv-set))))))

  (func $handle (param "service" string) (param "method" string) (param "body" (list u8))
    (result (result (list u8) (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
      (post-return (core func $main "post"))))
  (instance $handler (export "handle" (func $handle)))
  (export "postern:gateway/handler@0.1.0" (instance $handler))

  (func $handle-batch (param "service" string) (param "method" string) (param "bodies" (list u8)) (param "lengths" (list u32))
    (result (list (result (list u8) (error $failure))))
    (canon lift (core func $main "handle-batch") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
      (post-return (core func $main "post"))))
  (instance $batch-handler (export "handle-batch" (func $handle-batch)))
  (export "postern:gateway/batch-handler@0.1.0" (instance $batch-handler)))
