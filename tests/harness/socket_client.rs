//! A client that makes each socket call by hand, for tests.

/// A program which connects to 127.0.0.1, sends `request`, receives once, and prints what came; or the errno of the first
/// call that fails, as a byte, with exit code 1. `before` is done before it receives.
pub fn client(port: u16, request: &str, before: &str) -> String {
    let escaped: String = request.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let length = request.len();
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_connect" (func $connect (param i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_setsockopt" (func $set (param i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 2)
          ;; 0: address descriptor, 8: address, 16: timeval of 0.2 s, 32: socket, 36: length, 40: flags,
          ;; 48: part to send, 56: part to receive into and to print
          (data (i32.const 0) "\08\00\00\00\04\00\00\00\7f\00\00\01")
          (data (i32.const 16) "\00\00\00\00\00\00\00\00\40\0d\03\00\00\00\00\00")
          (data (i32.const 48) "\00\04\00\00")
          (data (i32.const 1024) "{escaped}")
          (func $check (param $errno i32)
            (if (local.get $errno) (then
              (i32.store8 (i32.const 65536) (local.get $errno))
              (i32.store (i32.const 60) (i32.const 1))
              (drop (call $write (i32.const 1) (i32.const 56) (i32.const 1) (i32.const 36)))
              (call $exit (i32.const 1)))))
          (func (export "_start")
            (i32.store (i32.const 52) (i32.const {length}))
            (i32.store (i32.const 56) (i32.const 65536))
            (i32.store (i32.const 60) (i32.const 4096))
            (call $check (call $open (i32.const 1) (i32.const 2) (i32.const 32)))
            (call $check (call $connect (i32.load (i32.const 32)) (i32.const 0) (i32.const {port})))
            {before}
            (if (i32.const {length}) (then (call $check
              (call $send (i32.load (i32.const 32)) (i32.const 48) (i32.const 1) (i32.const 0) (i32.const 36)))))
            (call $check (call $recv
              (i32.load (i32.const 32)) (i32.const 56) (i32.const 1) (i32.const 0) (i32.const 36) (i32.const 40)))
            (i32.store (i32.const 60) (i32.load (i32.const 36)))
            (call $check (call $write (i32.const 1) (i32.const 56) (i32.const 1) (i32.const 36)))))"#
    )
}
