;; A balancer that does what the key says; below 1,000 it picks the key modulo the number of
;; instances that it was told.
(component
(; TYPES ;)
  (import "postern:gateway/candidates@0.1.0" (instance $candidates
    (export "usable" (func (param "index" u32) (result bool)))
    (export "random" (func (result u64)))))
  (core func $usable (canon lower (func $candidates "usable")))
  (core func $random (canon lower (func $candidates "random")))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "host" "usable" (func $usable (param i32) (result i32)))
    (import "host" "random" (func $random (result i64)))
    (global $n (mut i32) (i32.const 0))
    (global $updates (mut i32) (i32.const 0))
    (global $weights (mut i32) (i32.const 0))
    (global $done (mut i32) (i32.const 0))
    (func (export "update") (param $at i32) (param $n i32)
      (global.set $heap (i32.const 4096))
      (global.set $n (local.get $n))
      (global.set $updates (i32.add (global.get $updates) (i32.const 1)))
      (global.set $weights (i32.const 0))
      (block $end
        (loop $more
          (br_if $end (i32.eqz (local.get $n)))
          (global.set $weights (i32.add (global.get $weights) (i32.load offset=8 (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 44)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $more))))
    (func $some (param $index i32) (result i32)
      (i32.store (i32.const 256) (i32.const 1))
      (i32.store (i32.const 260) (local.get $index))
      (i32.const 256))
    (func (export "pick") (param $key i64) (result i32) (local $k i32)
      (local.set $k (i32.wrap_i64 (local.get $key)))
      ;; 1000: trap
      (if (i32.eq (local.get $k) (i32.const 1000)) (then unreachable))
      ;; 1001: for ever
      (if (i32.eq (local.get $k) (i32.const 1001)) (then (loop $again (br $again))))
      ;; 1002: one past the last
      (if (i32.eq (local.get $k) (i32.const 1002)) (then (return (call $some (global.get $n)))))
      ;; 1003: none
      (if (i32.eq (local.get $k) (i32.const 1003)) (then
        (i32.store (i32.const 256) (i32.const 0)) (return (i32.const 256))))
      ;; 1004: as many as there were updates
      (if (i32.eq (local.get $k) (i32.const 1004)) (then (return (call $some (global.get $updates)))))
      ;; 1005: the sum of all weights
      (if (i32.eq (local.get $k) (i32.const 1005)) (then (return (call $some (global.get $weights)))))
      ;; 1006: the sum of what `done` was told
      (if (i32.eq (local.get $k) (i32.const 1006)) (then (return (call $some (global.get $done)))))
      ;; 1007: the first that is usable
      (if (i32.eq (local.get $k) (i32.const 1007)) (then
        (local.set $k (i32.const 0))
        (loop $more
          (if (call $usable (local.get $k)) (then (return (call $some (local.get $k)))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $k) (global.get $n))))
        unreachable))
      ;; 1008: by chance
      (if (i32.eq (local.get $k) (i32.const 1008)) (then
        (return (call $some (i32.wrap_i64 (i64.rem_u (call $random) (i64.extend_i32_u (global.get $n))))))))
      ;; 1009: work for some 20,000 instructions
      (if (i32.eq (local.get $k) (i32.const 1009)) (then
        (local.set $k (i32.const 4000))
        (loop $more
          (local.set $k (i32.sub (local.get $k) (i32.const 1)))
          (br_if $more (local.get $k)))
        (return (call $some (i32.const 0)))))
      (call $some (i32.rem_u (local.get $k) (global.get $n))))
    (func (export "done") (param $index i32) (param $outcome i32) (param $micros i64)
      (global.set $done (i32.add (global.get $done)
        (i32.add (i32.add (local.get $index) (i32.mul (local.get $outcome) (i32.const 10)))
          (i32.mul (i32.wrap_i64 (local.get $micros)) (i32.const 100)))))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "usable" (func $usable))
      (export "random" (func $random))))))

  (type $instance (record (field "id" string) (field "weight" u32) (field "zone" (option string))
    (field "version" (option string)) (field "metadata" (list (tuple string string)))))
  (type $outcome (enum "success" "failure" "timeout"))
  (func $update (param "instances" (list $instance))
    (canon lift (core func $main "update") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $pick (param "key" u64) (result (option u32))
    (canon lift (core func $main "pick") (memory (core memory $libc "memory"))))
  (func $done (param "index" u32) (param "outcome" $outcome) (param "micros" u64)
    (canon lift (core func $main "done")))
  (component $balancer
    (type $i (record (field "id" string) (field "weight" u32) (field "zone" (option string))
      (field "version" (option string)) (field "metadata" (list (tuple string string)))))
    (import "instance" (type $instance (eq $i)))
    (type $o (enum "success" "failure" "timeout"))
    (import "outcome" (type $outcome (eq $o)))
    (import "update" (func $update (param "instances" (list $instance))))
    (import "pick" (func $pick (param "key" u64) (result (option u32))))
    (import "done" (func $done (param "index" u32) (param "outcome" $outcome) (param "micros" u64)))
    (export $i2 "instance" (type $i))
    (export $o2 "outcome" (type $o))
    (export "update" (func $update) (func (param "instances" (list $i2))))
    (export "pick" (func $pick))
    (export "done" (func $done) (func (param "index" u32) (param "outcome" $o2) (param "micros" u64))))
  (instance $balancer (instantiate $balancer
    (with "instance" (type $instance)) (with "outcome" (type $outcome))
    (with "update" (func $update)) (with "pick" (func $pick)) (with "done" (func $done))))
  (export "postern:gateway/balancer@0.1.0" (instance $balancer)))
