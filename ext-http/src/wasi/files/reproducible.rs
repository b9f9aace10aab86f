//! Files which look the same on every machine and in every run: the order of a directory, file numbers, link counts,
//! the size of directories, and times.
//!
//! wasmtime-wasi answers each call, and what depends on the host's file system is replaced in its answer. Where that
//! stands is said by `typenames.witx` of WASI preview 1, with fields in order, each at a multiple of its size.

use std::collections::HashMap;

use wasmtime_wasi::p1::{WasiP1Ctx, wasi_snapshot_preview1 as host};

use crate::abi::{errno::Errno, memory::GuestMemory};

/// `dirent`: next cookie u64 @0, ino u64 @8, length of the name u32 @16, filetype u8 @20.
const DIRENT_SIZE: usize = 24;
/// `filestat`: dev u64 @0, ino u64 @8, filetype u8 @16, nlink u64 @24, size u64 @32, atim, mtim, ctim u64 @40.
const FILESTAT_SIZE: u32 = 64;
const FILETYPE_DIRECTORY: u8 = 3;
/// wasmtime-wasi has one device for all files, too.
const DEVICE: u64 = 1;
const LINKS: u64 = 1;
/// `.` and `..`, which wasmtime-wasi puts first.
const DOTS: usize = 2;
/// Enough for the five hundred entries of an ordinary directory.
const FIRST_LISTING: i32 = 16 * 1024;
/// A million entries with names of forty bytes: a directory is listed in our memory before its first entry is known.
const LARGEST_LISTING: i32 = 64 * 1024 * 1024;
/// Linux's `PATH_MAX`: nothing is created where no longer path leads.
const LONGEST_PATH: u32 = 4096;

/// What one instance is told about its files.
#[derive(Debug)]
pub(crate) struct Reproducible {
    /// The time of every file, in nanoseconds since the Unix epoch.
    time: u64,
    /// The number of each file that the guest has met, by the host's number of it.
    numbers: HashMap<u64, u64>,
    last_number: u64,
}

/// The arguments of `fd_readdir`.
#[derive(Clone, Copy)]
pub(crate) struct ReadDirectory {
    pub(crate) fd: i32,
    pub(crate) buffer: i32,
    pub(crate) length: i32,
    pub(crate) cookie: i64,
    pub(crate) out: i32,
}

/// A path in the guest's memory, below a directory.
#[derive(Clone, Copy)]
pub(crate) struct GuestPath {
    pub(crate) fd: i32,
    /// `lookupflags`.
    pub(crate) flags: i32,
    pub(crate) path: i32,
    pub(crate) length: i32,
}

impl GuestPath {
    /// The host's number of the file there, if there is one. The guest's memory stays as it is.
    pub(crate) async fn file(self, context: &mut WasiP1Ctx, bytes: &mut [u8]) -> wasmtime::Result<Option<u64>> {
        let length = self.length.cast_unsigned();
        let memory = GuestMemory::new(bytes);
        let Ok(path) = memory.read(self.path, length.min(LONGEST_PATH)) else { return Ok(None) };
        if length > LONGEST_PATH {
            return Ok(None);
        }
        // The answer, and the path behind it.
        let mut scratch = vec![0; FILESTAT_SIZE as usize];
        scratch.extend_from_slice(path);
        let path = FILESTAT_SIZE.cast_signed();
        let memory = &mut wiggle::GuestMemory::Unshared(&mut scratch);
        let errno = host::path_filestat_get(context, memory, self.fd, self.flags, path, self.length, 0).await?;
        Ok((errno == 0).then(|| u64_at(&scratch, 8)))
    }
}

impl Reproducible {
    pub(crate) fn new(time: u64) -> Self {
        Self { time, numbers: HashMap::new(), last_number: 0 }
    }

    /// The number of a file: they are counted as the guest meets them.
    fn number(&mut self, file: u64) -> u64 {
        *self.numbers.entry(file).or_insert_with(|| {
            self.last_number += 1;
            self.last_number
        })
    }

