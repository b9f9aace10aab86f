//! An app's memories, as Wasmtime asks for them.
//!
//! Wasmtime asks for a memory by its size alone. Which app it is for is told by [`within`]: the app is set while an
//! instance of it is being made, on the thread that makes it.
//!
//! Invariants of what [`Creator`] gives out:
//! - What is reserved and inaccessible around a memory is at least what Wasmtime asked for, so that code without bounds
//!   checks meets pages without access.
//! - The memory does not move, and holds zeros, or the image of a program that was told apart from its segments, which
//!   thus sees what it would have written.
//! - Nobody else uses the memory, until it is dropped.

#![expect(unsafe_code, reason = "memories for Wasmtime")]

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    mem::ManuallyDrop,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use wasmtime::{Config, LinearMemory, MemoryCreator, MemoryType};

use super::{
    image::Image,
    lift::Lifted,
    pool::{Pool, Shelf},
    reservation::{PAGE, Reservation},
    slot::{CAPACITY, GUARD, Slot},
    stacks,
};

/// Guard of the heaps of garbage collectors, by which they are told from memories: a heap must not get an image.
const HEAP_GUARD: usize = GUARD + 64 * 1024;

thread_local!(static CURRENT: RefCell<Option<Arc<Memories>>> = const { RefCell::new(None) });

/// The memories of one app's instances.
pub(crate) struct Memories {
    pool: Arc<Pool>,
    kind: Kind,
}

enum Kind {
    /// There is one memory in the program, with this image.
    Imaged(Arc<Shelf>),
    /// The program writes its data itself. A shelf for each size that its memories begin with.
    Blank(Mutex<Vec<Arc<Shelf>>>),
}

impl Pool {
    /// Lets an engine take memories and stacks from here.
    pub(crate) fn configure(self: &Arc<Self>, config: &mut Config) {
        config
            .memory_reservation(CAPACITY as u64)
            .memory_guard_size(GUARD as u64)
            .gc_heap_guard_size(HEAP_GUARD as u64)
            // Wasmtime's own images cannot be laid over memories that are not its own.
            .memory_init_cow(false)
            .with_host_memory(Arc::new(Creator))
            .with_host_stack(Arc::new(stacks::Creator(Arc::clone(&self.stacks))));
    }

    /// Memories for a program whose data segments have been taken out.
    ///
    /// # Errors
    /// If the system does not hold the image.
    pub(crate) fn imaged(self: &Arc<Self>, lifted: &Lifted<'_>) -> io::Result<Arc<Memories>> {
        let shelf = self.shelf(Image::new(lifted.size, &lifted.segments)?);
        Ok(Arc::new(Memories { pool: Arc::clone(self), kind: Kind::Imaged(shelf) }))
    }

    /// Memories for a program that writes its data itself.
    pub(crate) fn blank(self: &Arc<Self>) -> Arc<Memories> {
        Arc::new(Memories { pool: Arc::clone(self), kind: Kind::Blank(Mutex::default()) })
    }
}

/// Makes an instance: whatever memories `future` asks for are those of this app, if it takes them from a pool of ours.
pub(crate) async fn within<F: Future>(memories: Option<&Arc<Memories>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _current = Current::set(memories.map(Arc::clone));
        future.as_mut().poll(cx)
    })
    .await
}

impl Memories {
    /// The shelf for memories of a size.
    fn shelf(&self, size: usize) -> Result<Arc<Shelf>, String> {
        match &self.kind {
            Kind::Imaged(shelf) if shelf.image.size() == size => Ok(Arc::clone(shelf)),
            Kind::Imaged(shelf) => {
                Err(format!("a memory of {size} bytes was asked for instead of {}", shelf.image.size()))
            }
            Kind::Blank(shelves) => {
                let mut shelves = shelves.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(shelf) = shelves.iter().find(|shelf| shelf.image.size() == size) {
                    return Ok(Arc::clone(shelf));
                }
                let shelf = self.pool.shelf(Image::blank(size));
                shelves.push(Arc::clone(&shelf));
                Ok(shelf)
            }
        }
    }
}

/// The app whose instance is being made, until it is dropped.
struct Current {
    before: Option<Arc<Memories>>,
}

impl Current {
    fn set(memories: Option<Arc<Memories>>) -> Self {
        Self { before: CURRENT.replace(memories) }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Wasmtime's way to memories.
struct Creator;

// SAFETY: see the invariants above; each kind of memory says how it keeps them.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let is_usual = !ty.is_shared() && ty.page_size() == 64 * 1024;
        let fits = minimum <= CAPACITY && reserved.unwrap_or(0) <= CAPACITY && guard <= GUARD;
        if is_usual && fits {
            let current = CURRENT.with_borrow(Clone::clone).ok_or("a memory was asked for outside of any app")?;
            let shelf = current.shelf(minimum)?;
            let slot = shelf.take().map_err(|error| error.to_string())?;
            return Ok(Box::new(Recycled { slot: ManuallyDrop::new(slot), size: minimum, shelf }));
        }
        let memory = Own::new(minimum, reserved.unwrap_or(0), guard).map_err(|error| error.to_string())?;
        Ok(Box::new(memory))
    }
}

/// A memory in a slot, which goes back when it is dropped.
struct Recycled {
    slot: ManuallyDrop<Slot>,
    size: usize,
    shelf: Arc<Shelf>,
}

// SAFETY: a slot has `CAPACITY` bytes of address space, and `GUARD` on both sides. Its invariants say what it holds.
unsafe impl LinearMemory for Recycled {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        CAPACITY
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        wasmtime::ensure!(size <= CAPACITY, "a memory in the pool cannot have {size} bytes");
        self.slot.grow(self.size, size)?;
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.slot.start()
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        // SAFETY: taken once, by the drop.
        let slot = unsafe { ManuallyDrop::take(&mut self.slot) };
        self.shelf.put_back(slot, self.size);
    }
}

/// A memory that does not fit the pool, or outlives its instance, or a heap. It is mapped and unmapped.
struct Own {
    space: Reservation,
    size: usize,
    capacity: usize,
}

impl Own {
    fn new(size: usize, reserved: usize, guard: usize) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let capacity = size.max(reserved).checked_next_multiple_of(PAGE).ok_or_else(too_large)?;
        let length = capacity.checked_add(GUARD).and_then(|length| length.checked_add(guard)).ok_or_else(too_large)?;
        let memory = Self { space: Reservation::new(length)?, size, capacity };
        memory.space.open(&(GUARD..GUARD + size.next_multiple_of(PAGE)))?;
        Ok(memory)
    }
}

// SAFETY: `new` has reserved what was asked for. Nothing but the memory's present pages is accessible; a memory which
// does not end with a page is bound by checks in its code.
unsafe impl LinearMemory for Own {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        wasmtime::ensure!(size <= self.capacity, "no address space is reserved for {size} bytes");
        self.space.open(&(GUARD..GUARD + size.next_multiple_of(PAGE)))?;
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.space.at(GUARD)
    }
}
