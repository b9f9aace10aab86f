//! Programs which were frozen while they ran: their host comes back before they go on, in each request.

use std::sync::Arc;

use prewasm_artifact::{Artifact, FROZEN_SECTION, append_section};

use super::harness::{Answer, Call, Program};
use crate::{
    Clock, Environment, Frozen, Host, HostOptions, Inbound, Input, Network, Outbound, Output, Reseed,
    sockets::{Family, Kind},
    virtual_inbound,
};

const MONOTONIC: i64 = 1;
const REALTIME: i64 = 0;

/// A server which tells the clock of the number that it is given, and polls.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_listen" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_raise" (func $tell (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $time (param i32)
      (drop (call $clock (local.get 0) (i64.const 0) (i32.const 8)))
      (drop (call $tell (i32.load (i32.const 8)))))
    (func (export "_start")
      (call $time (i32.const 0))
      (call $time (i32.const 1))
      (drop (call $poll (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 0)))))"#;

/// Frozen with one listener, without standard input, and with two parts to fill with random bytes.
fn program() -> Vec<u8> {
    let environment = Arc::new(Environment { clock: Clock::Fixed(0), ..Environment::default() });
    let (inbound, _connector) = virtual_inbound();
    let network = Network { inbound: Inbound::Virtual(inbound), outbound: Arc::new(Outbound::default()) };
    let options = HostOptions { stdin: Input::Empty, stdout: Output::Discard, ..HostOptions::silent(network) };
    let mut host = Host::new(environment, options);
    host.wasi.stdio.close(0).expect("open");
    let listener = host.sockets.open(Family::Inet4, Kind::Stream).expect("room");
    host.sockets.bind(listener, "127.0.0.1:8080".parse().expect("an address")).expect("free");
    host.sockets.listen(listener, 1).expect("bound");
    host.sockets.set_nonblocking(listener, true).expect("open");
    host.sockets.open(Family::Inet6, Kind::Stream).expect("room");
    let state = host.freeze().expect("nothing is open").while_polling(77);
    let mut frozen = Frozen::new("accept".to_owned(), state);
    frozen.reseed(vec![Reseed { offset: 64, length: 8 }, Reseed { offset: 0xff00, length: 16 }]);
    let mut wasm = wat::parse_str(PROGRAM).expect("valid");
    append_section(&mut wasm, FROZEN_SECTION, &frozen.to_section().expect("JSON"));
    wasm
}

#[test]
fn its_host_comes_back_in_each_request() {
    let wasm = program();
    let monotonic =
        Frozen::parse(Artifact::from_bytes("program", wasm.clone()).expect("valid").frozen().expect("frozen"));
    let monotonic = monotonic.expect("readable").host.monotonic().cast_signed();
    let mut running = Program::new(wasm).start(|call: &Call| match call.name.as_str() {
        "setup.clock" => Answer::Number(1000),
        "wasi.clock_time_get" => Answer::Store(call.numbers[2], 5i64.to_le_bytes().to_vec()),
        "wasi.random_get" => {
            let length = usize::try_from(call.numbers[1]).expect("small");
            Answer::Store(call.numbers[0], vec![0x77; length])
        }
        "sockets.poll" => Answer::List(Vec::new()),
        // Closed already, as in an instance that is used again.
        "wasi.fd_close" => Answer::Number(8),
        _ => Answer::Number(0),
    });
    for _ in 0..3 {
        running.handle().expect("no trap");
        let address = i64::from(u32::from_le_bytes([127, 0, 0, 1]));
        let calls = running.calls();
        let found: Vec<_> = calls.iter().map(|call| (call.name.as_str(), &call.numbers[..])).collect();
        let expected: [(&str, &[i64]); 13] = [
            ("server.begin", &[1, 2]),
            ("setup.clock", &[monotonic, 77]),
            ("setup.socket", &[512, 2, 1, 2, 4, 8080, address, 0]),
            ("setup.socket", &[513, 0, 2, 2, 0, 0, 0, 0]),
            ("wasi.fd_close", &[0]),
            ("wasi.random_get", &[64, 8]),
            ("wasi.random_get", &[0xff00, 16]),
            ("wasi.clock_time_get", &[REALTIME, 0, 8]),
            ("wasi.proc_raise", &[5]),
            ("wasi.clock_time_get", &[MONOTONIC, 0, 8]),
            // Only this clock goes on where it stood.
            ("wasi.proc_raise", &[1005]),
            // All its polls are the shim's, which knows that clock.
            ("sockets.poll", &[]),
            ("server.end", &[]),
        ];
        assert_eq!(found, expected);
        let memory = running.memory();
        assert_eq!(memory[63..73], [0, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0]);
        assert_eq!(memory[0xff00..0xff11], [[0x77; 16].as_slice(), &[0]].concat());
    }
}

#[test]
fn without_random_bytes_it_does_not_run() {
    let mut running = Program::new(program()).start(|call: &Call| match call.name.as_str() {
        "wasi.random_get" => Answer::Number(29),
        _ => Answer::Number(0),
    });
    assert!(running.handle().is_err());
    assert!(running.calls().iter().all(|call| call.name != "wasi.clock_time_get"));
}