    /// The guest has created what is at `path`. It may have the host's number of a file that is gone: some hosts give
    /// them again.
    pub(crate) async fn created(
        &mut self,
        context: &mut WasiP1Ctx,
        bytes: &mut [u8],
        path: GuestPath,
    ) -> wasmtime::Result<()> {
        if let Some(file) = path.file(context, bytes).await? {
            self.numbers.remove(&file);
        }
        Ok(())
    }

    /// `fd_filestat_get`.
    pub(crate) async fn stat(
        &mut self,
        context: &mut WasiP1Ctx,
        bytes: &mut [u8],
        fd: i32,
        out: i32,
    ) -> wasmtime::Result<i32> {
        if let Err(errno) = GuestMemory::new(bytes).range(out, FILESTAT_SIZE) {
            return Ok(errno.code());
        }
        let errno = host::fd_filestat_get(context, &mut wiggle::GuestMemory::Unshared(bytes), fd, out).await?;
        Ok(self.replace(bytes, out, errno))
    }

    /// `path_filestat_get`.
    pub(crate) async fn stat_at(
        &mut self,
        context: &mut WasiP1Ctx,
        bytes: &mut [u8],
        at: GuestPath,
        out: i32,
    ) -> wasmtime::Result<i32> {
        if let Err(errno) = GuestMemory::new(bytes).range(out, FILESTAT_SIZE) {
            return Ok(errno.code());
        }
        let GuestPath { fd, flags, path, length } = at;
        let memory = &mut wiggle::GuestMemory::Unshared(bytes);
        let errno = host::path_filestat_get(context, memory, fd, flags, path, length, out).await?;
        Ok(self.replace(bytes, out, errno))
    }

    /// Replaces what depends on the host in the `filestat` at `out`, if there is one.
    fn replace(&mut self, bytes: &mut [u8], out: i32, errno: i32) -> i32 {
        if errno != 0 {
            return errno;
        }
        let mut memory = GuestMemory::new(bytes);
        match memory.range(out, FILESTAT_SIZE) {
            Ok(range) => self.replace_in(memory.bytes_mut(range)),
            Err(errno) => return errno.code(),
        }
        errno
    }

    fn replace_in(&mut self, stat: &mut [u8]) {
        let number = self.number(u64_at(stat, 8));
        put(stat, 0, DEVICE);
        put(stat, 8, number);
        put(stat, 24, LINKS);
        if stat[16] == FILETYPE_DIRECTORY {
            // How much room its entries take is up to the file system.
            put(stat, 32, 0);
        }
        for time in [40, 48, 56] {
            put(stat, time, self.time);
        }
    }

    /// `fd_readdir`: `.` and `..`, then the others in the order of their names' bytes. A cookie is a position in this
    /// order; like wasmtime-wasi, each call lists the directory anew.
    pub(crate) async fn read_directory(
        &mut self,
        context: &mut WasiP1Ctx,
        bytes: &mut [u8],
        call: ReadDirectory,
    ) -> wasmtime::Result<i32> {
        let mut memory = GuestMemory::new(bytes);
        let ranges = memory.range(call.out, 4).and(memory.range(call.buffer, call.length.cast_unsigned()));
        let buffer = match ranges {
            Ok(buffer) => buffer,
            Err(errno) => return Ok(errno.code()),
        };
        let listing = match list(context, call.fd).await? {
            Ok(listing) => listing,
            Err(errno) => return Ok(errno),
        };
        let used = self.write_entries(&entries(&listing), call.cookie.cast_unsigned(), memory.bytes_mut(buffer));
        let used = u32::try_from(used).map_err(|_| Errno::Fault).and_then(|used| memory.write_u32(call.out, used));
        Ok(used.map_or_else(Errno::code, |()| 0))
    }

    /// Writes what fits, the last entry in part, and tells how many bytes that are: all of `buffer` if there is more.
    fn write_entries(&mut self, entries: &[Entry<'_>], cookie: u64, buffer: &mut [u8]) -> usize {
        let mut used = 0;
        for (next, entry) in (1..).zip(entries).skip(usize::try_from(cookie).unwrap_or(usize::MAX)) {
            if used == buffer.len() {
                break;
            }
            let head = entry.head(next, self.number(entry.file));
            for part in [&head, entry.name] {
                let fits = part.len().min(buffer.len() - used);
                buffer[used..used + fits].copy_from_slice(&part[..fits]);
                used += fits;
            }
        }
        used
    }
}

/// An entry of a directory, as the host tells it.
struct Entry<'a> {
    file: u64,
    filetype: u8,
    name: &'a [u8],
}

