//! A site: apps, and the routes that lead to them. It never changes; a reload replaces it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use arc_swap::ArcSwap;

use crate::{
    admission::{Admission, Shares},
    app::App,
    cache::CodeCache,
    failure::chain,
    files::{FilesError, StaticFiles},
    prepared::{PrepareError, Prepared, Process},
    route::Route,
    router::{Conflict, Router},
    shared_code::SharedCode,
    spec::{RouteSpec, SiteSpec, StaticResponse, TargetSpec},
    turns::{self, Share},
};

/// Where a route leads.
pub(crate) struct Destination {
    /// What the log calls it: the app's name, or what answers instead of an app.
    pub(crate) name: Arc<str>,
    /// The route, as it was written.
    pub(crate) route: Arc<str>,
    pub(crate) target: Target,
}

/// What answers.
pub(crate) enum Target {
    App(Arc<Member>),
    Files(StaticFiles),
    Respond(StaticResponse),
    /// Nobody: the route is there to hide others.
    NotFound,
}

/// An app of a site.
pub(crate) struct Member {
    /// The app itself, which may be a member of several sites in turn.
    pub(crate) app: Arc<Prepared>,
    /// Its share of this site's places.
    pub(crate) admission: Admission,
    /// Its turns on each worker.
    pub(crate) turns: Box<[Share]>,
}

impl Member {
    fn new(app: Arc<Prepared>, shares: Shares, workers: usize) -> Arc<Self> {
        let limits = &app.grants().limits;
        let admission = Admission::new(limits.instances, limits.queue, shares);
        Arc::new(Self { app, admission, turns: (0..workers).map(|_| turns::share()).collect() })
    }
}

/// Apps and routes.
pub(crate) struct Site {
    pub(crate) router: Router<Destination>,
    members: BTreeMap<Arc<str>, Arc<Member>>,
}

/// The site being served, which a reload exchanges.
pub(crate) type Live = ArcSwap<Site>;

/// Everything that keeps a site from being served.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SiteErrors(pub Vec<SiteError>);

/// One thing that keeps a site from being served.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// An app.
    #[error("app `{app}`: {}", chain(source, CAUSE))]
    App {
        /// Its name.
        app: Arc<str>,
        /// What is wrong.
        source: PrepareError,
    },
    /// A folder of static files.
    #[error("route `{route}`: {}", chain(source, CAUSE))]
    Files {
        /// The route to it.
        route: String,
        /// What is wrong.
        source: FilesError,
    },
    /// A route leads to an app that is not there.
    #[error("route `{route}` leads to app `{app}`, which is not there")]
    NoApp {
        /// The route.
        route: String,
        /// The name.
        app: String,
    },
    /// Two routes are the same.
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

/// What stands between an error and its cause: these lines stand among others, so each is whole.
const CAUSE: &str = "\n  caused by: ";

impl Site {
    /// Compiles and links all apps. Those that `previous` has just so are taken from there, with their instances.
    ///
    /// # Errors
    /// [`SiteErrors`]: all there are.
    pub(crate) fn prepare(
        spec: SiteSpec,
        process: &Process,
        cache: &CodeCache,
        previous: Option<&Self>,
    ) -> Result<Self, SiteErrors> {
        let code = SharedCode::new(cache);
        let shares = process.places.share(spec.apps.len());
        let prepared = in_parallel(&spec.apps, |app| match previous.and_then(|site| site.kept(app)) {
            Some(kept) => Ok(kept),
            None => Prepared::new(app, process, &code)
                .map(Arc::new)
                .map_err(|source| SiteError::App { app: Arc::clone(&app.name), source }),
        });
        let mut errors = Vec::new();
        let mut members = BTreeMap::new();
        for app in prepared {
            match app {
                Ok(app) => {
                    let name = Arc::clone(&app.grants().name);
                    members.insert(name, Member::new(app, shares.clone(), process.workers));
                }
                Err(error) => errors.push(error),
            }
        }
        let mut routes = Vec::new();
        for route in spec.routes {
            match destination(&route, &members) {
                Ok(destination) => routes.push((route.hosts, route.route, destination)),
                // An app that is not there because it cannot be prepared has been reported.
                Err(SiteError::NoApp { app, .. }) if spec.apps.iter().any(|known| *known.name == app) => {}
                Err(error) => errors.push(error),
            }
        }
        match Router::new(routes) {
            Ok(router) if errors.is_empty() => Ok(Self { router, members }),
            Ok(_) => Err(SiteErrors(errors)),
            Err(conflicts) => {
                errors.extend(conflicts.into_iter().map(SiteError::Conflict));
                Err(SiteErrors(errors))
            }
        }
    }

    /// The site of one app that gets all requests.
    pub(crate) fn of(app: Arc<Prepared>, process: &Process) -> Self {
        let name = Arc::clone(&app.grants().name);
        let member = Member::new(app, process.places.share(1), process.workers);
        let route = Route::everything();
        let written = route.to_string().into();
        let target = Target::App(Arc::clone(&member));
        let destination = Destination { name: Arc::clone(&name), route: written, target };
        Self { router: Router::of(route, destination), members: BTreeMap::from([(name, member)]) }
    }

    /// The member with this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Arc<Member>> {
        self.members.get(name)
    }

    fn kept(&self, app: &App) -> Option<Arc<Prepared>> {
        let member = self.member(&app.name)?;
        member.app.is_of(app).then(|| Arc::clone(&member.app))
    }
}

/// Works on all cores, with plain threads: what is made here waits for locks and compiles on a pool of its own, and a
/// thread of that pool must not begin another app while it holds a lock.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, item)) = take(&next, items) {
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, items.get(index)?))
}

fn destination(route: &RouteSpec, members: &BTreeMap<Arc<str>, Arc<Member>>) -> Result<Destination, SiteError> {
    let written = route.route.to_string();
    let (name, target) = match &route.target {
        TargetSpec::App(name) => {
            let member = members.get(name.as_str());
            let member = member.ok_or_else(|| SiteError::NoApp { route: written.clone(), app: name.clone() })?;
            (Arc::clone(&member.app.grants().name), Target::App(Arc::clone(member)))
        }
        TargetSpec::Files(spec) => {
            let files = StaticFiles::open(spec);
            let files = files.map_err(|source| SiteError::Files { route: written.clone(), source })?;
            (Arc::from("files"), Target::Files(files))
        }
        TargetSpec::Respond(response) => (Arc::from("respond"), Target::Respond(response.clone())),
        TargetSpec::NotFound => (Arc::from("none"), Target::NotFound),
    };
    Ok(Destination { name, route: written.into(), target })
}
