//! Reloads: a new site is made in the background, and takes the place of the old one whole, or not at all.
//!
//! Files are looked at twice a second rather than by a notification of the system: that works on every file system, and
//! sees the swap of a symbolic link somewhere above a file, which is how Kubernetes exchanges mounted configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    cache::CodeCache,
    failure::chain,
    prepared::Process,
    site::{Live, Site},
    spec::{Loaded, SiteSource},
};

/// How often files are looked at. A change is acted on when a second look finds nothing new, so that a file which is
/// being written is not read half.
const LOOK: Duration = Duration::from_millis(500);

/// Makes a new site when it is told to, or when a file has changed.
pub(crate) struct Reloader<S> {
    source: S,
    live: Arc<Live>,
    process: Arc<Process>,
    cache: CodeCache,
    watched: Watched,
}

/// Ends the reloading when dropped. A site that is being made is given up with the process.
pub(crate) struct Reloading {
    _hangup: tokio::task::JoinHandle<()>,
}

impl<S: SiteSource> Reloader<S> {
    pub(crate) fn new(
        source: S,
        live: Arc<Live>,
        process: Arc<Process>,
        cache: CodeCache,
        watched: Vec<PathBuf>,
    ) -> Self {
        Self { source, live, process, cache, watched: Watched::new(watched) }
    }

    /// Starts a thread of its own: to make a site takes as long as compiling does. Must be called on a runtime, which
    /// receives SIGHUP.
    pub(crate) fn start(self) -> io::Result<Reloading> {
        let (sender, receiver) = channel();
        let hangup = tokio::spawn(pass_on_hangups(sender)?);
        thread::Builder::new().name("reload".to_owned()).spawn(move || self.run(&receiver))?;
        Ok(Reloading { _hangup: hangup })
    }

    fn run(mut self, hangups: &Receiver<()>) {
        loop {
            match hangups.recv_timeout(LOOK) {
                Ok(()) => self.reload("SIGHUP"),
                Err(RecvTimeoutError::Timeout) if self.watched.have_changed() => self.reload("a file has changed"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn reload(&mut self, why: &str) {
        tracing::info!(why, "reloading");
        let begin = Instant::now();
        // Looked at before it is read: what changes meanwhile is a change.
        self.watched.look();
        let Loaded { site, watched } = match self.source.load() {
            Ok(loaded) => loaded,
            Err(error) => return tracing::error!("not reloaded, the earlier state stays: {}", chain(&error, ": ")),
        };
        let apps = site.apps.len();
        match Site::prepare(site, &self.process, &self.cache, Some(&self.live.load())) {
            Ok(site) => {
                self.live.store(Arc::new(site));
                self.watched.exchange(watched);
                tracing::info!(apps, took = ?begin.elapsed(), "reloaded");
            }
            Err(errors) => tracing::error!("not reloaded, the earlier state stays: {errors}"),
        }
    }
}

#[cfg(unix)]
fn pass_on_hangups(sender: Sender<()>) -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move { while hangup.recv().await.is_some() && sender.send(()).is_ok() {} })
}

#[cfg(not(unix))]
fn pass_on_hangups(sender: Sender<()>) -> io::Result<impl Future<Output = ()>> {
    Ok(async move {
        let _sender = sender;
        std::future::pending::<()>().await;
    })
}

/// Files whose change matters.
struct Watched {
    paths: Vec<PathBuf>,
    /// As they were when they were last read.
    known: Vec<Option<Mark>>,
    /// As they were at the last look, if that was different.
    changing: Option<Vec<Option<Mark>>>,
}

/// What tells one state of a file from another, links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    place: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
}

impl Watched {
    fn new(paths: Vec<PathBuf>) -> Self {
        let mut watched = Self { paths, known: Vec::new(), changing: None };
        watched.look();
        watched
    }

    /// Takes the present state for known.
    fn look(&mut self) {
        self.known = self.marks();
        self.changing = None;
    }

    /// Watches other files from now on. Those that were watched before keep their known state.
    fn exchange(&mut self, paths: Vec<PathBuf>) {
        let known: Vec<_> = paths
            .iter()
            .map(|path| match self.paths.iter().position(|known| known == path) {
                Some(index) => self.known[index].clone(),
                None => mark(path),
            })
            .collect();
        *self = Self { paths, known, changing: None };
    }

    /// Whether files have changed, and have not changed any more since the last look.
    fn have_changed(&mut self) -> bool {
        let marks = self.marks();
        if marks == self.known {
            self.changing = None;
            return false;
        }
        let is_settled = self.changing.as_ref() == Some(&marks);
        self.changing = Some(marks);
        is_settled
    }

    fn marks(&self) -> Vec<Option<Mark>> {
        self.paths.iter().map(|path| mark(path)).collect()
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let metadata = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let place = {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.dev(), metadata.ino())
    };
    #[cfg(not(unix))]
    let place = (0, 0);
    Some(Mark { place, length: metadata.len(), modified: metadata.modified().ok() })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let folder = tempfile::tempdir().expect("writable");
        let file = folder.path().join("a");
        fs::write(&file, "1").expect("writable");
        let mut watched = Watched::new(vec![file.clone()]);
        assert!(!watched.have_changed());
        fs::write(&file, "12").expect("writable");
        assert!(!watched.have_changed(), "it may still be being written");
        fs::write(&file, "123").expect("writable");
        assert!(!watched.have_changed(), "it was");
        assert!(watched.have_changed());
        watched.look();
        assert!(!watched.have_changed());
        fs::remove_file(&file).expect("there");
        assert!(!watched.have_changed());
        assert!(watched.have_changed());
    }

    #[test]
    fn a_link_above_the_file_that_is_swapped_is_a_change() {
        let folder = tempfile::tempdir().expect("writable");
        for version in ["v1", "v2"] {
            fs::create_dir(folder.path().join(version)).expect("writable");
            fs::write(folder.path().join(version).join("a"), "same").expect("writable");
        }
        let data = folder.path().join("data");
        symlink("v1", &data).expect("writable");
        let mut watched = Watched::new(vec![data.join("a")]);
        symlink("v2", folder.path().join("new")).expect("writable");
        fs::rename(folder.path().join("new"), &data).expect("writable");
        assert!(!watched.have_changed());
        assert!(watched.have_changed());
    }
}
