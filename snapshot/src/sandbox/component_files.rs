//! What a component is told about its files: the same on every machine, as [`FileView::Reproducible`] is for modules.
//!
//! wasmtime-wasi answers; five of its functions are shadowed by those which replace the host's part of the answer, and
//! a sixth reads a directory in the order of names. What remains of the host: a file which the component creates may
//! get the number of one that it has deleted, where a file system gives numbers again.
//!
//! [`FileView::Reproducible`]: prewasm_ext_http::FileView::Reproducible

use std::collections::{HashMap, VecDeque};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::WasiFilesystemView as _,
    p2::{
        FsResult,
        bindings::{
            clocks::wall_clock::Datetime,
            filesystem::types::{
                Descriptor, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode,
                HostDescriptor as _, HostDirectoryEntryStream as _, MetadataHashValue, PathFlags,
            },
        },
    },
};

use super::surroundings::ComponentState;

/// With the version which wasmtime-wasi 48 provides, so that its own functions are the ones which are shadowed.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";

type Store<'a> = StoreContextMut<'a, ComponentState>;
type At = (Resource<Descriptor>, PathFlags, String);

/// What one component is told about its files.
pub(crate) struct ComponentFiles {
    /// The time of every file.
    time: Datetime,
    /// The number of each file that the component has met, by the host's number of it.
    numbers: HashMap<u64, u64>,
    /// What is left of each directory that is being read, by the stream's place in the resource table.
    listings: HashMap<u32, VecDeque<DirectoryEntry>>,
}

/// Shadows what tells about the host's file system in a linker which has wasmtime-wasi's functions.
pub(crate) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.func_wrap_async("[method]descriptor.stat", |mut store: Store<'_>, (fd,): (Resource<Descriptor>,)| {
        Box::new(async move {
            let found = store.data_mut().filesystem().stat(fd).await;
            answer(found.map(|stat| store.data().files.stat(stat)))
        })
    })?;
    types.func_wrap_async("[method]descriptor.stat-at", |mut store: Store<'_>, (fd, flags, path): At| {
        Box::new(async move {
            let found = store.data_mut().filesystem().stat_at(fd, flags, path).await;
            answer(found.map(|stat| store.data().files.stat(stat)))
        })
    })?;
    types.func_wrap_async(
        "[method]descriptor.metadata-hash",
        |mut store: Store<'_>, (fd,): (Resource<Descriptor>,)| {
            Box::new(async move {
                let found = store.data_mut().filesystem().metadata_hash(fd).await;
                answer(found.map(|hash| store.data_mut().files.number(&hash)))
            })
        },
    )?;
    types.func_wrap_async("[method]descriptor.metadata-hash-at", |mut store: Store<'_>, (fd, flags, path): At| {
        Box::new(async move {
            let found = store.data_mut().filesystem().metadata_hash_at(fd, flags, path).await;
            answer(found.map(|hash| store.data_mut().files.number(&hash)))
        })
    })?;
    types.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut store: Store<'_>, (fd,): (Resource<Descriptor>,)| {
            Box::new(async move { answer(read_directory(store.data_mut(), fd).await) })
        },
    )?;
    types.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: Store<'_>, (stream,): (Resource<DirectoryEntryStream>,)| {
            let entry = store.data_mut().files.listings.get_mut(&stream.rep()).and_then(VecDeque::pop_front);
            answer(Ok(entry))
        },
    )
}

/// Errors of files are the component's; others end it.
fn answer<R>(found: FsResult<R>) -> wasmtime::Result<(Result<R, ErrorCode>,)> {
    match found {
        Ok(found) => Ok((Ok(found),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// Opens a directory's stream, and keeps its entries in the order of their names' bytes.
async fn read_directory(
    state: &mut ComponentState,
    fd: Resource<Descriptor>,
) -> FsResult<Resource<DirectoryEntryStream>> {
    let mut host = state.filesystem();
    let stream = host.read_directory(fd).await?;
    let mut entries = Vec::new();
    while let Some(entry) = host.read_directory_entry(Resource::new_borrow(stream.rep())).await? {
        entries.push(entry);
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    // In the place of a stream which is closed, if it was at that place of the table.
    state.files.listings.insert(stream.rep(), entries.into());
    Ok(stream)
}

impl ComponentFiles {
    /// `seconds` since the Unix epoch is the time of every file.
    pub(crate) fn new(seconds: u64) -> Self {
        let time = Datetime { seconds, nanoseconds: 0 };
        Self { time, numbers: HashMap::new(), listings: HashMap::new() }
    }

    fn stat(&self, found: DescriptorStat) -> DescriptorStat {
        DescriptorStat {
            link_count: 1,
            // How much room a directory's entries take is up to the file system.
            size: if found.type_ == DescriptorType::Directory { 0 } else { found.size },
            data_access_timestamp: Some(self.time),
            data_modification_timestamp: Some(self.time),
            status_change_timestamp: Some(self.time),
            type_: found.type_,
        }
    }

    /// Files are counted as the component meets them.
    fn number(&mut self, found: &MetadataHashValue) -> MetadataHashValue {
        let next = self.numbers.len() as u64 + 1;
        MetadataHashValue { lower: *self.numbers.entry(found.lower).or_insert(next), upper: 0 }
    }
}
