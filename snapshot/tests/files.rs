//! Directories given to a program at build time: the snapshot depends on what is in them, not on whose they are.

#[path = "harness/building.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod building;

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use building::snapshot_with;
use prewasm_ext_http::{Access, Directory};
use prewasm_snapshot::Options;
use tempfile::TempDir;

const NAMES: [&str; 9] = ["k", "a", "Z", "m", "b", "x", "c", "10", "9"];
const SORTED: &str = "109Zabckmx";

/// The same files, made in this order; everything else about them is different.
fn folder<'a>(names: impl Iterator<Item = &'a &'a str>, seconds: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for name in names {
        let path = folder.path().join(name);
        fs::write(&path, name).expect("writable");
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("ours");
    }
    // `a` and `x` are one file.
    fs::remove_file(folder.path().join("x")).expect("there");
    fs::hard_link(folder.path().join("a"), folder.path().join("x")).expect("writable");
    folder
}

/// What comes of the program with these files in two folders, which must be the same.
fn snapshot_of_either(wat: &str) -> Vec<u8> {
    let build = |folder: &TempDir| {
        let mut options = Options::default();
        let directory = |host: &Path| Directory { host: host.to_owned(), guest: "/".into(), access: Access::ReadOnly };
        options.inputs.dirs = vec![directory(folder.path())];
        options.inputs.realtime = 1_700_000_001;
        snapshot_with(wat, &options).expect("initializes").wasm
    };
    let one = folder(NAMES.iter(), 1_000);
    // Something else on the file system in between.
    let _other = folder(["a", "m", "x"].iter(), 0);
    let two = folder(NAMES.iter().rev(), 2_000);
    let (one, two) = (build(&one), build(&two));
    assert!(one == two, "the snapshots differ");
    one
}

