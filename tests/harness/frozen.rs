//! A program that was frozen where it accepts, made by hand.

use prewasm_artifact::{FROZEN_SECTION, append_section};

/// Its first call is the one in which it was frozen. It traps if the monotonic clock is not past the five seconds that
/// it has seen.
const SERVER: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "\00\10\00\00\00\10\00\00\00\01\00\00\36\00\00\00")
    (data (i32.const 256) "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\nfrozen and back")
    (func (export "_start")
        (loop $next
            (if (call $accept (i32.const 512) (i32.const 0)) (then unreachable))
            (if (call $time (i32.const 1) (i64.const 0) (i32.const 8)) (then unreachable))
            (if (i64.lt_u (i64.load (i32.const 8)) (i64.const 5000000000)) (then unreachable))
            (if (call $recv (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 32) (i32.const 36))
                (then unreachable))
            (if (call $send (i32.load (i32.const 0)) (i32.const 24) (i32.const 1) (i32.const 0) (i32.const 32))
                (then unreachable))
            (drop (call $close (i32.load (i32.const 0))))
            (br $next))))"#;

/// The server, with a listener on 0.0.0.0:8080 as it knows it.
pub fn server() -> Vec<u8> {
    server_with(
        r#"{"schemaVersion":1,"until":"accept","host":{"monotonic":5000000000,"closedStdio":[0],"sockets":[
            {"fd":512,"family":"inet4","kind":"stream","role":{"listener":"0.0.0.0:8080"},"nonblocking":false,
             "options":{"numbers":{"reuseAddress":1},"abortsOnClose":false}}]}}"#,
    )
}

/// The server with this host state.
pub fn server_with(section: &str) -> Vec<u8> {
    let mut wasm = wat::parse_str(SERVER).expect("valid text");
    append_section(&mut wasm, FROZEN_SECTION, section.as_bytes());
    wasm
}
