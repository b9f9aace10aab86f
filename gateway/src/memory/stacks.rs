//! Stacks that guests run on, recycled without a call of the system.
//!
//! What a guest leaves on its stack cannot be read by the next: code compiled from wasm reads no local before it has
//! written it. So nothing is cleared.
//!
//! Invariant: a stack belongs to one [`Stack`], which Wasmtime owns while a guest runs on it; the shelf has it otherwise.

#![expect(unsafe_code, reason = "stacks for Wasmtime")]

use std::{
    mem::ManuallyDrop,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasmtime::{StackCreator, StackMemory};

use super::{
    reservation::{PAGE, Reservation},
    threads::Threads,
};

/// Inaccessible bytes below a stack.
const GUARD: usize = PAGE;
/// What a stack keeps of its top, when it gives back the rest...
const KEPT: usize = 64 * 1024;
/// ...which it does once in so many uses: a deep recursion is not to cost memory for ever.
const GIVE_BACK: u32 = 1024;

/// Stacks without a guest, by thread.
pub(super) struct Stacks {
    threads: Threads<Mutex<Vec<Mapped>>>,
    /// The most of each thread.
    limit: usize,
}

struct Mapped {
    space: Reservation,
    size: usize,
    uses: u32,
}

/// A stack, which goes back when it is dropped.
struct Stack {
    mapped: ManuallyDrop<Mapped>,
    home: Arc<Stacks>,
}

/// Wasmtime's way to [`Stacks`].
pub(super) struct Creator(pub(super) Arc<Stacks>);

impl Stacks {
    /// For so many threads, and idle stacks of all of them.
    pub(super) fn new(threads: usize, idle: usize) -> Self {
        Self { threads: Threads::new(threads), limit: idle.div_ceil(threads.max(1)) }
    }

    fn take(&self, size: usize) -> std::io::Result<Mapped> {
        match lock(self.threads.own()).pop() {
            Some(idle) if idle.size == size => Ok(idle),
            _ => Mapped::new(size),
        }
    }

    fn put_back(&self, mut mapped: Mapped) {
        mapped.uses += 1;
        if mapped.uses.is_multiple_of(GIVE_BACK) && mapped.give_back().is_err() {
            return;
        }
        let mut idle = lock(self.threads.own());
        if idle.len() < self.limit {
            idle.push(mapped);
        }
    }
}

impl Mapped {
    fn new(size: usize) -> std::io::Result<Self> {
        let space = Reservation::new(GUARD + size)?;
        space.open(&(GUARD..GUARD + size))?;
        Ok(Self { space, size, uses: 0 })
    }

    fn give_back(&self) -> std::io::Result<()> {
        self.space.give_back(&(GUARD..GUARD + self.size.saturating_sub(KEPT)))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: taken once, by the drop.
        self.home.put_back(unsafe { ManuallyDrop::take(&mut self.mapped) });
    }
}

// SAFETY: `new_stack` gives out memory that nobody else has, of whole pages, above an inaccessible page. Wasmtime's own
// pool does not clear stacks between guests either, unless `async_stack_zeroing` asks for it, which is refused here.
unsafe impl StackCreator for Creator {
    fn new_stack(&self, size: usize, zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        wasmtime::ensure!(!zeroed, "stacks are not cleared");
        let mapped = self.0.take(size.next_multiple_of(PAGE))?;
        Ok(Box::new(Stack { mapped: ManuallyDrop::new(mapped), home: Arc::clone(&self.0) }))
    }
}

// SAFETY: the ranges are those of `Mapped::new`, and stay so as long as the stack lives.
unsafe impl StackMemory for Stack {
    fn top(&self) -> *mut u8 {
        self.mapped.space.at(GUARD + self.mapped.size)
    }

    fn range(&self) -> Range<usize> {
        self.mapped.space.at(GUARD).expose_provenance()..self.top().expose_provenance()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.mapped.space.at(0)..self.mapped.space.at(GUARD)
    }
}

/// No code runs under these locks that can panic.
fn lock(idle: &Mutex<Vec<Mapped>>) -> MutexGuard<'_, Vec<Mapped>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
