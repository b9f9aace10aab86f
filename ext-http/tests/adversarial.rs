//! Hostile arguments on every call: whatever a guest passes, and whatever lies in its memory, a call ends with an errno
//! or a trap. Never with a panic of the host, nor with much memory or time of the host spent.

#[path = "harness/guest.rs"]
mod guest;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::VecDeque,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use prewasm_artifact::{Family, Import, PREVIEW1, ValueType};
use prewasm_ext_http::{
    Access, Directory, Environment, HostOptions, Inbound, Network, Outbound, OutboundPolicy, imports,
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    strategy::{BoxedStrategy, Union},
    test_runner::{Config, TestRunner},
};

use guest::{FREE, Guest, PAGES, Template, key};

/// The most that one call may have allocated at a time, guest memory apart. The guest's 128 KiB may be copied whole
/// (a request of the HTTP plugin, a path), a poll may have 4096 subscriptions, and the first TLS codec of an instance
/// brings the public authorities along.
const MEMORY_PER_CALL: usize = 2 * 1024 * 1024;
/// The most that the state behind one guest may grow by in all its calls.
const MEMORY_PER_GUEST: usize = 8 * 1024 * 1024;
/// A call which waits is left alone after this.
const PATIENCE: Duration = Duration::from_millis(10);
/// A call may compute, without ever giving way, for so long: far more than any needs, on a busy machine.
const TIME_PER_CALL: Duration = Duration::from_secs(2);
/// The highest errno: `AISYSTEM`.
const LAST_ERRNO: i32 = 87;
const CALLS_PER_CASE: usize = 48;
const CASES: u32 = 400;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe to write; this one only counts what the system's does")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promises are the ones that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One call: which of the table, and its arguments.
type Attempt = (usize, Vec<i64>);

/// 32 bits at the edges of what they may mean, or any.
fn hostile() -> impl Strategy<Value = i32> {
    let size = i32::try_from(PAGES * 65536).expect("small");
    prop_oneof![
        Just(0),
        Just(size),
        Just(i32::MAX),
        Just(i32::MIN),
        (1..64i32).prop_map(move |back| size - back),
        (1..64i32).prop_map(i32::wrapping_neg),
        prop_oneof![Just(1025), Just(4096), Just(65_508), Just(65_536)],
        500..530i32,
        any::<i32>(),
    ]
}

/// What the arguments of a call mean, a letter each, so that calls get beyond their first check: `d` a descriptor, `i`
/// iovecs and `c` how many, `a` an address and `o` a port, `p` a place for a result, `s` a string and `b` its length,
/// `k` a small number or flags, `z` zero, `n` an option, `m` a payload's length and `L` a pointer to one, `h` hints and
/// `r` a chain for their results, `u` subscriptions and `e` room for events.
const MEANINGS: [(&str, &str); 29] = [
    ("epoll_oneoff/4", "uecp"),
    ("fd_close/1", "d"),
    ("fd_fdstat_get/2", "dp"),
    ("fd_fdstat_set_flags/2", "dk"),
    ("fd_filestat_get/2", "dp"),
    ("fd_read/4", "dicp"),
    ("fd_renumber/2", "dd"),
    ("fd_write/4", "dicp"),
    ("poll_oneoff/4", "uecp"),
    ("sock_accept/2", "dp"),
    ("sock_accept/3", "dkp"),
    ("sock_bind/3", "dao"),
    ("sock_connect/3", "dao"),
    ("sock_getaddrinfo/8", "sbsbhrkp"),
    ("sock_getlocaladdr/3", "dap"),
    ("sock_getlocaladdr/4", "dapp"),
    ("sock_getpeeraddr/3", "dap"),
    ("sock_getpeeraddr/4", "dapp"),
    ("sock_getsockopt/5", "dznpL"),
    ("sock_listen/2", "dk"),
    ("sock_lookup_ip/6", "sbkpmp"),
    ("sock_open/3", "kkp"),
    ("sock_recv/6", "dickpp"),
    ("sock_recv_from/7", "dicakpp"),
    ("sock_recv_from/8", "dicakppp"),
    ("sock_send/5", "diczp"),
    ("sock_send_to/7", "dicaozp"),
    ("sock_setsockopt/5", "dznpm"),
    ("sock_shutdown/2", "dk"),
];

/// Where the letters point to, in every guest's memory.
const IOVECS: i32 = 0x100;
const DESCRIPTOR: i32 = 0x140;
const LENGTH: i32 = 0x150;
const STRING: i32 = 0x180;
const HINTS: i32 = 0x1c0;
const CHAIN: i32 = 0x200;
const SUBSCRIPTIONS: i32 = 0x400;
const BUFFER: i32 = 0x800;
/// Words beyond this place are not overwritten with hostile ones.
const STRUCTURES: i32 = 0x600;

