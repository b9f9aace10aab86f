//! Directories which look the same on every machine: what a guest is told about files depends on their names and
//! content, and on what it has done itself.

#[path = "harness/guest.rs"]
#[allow(dead_code, reason = "only files")]
mod guest;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prewasm_ext_http::{Access, Directory, Environment, FileView, HostOptions, Inbound, Network, Outbound};

use guest::{FREE, Guest, OUT, PAGES, Template};

const TIME: u64 = 1_700_000_000_000_000_000;
const BUFFER: i32 = 0x4000;
const BUFFER_LENGTH: u32 = 0x4000;
const STAT: i32 = 0x2000;
const RIGHTS: i64 = 0x1fff_ffff;
const READ_DIRECTORY: i64 = 1 << 14;
const CREAT: i64 = 1;
const OPEN_DIRECTORY: i64 = 2;
const SYMLINK: u8 = 7;
const DIRECTORY: u8 = 3;
const FILE: u8 = 4;
const FOLLOW: i64 = 1;
const NOFOLLOW: i64 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const NOENT: i32 = 44;
const ROOT: i64 = 3;

async fn guest(directory: &Path) -> Guest {
    guest_with(directory, FileView::Reproducible { time: TIME }).await
}

async fn guest_with(directory: &Path, files: FileView) -> Guest {
    let network = Network { inbound: Inbound::Denied, outbound: Arc::new(Outbound::default()) };
    let dirs = vec![Directory { host: directory.to_owned(), guest: "/".to_owned(), access: Access::ReadWrite }];
    let environment = Environment { dirs, files, ..Environment::default() };
    Template::new().guest(environment, HostOptions::silent(network)).await
}

/// A folder with these files, created in this order.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in names {
        fs::write(folder.path().join(name), name).expect("writable");
    }
    folder
}

/// Puts a path into memory, and tells where and how long.
fn path(guest: &mut Guest, path: &str) -> [i64; 2] {
    guest.write(FREE, path.as_bytes());
    [FREE.into(), i64::try_from(path.len()).expect("short")]
}

async fn open(guest: &mut Guest, name: &str, oflags: i64) -> i64 {
    let [at, length] = path(guest, name);
    // Nobody writes to a directory itself.
    let rights = if oflags == OPEN_DIRECTORY { READ_DIRECTORY } else { RIGHTS };
    guest.ok("path_open/9", &[ROOT, FOLLOW, at, length, oflags, rights, rights, 0, OUT.into()]).await;
    guest.u32(OUT).into()
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    device: u64,
    number: u64,
    filetype: u8,
    links: u64,
    size: u64,
    times: [u64; 3],
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn stat_in(guest: &Guest) -> Stat {
    let bytes = guest.read(STAT, 64);
    let at = |at| u64_at(&bytes, at);
    Stat {
        device: at(0),
        number: at(8),
        filetype: bytes[16],
        links: at(24),
        size: at(32),
        times: [at(40), at(48), at(56)],
    }
}

async fn stat(guest: &mut Guest, fd: i64) -> Stat {
    guest.ok("fd_filestat_get/2", &[fd, STAT.into()]).await;
    stat_in(guest)
}

async fn stat_at(guest: &mut Guest, name: &str, flags: i64) -> Stat {
    let [at, length] = path(guest, name);
    guest.ok("path_filestat_get/5", &[ROOT, flags, at, length, STAT.into()]).await;
    stat_in(guest)
}

/// One reading of a directory: the bytes, as many as were used.
async fn read_directory(guest: &mut Guest, fd: i64, length: u32, cookie: i64) -> Vec<u8> {
    guest.ok("fd_readdir/5", &[fd, BUFFER.into(), length.into(), cookie, OUT.into()]).await;
    guest.read(BUFFER, guest.u32(OUT) as usize)
}

/// Name, number, type and cookie of each whole entry.
fn entries(mut bytes: &[u8]) -> Vec<(String, u64, u8, u64)> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(24) {
        let length = u32::from_le_bytes(head[16..20].try_into().expect("four bytes")) as usize;
        let Some((name, rest)) = rest.split_at_checked(length) else { break };
        entries.push((String::from_utf8_lossy(name).into_owned(), u64_at(head, 8), head[20], u64_at(head, 0)));
        bytes = rest;
    }
    entries
}

