//! The theorem: whatever an instance leaves in a memory, and however it ends, the next one finds the image.
//!
//! Instances of three programs write canaries all over their memories, grow them, trap, and are dropped while they run,
//! on two threads, while the system moves pages, and swaps them out where there is swap. Each new memory is compared
//! with its image as a whole.
//!
//! `PREWASM_ROUNDS` sets the number of instances.

use std::{
    collections::VecDeque,
    env, fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Config, Engine, Instance, Linker, Memory, Module, Store, component};

use super::{Memories, Pool, lift, within};

const PAGE: usize = 64 * 1024;
/// Pages that the first two programs begin with: as many as Rust gives its programs.
const PAGES: usize = 17;
/// Pages of the third, over several of the system's page tables.
const MANY_PAGES: usize = 70;

/// A program: writes where it is told, and ends in all ways there are. Its data is at `at`, and its segments taken out
/// unless it imports where they go.
fn program(pages: usize, place: &str, at: usize, data: &str) -> String {
    format!(
        r#"(module
            (import "env" "base" (global $base i32))
            (memory (export "memory") {pages} 400)
            (data (i32.const {at}) "{data}")
            (data {place} "a second segment")
            (func (export "scatter") (param $seed i64) (param $count i32)
                (local $at i32)
                (loop $again
                    (local.set $seed (i64.add (i64.mul (local.get $seed) (i64.const 6364136223846793005)) (i64.const 1)))
                    (local.set $at (i32.rem_u
                        (i32.wrap_i64 (i64.shr_u (local.get $seed) (i64.const 33)))
                        (i32.sub (i32.mul (memory.size) (i32.const {PAGE})) (i32.const 8))))
                    (i64.store (local.get $at) (i64.const 0x7AAA7AAA7AAA7AAA))
                    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                    (br_if $again (i32.gt_s (local.get $count) (i32.const 0)))))
            (func (export "fill") (param $from i32)
                (memory.fill (local.get $from) (i32.const 0x7A)
                    (i32.sub (i32.mul (memory.size) (i32.const {PAGE})) (local.get $from))))
            (func $recurse (export "recurse") (param $depth i32) (param $at i32)
                (i64.store (local.get $at) (i64.const 0x7BBB7BBB7BBB7BBB))
                (if (local.get $depth) (then
                    (call $recurse (i32.sub (local.get $depth) (i32.const 1)) (i32.sub (local.get $at) (i32.const 48))))))
            (func (export "trap") unreachable)
            (func (export "spin") (loop $spin (br $spin))))"#
    )
}

/// A program on a pool, and what its memory begins with.
struct Subject {
    module: Module,
    memories: Arc<Memories>,
    image: Vec<u8>,
}

struct Study {
    engine: Engine,
    pool: Arc<Pool>,
    subjects: Vec<Subject>,
    until: Option<Instant>,
    over: AtomicBool,
    /// Where memories are, or have been.
    places: Mutex<VecDeque<usize>>,
    residues: AtomicUsize,
    instances: AtomicUsize,
    compactions: AtomicUsize,
}

/// Offset that the imported global has: the second segment's, where its place is computed.
const BASE: usize = 3 * PAGE + 77;

impl Study {
    fn new(patience: Option<Duration>) -> Self {
        let pool = Pool::new(2, 8).expect("supported");
        let mut config = Config::new();
        config.epoch_interruption(true);
        pool.configure(&mut config);
        let engine = Engine::new(&config).expect("supported");
        let subject = |pages: usize, place: &str, at: usize, data: &str, second: usize| {
            let wasm = wat::parse_str(program(pages, place, at, data)).expect("valid");
            let mut image = vec![0; pages * PAGE];
            image[at..at + data.len()].copy_from_slice(data.as_bytes());
            image[second..second + 16].copy_from_slice(b"a second segment");
            let lifted = lift(&wasm);
            assert_eq!(lifted.is_ok(), second != BASE);
            let (module, memories) = match &lifted {
                Ok(lifted) => (Module::new(&engine, &lifted.wasm), pool.imaged(lifted).expect("mapped")),
                Err(_) => (Module::new(&engine, &wasm), pool.blank()),
            };
            Subject { module: module.expect("valid"), memories, image }
        };
        let (long, second) = ("x".repeat(3 * PAGE), 16 * PAGE + 4000);
        let constant = format!("(i32.const {second})");
        let subjects = vec![
            subject(PAGES, &constant, 4090, &long, second),
            subject(PAGES, "(global.get $base)", 9, "z", BASE),
            subject(MANY_PAGES, &constant, 40 * PAGE, "y", second),
        ];
        Self {
            engine,
            pool,
            subjects,
            until: patience.map(|patience| Instant::now() + patience),
            over: AtomicBool::new(false),
            places: Mutex::default(),
            residues: 0.into(),
            instances: 0.into(),
            compactions: 0.into(),
        }
    }

