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
    sample::select,
    test_runner::{Config, TestRunner},
};

use guest::{FREE, Guest, PAGES, Template, key};

/// The most that one call may have allocated at a time, guest memory apart. The guest's 128 KiB may be copied whole
/// (a request of the HTTP plugin, a path), a poll may have 4096 subscriptions, and the first TLS codec of an instance
/// brings the public authorities along.
const MEMORY_PER_CALL: usize = 4 * 1024 * 1024;
/// The most that the state behind one guest may grow by in all its calls.
const MEMORY_PER_GUEST: usize = 8 * 1024 * 1024;
/// A call which waits is left alone after this.
const PATIENCE: Duration = Duration::from_millis(10);
/// A call may compute, without ever giving way, for so long: far more than any needs, on a busy machine.
const TIME_PER_CALL: Duration = Duration::from_secs(2);
/// The highest errno: `AISYSTEM`.
const LAST_ERRNO: i32 = 87;
const CALLS_PER_CASE: usize = 48;
const CASES: u32 = 256;

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

/// One call: which of the table, and arguments for the longest there is.
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

/// What makes sense as a pointer, a length, a count or a flag, so that calls get beyond their first check.
fn plausible() -> impl Strategy<Value = i32> {
    prop_oneof![
        4 => (FREE / 4..FREE / 2).prop_map(|at| at * 4),
        2 => 0..4i32,
        2 => prop_oneof![Just(4), Just(16), Just(128)],
    ]
}

fn word() -> impl Strategy<Value = i32> {
    prop_oneof![5 => plausible(), 1 => hostile()]
}

/// What is open in a prepared guest: a directory, a file, and three sockets.
fn descriptor() -> impl Strategy<Value = i32> {
    prop_oneof![1 => 3..5i32, 4 => 512..515i32]
}

fn arguments() -> impl Strategy<Value = Vec<i64>> {
    let argument = || prop_oneof![19 => word().prop_map(i64::from), 1 => any::<i64>()];
    let first = prop_oneof![4 => descriptor().prop_map(i64::from), 3 => argument()];
    (first, vec(argument(), 8)).prop_map(|(first, rest)| [vec![first], rest].concat())
}

/// Calls of the socket extension more often than others, for they have more to them.
fn attempts(entries: &[Import]) -> impl Strategy<Value = Vec<Attempt>> + use<> {
    let is_socket = |&index: &usize| entries[index].family == Family::Sockets;
    let sockets: Vec<_> = (0..entries.len()).filter(is_socket).collect();
    let which = prop_oneof![2 => select(sockets), 1 => 0..entries.len()];
    vec((which, arguments()), CALLS_PER_CASE)
}

#[test]
fn no_arguments_harm_the_host() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (entries, template) = (imports::entries(), Template::new());
    let reachable = peer();
    // A failing case is long, and each step of shrinking it makes a guest.
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let strategy = (attempts(&entries), vec(word(), 1024));
    let outcome = TestRunner::new(config).run(&strategy, |(attempts, memory)| {
        let directory = tempfile::tempdir().expect("a temporary folder");
        runtime.block_on(async {
            let mut guest = prepared(&template, directory.path(), reachable).await;
            let before = LIVE.load(Ordering::Relaxed);
            for (index, arguments) in &attempts {
                scribble(&mut guest, &memory);
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
        allow: vec![format!("*://{reachable}").parse().expect("a pattern")],
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

/// Fills the guest's memory, so that the pointers in it are as hostile as those passed.
fn scribble(guest: &mut Guest, words: &[i32]) {
    let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for piece in guest.bytes_mut().chunks_mut(bytes.len()) {
        piece.copy_from_slice(&bytes[..piece.len()]);
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