async fn names(guest: &mut Guest) -> Vec<String> {
    let bytes = read_directory(guest, ROOT, BUFFER_LENGTH, 0).await;
    entries(&bytes).into_iter().map(|(name, ..)| name).collect()
}

#[tokio::test]
async fn the_order_in_which_files_were_made_does_not_show() {
    let mut seen = Vec::new();
    for (order, modified) in [(["b", "B", "a", "ä", "-"], 1_000), (["ä", "-", "a", "B", "b"], 2_000)] {
        let folder = folder(&order);
        fs::create_dir(folder.path().join("sub")).expect("writable");
        let file = fs::File::options().write(true).open(folder.path().join("a")).expect("there");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified)).expect("ours");
        let mut guest = guest(folder.path()).await;
        let listing = read_directory(&mut guest, ROOT, BUFFER_LENGTH, 0).await;
        let file = open(&mut guest, "a", 0).await;
        seen.push((
            listing,
            stat(&mut guest, ROOT).await,
            stat(&mut guest, file).await,
            stat_at(&mut guest, "ä", FOLLOW).await,
            stat_at(&mut guest, "sub", FOLLOW).await,
        ));
    }
    assert_eq!(seen[0], seen[1]);
    let (listing, root, file, other, sub) = &seen[0];
    let expected: Vec<_> = [".", "..", "-", "B", "a", "b", "sub", "ä"].map(str::to_owned).into();
    assert_eq!(entries(listing).into_iter().map(|(name, ..)| name).collect::<Vec<_>>(), expected);
    let times = [TIME; 3];
    assert_eq!(*root, Stat { device: 1, number: 1, filetype: DIRECTORY, links: 1, size: 0, times });
    assert_eq!(*file, Stat { device: 1, number: 4, filetype: FILE, links: 1, size: 1, times });
    assert_eq!(*other, Stat { device: 1, number: 7, filetype: FILE, links: 1, size: 2, times });
    assert_eq!(*sub, Stat { device: 1, number: 6, filetype: DIRECTORY, links: 1, size: 0, times });
}

#[tokio::test]
async fn one_file_has_one_number_by_whatever_way_it_is_met() {
    let folder = folder(&["a", "b"]);
    fs::create_dir(folder.path().join("sub")).expect("writable");
    fs::hard_link(folder.path().join("a"), folder.path().join("sub/hard")).expect("writable");
    std::os::unix::fs::symlink("b", folder.path().join("soft")).expect("writable");
    let mut guest = guest(folder.path()).await;
    let a = stat_at(&mut guest, "a", FOLLOW).await;
    assert_eq!(a.number, 1, "the first that was met");
    assert_eq!(stat_at(&mut guest, "sub/hard", FOLLOW).await, a);
    assert_eq!(stat_at(&mut guest, "sub/../a", FOLLOW).await, a);
    let file = open(&mut guest, "a", 0).await;
    assert_eq!(stat(&mut guest, file).await, a);

    let b = stat_at(&mut guest, "b", FOLLOW).await;
    assert_ne!(b.number, a.number);
    assert_eq!(stat_at(&mut guest, "soft", FOLLOW).await, b);
    let link = stat_at(&mut guest, "soft", NOFOLLOW).await;
    assert_eq!((link.filetype, link.size), (SYMLINK, 1));
    assert_ne!(link.number, b.number);

    let sub = open(&mut guest, "sub", OPEN_DIRECTORY).await;
    let number = stat(&mut guest, sub).await.number;
    let listing = entries(&read_directory(&mut guest, sub, BUFFER_LENGTH, 0).await);
    let expected = [(".", number, DIRECTORY, 1), ("..", number, DIRECTORY, 2), ("hard", a.number, FILE, 3)];
    assert_eq!(listing, expected.map(|(name, number, ty, next)| (name.to_owned(), number, ty, next)));
    let listing = entries(&read_directory(&mut guest, ROOT, BUFFER_LENGTH, 4).await);
    assert_eq!(listing[0], ("soft".to_owned(), link.number, SYMLINK, 5));

    let [at, length] = path(&mut guest, "..");
    assert_ne!(guest.call("path_filestat_get/5", &[ROOT, FOLLOW, at, length, STAT.into()]).await, 0, "outside");
    let [at, length] = path(&mut guest, "missing");
    assert_eq!(guest.call("path_filestat_get/5", &[ROOT, FOLLOW, at, length, STAT.into()]).await, NOENT);
}

