;; wasi_snapshot_preview1 for plugins in Go and C, given to the encoder of components as an adapter. It lies
;; over what a call of the gateway may import anywhere, on the inline path too: `log`, clocks, random numbers.
;;
;; - Descriptors 1 and 2 become lines of the log, `info` and `warn`. There are no others.
;; - Sleeping waits through `wasi:io/poll`. A guest that does not sleep never calls it.
;; - Exiting goes through `wasi:cli/exit`, which traps with the status.
;; - Nobody has arguments, variables or files.
;;
;; While the host puts arguments or results into the guest's memory it runs the guest's allocator, and a
;; runtime may collect its garbage there and ask the time. Imports cannot be called then. So the guest keeps a
;; block, says where it is by `postern_attach`, and the first word of it says whether imports may be called.
;; While they may not, clocks stand at what they were, random numbers follow from earlier ones, and lines wait.
;;
;;   block  0  u32  1 while imports may be called, else 0
;;          4  u32  octets in the line that is not ended
;;          8  u32  descriptor of that line
;;         12  u32  fields of lines of descriptor 1, as `log.write` takes them; 16  u32  how many
;;         20  u32  fields of lines of descriptor 2; 24  u32  how many
;;         28  u32  octets that a line may have, at least 1
;;         32       the line
;;
;; A guest without a block may always call imports, and each of its writes is a line.
(module
  (import "env" "memory" (memory 0))
  (import "postern:gateway/log@0.1.0" "write"
    (func $log_write (param $level i32) (param $text i32) (param $octets i32) (param $fields i32) (param $n_fields i32)))
  (import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall_now (param $datetime i32)))
  (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $monotonic_now (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))
  (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))
  (import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))

  (global $attached (mut i32) (i32.const 0))
  (global $wall (mut i64) (i64.const 0))
  (global $monotonic (mut i64) (i64.const 0))
  (global $seed (mut i64) (i64.const 0x9e3779b97f4a7c15))

  (func (export "postern_attach") (param $at i32)
    (global.set $attached (local.get $at)))

  (func $may_call (result i32)
    (if (result i32) (i32.eqz (global.get $attached))
      (then (i32.const 1))
      (else (i32.load (global.get $attached)))))

  ;; Clocks. The identifiers are 0 for the wall clock and 1 for the monotonic one; 28 is EINVAL.

  (func $monotonic_clock (result i64)
    (if (call $may_call) (then (global.set $monotonic (call $monotonic_now))))
    (global.get $monotonic))

  (func (export "clock_time_get") (param $id i32) (param $precision i64) (param $time i32) (result i32)
    (local $behind i64)
    (if (i32.gt_u (local.get $id) (i32.const 1)) (then (return (i32.const 28))))
    (if (i32.eq (local.get $id) (i32.const 1))
      (then
        (i64.store (local.get $time) (call $monotonic_clock))
        (return (i32.const 0))))
    (if (call $may_call)
      (then
        ;; `datetime` has 16 octets and `time` 8: those behind it are put back.
        (local.set $behind (i64.load offset=8 (local.get $time)))
        (call $wall_now (local.get $time))
        (global.set $wall
          (i64.add
            (i64.mul (i64.load (local.get $time)) (i64.const 1000000000))
            (i64.extend_i32_u (i32.load offset=8 (local.get $time)))))
        (i64.store offset=8 (local.get $time) (local.get $behind))))
    (i64.store (local.get $time) (global.get $wall))
    (i32.const 0))

  (func (export "clock_res_get") (param $id i32) (param $resolution i32) (result i32)
    (if (i32.gt_u (local.get $id) (i32.const 1)) (then (return (i32.const 28))))
    (i64.store (local.get $resolution) (i64.const 1))
    (i32.const 0))

  ;; Random numbers: the host's, and xorshift64 of the last of them where the host cannot be asked.

  (func $next_random (result i64)
    (local $x i64)
    (if (call $may_call)
      (then
        (local.set $x (call $random))
        ;; xorshift never leaves 0.
        (global.set $seed (i64.or (local.get $x) (i64.const 1)))
        (return (local.get $x))))
    (local.set $x (global.get $seed))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
    (global.set $seed (local.get $x))
    (local.get $x))

  (func (export "random_get") (param $to i32) (param $octets i32) (result i32)
    (local $x i64)
    (block $done
      (loop $words
        (br_if $done (i32.lt_u (local.get $octets) (i32.const 8)))
        (i64.store align=1 (local.get $to) (call $next_random))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $octets (i32.sub (local.get $octets) (i32.const 8)))
        (br $words)))
    (if (i32.eqz (local.get $octets)) (then (return (i32.const 0))))
    (local.set $x (call $next_random))
    (loop $rest
      (i64.store8 (local.get $to) (local.get $x))
      (local.set $x (i64.shr_u (local.get $x) (i64.const 8)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $octets (i32.sub (local.get $octets) (i32.const 1)))
      (br_if $rest (local.get $octets)))
    (i32.const 0))

  ;; Output. Levels: 2 is `info`, 3 is `warn`.

  (func $write_line (param $descriptor i32) (param $text i32) (param $octets i32)
    (local $fields i32)
    (if (global.get $attached)
      (then
        (local.set $fields
          (i32.add
            (i32.add (global.get $attached) (i32.const 12))
            (i32.shl (i32.eq (local.get $descriptor) (i32.const 2)) (i32.const 3))))
        (call $log_write
          (i32.add (local.get $descriptor) (i32.const 1)) (local.get $text) (local.get $octets)
          (i32.load (local.get $fields)) (i32.load offset=4 (local.get $fields))))
      (else
        (call $log_write
          (i32.add (local.get $descriptor) (i32.const 1)) (local.get $text) (local.get $octets)
          (i32.const 4) (i32.const 0)))))

  (func $end_line
    (local $octets i32)
    (local.set $octets (i32.load offset=4 (global.get $attached)))
    (if (i32.eqz (local.get $octets)) (then (return)))
    (if (i32.eqz (call $may_call)) (then (return)))
    (i32.store offset=4 (global.get $attached) (i32.const 0))
    (call $write_line
      (i32.load offset=8 (global.get $attached))
      (i32.add (global.get $attached) (i32.const 32))
      (local.get $octets)))

  (func $push (param $descriptor i32) (param $octet i32)
    (local $octets i32)
    (if (i32.ne (i32.load offset=8 (global.get $attached)) (local.get $descriptor))
      (then
        (call $end_line)
        (i32.store offset=8 (global.get $attached) (local.get $descriptor))))
    (if (i32.eq (local.get $octet) (i32.const 10))
      (then
        (call $end_line)
        (if (call $may_call) (then (return)))))
    (if (i32.ge_u (i32.load offset=4 (global.get $attached)) (i32.load offset=28 (global.get $attached)))
      (then (call $end_line)))
    (local.set $octets (i32.load offset=4 (global.get $attached)))
    ;; A full line that cannot be written loses its end.
    (if (i32.ge_u (local.get $octets) (i32.load offset=28 (global.get $attached))) (then (return)))
    (i32.store8 offset=32 (i32.add (global.get $attached) (local.get $octets)) (local.get $octet))
    (i32.store offset=4 (global.get $attached) (i32.add (local.get $octets) (i32.const 1))))

  (func (export "fd_write") (param $descriptor i32) (param $parts i32) (param $n_parts i32) (param $written i32) (result i32)
    (local $text i32) (local $end i32) (local $sum i32)
    (if (i32.gt_u (i32.sub (local.get $descriptor) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
    (block $done
      (loop $part
        (br_if $done (i32.eqz (local.get $n_parts)))
        (local.set $text (i32.load (local.get $parts)))
        (local.set $end (i32.add (local.get $text) (i32.load offset=4 (local.get $parts))))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $parts))))
        (if (global.get $attached)
          (then
            (block $written_all
              (loop $octet
                (br_if $written_all (i32.ge_u (local.get $text) (local.get $end)))
                (call $push (local.get $descriptor) (i32.load8_u (local.get $text)))
                (local.set $text (i32.add (local.get $text) (i32.const 1)))
                (br $octet))))
          (else
            (if (i32.lt_u (local.get $text) (local.get $end))
              (then
                (call $write_line (local.get $descriptor) (local.get $text)
                  (i32.sub (local.get $end) (local.get $text)))))))
        (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
        (local.set $n_parts (i32.sub (local.get $n_parts) (i32.const 1)))
        (br $part)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  (func (export "proc_exit") (param $status i32)
    (if (global.get $attached) (then (call $end_line)))
    (if (call $may_call) (then (call $exit (i32.ne (local.get $status) (i32.const 0)))))
    (unreachable))

  (func (export "proc_raise") (param $signal i32) (result i32)
    (if (global.get $attached) (then (call $end_line)))
    (if (call $may_call) (then (call $exit (i32.const 1))))
    (unreachable))

  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; Waiting. A subscription has 48 octets: userdata, kind at 8, and of a clock (kind 0) its timeout at 24 and
  ;; whether that is absolute at 40. An event has 32: userdata, error at 8, kind at 10. Waits for the clock that
  ;; is due first; a descriptor is due at once with EBADF.

  (func $due_in (param $subscription i32) (param $now i64) (result i64)
    (local $timeout i64)
    (if (i32.load8_u offset=8 (local.get $subscription)) (then (return (i64.const 0))))
    (local.set $timeout (i64.load offset=24 (local.get $subscription)))
    (if (i32.eqz (i32.and (i32.load16_u offset=40 (local.get $subscription)) (i32.const 1)))
      (then (return (local.get $timeout))))
    (if (i64.le_u (local.get $timeout) (local.get $now)) (then (return (i64.const 0))))
    (i64.sub (local.get $timeout) (local.get $now)))

  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $n i32) (param $n_events i32) (result i32)
    (local $at i32) (local $end i32) (local $wait i64) (local $due i64) (local $now i64) (local $pollable i32) (local $count i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 28))))
    (local.set $now (call $monotonic_clock))
    (local.set $wait (i64.const -1))
    (local.set $at (local.get $in))
    (local.set $end (i32.add (local.get $in) (i32.mul (local.get $n) (i32.const 48))))
    (loop $shortest
      (local.set $due (call $due_in (local.get $at) (local.get $now)))
      (if (i64.lt_u (local.get $due) (local.get $wait)) (then (local.set $wait (local.get $due))))
      (local.set $at (i32.add (local.get $at) (i32.const 48)))
      (br_if $shortest (i32.lt_u (local.get $at) (local.get $end))))
    (if (i32.and (i64.ne (local.get $wait) (i64.const 0)) (call $may_call))
      (then
        (local.set $pollable (call $subscribe (local.get $wait)))
        (call $block (local.get $pollable))
        (call $drop_pollable (local.get $pollable))))
    (local.set $at (local.get $in))
    (loop $events
      (if (i64.le_u (call $due_in (local.get $at) (local.get $now)) (local.get $wait))
        (then
          (i64.store (local.get $out) (i64.load (local.get $at)))
          (i64.store offset=8 (local.get $out) (i64.const 0))
          (i64.store offset=16 (local.get $out) (i64.const 0))
          (i64.store offset=24 (local.get $out) (i64.const 0))
          (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $at)))
          (if (i32.load8_u offset=8 (local.get $at))
            (then (i32.store16 offset=8 (local.get $out) (i32.const 8))))
          (local.set $out (i32.add (local.get $out) (i32.const 32)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 48)))
      (br_if $events (i32.lt_u (local.get $at) (local.get $end))))
    (i32.store (local.get $n_events) (local.get $count))
    (i32.const 0))

  ;; No arguments, no variables.

  (func $none (param $count i32) (param $octets i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $octets) (i32.const 0))
    (i32.const 0))
  (func (export "args_sizes_get") (param i32 i32) (result i32) (call $none (local.get 0) (local.get 1)))
  (func (export "environ_sizes_get") (param i32 i32) (result i32) (call $none (local.get 0) (local.get 1)))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; Descriptors 0 to 2 are character devices, 0 without input. 8 is EBADF, 29 EIO, 70 ESPIPE.

  (func (export "fd_fdstat_get") (param $descriptor i32) (param $status i32) (result i32)
    (if (i32.gt_u (local.get $descriptor) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $status) (i64.const 2))
    (i64.store offset=8 (local.get $status) (i64.const 0x42))
    (i64.store offset=16 (local.get $status) (i64.const 0))
    (i32.const 0))
  (func (export "fd_read") (param $descriptor i32) (param $parts i32) (param $n_parts i32) (param $read i32) (result i32)
    (if (local.get $descriptor) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32)
    (select (i32.const 8) (i32.const 70) (i32.gt_u (local.get 0) (i32.const 2))))
  (func (export "fd_tell") (param i32 i32) (result i32)
    (select (i32.const 8) (i32.const 70) (i32.gt_u (local.get 0) (i32.const 2))))
  (func (export "fd_close") (param i32) (result i32)
    (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get 0) (i32.const 2))))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32)
    (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get 0) (i32.const 2))))

  ;; Files and sockets: there are none.

  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 8)))
