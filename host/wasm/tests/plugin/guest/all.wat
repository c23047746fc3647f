;; A guest that does what the first octet of the method says; see `handle` and `handle-stream`.
;; The comment HEALTH is replaced by what `health.check` is to do.
(component
  (import "postern:gateway/types@0.1.0" (instance $types
    (type $k (enum "cancelled" "unknown" "invalid-argument" "deadline-exceeded" "not-found"
      "already-exists" "permission-denied" "resource-exhausted" "failed-precondition" "aborted"
      "out-of-range" "unimplemented" "internal" "unavailable" "data-loss" "unauthenticated"))
    (export "kind" (type $kind (eq $k)))
    (type $f (record (field "kind" $kind) (field "message" string) (field "details" (option string))))
    (export "failure" (type (eq $f)))))
  (alias export $types "failure" (type $failure))
  (import "postern:gateway/call@0.1.0" (instance $call
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "header" (func (param "name" string) (result (option string))))
    (export "set-header" (func (param "name" string) (param "value" string) (result (result (error $failure)))))
    (export "remaining-ms" (func (result u64)))
    (export "next" (func (result (result (option (list u8)) (error $failure)))))
    (export "send" (func (param "message" (list u8)) (result (result (error $failure)))))))
  (import "postern:gateway/log@0.1.0" (instance $log
    (type $l (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "write" (func (param "level" $level) (param "message" string)
      (param "fields" (list (tuple string string)))))))
  (import "postern:gateway/config@0.1.0" (instance $config
    (export "get" (func (param "key" string) (result (option string))))))
  (import "postern:gateway/kv@0.1.0" (instance $kv
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (export "get" (func (param "key" string) (result (result (option (list u8)) (error $failure)))))
    (export "set" (func (param "key" string) (param "value" (list u8)) (result (result (error $failure)))))))
  (import "postern:gateway/client@0.1.0" (instance $client
    (alias outer 1 $failure (type $outer))
    (export "failure" (type $failure (eq $outer)))
    (type $o (record (field "headers" (list (tuple string string))) (field "timeout-ms" (option u64))))
    (export "options" (type $options (eq $o)))
    (export "call" (func (param "service" string) (param "method" string) (param "body" (list u8))
      (param "options" (option $options)) (result (result (list u8) (error $failure)))))))

  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (export "now" (func (result u64)))))

  ;; Memory and an allocator that only goes up; `handle` starts it over when it returns.
  (core module $libc
    (memory (export "memory") 2)
    (global $heap (export "heap") (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
      (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
        (br_if $fits (i32.ge_s (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const 0)))
        unreachable)
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $header (canon lower (func $call "header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set-header (canon lower (func $call "set-header") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $remaining (canon lower (func $call "remaining-ms")))
  (core func $next (canon lower (func $call "next") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $send (canon lower (func $call "send") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $write (canon lower (func $log "write") (memory (core memory $libc "memory"))))
  (core func $now (canon lower (func $clock "now")))
  (core func $config-get (canon lower (func $config "get") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $kv-get (canon lower (func $kv "get") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $kv-set (canon lower (func $kv "set") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $client-call (canon lower (func $client "call") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))

  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "host" "header" (func $header (param i32 i32 i32)))
    (import "host" "set-header" (func $set-header (param i32 i32 i32 i32 i32)))
    (import "host" "remaining" (func $remaining (result i64)))
    (import "host" "next" (func $next (param i32)))
    (import "host" "send" (func $send (param i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32 i32)))
    (import "host" "now" (func $now (result i64)))
    (import "host" "config-get" (func $config-get (param i32 i32 i32)))
    (import "host" "kv-get" (func $kv-get (param i32 i32 i32)))
    (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
    (import "host" "client-call" (func $client-call
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
    (data (i32.const 16) "x-test")
    (data (i32.const 32) "no such thing")
    (data (i32.const 48) "{\22id\22:7}")
    (data (i32.const 64) "ran")
    (data (i32.const 80) "bad health")
    (global $count (mut i32) (i32.const 0))
    (table $table 1 funcref)

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
      (i32.store (i32.const 272) (i32.const 1))
      (i32.store (i32.const 276) (i32.const 48))
      (i32.store (i32.const 280) (i32.const 8))
      (i32.const 256))
    ;; One octet in answer.
    (func $octet (param $value i32) (result i32)
      (i32.store8 (i32.const 512) (local.get $value))
      (call $ok (i32.const 512) (i32.const 1)))
    ;; What an import left at 384: `result<option<list>>`, as `handle`'s own answer.
    (func $optional (result i32)
      (if (i32.load8_u (i32.const 384)) (then
        (memory.copy (i32.const 256) (i32.const 384) (i32.const 28))
        (return (i32.const 256))))
      (if (i32.eqz (i32.load8_u (i32.const 388))) (then (return (call $not-found))))
      (call $ok (i32.load (i32.const 392)) (i32.load (i32.const 396))))
    (func $forever (loop $again (br $again)))
    (func $deeper (param i32) (result i32)
      (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

    (func (export "handle") (param $s i32) (param $sl i32) (param $m i32) (param $ml i32)
      (param $b i32) (param $bl i32) (result i32) (local $what i32) (local $n i32)
      (local.set $what (i32.load8_u (local.get $m)))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      ;; e: echo
      (if (i32.eq (local.get $what) (i32.const 101)) (then (return (call $ok (local.get $b) (local.get $bl)))))
      ;; c: how many calls this instance has had
      (if (i32.eq (local.get $what) (i32.const 99)) (then (return (call $octet (global.get $count)))))
      ;; f: a failure
      (if (i32.eq (local.get $what) (i32.const 102)) (then (return (call $not-found))))
      ;; l: for ever
      (if (i32.eq (local.get $what) (i32.const 108)) (then (call $forever)))
      ;; t: trap
      (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
      ;; a: all the memory there is
      (if (i32.eq (local.get $what) (i32.const 97)) (then
        (loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0))))
        unreachable))
      ;; b: all the elements of tables there are
      (if (i32.eq (local.get $what) (i32.const 98)) (then
        (loop $more (br_if $more (i32.ge_s (table.grow $table (ref.null func) (i32.const 100)) (i32.const 0))))
        unreachable))
      ;; g: as many pages as the first octet says
      (if (i32.eq (local.get $what) (i32.const 103)) (then
        (drop (memory.grow (i32.load8_u (local.get $b))))
        (return (call $octet (global.get $count)))))
      ;; s: all the stack there is
      (if (i32.eq (local.get $what) (i32.const 115)) (then (return (call $octet (call $deeper (i32.const 0))))))
      ;; d: by nothing
      (if (i32.eq (local.get $what) (i32.const 100)) (then
        (return (call $octet (i32.div_u (i32.const 1) (i32.const 0))))))
      ;; o: beyond memory
      (if (i32.eq (local.get $what) (i32.const 111)) (then (return (call $octet (i32.load (i32.const -4))))))
      ;; h: the header x-test, and the header x-test: ran in the reply
      (if (i32.eq (local.get $what) (i32.const 104)) (then
        (call $set-header (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 3) (i32.const 384))
        (call $header (i32.const 16) (i32.const 6) (i32.const 388))
        (i32.store8 (i32.const 384) (i32.const 0))
        (return (call $optional))))
      ;; v: the configured value of the body's key
      (if (i32.eq (local.get $what) (i32.const 118)) (then
        (call $config-get (local.get $b) (local.get $bl) (i32.const 388))
        (i32.store8 (i32.const 384) (i32.const 0))
        (return (call $optional))))
      ;; m: asks for the time left as often as the body, read as u32, says
      (if (i32.eq (local.get $what) (i32.const 109)) (then
        (local.set $n (i32.load (local.get $b)))
        (loop $more
          (drop (call $remaining))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $more (local.get $n)))
        (return (call $octet (i32.const 1)))))
      ;; k: whether a clock goes forward
      (if (i32.eq (local.get $what) (i32.const 107)) (then
        (return (call $octet (i64.le_u (call $now) (call $now))))))
      ;; w: writes the body to the log, 300 times
      (if (i32.eq (local.get $what) (i32.const 119)) (then
        (local.set $n (i32.const 300))
        (loop $more
          (call $write (i32.const 4) (local.get $b) (local.get $bl) (i32.const 0) (i32.const 0))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $more (local.get $n)))
        (return (call $octet (i32.const 1)))))
      ;; p: puts the body under itself
      (if (i32.eq (local.get $what) (i32.const 112)) (then
        (call $kv-set (local.get $b) (local.get $bl) (local.get $b) (local.get $bl) (i32.const 384))
        (if (i32.load8_u (i32.const 384)) (then (i32.store8 (i32.const 388) (i32.load8_u (i32.const 388)))
          (memory.copy (i32.const 256) (i32.const 384) (i32.const 28)) (return (i32.const 256))))
        (return (call $octet (i32.const 1)))))
      ;; r: reads what is under the body
      (if (i32.eq (local.get $what) (i32.const 114)) (then
        (call $kv-get (local.get $b) (local.get $bl) (i32.const 384))
        (return (call $optional))))
      ;; x: calls the service that the body names, method e, with the body
      ;; y: the same after the header x-test: ran in the reply
      (if (i32.eq (local.get $what) (i32.const 121)) (then
        (call $set-header (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 3) (i32.const 384))
        (local.set $what (i32.const 120))))
      (if (i32.eq (local.get $what) (i32.const 120)) (then
        (call $client-call (local.get $b) (local.get $bl) (local.get $m) (local.get $ml)
          (local.get $b) (local.get $bl) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
          (i64.const 0) (i32.const 256))
        (return (i32.const 256))))
      (call $not-found))

    (func (export "handle-stream") (param $s i32) (param $sl i32) (param $m i32) (param $ml i32)
      (result i32) (local $what i32) (local $n i32) (local $left i32) (local $since i64)
      (local.set $what (i32.load8_u (local.get $m)))
      (call $set-header (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 3) (i32.const 384))
      ;; e: every message back
      (if (i32.eq (local.get $what) (i32.const 101)) (then
        (loop $more
          (global.set $heap (i32.const 4096))
          (call $next (i32.const 384))
          (if (i32.load8_u (i32.const 384)) (then
            (memory.copy (i32.const 256) (i32.const 384) (i32.const 28))
            (return (i32.const 256))))
          (if (i32.load8_u (i32.const 388)) (then
            (call $send (i32.load (i32.const 392)) (i32.load (i32.const 396)) (i32.const 448))
            (br $more))))
        (i32.store (i32.const 256) (i32.const 0))
        (return (i32.const 256))))
      ;; n: one octet after the other, until nobody takes them
      (if (i32.eq (local.get $what) (i32.const 110)) (then
        (loop $more
          (i32.store8 (i32.const 512) (local.get $n))
          (call $send (i32.const 512) (i32.const 1) (i32.const 448))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $more (i32.eqz (i32.load8_u (i32.const 448)))))
        (i32.store (i32.const 256) (i32.const 0))
        (return (i32.const 256))))
      ;; l: one message, then for ever
      (if (i32.eq (local.get $what) (i32.const 108)) (then
        (call $send (i32.const 64) (i32.const 3) (i32.const 448))
        (call $forever)))
      ;; d: a message every 20 ms by the clock, for ever
      (if (i32.eq (local.get $what) (i32.const 100)) (then
        (loop $more
          (local.set $since (call $now))
          (loop $wait
            (br_if $wait (i64.lt_u (i64.sub (call $now) (local.get $since)) (i64.const 20000000))))
          (call $send (i32.const 64) (i32.const 3) (i32.const 448))
          (br $more))))
      ;; m: asks for the time left 400 times before each of five messages
      (if (i32.eq (local.get $what) (i32.const 109)) (then
        (loop $more
          (local.set $left (i32.const 400))
          (loop $ask
            (drop (call $remaining))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $ask (local.get $left)))
          (call $send (i32.const 64) (i32.const 3) (i32.const 448))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $n) (i32.const 5))))
        (i32.store (i32.const 256) (i32.const 0))
        (return (i32.const 256))))
      ;; t: two messages, then a trap
      (if (i32.eq (local.get $what) (i32.const 116)) (then
        (call $send (i32.const 64) (i32.const 3) (i32.const 448))
        (call $send (i32.const 64) (i32.const 3) (i32.const 448))
        unreachable))
      (call $not-found))

    (func (export "post") (param i32) (global.set $heap (i32.const 4096)))
    (func (export "check") (result i32)
      (; HEALTH ;)
      (i32.const 640)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "header" (func $header))
      (export "set-header" (func $set-header))
      (export "remaining" (func $remaining))
      (export "next" (func $next))
      (export "send" (func $send))
      (export "write" (func $write))
      (export "now" (func $now))
      (export "config-get" (func $config-get))
      (export "kv-get" (func $kv-get))
      (export "kv-set" (func $kv-set))
      (export "client-call" (func $client-call))))))

  (func $handle (param "service" string) (param "method" string) (param "body" (list u8))
    (result (result (list u8) (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
      (post-return (core func $main "post"))))
  (instance $handler (export "handle" (func $handle)))
  (export "postern:gateway/handler@0.1.0" (instance $handler))

  (func $handle-stream (param "service" string) (param "method" string)
    (result (result (error $failure)))
    (canon lift (core func $main "handle-stream") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
      (post-return (core func $main "post"))))
  (instance $stream-handler (export "handle-stream" (func $handle-stream)))
  (export "postern:gateway/stream-handler@0.1.0" (instance $stream-handler))

  (type $status (enum "serving" "degraded" "not-serving"))
  (type $report (record (field "status" $status) (field "message" (option string))))
  (func $check (result $report) (canon lift (core func $main "check") (memory (core memory $libc "memory"))))
  (component $health
    (type $s (enum "serving" "degraded" "not-serving"))
    (import "status" (type $status (eq $s)))
    (type $r (record (field "status" $status) (field "message" (option string))))
    (import "report" (type $report (eq $r)))
    (import "check" (func $check (result $report)))
    (export $status2 "status" (type $s))
    (type $r2 (record (field "status" $status2) (field "message" (option string))))
    (export $report2 "report" (type $r2))
    (export "check" (func $check) (func (result $report2))))
  (instance $health (instantiate $health
    (with "status" (type $status)) (with "report" (type $report)) (with "check" (func $check))))
  (export "postern:gateway/health@0.1.0" (instance $health)))