fn contains(wasm: &[u8], bytes: &[u8]) -> bool {
    wasm.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn a_modules_snapshot_does_not_depend_on_whose_directory_it_was() {
    // The listing is at 1024, then the state of the directory and of three files.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_readdir"
            (func $list (param i32 i32 i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_filestat_get"
            (func $stat_at (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "max")
        (func (export "wizer-initialize")
            (if (call $stat_at (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 512))
                (then unreachable))
            (if (call $list (i32.const 3) (i32.const 1024) (i32.const 4096) (i64.const 0) (i32.const 8))
                (then unreachable))
            (if (call $stat (i32.const 3) (i32.const 576)) (then unreachable))
            (if (call $stat_at (i32.const 3) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 640))
                (then unreachable))
            (if (call $stat_at (i32.const 3) (i32.const 1) (i32.const 2) (i32.const 1) (i32.const 704))
                (then unreachable))
            ;; a and x are one file, m is another
            (if (i64.ne (i64.load (i32.const 648)) (i64.load (i32.const 712))) (then unreachable))
            (if (i64.eq (i64.load (i32.const 520)) (i64.load (i32.const 648))) (then unreachable))
            ;; `10` is first behind the dots; m and the directory were met before it
            (if (i64.ne (i64.load (i32.const 1075)) (i64.const 3)) (then unreachable))
            (if (i64.ne (i64.load (i32.const 1083)) (i64.const 3)) (then unreachable))
            (if (i32.ne (i32.load (i32.const 1091)) (i32.const 2)) (then unreachable))
            (if (i32.ne (i32.load8_u (i32.const 1095)) (i32.const 4)) (then unreachable))
            (if (i32.ne (i32.load16_u (i32.const 1099)) (i32.const 0x3031)) (then unreachable))))"#;
    let wasm = snapshot_of_either(wat);
    assert!(contains(&wasm, &1_700_000_001_000_000_000u64.to_le_bytes()), "the time of the files");
}

/// Lists the first preopened directory, and asks for the state of some files. Names end up one behind the other.
const COMPONENT: &str = r#"(component
    (import "wasi:filesystem/types@0.2.0" (instance $types
        (export "descriptor" (type $descriptor (sub resource)))
        (export "directory-entry-stream" (type $stream (sub resource)))
        (type $codes (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
            "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
            "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
            "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
            "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
        (export "error-code" (type $code (eq $codes)))
        (type $kinds (enum "unknown" "block-device" "character-device" "directory" "fifo" "symbolic-link"
            "regular-file" "socket"))
        (export "descriptor-type" (type $kind (eq $kinds)))
        (type $seconds (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $time (eq $seconds)))
        (type $facts (record (field "type" $kind) (field "link-count" u64) (field "size" u64)
            (field "data-access-timestamp" (option $time)) (field "data-modification-timestamp" (option $time))
            (field "status-change-timestamp" (option $time))))
        (export "descriptor-stat" (type $stat (eq $facts)))
        (type $named (record (field "type" $kind) (field "name" string)))
        (export "directory-entry" (type $entry (eq $named)))
        (type $halves (record (field "lower" u64) (field "upper" u64)))
        (export "metadata-hash-value" (type $hash (eq $halves)))
        (type $flag (flags "symlink-follow"))
        (export "path-flags" (type $flags (eq $flag)))
        (export "[method]descriptor.read-directory"
            (func (param "self" (borrow $descriptor)) (result (result (own $stream) (error $code)))))
        (export "[method]directory-entry-stream.read-directory-entry"
            (func (param "self" (borrow $stream)) (result (result (option $entry) (error $code)))))
        (export "[method]descriptor.stat"
            (func (param "self" (borrow $descriptor)) (result (result $stat (error $code)))))
        (export "[method]descriptor.stat-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $flags)
            (param "path" string) (result (result $stat (error $code)))))
        (export "[method]descriptor.metadata-hash"
            (func (param "self" (borrow $descriptor)) (result (result $hash (error $code)))))
        (export "[method]descriptor.metadata-hash-at" (func (param "self" (borrow $descriptor))
            (param "path-flags" $flags) (param "path" string) (result (result $hash (error $code)))))))
    (alias export $types "descriptor" (type $descriptor))
    (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
        (alias outer 1 $descriptor (type $outer))
        (export "descriptor" (type $descriptor (eq $outer)))
        (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
    ;; Functions of the host need the memory of the module which imports them, so a table is between the two.
    (core module $shim
        (type $one (func (param i32)))
        (type $two (func (param i32 i32)))
        (type $five (func (param i32 i32 i32 i32 i32)))
        (table (export "table") 7 7 funcref)
        (func (export "preopens") (param i32) (call_indirect (type $one) (local.get 0) (i32.const 0)))
        (func (export "list") (param i32 i32)
            (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 1)))
        (func (export "entry") (param i32 i32)
            (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 2)))
        (func (export "stat") (param i32 i32)
            (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 3)))
        (func (export "hash") (param i32 i32)
            (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 4)))
        (func (export "stat-at") (param i32 i32 i32 i32 i32)
            (call_indirect (type $five) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)
                (i32.const 5)))
        (func (export "hash-at") (param i32 i32 i32 i32 i32)
            (call_indirect (type $five) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)
                (i32.const 6))))
    (core instance $shims (instantiate $shim))
    (core module $main
        (import "host" "preopens" (func $preopens (param i32)))
        (import "host" "list" (func $list (param i32 i32)))
        (import "host" "entry" (func $entry (param i32 i32)))
        (import "host" "stat" (func $stat (param i32 i32)))
        (import "host" "hash" (func $hash (param i32 i32)))
        (import "host" "stat-at" (func $stat_at (param i32 i32 i32 i32 i32)))
        (import "host" "hash-at" (func $hash_at (param i32 i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (global $free (mut i32) (i32.const 4096))
        (data (i32.const 8) "max")
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.add (global.get $free) (local.get 3))))
        (func (export "init") (local $directory i32)
            (call $preopens (i32.const 0))
            (local.set $directory (i32.load (i32.load (i32.const 0))))
            (global.set $free (i32.const 8192))
            (call $list (local.get $directory) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then unreachable))
            (loop $next
                (call $entry (i32.load (i32.const 20)) (i32.const 32))
                (if (i32.load8_u (i32.const 32)) (then unreachable))
                (br_if $next (i32.load8_u (i32.const 36))))
            (call $stat (local.get $directory) (i32.const 128))
            (call $stat_at (local.get $directory) (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 256))
            (call $hash (local.get $directory) (i32.const 384))
            (call $hash_at (local.get $directory) (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 416))
            (call $hash_at (local.get $directory) (i32.const 1) (i32.const 9) (i32.const 1) (i32.const 448))
            (call $hash_at (local.get $directory) (i32.const 1) (i32.const 10) (i32.const 1) (i32.const 480))
            ;; m, a and x, of which the last two are one file
            (if (i64.ne (i64.load (i32.const 392)) (i64.const 1)) (then unreachable))
            (if (i64.ne (i64.load (i32.const 424)) (i64.const 2)) (then unreachable))
            (if (i64.ne (i64.load (i32.const 456)) (i64.const 3)) (then unreachable))
            (if (i64.ne (i64.load (i32.const 488)) (i64.const 3)) (then unreachable))))
    (core instance $mains (instantiate $main (with "host" (instance $shims))))
    (core func $preopens (canon lower (func $preopens "get-directories")
        (memory $mains "memory") (realloc (func $mains "realloc"))))
    (core func $list (canon lower (func $types "[method]descriptor.read-directory") (memory $mains "memory")))
    (core func $entry (canon lower (func $types "[method]directory-entry-stream.read-directory-entry")
        (memory $mains "memory") (realloc (func $mains "realloc"))))
    (core func $stat (canon lower (func $types "[method]descriptor.stat") (memory $mains "memory")))
    (core func $hash (canon lower (func $types "[method]descriptor.metadata-hash") (memory $mains "memory")))
    (core func $stat_at (canon lower (func $types "[method]descriptor.stat-at") (memory $mains "memory")))
    (core func $hash_at (canon lower (func $types "[method]descriptor.metadata-hash-at") (memory $mains "memory")))
    (core module $fixup
        (import "" "table" (table 7 7 funcref))
        (import "" "0" (func $0 (param i32)))
        (import "" "1" (func $1 (param i32 i32)))
        (import "" "2" (func $2 (param i32 i32)))
        (import "" "3" (func $3 (param i32 i32)))
        (import "" "4" (func $4 (param i32 i32)))
        (import "" "5" (func $5 (param i32 i32 i32 i32 i32)))
        (import "" "6" (func $6 (param i32 i32 i32 i32 i32)))
        (elem (i32.const 0) func $0 $1 $2 $3 $4 $5 $6))
    (core instance (instantiate $fixup (with "" (instance
        (export "table" (table $shims "table"))
        (export "0" (func $preopens))
        (export "1" (func $list))
        (export "2" (func $entry))
        (export "3" (func $stat))
        (export "4" (func $hash))
        (export "5" (func $stat_at))
        (export "6" (func $hash_at))))))
    (func (export "wizer-initialize") (canon lift (core func $mains "init"))))"#;

#[test]
fn a_components_snapshot_does_not_depend_on_whose_directory_it_was() {
    let wasm = snapshot_of_either(COMPONENT);
    assert!(contains(&wasm, SORTED.as_bytes()), "names one behind the other");
    assert!(contains(&wasm, &1_700_000_001u32.to_le_bytes()), "the time of the files");
}
