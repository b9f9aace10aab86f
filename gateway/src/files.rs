//! Static files of a folder, and nothing outside of it.
//!
//! The folder is opened once, and every path is resolved below it by cap-std, which follows no link that leads out.

mod body;

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use cap_std::{
    ambient_authority,
    fs::{Dir, File, Metadata, OpenOptions},
};
use headers::{
    AcceptRanges, ContentLength, ContentRange, ETag, HeaderMapExt as _, IfModifiedSince, IfNoneMatch, IfRange,
    LastModified, Range,
};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;

use crate::{
    body::{ResponseBody, whole},
    failure::Failure,
};

use body::FileBody;

/// A folder whose files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSpec {
    /// The folder on the host.
    pub root: PathBuf,
    /// The file that answers for a folder.
    pub index: String,
    /// The field `Cache-Control` of answers, if there is to be one.
    pub cache_control: Option<String>,
    /// The file that answers for paths at which there is none: for applications that route in the browser.
    pub fallback: Option<String>,
}

impl FilesSpec {
    /// The files of `root`, with `index.html` for folders.
    pub fn new(root: PathBuf) -> Self {
        Self { root, index: "index.html".to_owned(), cache_control: None, fallback: None }
    }
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be opened.
    #[error("cannot open folder `{root}`", root = root.display())]
    Open {
        /// The folder.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is to be sent with files cannot be sent.
    #[error("`{value}` is no value of `Cache-Control`")]
    CacheControl {
        /// The value.
        value: String,
    },
}

/// An open folder.
pub(crate) struct StaticFiles {
    root: Arc<Dir>,
    index: String,
    cache_control: Option<HeaderValue>,
    fallback: Option<String>,
}

/// What is at a path.
enum Found {
    File(Box<(File, Metadata, String)>),
    /// A folder that was asked for without a slash at the end: links in its index would lead elsewhere.
    Folder,
    Nothing,
    /// The system has no means to look.
    Failed(io::Error),
}

impl StaticFiles {
    pub(crate) fn open(spec: &FilesSpec) -> Result<Self, FilesError> {
        let opened = Dir::open_ambient_dir(&spec.root, ambient_authority());
        let root = opened.map_err(|source| FilesError::Open { root: spec.root.clone(), source })?;
        let cache_control = spec
            .cache_control
            .as_ref()
            .map(|value| HeaderValue::from_str(value).map_err(|_| FilesError::CacheControl { value: value.clone() }));
        Ok(Self {
            root: Arc::new(root),
            index: spec.index.clone(),
            cache_control: cache_control.transpose()?,
            fallback: spec.fallback.clone(),
        })
    }

    /// Answers for the file at `rest`, the part of the path below the route.
    pub(crate) async fn respond(&self, head: &Parts, rest: &str) -> Result<Response<ResponseBody>, Failure> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Failure::MethodNotAllowed { allow: "GET, HEAD".to_owned() });
        }
        let found = match file_name(rest) {
            Some(name) => self.find(name, rest.ends_with('/')).await,
            None => Found::Nothing,
        };
        match (found, &self.fallback) {
            (Found::File(file), _) => Ok(self.file(head, *file)),
            (Found::Folder, _) => Ok(redirect(head)),
            (Found::Failed(error), _) => Err(Failure::File(error)),
            (Found::Nothing, Some(fallback)) => match self.find(fallback.clone(), false).await {
                Found::File(file) => Ok(self.file(head, *file)),
                Found::Folder | Found::Nothing => Err(Failure::NoRoute),
                Found::Failed(error) => Err(Failure::File(error)),
            },
            (Found::Nothing, None) => Err(Failure::NoRoute),
        }
    }

    /// Looks a file up, on a thread that may wait for the disk.
    async fn find(&self, name: String, is_folder: bool) -> Found {
        let (root, index) = (Arc::clone(&self.root), self.index.clone());
        let found = tokio::task::spawn_blocking(move || look_up(&root, name, &index, is_folder)).await;
        match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if is_ours(&error) => Found::Failed(error),
            // Whatever else the system says (not there, not permitted, a link that leads out), clients see nothing there.
            Ok(Err(_)) => Found::Nothing,
            Err(error) => Found::Failed(io::Error::other(error)),
        }
    }

    fn file(&self, head: &Parts, (file, metadata, name): (File, Metadata, String)) -> Response<ResponseBody> {
        let length = metadata.len();
        let modified = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
        let tag = etag(length, modified);
        let mut response = Response::new(whole(""));
        let headers = response.headers_mut();
        headers.typed_insert(AcceptRanges::bytes());
        headers.extend(modified.map(LastModified::from).map(|value| typed(&value)));
        if let Some(tag) = &tag {
            headers.typed_insert(tag.clone());
        }
        if let Some(value) = &self.cache_control {
            headers.insert(header::CACHE_CONTROL, value.clone());
        }
        if is_known_to_client(head, tag.as_ref(), modified) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, content_type(&name));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let range = match wanted_range(head, length, tag.as_ref(), modified) {
            Wanted::Whole => 0..length,
            Wanted::Part(range) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                if let Ok(value) = ContentRange::bytes(range.clone(), length) {
                    response.headers_mut().typed_insert(value);
                }
                range
            }
            Wanted::Nothing => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                response.headers_mut().typed_insert(ContentRange::unsatisfied_bytes(length));
                return response;
            }
        };
        response.headers_mut().typed_insert(ContentLength(range.end - range.start));
        if head.method == Method::GET {
            *response.body_mut() = Box::pin(FileBody::new(file.into_std(), range));
        }
        response
    }
}