fn meant(letter: char, port: u16) -> BoxedStrategy<i64> {
    let word: BoxedStrategy<i32> = match letter {
        // A directory, a file, and three sockets.
        'd' => prop_oneof![1 => 3..5i32, 6 => 512..515i32].boxed(),
        'i' => Just(IOVECS).boxed(),
        'c' | 'k' => (0..4i32).boxed(),
        'a' => Just(DESCRIPTOR).boxed(),
        'o' => prop_oneof![Just(0), Just(i32::from(port))].boxed(),
        'p' | 'e' => (BUFFER / 4..BUFFER).prop_map(|at| at * 4).boxed(),
        's' => Just(STRING).boxed(),
        'b' => prop_oneof![Just(0), Just(8), Just(9)].boxed(),
        'z' => Just(0).boxed(),
        'n' => (0..16i32).boxed(),
        'm' => prop_oneof![Just(4), Just(8), Just(16)].boxed(),
        'L' => Just(LENGTH).boxed(),
        'h' => Just(HINTS).boxed(),
        'r' => Just(CHAIN).boxed(),
        'u' => Just(SUBSCRIPTIONS).boxed(),
        _ => prop_oneof![(FREE / 4..FREE / 2).prop_map(|at| at * 4), 0..4i32, 3..5i32].boxed(),
    };
    word.prop_map(i64::from).boxed()
}

fn arguments(import: &Import, port: u16) -> BoxedStrategy<Vec<i64>> {
    let name = key(import).replace("_v2/", "/");
    let known = MEANINGS.iter().find(|(call, _)| *call == name).map(|(_, letters)| *letters);
    let params = import.signature.as_ref().map_or(0, |(params, _)| params.len());
    let letters = known.map_or_else(|| "?".repeat(params), str::to_owned);
    assert_eq!(letters.len(), params, "{name}");
    let argument = |letter| {
        let hostile = || prop_oneof![hostile().prop_map(i64::from), any::<i64>()];
        prop_oneof![12 => meant(letter, port), 1 => hostile()].boxed()
    };
    letters.chars().map(argument).collect::<Vec<_>>().boxed()
}

/// Calls of the socket extension more often than others, for they have more to them.
fn attempts(entries: &[Import], port: u16) -> impl Strategy<Value = Vec<Attempt>> + use<> {
    let of = |(index, import): (usize, &Import)| (Just(index), arguments(import, port)).boxed();
    let known = |import: &Import| import.family == Family::Sockets || import.name == "poll_oneoff";
    let all: Vec<_> = entries.iter().enumerate().map(of).collect();
    let sockets: Vec<_> = entries.iter().enumerate().filter(|(_, import)| known(import)).map(of).collect();
    vec(prop_oneof![3 => Union::new(sockets), 1 => Union::new(all)], CALLS_PER_CASE)
}

/// Words to overwrite, and with what.
fn damage() -> impl Strategy<Value = Vec<(i32, i32)>> {
    vec((IOVECS / 4..STRUCTURES / 4, hostile()), 0..48)
        .prop_map(|words| words.into_iter().map(|(at, word)| (at * 4, word)).collect())
}