#[tokio::test]
async fn a_directory_is_read_in_pieces_of_any_size() {
    let names: Vec<_> = (0..700).map(|number| format!("a file with a name of some length {number}")).collect();
    let folder = folder(&names.iter().rev().map(String::as_str).collect::<Vec<_>>());
    let mut guest = guest(folder.path()).await;
    let mut sorted = names.clone();
    sorted.sort();
    for length in [BUFFER_LENGTH, 4096, 1000] {
        let (mut found, mut cookie) = (Vec::new(), 0);
        loop {
            let bytes = read_directory(&mut guest, ROOT, length, cookie).await;
            let whole = entries(&bytes);
            cookie = whole.last().map_or(cookie, |(.., next)| i64::try_from(*next).expect("small"));
            found.extend(whole.into_iter().map(|(name, ..)| name));
            if bytes.len() < length as usize {
                break;
            }
        }
        assert_eq!(found.split_off(2), sorted, "pieces of {length} bytes");
    }
    let whole = read_directory(&mut guest, ROOT, BUFFER_LENGTH, 0).await;
    for length in [0, 1, 23, 24, 25, 26, 49, 50, 51, 52, 60, 100] {
        assert_eq!(read_directory(&mut guest, ROOT, length, 0).await, whole[..length as usize], "cut");
    }
    for cookie in [702, 703, i64::MAX, -1] {
        assert!(read_directory(&mut guest, ROOT, BUFFER_LENGTH, cookie).await.is_empty(), "behind the end: {cookie}");
    }
}

#[tokio::test]
async fn bad_pointers_and_descriptors_are_errnos() {
    let folder = folder(&["a"]);
    let mut guest = guest(folder.path()).await;
    let end = i64::from(PAGES) * 65536;
    let before = guest.bytes().to_vec();
    for (buffer, length, out) in [(end, 1, 0), (end - 1, 2, 0), (-1, 1, 0), (0, end + 1, 0), (0, -1, 0)] {
        assert_eq!(guest.call("fd_readdir/5", &[ROOT, buffer, length, 0, out]).await, FAULT, "{buffer} {length}");
    }
    for out in [end, end - 3, -1] {
        assert_eq!(guest.call("fd_readdir/5", &[ROOT, BUFFER.into(), 100, 0, out]).await, FAULT, "{out}");
    }
    let [at, length] = path(&mut guest, "a");
    for out in [end, end - 63, -1, -64] {
        assert_eq!(guest.call("fd_filestat_get/2", &[ROOT, out]).await, FAULT, "{out}");
        assert_eq!(guest.call("path_filestat_get/5", &[ROOT, FOLLOW, at, length, out]).await, FAULT, "{out}");
    }
    for fd in [4, 511, 512, -1] {
        assert_eq!(guest.call("fd_readdir/5", &[fd, BUFFER.into(), 100, 0, OUT.into()]).await, BADF, "{fd}");
        assert_eq!(guest.call("fd_filestat_get/2", &[fd, STAT.into()]).await, BADF, "{fd}");
    }
    let file = open(&mut guest, "a", 0).await;
    assert_ne!(guest.call("fd_readdir/5", &[file, BUFFER.into(), 100, 0, OUT.into()]).await, 0, "no directory");
    guest.write(FREE, &before[0x1000..0x1001]);
    guest.write(OUT, &before[0x300..0x304]);
    assert!(guest.bytes() == before, "nothing was written");
}

