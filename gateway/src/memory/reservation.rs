//! Address space of our own: reserved at once, made accessible in part, given back as a whole.
//!
//! Invariants:
//! - A reservation is the only owner of its range of addresses, from `mmap` to `munmap`. All mappings made inside of it
//!   lie within that range, which [`Reservation::place`] checks.
//! - Nothing here reads or writes memory, but for [`Reservation::fill`] and [`Reservation::copy`], whose callers promise
//!   that nobody else uses the bytes. References into a reservation are never made.

#![expect(unsafe_code, reason = "memory maps are made through the C library")]

use std::{fs::File, io, ops::Range, os::fd::AsRawFd as _, ptr::NonNull};

/// Bytes of a page. [`super::Tracker`] refuses systems with other pages.
pub(super) const PAGE: usize = 4096;

/// A range of addresses.
pub(super) struct Reservation {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a range of addresses belongs to the process, not to a thread, and shared access does nothing to it.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `length` bytes, none of them accessible.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        let start = map(std::ptr::null_mut(), length, libc::PROT_NONE, ANONYMOUS, None)?;
        Ok(Self { start, length })
    }

    /// Maps a file's first bytes, for reading alone.
    pub(super) fn of_file(file: &File, length: usize) -> io::Result<Self> {
        let start = map(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, Some(file))?;
        Ok(Self { start, length })
    }

    /// The address of a byte, or of the end.
    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        self.place(&(offset..offset)).cast()
    }

    /// Makes pages accessible. They are zero, if they have never been.
    pub(super) fn open(&self, range: &Range<usize>) -> io::Result<()> {
        self.protect(range, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Makes pages inaccessible. They keep what they hold.
    pub(super) fn close(&self, range: &Range<usize>) -> io::Result<()> {
        self.protect(range, libc::PROT_NONE)
    }

    /// Makes a copy of a file's first bytes accessible, which is made page by page, by the first write to each.
    pub(super) fn lay(&self, range: &Range<usize>, file: &File) -> io::Result<()> {
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
        let place = self.place(range);
        map(place, range.len(), libc::PROT_READ | libc::PROT_WRITE, flags, Some(file)).map(drop)
    }

    /// Gives pages back, and makes them inaccessible.
    pub(super) fn vacate(&self, range: &Range<usize>) -> io::Result<()> {
        map(self.place(range), range.len(), libc::PROT_NONE, ANONYMOUS | libc::MAP_FIXED, None).map(drop)
    }

    /// Gives pages back: they hold again what they held before the first write.
    pub(super) fn give_back(&self, range: &Range<usize>) -> io::Result<()> {
        self.advise(range, libc::MADV_DONTNEED)
    }

    /// Keeps the system from joining pages to large ones.
    pub(super) fn keep_small(&self, range: &Range<usize>) -> io::Result<()> {
        match self.advise(range, libc::MADV_NOHUGEPAGE) {
            // Systems without large pages do not know the advice.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result,
        }
    }

    /// Fills bytes with zeros.
    ///
    /// # Safety
    /// They are accessible, and nobody else uses them.
    pub(super) unsafe fn fill(&self, range: &Range<usize>) {
        let place: *mut u8 = self.place(range).cast();
        // SAFETY: `place` has checked that the range is ours; the rest is the caller's promise.
        unsafe { place.write_bytes(0, range.len()) }
    }

    /// Copies bytes from the start of `source` on over a range of as many bytes.
    ///
    /// # Safety
    /// Both are accessible, and nobody else writes to them, or uses the range.
    pub(super) unsafe fn copy(&self, range: &Range<usize>, source: &Self, from: usize) {
        let place: *mut u8 = self.place(range).cast();
        let source: *mut u8 = source.place(&(from..from + range.len())).cast();
        // SAFETY: `place` has checked both ranges; two reservations never overlap; the rest is the caller's promise.
        unsafe { place.copy_from_nonoverlapping(source, range.len()) }
    }

    fn protect(&self, range: &Range<usize>, protection: i32) -> io::Result<()> {
        // SAFETY: `place` has checked that the range is ours, and no reference points into it.
        check(unsafe { libc::mprotect(self.place(range), range.len(), protection) })
    }

    fn advise(&self, range: &Range<usize>, advice: i32) -> io::Result<()> {
        // SAFETY: as above.
        check(unsafe { libc::madvise(self.place(range), range.len(), advice) })
    }

    /// The address of a range's start, which lies within the reservation.
    fn place(&self, range: &Range<usize>) -> *mut libc::c_void {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} is not within {}", self.length);
        self.start.as_ptr().wrapping_add(range.start).cast()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and whoever owned this reservation does not use it any more.
        let result = check(unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) });
        if let Err(error) = result {
            tracing::error!("{} bytes of address space are lost: {error}", self.length);
        }
    }
}

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

fn map(
    place: *mut libc::c_void,
    length: usize,
    protection: i32,
    flags: i32,
    file: Option<&File>,
) -> io::Result<NonNull<u8>> {
    let file = file.map_or(-1, |file| file.as_raw_fd());
    // SAFETY: without MAP_FIXED the system finds a place of its own; with it, callers pass a range that is theirs.
    let start = unsafe { libc::mmap(place, length, protection, flags, file, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

/// What a system call returned, as a result.
pub(super) fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