#[test]
fn no_arguments_harm_the_host() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (entries, template) = (imports::entries(), Template::new());
    let reachable = peer();
    // A failing case is long, and each step of shrinking it makes a guest.
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let strategy = (attempts(&entries, reachable.port()), damage());
    let outcome = TestRunner::new(config).run(&strategy, |(attempts, damage)| {
        let directory = tempfile::tempdir().expect("a temporary folder");
        runtime.block_on(async {
            let mut guest = prepared(&template, directory.path(), reachable).await;
            let before = LIVE.load(Ordering::Relaxed);
            for (index, arguments) in &attempts {
                lay_out(&mut guest, &damage);
                if !attempt(&mut guest, &entries[*index], arguments).await {
                    break;
                }
            }
            let grown = LIVE.load(Ordering::Relaxed).saturating_sub(before);
            assert!(grown <= MEMORY_PER_GUEST, "the guest's state has grown by {grown} bytes");
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Somebody to connect to, who says something and stays for a while.
fn peer() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    // Ends with the process.
    thread::spawn(move || {
        let mut connections = VecDeque::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("loopback");
            // The guest may have gone already.
            let _ = stream.write_all(&[b'x'; 1000]);
            connections.push_back(stream);
            if connections.len() > 8 {
                connections.pop_front();
            }
        }
    });
    address
}

/// A guest with a file, a listener, a connection and a datagram socket. It reaches nothing but this test.
async fn prepared(template: &Template, directory: &Path, reachable: SocketAddr) -> Guest {
    let policy = OutboundPolicy {
        allow: [format!("*://{reachable}"), format!("*://api.test:{}", reachable.port())]
            .map(|pattern| pattern.parse().expect("a pattern"))
            .into(),
        resolve: [("api.test".to_owned(), "127.0.0.1".parse().expect("an address"))].into(),
        ..OutboundPolicy::default()
    };
    let inbound = Inbound::Real(vec!["127.0.0.1:0".parse().expect("a rule")]);
    let network = Network { inbound, outbound: Arc::new(Outbound::new(Arc::new(policy))) };
    let dirs = vec![Directory { host: directory.to_owned(), guest: "/".to_owned(), access: Access::ReadWrite }];
    let environment = Environment { dirs, ..Environment::default() };
    let mut guest = template.guest(environment, HostOptions::silent(network)).await;
    guest.write(FREE, b"file");
    let rights = 0x1fff_ffff;
    let errno = guest.call("path_open/9", &[3, 0, FREE.into(), 4, 1, rights, rights, 0, guest::OUT.into()]).await;
    assert_eq!(errno, 0, "a file");
    let (listener, connection, datagrams) = (guest.open(2).await, guest.open(2).await, guest.open(1).await);
    assert_eq!(guest.bind(listener, 0).await, 0);
    guest.ok("sock_listen/2", &[listener, 16]).await;
    assert_eq!(guest.connect(connection, reachable).await, 0);
    assert_eq!(guest.bind(datagrams, 0).await, 0);
    for fd in [listener, connection, datagrams] {
        guest.set_nonblocking(fd).await;
    }
    guest
}

/// Lays out what the letters point to, and then damages it.
fn lay_out(guest: &mut Guest, damage: &[(i32, i32)]) {
    let words = |guest: &mut Guest, at: i32, words: &[i32]| {
        for (index, word) in (0..).zip(words) {
            guest.write_u32(at + index * 4, word.cast_unsigned());
        }
    };
    words(guest, IOVECS, &[BUFFER, 100, BUFFER + 50, 8, BUFFER, 0, BUFFER + 0x4000, 40_000]);
    words(guest, DESCRIPTOR, &[DESCRIPTOR + 8, 4, i32::from_le_bytes([127, 0, 0, 1]), 16, 16]);
    guest.write(STRING, b"api.test\0");
    words(guest, HINTS, &[0; 2]);
    // Three entries of 28 bytes, a socket address for each, and what it points to.
    let (entries, addresses, data) = (CHAIN + 4, CHAIN + 0x60, CHAIN + 0x90);
    words(guest, CHAIN, &[entries]);
    for index in 0..3 {
        let next = if index < 2 { entries + 28 * (index + 1) } else { 0 };
        words(guest, entries + 28 * index, &[0, 0, 0, addresses + 12 * index, 1, 0, next]);
        words(guest, addresses + 12 * index, &[0, 14, data + 28 * index]);
    }
    // Two sockets to read, one to write, and a clock that is due.
    for (index, (kind, fd)) in (0..).zip([(1, 512), (1, 514), (2, 513), (0, 1)]) {
        words(guest, SUBSCRIPTIONS + 48 * index, &[index, 0, kind, 0, fd, 0, 0, 0, 0, 0, 0, 0]);
    }
    for &(at, word) in damage {
        guest.write_u32(at, word.cast_unsigned());
    }
}

/// Whether the guest can go on: one that waits for ever is given up.
async fn attempt(guest: &mut Guest, import: &Import, arguments: &[i64]) -> bool {
    let name = key(import);
    let params = import.signature.as_ref().map_or(&[][..], |(params, _)| params);
    let narrow = |value: i64| i64::from(i32::from_le_bytes([0, 1, 2, 3].map(|byte| value.to_le_bytes()[byte])));
    let arguments: Vec<_> = params
        .iter()
        .zip(arguments)
        .map(|(ty, &value)| if *ty == ValueType::I32 { narrow(value) } else { value })
        .collect();
    let (before, start) = (LIVE.load(Ordering::Relaxed), Instant::now());
    PEAK.store(before, Ordering::Relaxed);
    let outcome = tokio::time::timeout(PATIENCE, guest.try_call(&name, &arguments)).await;
    let used = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(used <= MEMORY_PER_CALL, "{name}{arguments:?} took {used} bytes");
    assert!(start.elapsed() <= TIME_PER_CALL, "{name}{arguments:?} took {:?}", start.elapsed());
    match outcome {
        Ok(Ok(errno)) if import.module == PREVIEW1 => {
            assert!((0..=LAST_ERRNO).contains(&errno), "{name}{arguments:?} answered {errno}");
            true
        }
        // A trap ends the call, not the instance.
        Ok(_) => true,
        Err(_) => false,
    }
}