#[tokio::test]
async fn a_directory_that_changes_is_seen_as_it_is() {
    let folder = folder(&["b", "d"]);
    let mut guest = guest(folder.path()).await;
    assert_eq!(names(&mut guest).await, [".", "..", "b", "d"]);
    let file = open(&mut guest, "c", CREAT).await;
    let iovec = guest.iovec(FREE, 5);
    guest.ok("fd_write/4", &[file, iovec, 1, OUT.into()]).await;
    guest.ok("fd_filestat_set_times/4", &[file, 1, 1, 1 | 4]).await;
    assert_eq!(names(&mut guest).await, [".", "..", "b", "c", "d"]);
    let changed = stat(&mut guest, file).await;
    assert_eq!((changed.size, changed.times), (5, [TIME; 3]));

    let first = entries(&read_directory(&mut guest, ROOT, 24 * 3 + 1 + 2 + 1, 0).await);
    assert_eq!(first.last().map(|(name, ..)| name.as_str()), Some("b"));
    let [at, length] = path(&mut guest, "d");
    guest.ok("path_unlink_file/3", &[ROOT, at, length]).await;
    open(&mut guest, "e", CREAT).await;
    let rest = entries(&read_directory(&mut guest, ROOT, BUFFER_LENGTH, 3).await);
    assert_eq!(rest.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["c", "e"], "cookies are positions");
}

/// Some file systems give the number of a deleted file to the next one, and some do not.
#[tokio::test]
async fn what_a_guest_creates_has_a_number_of_its_own() {
    let folder = folder(&["before"]);
    let mut guest = guest(folder.path()).await;
    for round in 0..8 {
        let file = open(&mut guest, "file", CREAT).await;
        assert_eq!(stat(&mut guest, file).await.number, round * 3 + 1);
        let again = open(&mut guest, "file", CREAT).await;
        assert_eq!(stat(&mut guest, again).await.number, round * 3 + 1, "not created");
        guest.ok("fd_close/1", &[file]).await;
        guest.ok("fd_close/1", &[again]).await;
        let [at, length] = path(&mut guest, "file");
        guest.ok("path_unlink_file/3", &[ROOT, at, length]).await;
        guest.ok("path_create_directory/3", &[ROOT, at, length]).await;
        assert_eq!(stat_at(&mut guest, "file", NOFOLLOW).await.number, round * 3 + 2);
        let [at, length] = path(&mut guest, "file");
        guest.ok("path_remove_directory/3", &[ROOT, at, length]).await;
        guest.ok("path_symlink/5", &[at, length, ROOT, at, length]).await;
        assert_eq!(stat_at(&mut guest, "file", NOFOLLOW).await.number, round * 3 + 3);
        let [at, length] = path(&mut guest, "file");
        guest.ok("path_unlink_file/3", &[ROOT, at, length]).await;
    }
}

#[tokio::test]
async fn without_it_files_look_as_they_do_on_the_host() {
    let folder = folder(&["a"]);
    let mut guest = guest_with(folder.path(), FileView::Host).await;
    let found = stat_at(&mut guest, "a", FOLLOW).await;
    let modified = fs::metadata(folder.path().join("a")).and_then(|metadata| metadata.modified()).expect("there");
    let modified = modified.duration_since(SystemTime::UNIX_EPOCH).expect("after it").as_nanos();
    assert_eq!(u128::from(found.times[1]), modified);
    assert_eq!(entries(&read_directory(&mut guest, ROOT, BUFFER_LENGTH, 0).await)[2].1, found.number);
}
