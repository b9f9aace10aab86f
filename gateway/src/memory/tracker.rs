//! Which pages of a memory have been written: Linux's own record, kept in its page tables.
//!
//! Pages are write-protected through `userfaultfd` in asynchronous mode: the first write to one takes its protection
//! away, in the kernel, and the guest goes on. The ioctl `PAGEMAP_SCAN` then finds the pages without protection.
//!
//! Invariants, on which [`super::slot`] builds:
//! - A page whose protection has been set is found by [`Tracker::written`] after any write to it, whatever became of it
//!   meanwhile: the mark is kept for pages that are swapped out or moved, and for those that were never there. The scan
//!   asks for *written* alone. Asking for pages that are written *and present* would miss those which the system has
//!   swapped out, or moves at that moment, and the next instance would see what is in them.
//! - Too many pages may be found, never too few: a page which nobody has protected is found always.
//! - A page that has been touched is in memory or elsewhere until somebody gives it back, and so found by
//!   [`Tracker::touched`].
//! - Ranges are passed by address. The calls neither read nor write their bytes.

#![expect(unsafe_code, reason = "ioctls of userfaultfd and pagemap")]

use std::{
    fs::File,
    io,
    ops::Range,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use super::reservation::{PAGE, Reservation, check};

/// What the system lacks for tracking.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsupported {
    /// Protection is kept by page.
    #[error("its pages are not of {PAGE} bytes")]
    PageSize,
    /// No userfaultfd, or it is forbidden.
    #[error("no userfaultfd")]
    Userfaultfd(#[source] io::Error),
    /// Linux 6.7 is the first with asynchronous protection.
    #[error("no asynchronous write protection, which Linux has since 6.7")]
    Asynchronous(#[source] io::Error),
    /// It is in `/proc`.
    #[error("cannot open `/proc/self/pagemap`")]
    Pagemap(#[source] io::Error),
    /// A call on memory made for the purpose failed.
    #[error("a trial failed")]
    Trial(#[source] io::Error),
    /// The calls worked, and said something else than what had been written.
    #[error("a trial found pages {found:?} written instead of {expected:?}")]
    Untrue {
        /// Pages which were written.
        expected: Vec<usize>,
        /// Pages which the system said are.
        found: Vec<usize>,
    },
}

/// The kernel's record of written pages.
pub(super) struct Tracker {
    faults: OwnedFd,
    pagemap: File,
    #[cfg(test)]
    pub(super) fault: std::sync::atomic::AtomicU8,
}

/// As `struct pm_scan_arg` in `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    region_count: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// As `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `PAGEMAP_SCAN`: `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: u32 = 0xC060_6610;
/// Fail if the range is not wholly under asynchronous protection: then nobody would have recorded writes.
const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
const PAGE_IS_PRESENT: u64 = 1 << 3;
/// Not in memory and not nowhere: swapped out, or on its way to another place.
const PAGE_IS_SWAPPED: u64 = 1 << 4;

/// `_IOWR(0xAA, 0x3F, struct uffdio_api)` and its fellows in `linux/userfaultfd.h`.
const UFFDIO_API: u32 = 0xC018_AA3F;
const UFFDIO_REGISTER: u32 = 0xC020_AA00;
const UFFDIO_WRITEPROTECT: u32 = 0xC018_AA06;
/// `_IO(0xAA, 0x00)`, on `/dev/userfaultfd`.
const USERFAULTFD_IOC_NEW: u32 = 0xAA00;
const UFFD_API: u64 = 0xAA;
const UFFD_FEATURE_WP_HUGETLBFS_SHMEM: u64 = 1 << 12;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0;
/// Needs no privilege. The kernel resolves its own faults in asynchronous mode, so that nothing is lost by it.
const UFFD_USER_MODE_ONLY: i32 = 1;

impl Tracker {
    /// Opens the kernel's record.
    pub(super) fn new() -> Result<Self, Unsupported> {
        // SAFETY: reads a number.
        if unsafe { libc::sysconf(libc::_SC_PAGESIZE) } != PAGE as libc::c_long {
            return Err(Unsupported::PageSize);
        }
        let faults = userfaultfd().map_err(Unsupported::Userfaultfd)?;
        let features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
        call(faults.as_raw_fd(), UFFDIO_API, &mut [UFFD_API, features, 0]).map_err(Unsupported::Asynchronous)?;
        let pagemap = File::open("/proc/self/pagemap").map_err(Unsupported::Pagemap)?;
        Ok(Self {
            faults,
            pagemap,
            #[cfg(test)]
            fault: 0.into(),
        })
    }

    /// Begins to record writes to a range of addresses. All its pages count as written until they are protected.
    pub(super) fn watch(&self, range: &Range<usize>) -> io::Result<()> {
        let mut register = [range.start as u64, range.len() as u64, UFFDIO_REGISTER_MODE_WP, 0];
        call(self.faults.as_raw_fd(), UFFDIO_REGISTER, &mut register)
    }

    /// Sets the protection of pages: they do not count as written any more.
    pub(super) fn protect(&self, range: &Range<usize>) -> io::Result<()> {
        let mut protect = [range.start as u64, range.len() as u64, UFFDIO_WRITEPROTECT_MODE_WP];
        call(self.faults.as_raw_fd(), UFFDIO_WRITEPROTECT, &mut protect)
    }

    /// Calls `found` with each run of written pages within a range of addresses.
    pub(super) fn written(
        &self,
        range: &Range<usize>,
        found: impl FnMut(Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.look(self.written_in(range), found)
    }

    /// Calls `found` with each run of pages within a range of addresses that there are at all, in memory or elsewhere.
    pub(super) fn touched(
        &self,
        range: &Range<usize>,
        found: impl FnMut(Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let anywhere = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
        self.look(Scan { category_anyof_mask: anywhere, return_mask: anywhere, ..Scan::of(range) }, found)
    }

    /// Looks, and changes nothing.
    fn look(&self, mut scan: Scan, mut found: impl FnMut(Range<usize>) -> io::Result<()>) -> io::Result<()> {
        let mut regions = [Region::default(); 64];
        scan.regions = regions.as_mut_ptr().expose_provenance() as u64;
        scan.region_count = regions.len() as u64;
        while scan.start < scan.end {
            // SAFETY: the structure is as the kernel expects it, and so are the regions, whose number it knows.
            let count = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN as libc::Ioctl, &raw mut scan) };
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            for region in &regions[..count] {
                found(region.start as usize..region.end as usize)?;
            }
            if scan.walk_end <= scan.start {
                return Err(io::Error::other("the scan of written pages does not go on"));
            }
            scan.start = scan.walk_end;
        }
        Ok(())
    }

    #[cfg(not(test))]
    fn written_in(&self, range: &Range<usize>) -> Scan {
        Scan::for_written(range)
    }

    /// Under a fault, too little is found: so that tests can show that they would notice.
    #[cfg(test)]
    fn written_in(&self, range: &Range<usize>) -> Scan {
        let mut scan = Scan::for_written(range);
        match self.fault.load(std::sync::atomic::Ordering::Relaxed) {
            0 => {}
            1 => scan.end = scan.start,
            _ => scan.category_mask |= PAGE_IS_PRESENT,
        }
        scan
    }
}

impl Scan {
    fn of(range: &Range<usize>) -> Self {
        Self {
            size: size_of::<Self>() as u64,
            flags: PM_SCAN_CHECK_WPASYNC,
            start: range.start as u64,
            end: range.end as u64,
            ..Self::default()
        }
    }

    fn for_written(range: &Range<usize>) -> Self {
        Self { category_mask: PAGE_IS_WRITTEN, return_mask: PAGE_IS_WRITTEN, ..Self::of(range) }
    }
}

fn userfaultfd() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
    // SAFETY: takes a number, and returns a descriptor of our own.
    let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if let Ok(descriptor) = owned(descriptor) {
        return Ok(descriptor);
    }
    let forbidden = io::Error::last_os_error();
    // Filters of system calls often forbid the call, and not the device.
    let Ok(device) = File::open("/dev/userfaultfd") else { return Err(forbidden) };
    // SAFETY: as above.
    let descriptor = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW as libc::Ioctl, flags) };
    owned(descriptor.into()).map_err(|_| forbidden)
}

fn owned(descriptor: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(descriptor) {
        // SAFETY: the kernel has just given it to us.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An ioctl whose argument is a structure of numbers.
fn call<const N: usize>(descriptor: RawFd, request: u32, argument: &mut [u64; N]) -> io::Result<()> {
    // SAFETY: the low bits of the request's upper half are the structure's size, which is the array's.
    debug_assert_eq!((request >> 16) as usize & 0x3FFF, size_of_val(argument));
    check(unsafe { libc::ioctl(descriptor, request as libc::Ioctl, argument.as_mut_ptr()) })
}

/// Finds out whether the kernel's record can be relied on: writes to some pages, and asks for them.
///
/// # Errors
/// [`Unsupported`], with what is missing.
pub(crate) fn trial() -> Result<(), Unsupported> {
    const PAGES: usize = 16;

    let tracker = Tracker::new()?;
    let memory = Reservation::new(PAGES * PAGE).map_err(Unsupported::Trial)?;
    let expected = vec![3, 4, 9];
    let found = written_after(&tracker, &memory, PAGES, &expected).map_err(Unsupported::Trial)?;
    if found == expected { Ok(()) } else { Err(Unsupported::Untrue { expected, found }) }
}

fn written_after(tracker: &Tracker, memory: &Reservation, pages: usize, write: &[usize]) -> io::Result<Vec<usize>> {
    let start = memory.at(0).addr();
    let whole = 0..pages * PAGE;
    let addresses = start..start + whole.len();
    memory.open(&whole)?;
    tracker.watch(&addresses)?;
    tracker.protect(&addresses)?;
    for page in write {
        // SAFETY: the page has been opened above, and nobody else knows of it.
        unsafe { memory.fill(&(page * PAGE..page * PAGE + 1)) };
    }
    let mut found = Vec::new();
    tracker.written(&addresses, |run| {
        found.extend((run.start - start) / PAGE..(run.end - start) / PAGE);
        Ok(())
    })?;
    Ok(found)
}