/// Whether an error says nothing about the file: there are no descriptors or no memory left, or the disk fails.
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO];
    Errno::from_io_error(error).is_some_and(|errno| ours.contains(&errno))
}

/// The name of a file below the folder; `None` if a request may not ask for it.
fn file_name(rest: &str) -> Option<String> {
    let path = rest.strip_prefix('/').unwrap_or(rest);
    let mut name = String::with_capacity(path.len());
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            // The last one may be: a folder. Elsewhere, systems see no segment where the route has seen one.
            return segments.peek().is_none().then_some(name);
        }
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        let is_hidden = segment.starts_with('.') && segment != ".well-known";
        if is_hidden || segment.contains(['/', '\\', '\0', ':']) {
            return None;
        }
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(&segment);
    }
    Some(name)
}

fn look_up(root: &Dir, name: String, index: &str, is_folder: bool) -> io::Result<Found> {
    let path = if name.is_empty() { "." } else { name.as_str() };
    // Looked at first: to open a pipe would wait for its other end.
    let metadata = root.metadata(path)?;
    if metadata.is_dir() {
        if !is_folder {
            return Ok(Found::Folder);
        }
        let name = if name.is_empty() { index.to_owned() } else { format!("{name}/{index}") };
        return if root.metadata(&name)?.is_file() { open(root, name) } else { Ok(Found::Nothing) };
    }
    if metadata.is_file() && !is_folder { open(root, name) } else { Ok(Found::Nothing) }
}

fn open(root: &Dir, name: String) -> io::Result<Found> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt as _;
        // A pipe may have taken the file's place since it was looked at.
        options.custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default());
    }
    let file = root.open_with(&name, &options)?;
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() { Found::File(Box::new((file, metadata, name))) } else { Found::Nothing })
}

/// To the same path with a slash at its end. The path begins with one slash only: two would name another host.
fn redirect(head: &Parts) -> Response<ResponseBody> {
    let path = head.uri.path().trim_start_matches('/');
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(&format!("/{path}/{query}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn etag(length: u64, modified: Option<SystemTime>) -> Option<ETag> {
    let since = modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    format!("\"{length:x}-{:x}\"", since.as_nanos()).parse().ok()
}

/// One field, as pairs for a map.
fn typed<H: headers::Header>(value: &H) -> (http::HeaderName, HeaderValue) {
    let mut values = Vec::with_capacity(1);
    value.encode(&mut values);
    (H::name().clone(), values.pop().unwrap_or(HeaderValue::from_static("")))
}

fn content_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let is_text = guess.type_() == "text" || guess == "application/javascript" || guess == "application/json";
    let value = if is_text { format!("{guess}; charset=utf-8") } else { guess.to_string() };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// Whether the client has the file as it is (RFC 9110, 13.1: a tag counts more than a time).
fn is_known_to_client(head: &Parts, tag: Option<&ETag>, modified: Option<SystemTime>) -> bool {
    if let Some(known) = head.headers.typed_get::<IfNoneMatch>() {
        return tag.is_some_and(|tag| !known.precondition_passes(tag));
    }
    let since = head.headers.typed_get::<IfModifiedSince>();
    since.zip(modified).is_some_and(|(since, modified)| !since.is_modified(modified))
}

/// What of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(std::ops::Range<u64>),
    /// A part that is not there.
    Nothing,
}

/// The part asked for. Several at once are answered by the whole, which is always allowed (RFC 9110, 14.2).
fn wanted_range(head: &Parts, length: u64, tag: Option<&ETag>, modified: Option<SystemTime>) -> Wanted {
    if head.method != Method::GET {
        // Ranges are defined for GET only (RFC 9110, 14.2).
        return Wanted::Whole;
    }
    if let Some(condition) = head.headers.typed_get::<IfRange>() {
        let modified = modified.map(LastModified::from);
        if condition.is_modified(tag, modified.as_ref()) {
            return Wanted::Whole;
        }
    }
    let Some(range) = head.headers.typed_get::<Range>() else { return Wanted::Whole };
    let mut parts = range.satisfiable_ranges(length);
    let (first, second) = (parts.next(), parts.next());
    if second.is_some() {
        return Wanted::Whole;
    }
    let Some((start, end)) = first else {
        // A suffix longer than the file is all of it (RFC 9110, 14.1.2), but the crate finds it out of range.
        let text = head.headers.get(header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let suffix = text.strip_prefix("bytes=-").and_then(|suffix| suffix.trim().parse::<u64>().ok());
        let is_all = suffix.is_some_and(|suffix| suffix >= length) && length > 0;
        return if is_all { Wanted::Part(0..length) } else { Wanted::Nothing };
    };
    let start = match start {
        std::ops::Bound::Included(start) => start,
        std::ops::Bound::Excluded(start) => start.saturating_add(1),
        std::ops::Bound::Unbounded => 0,
    };
    let end = match end {
        std::ops::Bound::Included(end) => end.saturating_add(1),
        std::ops::Bound::Excluded(end) => end,
        std::ops::Bound::Unbounded => length,
    };
    if start >= length || start >= end.min(length) { Wanted::Nothing } else { Wanted::Part(start..end.min(length)) }
}

#[cfg(test)]
mod tests;