impl Entry<'_> {
    fn head(&self, next: u64, number: u64) -> [u8; DIRENT_SIZE] {
        let mut head = [0; DIRENT_SIZE];
        put(&mut head, 0, next);
        put(&mut head, 8, number);
        // It came out of such a field.
        let length = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
        head[16..20].copy_from_slice(&length.to_le_bytes());
        head[20] = self.filetype;
        head
    }
}

/// A whole directory in the host's order, as `fd_readdir` writes it, or the errno why not.
async fn list(context: &mut WasiP1Ctx, fd: i32) -> wasmtime::Result<Result<Vec<u8>, i32>> {
    let mut length = FIRST_LISTING;
    while length <= LARGEST_LISTING {
        // The entries, and behind them how many bytes they are.
        let room = length.cast_unsigned() as usize;
        let mut scratch = vec![0; room + 4];
        let memory = &mut wiggle::GuestMemory::Unshared(&mut scratch);
        let errno = host::fd_readdir(context, memory, fd, 0, length, 0, length).await?;
        if errno != 0 {
            return Ok(Err(errno));
        }
        let used = u32_at(&scratch, room) as usize;
        if used < room {
            scratch.truncate(used);
            return Ok(Ok(scratch));
        }
        length *= 4;
    }
    Ok(Err(Errno::NoMem.code()))
}

/// The entries of a whole directory, in the order in which a guest gets them.
fn entries(mut listing: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = listing.split_at_checked(DIRENT_SIZE) {
        let Some((name, rest)) = rest.split_at_checked(u32_at(head, 16) as usize) else { break };
        entries.push(Entry { file: u64_at(head, 8), filetype: head[20], name });
        listing = rest;
    }
    if let Some(named) = entries.get_mut(DOTS..) {
        named.sort_unstable_by_key(|entry| entry.name);
    }
    entries
}

/// Little-endian numbers at places which the caller knows to be there.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(u64, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (file, name) in entries {
            bytes.extend_from_slice(&Entry { file: *file, filetype: 4, name: name.as_bytes() }.head(9, *file));
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }

    #[test]
    fn entries_are_sorted_by_bytes_and_numbered_as_they_are_met() {
        let host = listing(&[(70, "."), (70, ".."), (5, "b"), (6, "B"), (3, "-"), (4, "ä"), (5, "a")]);
        let sorted = entries(&host);
        let names: Vec<_> = sorted.iter().map(|entry| entry.name).collect();
        assert_eq!(names, [".", "..", "-", "B", "a", "b", "ä"].map(str::as_bytes));
        let mut buffer = [0; 500];
        let mut files = Reproducible::new(0);
        let used = files.write_entries(&sorted, 0, &mut buffer);
        assert_eq!(used, host.len());
        let numbers: Vec<_> = entries(&buffer[..used]).iter().map(|entry| entry.file).collect();
        assert_eq!(numbers, [1, 1, 2, 3, 4, 4, 5], "`a` and `b` are one file");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_every_cookie_goes_on() {
        let host = listing(&[(1, "."), (1, ".."), (2, "one"), (3, "two")]);
        let sorted = entries(&host);
        let mut whole = vec![0; host.len()];
        assert_eq!(Reproducible::new(0).write_entries(&sorted, 0, &mut whole), host.len());
        for length in 0..host.len() {
            let mut buffer = vec![0; length];
            assert_eq!(Reproducible::new(0).write_entries(&sorted, 0, &mut buffer), length);
            assert_eq!(buffer, whole[..length]);
        }
        for (cookie, length) in [(0, 105), (1, 80), (2, 54), (3, 27), (4, 0), (u64::MAX, 0)] {
            let used = Reproducible::new(0).write_entries(&sorted, cookie, &mut [0; 200]);
            assert_eq!(used, length, "from {cookie}");
        }
    }
}
