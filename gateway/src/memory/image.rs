//! What a memory holds when an instance begins: the bytes that its module's data segments put there.

use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::FromRawFd as _, unix::fs::FileExt as _},
};

use super::{
    lift::Segments,
    reservation::{PAGE, Reservation, check},
};

/// The content of a memory at its start. Bytes outside of the extent are zero.
pub(super) struct Image {
    /// Bytes of the memory.
    size: usize,
    extent: Option<Extent>,
}

/// The part of an image that is not known to be zero, in whole pages.
struct Extent {
    range: Range<usize>,
    /// Its bytes, which slots map for themselves. Nobody can write to it any more.
    file: File,
    /// The same bytes, to copy from.
    source: Reservation,
}

impl Image {
    /// A memory of zeros.
    pub(super) fn blank(size: usize) -> Self {
        Self { size, extent: None }
    }

    /// A memory of `size` bytes with these segments in it, which are known to fit.
    pub(super) fn new(size: usize, segments: &Segments<'_>) -> io::Result<Self> {
        let filled = segments.iter().filter(|(_, bytes)| !bytes.is_empty());
        let Some(start) = filled.clone().map(|(offset, _)| *offset).min() else { return Ok(Self::blank(size)) };
        let end = filled.clone().map(|(offset, bytes)| offset + bytes.len()).max().unwrap_or(start);
        let range = start / PAGE * PAGE..end.next_multiple_of(PAGE);
        let file = sealable_file()?;
        file.set_len(range.len() as u64)?;
        for (offset, bytes) in filled {
            file.write_all_at(bytes, (offset - range.start) as u64)?;
        }
        seal(&file)?;
        let source = Reservation::of_file(&file, range.len())?;
        Ok(Self { size, extent: Some(Extent { range, file, source }) })
    }

    /// Bytes of the memory.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Makes the image accessible at the start of a memory, which is at `start` within a reservation.
    pub(super) fn lay(&self, memory: &Reservation, start: usize) -> io::Result<()> {
        memory.open(&(start..start + self.size))?;
        match &self.extent {
            Some(Extent { range, file, .. }) => memory.lay(&(start + range.start..start + range.end), file),
            None => Ok(()),
        }
    }

    /// Puts back what a range of bytes held at the start.
    ///
    /// # Safety
    /// The range is accessible in a memory that begins at `start` within `memory`, and nobody else uses it.
    #[expect(unsafe_code, reason = "passes the promise on")]
    pub(super) unsafe fn restore(&self, memory: &Reservation, start: usize, range: Range<usize>) {
        let filled = self.extent.as_ref().map_or(0..0, |extent| clip(&extent.range, &range));
        let at = |range: Range<usize>| start + range.start..start + range.end;
        match &self.extent {
            // SAFETY: as above; the source is readable, and its file can no longer be written to.
            Some(extent) if !filled.is_empty() => unsafe {
                memory.fill(&at(range.start..filled.start));
                memory.copy(&at(filled.clone()), &extent.source, filled.start - extent.range.start);
                memory.fill(&at(filled.end..range.end));
            },
            // SAFETY: as above.
            _ => unsafe { memory.fill(&at(range)) },
        }
    }
}

/// What two ranges have in common.
fn clip(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    one.start.max(other.start)..one.end.min(other.end)
}

/// A file in memory.
#[expect(unsafe_code, reason = "memfd_create")]
fn sealable_file() -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string; the call returns a descriptor of our own.
    let descriptor = unsafe { libc::memfd_create(c"prewasm-image".as_ptr(), flags) };
    check(descriptor)?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Keeps everybody from changing a file, ourselves included.
#[expect(unsafe_code, reason = "fcntl")]
fn seal(file: &File) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: takes numbers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })
}