    /// Makes so many instances. Returns in how many something was left.
    fn run(&self, rounds: usize) -> usize {
        thread::scope(|scope| {
            scope.spawn(|| self.tick());
            scope.spawn(|| self.disturb());
            let threads = [1, 2].map(|seed| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                    runtime.block_on(self.guests(rounds / 2, seed));
                })
            });
            let ended = threads.map(|thread| thread.join());
            self.over.store(true, Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
        self.residues.load(Relaxed)
    }

    fn tick(&self) {
        while !self.over.load(Relaxed) {
            self.engine.increment_epoch();
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the system move pages, and swap those of memories out.
    fn disturb(&self) {
        while !self.over.load(Relaxed) {
            if fs::write("/proc/sys/vm/compact_memory", "1").is_ok() {
                self.compactions.fetch_add(1, Relaxed);
            }
            for _ in 0..32 {
                let places: Vec<_> = self.places.lock().expect("no panic").iter().copied().collect();
                places.into_iter().for_each(swap_out);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    async fn guests(&self, rounds: usize, seed: u64) {
        let mut random = Random(seed);
        // Some memories are in use while others are made.
        let mut alive = VecDeque::new();
        for _ in 0..rounds {
            if self.is_enough() {
                return;
            }
            let subject = &self.subjects[random.below(self.subjects.len())];
            let (mut store, instance, memory) = self.instance(subject).await;
            let place = memory.data_ptr(&store).addr();
            self.instances.fetch_add(1, Relaxed);
            self.remember(place);
            if memory.data(&store) != subject.image {
                self.residues.fetch_add(1, Relaxed);
            }
            self.leave_traces(&mut store, &instance, memory, &mut random).await;
            alive.push_back(store);
            if alive.len() > random.below(4) {
                alive.pop_front();
            }
        }
    }

    /// Whether it is known already what the test wants to know, or it would take too long on this machine.
    fn is_enough(&self) -> bool {
        let is_faulty = self.pool.tracker.fault.load(Relaxed) != 0;
        (is_faulty && self.residues.load(Relaxed) > 0) || self.until.is_some_and(|until| Instant::now() > until)
    }

    fn remember(&self, place: usize) {
        let mut places = self.places.lock().expect("no panic");
        if !places.contains(&place) {
            places.push_back(place);
            if places.len() > 8 {
                places.pop_front();
            }
        }
    }

    async fn instance(&self, subject: &Subject) -> (Store<()>, Instance, Memory) {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let mut linker = Linker::new(&self.engine);
        let ty = wasmtime::GlobalType::new(wasmtime::ValType::I32, wasmtime::Mutability::Const);
        let base = wasmtime::Global::new(&mut store, ty, (BASE as i32).into()).expect("valid");
        linker.define(&store, "env", "base", base).expect("new");
        let instance = linker.instantiate_async(&mut store, &subject.module);
        let instance = within(Some(&subject.memories), instance).await.expect("valid");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        (store, instance, memory)
    }

    async fn leave_traces(&self, store: &mut Store<()>, instance: &Instance, memory: Memory, random: &mut Random) {
        let fill = instance.get_typed_func::<i32, ()>(&mut *store, "fill").expect("exported");
        let scatter = instance.get_typed_func::<(i64, i32), ()>(&mut *store, "scatter").expect("exported");
        let recurse = instance.get_typed_func::<(i32, i32), ()>(&mut *store, "recurse").expect("exported");
        // What most requests do: write near the end of the stack.
        let depth = random.below(200) as i32;
        recurse.call_async(&mut *store, (depth, (16 * PAGE - 8) as i32)).await.expect("no trap");
        if random.below(4) == 0 {
            let before = memory.data_size(&*store);
            // Up to 64 pages are tracked, and given back beyond.
            let pages = if random.below(8) == 0 { 100 } else { random.below(20) };
            memory.grow_async(&mut *store, pages as u64).await.expect("within the limit");
            if memory.data(&*store)[before..].iter().any(|byte| *byte != 0) {
                self.residues.fetch_add(1, Relaxed);
            }
            if random.below(2) == 0 {
                fill.call_async(&mut *store, before as i32).await.expect("no trap");
            }
        }
        let count = random.below(8) as i32;
        scatter.call_async(&mut *store, (random.next() as i64, count)).await.expect("no trap");
        match random.below(64) {
            0 => fill.call_async(&mut *store, 0).await.expect("no trap"),
            1..20 => {
                let trap = instance.get_typed_func::<(), ()>(&mut *store, "trap").expect("exported");
                trap.call_async(&mut *store, ()).await.expect_err("traps");
            }
            20 => {
                let spin = instance.get_typed_func::<(), ()>(&mut *store, "spin").expect("exported");
                let spin = spin.call_async(&mut *store, ());
                assert!(tokio::time::timeout(Duration::from_millis(1), spin).await.is_err(), "dropped while it runs");
            }
            _ => {}
        }
    }
}

/// Asks the system to swap out what is at the start of a memory, which may be gone.
#[expect(unsafe_code, reason = "madvise")]
fn swap_out(place: usize) {
    // SAFETY: the advice changes nothing that a program can see, whatever is mapped there.
    unsafe { libc::madvise(std::ptr::without_provenance_mut(place), PAGES * PAGE, libc::MADV_PAGEOUT) };
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }
}

/// Instances in a test that everybody runs, and how long it may take.
const ROUNDS: usize = 4000;
const PATIENCE: Duration = Duration::from_secs(12);

fn has_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

#[test]
fn nothing_is_left_for_the_next_instance() {
    let asked = env::var("PREWASM_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = asked.unwrap_or(ROUNDS);
    let study = Study::new(asked.is_none().then_some(PATIENCE));
    assert_eq!(study.run(rounds), 0, "in {rounds} instances");
    eprintln!(
        "{} instances, {} compactions, swap: {}",
        study.instances.load(Relaxed),
        study.compactions.load(Relaxed),
        has_swap()
    );
}

/// The module with the memory is one of several, and its data has been taken out of the component.
#[tokio::test]
async fn instances_of_a_component_find_their_image() {
    const COMPONENT: &str = r#"(component
        (core module $other (table (export "table") 1 funcref))
        (core instance (instantiate $other))
        (core module $main
            (memory 2)
            (data (i32.const 70000) "image")
            (func (export "ask") (result i32)
                (local $at i32) (local $sum i32)
                (loop $next
                    (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
                    (i32.store8 (local.get $at) (i32.const 0x7A))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $at) (i32.const 131072))))
                (local.get $sum)))
        (core instance $main (instantiate $main))
        (func (export "ask") (result u32) (canon lift (core func $main "ask"))))"#;

    let wasm = wat::parse_str(COMPONENT).expect("valid");
    let lifted = lift(&wasm).expect("liftable");
    let pool = Pool::new(1, 8).expect("supported");
    let mut config = Config::new();
    pool.configure(&mut config);
    let engine = Engine::new(&config).expect("supported");
    let component = component::Component::new(&engine, &lifted.wasm).expect("valid");
    let memories = pool.imaged(&lifted).expect("mapped");
    for _ in 0..100 {
        let mut store = Store::new(&engine, ());
        let linker = component::Linker::new(&engine);
        let instance = within(Some(&memories), linker.instantiate_async(&mut store, &component)).await.expect("valid");
        let ask = instance.get_typed_func::<(), (u32,)>(&mut store, "ask").expect("exported");
        let (sum,) = ask.call_async(&mut store, ()).await.expect("no trap");
        assert_eq!(sum, b"image".iter().map(|byte| u32::from(*byte)).sum::<u32>());
    }
}

#[test]
fn the_test_would_notice_a_reset_without_scan() {
    let study = Study::new(None);
    study.pool.tracker.fault.store(1, Relaxed);
    assert!(study.run(400) > 0);
}

#[test]
fn the_test_would_notice_a_scan_for_pages_that_are_present() {
    if !has_swap() {
        eprintln!("skipped: there is no swap, without which such pages are seldom missed");
        return;
    }
    let study = Study::new(None);
    study.pool.tracker.fault.store(2, Relaxed);
    assert!(study.run(ROUNDS) > 0);
}
