;; What a ported program calls instead of its host: trampolines which read arguments from the program's memory, ask the
;; shim, and write results there. The linker (`link.rs`) copies those that a program needs into it.
;;
;; Layouts and numbers are those of WASI preview 1 and of WasmEdge's socket extension. Names of exports are those of
;; `imports::TABLE`, so that a second type of a name carries its parameter count.
;;
;; What a program finds different from prewasm's own host, besides what the shim cannot do:
;; - A pointer out of bounds traps, where the host gives an errno, and may do so after the call has had its effect. One that
;;   is not used, as that of a part behind the first to receive into, is not looked at.
;; - Only the first part which is not empty is received into, at most 128 KiB of it, whatever the flags.
;; - The address which datagrams would be sent to is not looked at: there are only streams.
;; - An address of 0 for the type or the port of `sock_get*addr`, or the port of `sock_recv_from`, is for nothing.
;; - `sock_getaddrinfo` tells no canonical name, and one address.
;; - A length of more than 16 for `sock_setsockopt` is one of 16.
;; - Calls for files only, such as `fd_seek`, say BADF of a socket, not SPIPE; `fd_renumber` of a file onto a standard stream
;;   is up to the adapter.
(module
  (import "program" "memory" (memory 0))

  ;; Made by the linker for each program.
  ;; Runs the program: its start function, and `_start`.
  (import "linker" "run" (func $run))
  ;; Tells the shim what was decided when the program was ported, and gives a frozen one its host back.
  (import "linker" "setup" (func $setup))
  ;; Puts globals, tables and memory into the state in which an instance starts; memory is zero before.
  (import "linker" "restore" (func $restore))
  ;; Pages of memory: how many the program starts with; how many of them and of those behind it sees then; where those
  ;; begin which it grows memory by, and where they end at last.
  (import "linker" "pages" (func $pages (result i32)))
  (import "linker" "seen" (func $seen (result i32)))
  (import "linker" "behind" (func $behind (result i32)))
  (import "linker" "limit" (func $limit (result i32)))
  ;; Where 16 bytes are which are not the program's.
  (import "linker" "area" (func $area (result i32)))

  (import "wasi_snapshot_preview1" "clock_time_get" (func $p1_clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $p1_fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $p1_fd_fdstat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $p1_fd_fdstat_set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $p1_fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $p1_fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $p1_fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $p1_fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $p1_fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $p1_poll_oneoff (param i32 i32 i32 i32) (result i32)))

  ;; The shim's functions, as the canonical ABI lowers them: a list is pointer and length, and a result with a list in it
  ;; goes to a return area, whose address is the last argument.
  (import "prewasm:port/sockets@0.1.0" "open" (func $open (param i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "bind" (func $bind (param i32 i32 i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "listen" (func $listen (param i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "accept" (func $accept (param i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "connect" (func $connect (param i32 i32 i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "recv" (func $recv (param i32 i32 i32 i32)))
  (import "prewasm:port/sockets@0.1.0" "send" (func $send (param i32 i32 i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "shutdown" (func $shutdown (param i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "close" (func $close (param i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "renumber" (func $renumber (param i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "get-flags" (func $get_flags (param i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "set-flags" (func $set_flags (param i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "get-option" (func $get_option (param i32 i32 i32 i32 i32)))
  (import "prewasm:port/sockets@0.1.0" "set-option" (func $set_option (param i32 i32 i32 i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "get-address" (func $get_address (param i32 i32 i32) (result i64)))
  (import "prewasm:port/sockets@0.1.0" "look-up"
    (func $look_up (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "prewasm:port/sockets@0.1.0" "found" (func $found (param i32 i32) (result i64)))
  (import "prewasm:port/sockets@0.1.0" "poll" (func $poll (param i32 i32 i32)))
  (import "prewasm:port/plugin@0.1.0" "send-data" (func $send_data (param i32 i32 i32 i32 i32)))
  (import "prewasm:port/plugin@0.1.0" "send-data-until-nul" (func $send_data_until_nul (param i32 i32 i32 i32 i32)))
  (import "prewasm:port/plugin@0.1.0" "received-length" (func $received_length (result i32)))
  (import "prewasm:port/plugin@0.1.0" "received" (func $received (param i32)))
  (import "prewasm:port/codec@0.1.0" "open" (func $codec_open (param i32 i32 i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "close" (func $codec_close (param i32)))
  (import "prewasm:port/codec@0.1.0" "is-handshaking" (func $codec_is_handshaking (param i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "wants" (func $codec_wants (param i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "send-close-notify" (func $codec_send_close_notify (param i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "process" (func $codec_process (param i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "state" (func $codec_state (param i32 i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "write-raw" (func $codec_write_raw (param i32 i32 i32) (result i32)))
  (import "prewasm:port/codec@0.1.0" "read-raw" (func $codec_read_raw (param i32 i32 i32)))
  (import "prewasm:port/codec@0.1.0" "write-tls" (func $codec_write_tls (param i32 i32 i32)))
  (import "prewasm:port/codec@0.1.0" "read-tls" (func $codec_read_tls (param i32 i32 i32) (result i32)))
  (import "prewasm:port/setup@0.1.0" "clock" (func $setup_clock (param i64 i64) (result i64)))
  (import "prewasm:port/setup@0.1.0" "options" (func $options (param i32)))
  (import "prewasm:port/setup@0.1.0" "socket" (func $socket (param i32 i32 i32 i32 i32 i32 i64 i64)))
  (import "prewasm:port/server@0.1.0" "begin" (func $begin (param i32 i32)))
  (import "prewasm:port/server@0.1.0" "end" (func $end))

  (export "random_get" (func $random_get))
  (export "options" (func $options))
  (export "socket" (func $socket))

  ;; Set while the program is being left: each of its functions returns as soon as it finds this.
  (global $unwinding (export "unwinding") (mut i32) (i32.const 0))

  ;; ---- The program's view of its memory ----
  ;; Behind the pages which the program starts with, the linker has put others: for the adapter, for compressed content
  ;; while it is unpacked, and for what the shim tells of a list. Nobody but the program grows memory, so that what it gets is in one piece, and the same
  ;; in each request.
  ;;
  ;; Allocators before wasi-libc's change of January 2023 take all memory that they find at first for their own: a program
  ;; sees the pages in between only once it has grown memory itself.

  ;; Where the program's pages end; 0 until it grows memory.
  (global $end (mut i32) (i32.const 0))

  (func $size (export "memory.size") (result i32)
    (select (global.get $end) (call $seen) (global.get $end)))

  (func (export "memory.grow") (param $delta i32) (result i32)
    (local $first i32) (local $end i32)
    (if (i32.eqz (local.get $delta)) (then (return (call $size))))
    (local.set $first (select (global.get $end) (call $behind) (global.get $end)))
    (if (i32.gt_u (local.get $delta) (i32.sub (call $limit) (local.get $first))) (then (return (i32.const -1))))
    (local.set $end (i32.add (local.get $first) (local.get $delta)))
    ;; Pages of an earlier request are there already.
    (if (i32.gt_u (local.get $end) (memory.size)) (then
      (if (i32.eq (memory.grow (i32.sub (local.get $end) (memory.size))) (i32.const -1)) (then
        (return (i32.const -1))))))
    (global.set $end (local.get $end))
    (local.get $first))

  ;; How many pages the adapter has.
  (global $adapter (mut i32) (i32.const 0))

  ;; Memory for the adapter, which asks twice, for its state and for its stack.
  (func (export "cabi_realloc_adapter") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32)
    (local $page i32)
    (if (local.get $old) (then (unreachable)))
    (local.set $page (i32.add (call $pages) (global.get $adapter)))
    (global.set $adapter
      (i32.add (global.get $adapter) (i32.shr_u (i32.add (local.get $size) (i32.const 0xffff)) (i32.const 16))))
    (if (i32.gt_u (global.get $adapter) (i32.const 2)) (then (unreachable)))
    (i32.shl (local.get $page) (i32.const 16)))

  ;; Closes what the program has opened and left open: everything but standard streams, and directories which it is given.
  (func (export "close_files")
    (local $fd i32)
    (local.set $fd (i32.const 3))
    (loop $next
      ;; What is told of a directory is of no use.
      (if (call $p1_fd_prestat_get (local.get $fd) (call $area)) (then
        (drop (call $p1_fd_close (local.get $fd)))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      ;; The adapter has fewer descriptors.
      (br_if $next (i32.lt_u (local.get $fd) (i32.const 256)))))

  ;; Makes the instance look new to the program.
  (func $recycle
    (memory.fill (i32.const 0) (i32.const 0) (i32.shl (call $pages) (i32.const 16)))
    (memory.fill
      (i32.shl (call $behind) (i32.const 16))
      (i32.const 0)
      (i32.shl (i32.sub (memory.size) (call $behind)) (i32.const 16)))
    (global.set $end (i32.const 0))
    (call $restore))

  ;; A length of LZ4: 15 in the token goes on in bytes, up to one that is not 255. $more_at is where.
  (global $more_at (mut i32) (i32.const 0))
  (func $length (param $nibble i32) (result i32)
    (local $byte i32)
    (if (i32.eq (local.get $nibble) (i32.const 15)) (then
      (loop $next
        (local.set $byte (i32.load8_u (global.get $more_at)))
        (global.set $more_at (i32.add (global.get $more_at) (i32.const 1)))
        (local.set $nibble (i32.add (local.get $nibble) (local.get $byte)))
        (br_if $next (i32.eq (local.get $byte) (i32.const 255))))))
    (local.get $nibble))

  ;; Unpacks a block of LZ4 (lz4_Block_format.md): $length bytes at $from, to $to.
  (func (export "unpack") (param $to i32) (param $from i32) (param $length i32)
    (local $end i32) (local $token i32) (local $count i32) (local $distance i32) (local $step i32)
    (local.set $end (i32.add (local.get $from) (local.get $length)))
    (global.set $more_at (local.get $from))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (global.get $more_at) (local.get $end)))
        (local.set $token (i32.load8_u (global.get $more_at)))
        (global.set $more_at (i32.add (global.get $more_at) (i32.const 1)))
        ;; Literals.
        (local.set $count (call $length (i32.shr_u (local.get $token) (i32.const 4))))
        (memory.copy (local.get $to) (global.get $more_at) (local.get $count))
        (local.set $to (i32.add (local.get $to) (local.get $count)))
        (global.set $more_at (i32.add (global.get $more_at) (local.get $count)))
        ;; The last sequence has literals only.
        (br_if $done (i32.ge_u (global.get $more_at) (local.get $end)))
        ;; A match, which may overlap what it makes: each copy doubles what there is to copy.
        (local.set $distance (i32.load16_u align=1 (global.get $more_at)))
        (global.set $more_at (i32.add (global.get $more_at) (i32.const 2)))
        (local.set $count
          (i32.add (call $length (i32.and (local.get $token) (i32.const 15))) (i32.const 4)))
        (loop $copy
          (local.set $step
            (select (local.get $count) (local.get $distance) (i32.lt_u (local.get $count) (local.get $distance))))
          (memory.copy (local.get $to) (i32.sub (local.get $to) (local.get $distance)) (local.get $step))
          (local.set $to (i32.add (local.get $to) (local.get $step)))
          (local.set $count (i32.sub (local.get $count) (local.get $step)))
          (local.set $distance (i32.add (local.get $distance) (local.get $step)))
          (br_if $copy (local.get $count)))
        (br $next))))

  ;; ---- Lists from the shim ----
  ;; Nothing is allocated: a list goes right to where the program wants it. Where it is and how long, or which error there
  ;; is instead, the shim tells in the area, which lies behind the program's memory.

  (global $list (mut i32) (i32.const 0))
  (global $list_room (mut i32) (i32.const -1))

  (func (export "cabi_import_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32)
    ;; Twice, or more than there is room for: not what the shim does.
    (if (i32.gt_u (local.get $size) (global.get $list_room)) (then (unreachable)))
    (if (i32.eq (global.get $list_room) (i32.const -1)) (then (unreachable)))
    (global.set $list_room (i32.const -1))
    (global.get $list))

  ;; Before a call which stores a list of up to $room bytes at $to: its last argument.
  (func $expect_list (param $to i32) (param $room i32) (result i32)
    (global.set $list (local.get $to))
    (global.set $list_room (local.get $room))
    (call $area))

  ;; `result<list<u8>, u32>`: the length, or the negative of the error.
  (func $length_or_error (result i32)
    (global.set $list_room (i32.const -1))
    (if (result i32) (i32.load8_u (call $area))
      (then (i32.sub (i32.const 0) (i32.load offset=4 (call $area))))
      (else (i32.load offset=8 (call $area)))))

  ;; The errno of a result which is not negative if there is none.
  (func $errno (param $value i32) (result i32)
    (select
      (i32.sub (i32.const 0) (local.get $value))
      (i32.const 0)
      (i32.lt_s (local.get $value) (i32.const 0))))

  ;; ---- Sending and receiving ----

  ;; The first part that is not empty: its address, or -1, where none can be.
  (func $first_part (param $parts i32) (param $count i32) (result i32)
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $count)))
        (if (i32.load offset=4 align=1 (local.get $parts)) (then (return (local.get $parts))))
        (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.const -1))

  ;; Into one part: less than there is room for is legal.
  (func $receive (param $fd i32) (param $parts i32) (param $count i32) (param $flags i32) (param $length_out i32)
    (result i32)
    (local $part i32) (local $to i32) (local $room i32) (local $value i32)
    (if (i32.gt_u (local.get $count) (i32.const 1024)) (then (return (i32.const 28)))) ;; INVAL
    (local.set $part (call $first_part (local.get $parts) (local.get $count)))
    (if (i32.ne (local.get $part) (i32.const -1)) (then
      (local.set $to (i32.load align=1 (local.get $part)))
      (local.set $room (i32.load offset=4 align=1 (local.get $part)))
      ;; A list is copied as a whole before it gets here, so it has an end.
      (if (i32.gt_u (local.get $room) (i32.const 0x20000)) (then (local.set $room (i32.const 0x20000))))))
    (call $recv (local.get $fd) (local.get $room) (local.get $flags)
      (call $expect_list (local.get $to) (local.get $room)))
    (local.set $value (call $length_or_error))
    (if (i32.lt_s (local.get $value) (i32.const 0)) (then (return (call $errno (local.get $value)))))
    (i32.store align=1 (local.get $length_out) (local.get $value))
    (i32.const 0))

  ;; Everything, as far as the socket takes it: published servers write an answer once and take it for sent.
  (func $transmit (param $fd i32) (param $parts i32) (param $count i32) (param $flags i32) (param $length_out i32)
    (result i32)
    (local $part i32) (local $from i32) (local $left i32) (local $chunk i32) (local $value i32) (local $sent i32)
    (if (i32.gt_u (local.get $count) (i32.const 1024)) (then (return (i32.const 28)))) ;; INVAL
    (block $done
      (loop $next_part
        (local.set $part (call $first_part (local.get $parts) (local.get $count)))
        (if (i32.ne (local.get $part) (i32.const -1)) (then
          (local.set $from (i32.load align=1 (local.get $part)))
          (local.set $left (i32.load offset=4 align=1 (local.get $part)))))
        (loop $next_chunk
          ;; A list is copied as a whole before it gets there, so it has an end.
          (local.set $chunk
            (select (local.get $left) (i32.const 0x20000) (i32.le_u (local.get $left) (i32.const 0x20000))))
          (local.set $value (call $send (local.get $fd) (local.get $from) (local.get $chunk) (local.get $flags)))
          (if (i32.lt_s (local.get $value) (i32.const 0)) (then
            ;; What was sent before counts; the error comes again.
            (br_if $done (local.get $sent))
            (return (call $errno (local.get $value)))))
          (local.set $sent (i32.add (local.get $sent) (local.get $value)))
          (br_if $done (i32.lt_u (local.get $value) (local.get $chunk)))
          (local.set $from (i32.add (local.get $from) (local.get $chunk)))
          (local.set $left (i32.sub (local.get $left) (local.get $chunk)))
          (br_if $next_chunk (local.get $left)))
        (br_if $done (i32.eq (local.get $part) (i32.const -1)))
        (local.set $count (i32.sub (local.get $count)
          (i32.add (i32.shr_u (i32.sub (local.get $part) (local.get $parts)) (i32.const 3)) (i32.const 1))))
        (local.set $parts (i32.add (local.get $part) (i32.const 8)))
        (br_if $next_part
          (i32.ne (call $first_part (local.get $parts) (local.get $count)) (i32.const -1)))))
    (i32.store align=1 (local.get $length_out) (local.get $sent))
    (i32.const 0))

  (func (export "sock_recv")
    (param $fd i32) (param $parts i32) (param $count i32) (param $flags i32) (param $length_out i32)
    (param $flags_out i32) (result i32)
    (local $errno i32)
    (local.set $errno
      (call $receive (local.get $fd) (local.get $parts) (local.get $count) (local.get $flags) (local.get $length_out)))
    (if (i32.eqz (local.get $errno)) (then (i32.store16 align=1 (local.get $flags_out) (i32.const 0))))
    (local.get $errno))

  ;; On a stream, which tells its peer's address.
  (func $receive_from
    (param $fd i32) (param $parts i32) (param $count i32) (param $address i32) (param $flags i32) (param $port_out i32)
    (param $length_out i32) (param $flags_out i32) (result i32)
    (local $errno i32)
    (local.set $errno
      (call $receive (local.get $fd) (local.get $parts) (local.get $count) (local.get $flags) (local.get $length_out)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (i32.store16 align=1 (local.get $flags_out) (i32.const 0))
    (call $address (local.get $fd) (i32.const 1) (local.get $address) (i32.const 0) (local.get $port_out)))

  (func (export "sock_recv_from")
    (param $fd i32) (param $parts i32) (param $count i32) (param $address i32) (param $flags i32)
    (param $length_out i32) (param $flags_out i32) (result i32)
    (call $receive_from (local.get $fd) (local.get $parts) (local.get $count) (local.get $address) (local.get $flags)
      (i32.const 0) (local.get $length_out) (local.get $flags_out)))

  (func (export "sock_recv_from/8")
    (param $fd i32) (param $parts i32) (param $count i32) (param $address i32) (param $flags i32) (param $port_out i32)
    (param $length_out i32) (param $flags_out i32) (result i32)
    (call $receive_from (local.get $fd) (local.get $parts) (local.get $count) (local.get $address) (local.get $flags)
      (local.get $port_out) (local.get $length_out) (local.get $flags_out)))

  (func (export "sock_send")
    (param $fd i32) (param $parts i32) (param $count i32) (param $flags i32) (param $length_out i32) (result i32)
    (call $transmit (local.get $fd) (local.get $parts) (local.get $count) (local.get $flags) (local.get $length_out)))

  ;; On a stream, which knows its peer.
  (func (export "sock_send_to")
    (param $fd i32) (param $parts i32) (param $count i32) (param $address i32) (param $port i32) (param $flags i32)
    (param $length_out i32) (result i32)
    (call $transmit (local.get $fd) (local.get $parts) (local.get $count) (local.get $flags) (local.get $length_out)))

  ;; ---- Descriptors: sockets from 512 on, everything else is the adapter's ----

  (func (export "fd_read") (param $fd i32) (param $parts i32) (param $count i32) (param $length_out i32) (result i32)
    (if (i32.lt_u (local.get $fd) (i32.const 512)) (then
      (return (call $p1_fd_read (local.get $fd) (local.get $parts) (local.get $count) (local.get $length_out)))))
    (call $receive (local.get $fd) (local.get $parts) (local.get $count) (i32.const 0) (local.get $length_out)))

  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $count i32) (param $length_out i32) (result i32)
    (if (i32.lt_u (local.get $fd) (i32.const 512)) (then
      (return (call $p1_fd_write (local.get $fd) (local.get $parts) (local.get $count) (local.get $length_out)))))
    (call $transmit (local.get $fd) (local.get $parts) (local.get $count) (i32.const 0) (local.get $length_out)))

  (func (export "fd_close") (param $fd i32) (result i32)
    (if (i32.lt_u (local.get $fd) (i32.const 512)) (then (return (call $p1_fd_close (local.get $fd)))))
    (call $errno (call $close (local.get $fd))))

  ;; Between files, between sockets, and never across.
  (func (export "fd_renumber") (param $from i32) (param $to i32) (result i32)
    (if (i32.and (i32.lt_u (local.get $from) (i32.const 512)) (i32.lt_u (local.get $to) (i32.const 512))) (then
      (return (call $p1_fd_renumber (local.get $from) (local.get $to)))))
    (if (i32.or (i32.lt_u (local.get $from) (i32.const 512)) (i32.lt_u (local.get $to) (i32.const 512))) (then
      (return (i32.const 58)))) ;; NOTSUP
    (call $errno (call $renumber (local.get $from) (local.get $to))))

  (func (export "fd_fdstat_get") (param $fd i32) (param $out i32) (result i32)
    (local $flags i32)
    (if (i32.lt_u (local.get $fd) (i32.const 512)) (then
      (return (call $p1_fd_fdstat_get (local.get $fd) (local.get $out)))))
    (local.set $flags (call $get_flags (local.get $fd)))
    (if (i32.lt_s (local.get $flags) (i32.const 0)) (then (return (call $errno (local.get $flags)))))
    (i64.store align=1 (local.get $out) (i64.const 6)) ;; a stream socket
    (i32.store16 offset=2 align=1 (local.get $out) (local.get $flags))
    (i64.store offset=8 align=1 (local.get $out)
      (select
        (i64.const 0xF1800004A)
        (i64.const 0xFF800004A)
        (i32.and (local.get $flags) (i32.const 0x10000))))
    (i64.store offset=16 align=1 (local.get $out) (i64.const 0))
    (i32.const 0))

  (func (export "fd_fdstat_set_flags") (param $fd i32) (param $flags i32) (result i32)
    (if (i32.lt_u (local.get $fd) (i32.const 512)) (then
      (return (call $p1_fd_fdstat_set_flags (local.get $fd) (local.get $flags)))))
    (call $errno (call $set_flags (local.get $fd) (local.get $flags))))

  (func (export "fd_filestat_get") (param $fd i32) (param $out i32) (result i32)
    (local $flags i32)
    (if (i32.lt_u (local.get $fd) (i32.const 512)) (then
      (return (call $p1_fd_filestat_get (local.get $fd) (local.get $out)))))
    (local.set $flags (call $get_flags (local.get $fd)))
    (if (i32.lt_s (local.get $flags) (i32.const 0)) (then (return (call $errno (local.get $flags)))))
    (memory.fill (local.get $out) (i32.const 0) (i32.const 64))
    (i32.store8 offset=16 (local.get $out) (i32.const 6))
    (i32.const 0))

  ;; ---- Sockets ----

  ;; Stores a descriptor, or gives the errno instead of one.
  (func $descriptor (param $value i32) (param $out i32) (result i32)
    (if (i32.ge_s (local.get $value) (i32.const 0)) (then (i32.store align=1 (local.get $out) (local.get $value))))
    (call $errno (local.get $value)))

  (func (export "sock_open") (param $family i32) (param $kind i32) (param $out i32) (result i32)
    (call $descriptor (call $open (local.get $family) (local.get $kind)) (local.get $out)))

  (func (export "sock_bind") (param $fd i32) (param $address i32) (param $port i32) (result i32)
    (call $errno (call $bind (local.get $fd)
      (i32.load align=1 (local.get $address)) (i32.load offset=4 align=1 (local.get $address)) (local.get $port))))

  (func (export "sock_connect") (param $fd i32) (param $address i32) (param $port i32) (result i32)
    (call $errno (call $connect (local.get $fd)
      (i32.load align=1 (local.get $address)) (i32.load offset=4 align=1 (local.get $address)) (local.get $port))))

  (func (export "sock_listen") (param $fd i32) (param $backlog i32) (result i32)
    (call $errno (call $listen (local.get $fd) (local.get $backlog))))

  (func (export "sock_shutdown") (param $fd i32) (param $how i32) (result i32)
    (call $errno (call $shutdown (local.get $fd) (local.get $how))))

  (func $accept_or_leave (param $fd i32) (param $flags i32) (param $out i32) (result i32)
    (local $value i32)
    (local.set $value (call $accept (local.get $fd) (local.get $flags)))
    (if (i32.eq (local.get $value) (i32.const 0x80000000)) (then
      (global.set $unwinding (i32.const 1))
      (return (i32.const 0))))
    (call $descriptor (local.get $value) (local.get $out)))

  (func (export "sock_accept") (param $fd i32) (param $out i32) (result i32)
    (call $accept_or_leave (local.get $fd) (i32.const 0) (local.get $out)))

  (func (export "sock_accept/3") (param $fd i32) (param $flags i32) (param $out i32) (result i32)
    (call $accept_or_leave (local.get $fd) (local.get $flags) (local.get $out)))

  ;; Room is 4, 16 or 128 bytes, and chooses the layout. The errno.
  (func $store_address (param $to i32) (param $room i32) (param $family i32) (param $first i64) (param $second i64)
    (result i32)
    (if (i32.eq (local.get $room) (i32.const 128)) (then
      (i32.store16 align=1 (local.get $to) (local.get $family))
      (local.set $to (i32.add (local.get $to) (i32.const 2)))
      (local.set $room (i32.const 16))))
    (if (i32.eq (local.get $family) (i32.const 1)) (then
      (if (i32.and (i32.ne (local.get $room) (i32.const 4)) (i32.ne (local.get $room) (i32.const 16))) (then
        (return (i32.const 28)))) ;; INVAL
      (i64.store32 align=1 (local.get $to) (local.get $first))
      (return (i32.const 0))))
    (if (i32.ne (local.get $room) (i32.const 16)) (then
      (return (select (i32.const 48) (i32.const 28) (i32.eq (local.get $room) (i32.const 4)))))) ;; NOMEM, INVAL
    (i64.store align=1 (local.get $to) (local.get $first))
    (i64.store offset=8 align=1 (local.get $to) (local.get $second))
    (i32.const 0))

  ;; Stores the address of a side; where type and port go is 0 if they are not asked for.
  (func $address
    (param $fd i32) (param $side i32) (param $descriptor i32) (param $kind_out i32) (param $port_out i32) (result i32)
    (local $word i64) (local $errno i32) (local $family i32)
    (local.set $word (call $get_address (local.get $fd) (local.get $side) (i32.const 0)))
    (if (i64.lt_s (local.get $word) (i64.const 0)) (then
      (return (i32.wrap_i64 (i64.sub (i64.const 0) (local.get $word))))))
    (local.set $family (i32.and (i32.wrap_i64 (local.get $word)) (i32.const 0xffff)))
    (local.set $errno (call $store_address
      (i32.load align=1 (local.get $descriptor))
      (i32.load offset=4 align=1 (local.get $descriptor))
      (local.get $family)
      (call $get_address (local.get $fd) (local.get $side) (i32.const 1))
      (call $get_address (local.get $fd) (local.get $side) (i32.const 2))))
    (if (local.get $errno) (then (return (local.get $errno))))
    ;; The digit of the IP version, not the number of the family.
    (if (local.get $kind_out) (then
      (i32.store align=1 (local.get $kind_out)
        (select (i32.const 4) (i32.const 6) (i32.eq (local.get $family) (i32.const 1))))))
    (if (local.get $port_out) (then
      (i32.store align=1 (local.get $port_out) (i32.wrap_i64 (i64.shr_u (local.get $word) (i64.const 16))))))
    (i32.const 0))

  (func (export "sock_getlocaladdr")
    (param $fd i32) (param $address i32) (param $kind_out i32) (param $port_out i32) (result i32)
    (call $address (local.get $fd) (i32.const 0) (local.get $address) (local.get $kind_out) (local.get $port_out)))

  (func (export "sock_getlocaladdr/3") (param $fd i32) (param $address i32) (param $port_out i32) (result i32)
    (call $address (local.get $fd) (i32.const 0) (local.get $address) (i32.const 0) (local.get $port_out)))

  (func (export "sock_getpeeraddr")
    (param $fd i32) (param $address i32) (param $kind_out i32) (param $port_out i32) (result i32)
    (call $address (local.get $fd) (i32.const 1) (local.get $address) (local.get $kind_out) (local.get $port_out)))

  (func (export "sock_getpeeraddr/3") (param $fd i32) (param $address i32) (param $port_out i32) (result i32)
    (call $address (local.get $fd) (i32.const 1) (local.get $address) (i32.const 0) (local.get $port_out)))

  ;; A room below the value's length is no error. No value is longer than 16 bytes.
  (func (export "sock_getsockopt")
    (param $fd i32) (param $level i32) (param $name i32) (param $to i32) (param $length i32) (result i32)
    (local $room i32) (local $value i32)
    (local.set $room (i32.load align=1 (local.get $length)))
    (if (i32.gt_u (local.get $room) (i32.const 16)) (then (local.set $room (i32.const 16))))
    (call $get_option (local.get $fd) (local.get $level) (local.get $name) (local.get $room)
      (call $expect_list (local.get $to) (local.get $room)))
    (local.set $value (call $length_or_error))
    (if (i32.lt_s (local.get $value) (i32.const 0)) (then (return (call $errno (local.get $value)))))
    (i32.store align=1 (local.get $length) (local.get $value))
    (i32.const 0))

  (func (export "sock_setsockopt")
    (param $fd i32) (param $level i32) (param $name i32) (param $value i32) (param $length i32) (result i32)
    ;; What follows the longest value does not count.
    (if (i32.gt_u (local.get $length) (i32.const 16)) (then (local.set $length (i32.const 16))))
    (call $errno (call $set_option
      (local.get $fd) (local.get $level) (local.get $name) (local.get $value) (local.get $length))))

  ;; ---- Names ----

  ;; The guest has made the structs; the first ones of its chain are filled in.
  (func (export "sock_getaddrinfo")
    (param $node i32) (param $node_length i32) (param $service i32) (param $service_length i32) (param $hints i32)
    (param $result i32) (param $max i32) (param $count_out i32) (result i32)
    (local $count i32) (local $index i32) (local $entry i32) (local $sockaddr i32) (local $data i32)
    (local $word i64) (local $family i32)
    (local.set $count (call $look_up
      (local.get $node) (local.get $node_length) (local.get $service) (local.get $service_length)
      (i32.load16_u align=1 (local.get $hints))
      (i32.load8_u offset=2 (local.get $hints))
      ;; Type and protocol.
      (i32.load16_u offset=3 align=1 (local.get $hints))
      (local.get $max)))
    (if (i32.lt_s (local.get $count) (i32.const 0)) (then (return (call $errno (local.get $count)))))
    (local.set $entry (i32.load align=1 (local.get $result)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (local.get $count)))
        (br_if $done (i32.eqz (local.get $entry)))
        (local.set $word (call $found (local.get $index) (i32.const 0)))
        (local.set $family (i32.and (i32.wrap_i64 (local.get $word)) (i32.const 0xff)))
        (i32.store16 align=1 (local.get $entry) (i32.load16_u align=1 (local.get $hints)))
        (i32.store8 offset=2 (local.get $entry) (local.get $family))
        ;; Type and protocol.
        (i64.store16 offset=3 align=1 (local.get $entry) (i64.shr_u (local.get $word) (i64.const 8)))
        ;; The size of Linux's own structs, which guests test for zero.
        (i32.store offset=8 align=1 (local.get $entry)
          (select (i32.const 16) (i32.const 28) (i32.eq (local.get $family) (i32.const 1))))
        ;; No canonical name; where none was asked for, its pointer may dangle and its length is not ours.
        (if (i32.and (i32.load16_u align=1 (local.get $hints)) (i32.const 2)) (then
          (i32.store offset=20 align=1 (local.get $entry) (i32.const 0))))
        (local.set $sockaddr (i32.load offset=12 align=1 (local.get $entry)))
        (i32.store8 (local.get $sockaddr) (local.get $family))
        (local.set $data (i32.load offset=8 align=1 (local.get $sockaddr)))
        ;; The port in network order.
        (i32.store8 (local.get $data) (i32.wrap_i64 (i64.shr_u (local.get $word) (i64.const 40))))
        (i32.store8 offset=1 (local.get $data) (i32.wrap_i64 (i64.shr_u (local.get $word) (i64.const 32))))
        (if (i32.eq (local.get $family) (i32.const 1))
          (then
            (i32.store offset=4 align=1 (local.get $sockaddr) (i32.const 14))
            (i64.store32 offset=2 align=1 (local.get $data) (call $found (local.get $index) (i32.const 1)))
            (i64.store offset=6 align=1 (local.get $data) (i64.const 0)))
          (else
            (i32.store offset=4 align=1 (local.get $sockaddr) (i32.const 26))
            (i32.store offset=2 align=1 (local.get $data) (i32.const 0))
            (i64.store offset=6 align=1 (local.get $data) (call $found (local.get $index) (i32.const 1)))
            (i64.store offset=14 align=1 (local.get $data) (call $found (local.get $index) (i32.const 2)))
            (i32.store offset=22 align=1 (local.get $data) (i32.const 0))))
        (local.set $entry (i32.load offset=24 align=1 (local.get $entry)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (i32.store align=1 (local.get $count_out) (local.get $index))
    (i32.const 0))

  ;; Addresses one behind the other.
  (func (export "sock_lookup_ip")
    (param $name i32) (param $length i32) (param $family i32) (param $to i32) (param $room i32) (param $count_out i32)
    (result i32)
    (local $size i32) (local $count i32) (local $index i32)
    (local.set $family (i32.and (local.get $family) (i32.const 0xff)))
    (if (i32.gt_u (i32.sub (local.get $family) (i32.const 1)) (i32.const 1)) (then (return (i32.const 28)))) ;; INVAL
    (local.set $size (select (i32.const 4) (i32.const 16) (i32.eq (local.get $family) (i32.const 1))))
    ;; With room for none, it is still looked up.
    (local.set $count (call $look_up
      (local.get $name) (local.get $length) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $family)
      (i32.const 0) (i32.const 64)))
    (if (i32.lt_s (local.get $count) (i32.const 0)) (then (return (call $errno (local.get $count)))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (local.get $count)))
        (br_if $done (i32.lt_u (local.get $room) (local.get $size)))
        (drop (call $store_address (local.get $to) (local.get $size) (local.get $family)
          (call $found (local.get $index) (i32.const 1)) (call $found (local.get $index) (i32.const 2))))
        (local.set $to (i32.add (local.get $to) (local.get $size)))
        (local.set $room (i32.sub (local.get $room) (local.get $size)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (i32.store align=1 (local.get $count_out) (local.get $index))
    (i32.const 0))

  ;; ---- Waiting, and time ----

  ;; Set for a frozen program: its clock goes on where it stood, and it may poll by that.
  (global $is_frozen (mut i32) (i32.const 0))
  (global $clock_offset (mut i64) (i64.const 0))

  (func (export "clock") (param $monotonic i64) (param $polling_since i64)
    (global.set $is_frozen (i32.const 1))
    (global.set $clock_offset (call $setup_clock (local.get $monotonic) (local.get $polling_since))))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $out i32) (result i32)
    (local $errno i32)
    (local.set $errno (call $p1_clock_time_get (local.get $clock) (local.get $precision) (local.get $out)))
    (if (i32.and (i32.eqz (local.get $errno)) (i32.eq (local.get $clock) (i32.const 1))) (then
      (i64.store align=1 (local.get $out) (i64.add (i64.load align=1 (local.get $out)) (global.get $clock_offset)))))
    (local.get $errno))

  (func $names_a_socket (param $subscription i32) (param $count i32) (result i32)
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $count)))
        (if (i32.and
          (i32.ne (i32.load8_u offset=8 (local.get $subscription)) (i32.const 0))
          (i32.ge_u (i32.load offset=16 align=1 (local.get $subscription)) (i32.const 512)))
          (then (return (i32.const 1))))
        (local.set $subscription (i32.add (local.get $subscription) (i32.const 48)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  (func (export "poll_oneoff")
    (param $subscriptions i32) (param $events i32) (param $count i32) (param $count_out i32) (result i32)
    (local $value i32)
    ;; More than any program has descriptors; and sizes below do not overflow.
    (if (i32.gt_u (local.get $count) (i32.const 0x1000)) (then (return (i32.const 28)))) ;; INVAL
    (if (i32.eqz (i32.or
      (global.get $is_frozen)
      (call $names_a_socket (local.get $subscriptions) (local.get $count))))
      (then (return (call $p1_poll_oneoff
        (local.get $subscriptions) (local.get $events) (local.get $count) (local.get $count_out)))))
    (call $poll (local.get $subscriptions) (i32.mul (local.get $count) (i32.const 48))
      (call $expect_list (local.get $events) (i32.mul (local.get $count) (i32.const 32))))
    (local.set $value (call $length_or_error))
    (if (i32.eq (local.get $value) (i32.const 0x80000000)) (then
      (global.set $unwinding (i32.const 1))
      (return (i32.const 0))))
    (if (i32.lt_s (local.get $value) (i32.const 0)) (then (return (call $errno (local.get $value)))))
    (i32.store align=1 (local.get $count_out) (i32.shr_u (local.get $value) (i32.const 5)))
    (i32.const 0))

  ;; ---- The HTTP plugin ----

  (func (export "wasmedge_httpsreq_send_data") (param i32 i32 i32 i32 i32)
    (call $send_data (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))

  (func (export "send_data") (param i32 i32 i32 i32 i32)
    (call $send_data_until_nul (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))

  (func (export "wasmedge_httpsreq_get_rcv_len") (result i32)
    (call $received_length))

  (func (export "wasmedge_httpsreq_get_rcv") (param $to i32)
    (local $length i32)
    (local.set $length (call $received_length))
    (call $received (call $expect_list (local.get $to) (local.get $length)))
    (global.set $list_room (i32.const -1)))

  ;; ---- The TLS codec ----

  (func (export "default_config") (result i32)
    (i32.const 0))

  (func (export "new_codec") (param $config i32) (param $name i32) (param $length i32) (result i32)
    (call $codec_open (local.get $config) (local.get $name) (local.get $length)))

  (func (export "codec_is_handshaking") (param $codec i32) (result i32)
    (call $codec_is_handshaking (local.get $codec)))

  (func (export "codec_wants") (param $codec i32) (result i32)
    (call $codec_wants (local.get $codec)))

  (func (export "delete_codec") (param $codec i32) (result i32)
    (call $codec_close (local.get $codec))
    (i32.const 0))

  (func (export "send_close_notify") (param $codec i32) (result i32)
    (call $codec_send_close_notify (local.get $codec)))

  (func (export "process_new_packets") (param $codec i32) (param $out i32) (result i32)
    (local $error i32)
    (local.set $error (call $codec_process (local.get $codec)))
    (if (local.get $error) (then (return (local.get $error))))
    (i32.store align=1 (local.get $out) (call $codec_state (local.get $codec) (i32.const 0)))
    (i32.store offset=4 align=1 (local.get $out) (call $codec_state (local.get $codec) (i32.const 1)))
    (i32.store offset=8 align=1 (local.get $out) (call $codec_state (local.get $codec) (i32.const 2)))
    (i32.const 0))

  (func (export "write_raw") (param $codec i32) (param $from i32) (param $length i32) (result i32)
    (call $codec_write_raw (local.get $codec) (local.get $from) (local.get $length)))

  (func (export "read_tls") (param $codec i32) (param $from i32) (param $length i32) (result i32)
    (call $codec_read_tls (local.get $codec) (local.get $from) (local.get $length)))

  (func (export "read_raw") (param $codec i32) (param $to i32) (param $room i32) (result i32)
    (call $codec_read_raw (local.get $codec) (local.get $room)
      (call $expect_list (local.get $to) (local.get $room)))
    (call $length_or_error))

  (func (export "write_tls") (param $codec i32) (param $to i32) (param $room i32) (result i32)
    (call $codec_write_tls (local.get $codec) (local.get $room)
      (call $expect_list (local.get $to) (local.get $room)))
    (call $length_or_error))

  ;; ---- Others ----

  ;; prewasm's marker for snapshots does nothing.
  (func (export "here"))

  ;; A program which ends is left, so that the instance can answer further requests.
  (func (export "proc_exit") (param $code i32)
    (global.set $unwinding (i32.const 1)))

  ;; `wasi:cli/run`, through the adapter.
  (func (export "_start")
    (call $setup)
    (call $run))

  ;; `wasi:http/incoming-handler`: one request, answered by one run of the program from its start.
  (global $is_used (mut i32) (i32.const 0))

  (func (export "wasi:http/incoming-handler@0.2.12#handle") (param $request i32) (param $response i32)
    (if (global.get $is_used) (then (call $recycle)))
    (global.set $is_used (i32.const 1))
    (call $begin (local.get $request) (local.get $response))
    (call $setup)
    (call $run)
    (global.set $unwinding (i32.const 0))
    (call $end)))
