//! Calls for any descriptor: sockets are the shim's, and told as WasmEdge does; files are the adapter's.

use super::{
    case::{OUT, PARTS, call, check},
    harness::Answer::Number,
};

#[test]
fn a_socket_is_told_as_one() {
    let rights = |rights: u64| [vec![6, 0, 4, 0, 0, 0, 0, 0], rights.to_le_bytes().to_vec(), vec![0; 8]].concat();
    let mut stat = [0; 64];
    stat[16] = 6;
    let flags = "sockets.get-flags";
    check([
        call("fd_fdstat_get", &[600, OUT]).asks(flags, &[600], Number(4)).stores(OUT, rights(0xF_F800_004A)),
        call("fd_fdstat_get", &[600, OUT]).asks(flags, &[600], Number(0x1_0004)).stores(OUT, rights(0xF_1800_004A)),
        call("fd_fdstat_get", &[600, OUT]).asks(flags, &[600], Number(-8)).gives(8),
        call("fd_filestat_get", &[600, OUT]).asks(flags, &[600], Number(0)).stores(OUT, stat),
        call("fd_filestat_get", &[600, OUT]).asks(flags, &[600], Number(-8)).gives(8),
        call("fd_fdstat_set_flags", &[600, 4]).asks("sockets.set-flags", &[600, 4], Number(0)),
        call("fd_close", &[600]).asks("sockets.close", &[600], Number(0)),
        call("fd_close", &[512]).asks("sockets.close", &[512], Number(-8)).gives(8),
    ]);
}

#[test]
fn a_file_is_the_adapters() {
    let calls: [(&str, &[usize], &[i64]); 7] = [
        ("fd_read", &[5, PARTS, 1, OUT], &[5, 0x400, 1, 0x300]),
        ("fd_write", &[511, PARTS, 1, OUT], &[511, 0x400, 1, 0x300]),
        ("fd_close", &[511], &[511]),
        ("fd_fdstat_get", &[0, OUT], &[0, 0x300]),
        ("fd_fdstat_set_flags", &[5, 4], &[5, 4]),
        ("fd_filestat_get", &[5, OUT], &[5, 0x300]),
        ("fd_renumber", &[5, 6], &[5, 6]),
    ];
    check(calls.map(|(name, arguments, numbers)| {
        call(name, arguments).asks(&format!("wasi.{name}"), numbers, Number(8)).gives(8)
    }));
}

#[test]
fn a_number_is_given_to_another_of_the_same_sort() {
    check([
        call("fd_renumber", &[600, 601]).asks("sockets.renumber", &[600, 601], Number(0)),
        call("fd_renumber", &[600, 5]).gives(58),
        call("fd_renumber", &[5, 600]).gives(58),
    ]);
}
