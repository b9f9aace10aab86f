//! What a gateway serves, as data: apps, and which requests go where.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::{
    app::App,
    body::{ResponseBody, whole},
    files::FilesSpec,
    route::{HostPattern, Route},
};

/// Apps and routes.
#[derive(Clone, Debug, Default)]
pub struct SiteSpec {
    /// The apps; no two have the same name.
    pub apps: Vec<App>,
    /// Where requests go; no two routes match the same requests with the same precedence.
    pub routes: Vec<RouteSpec>,
}

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// The hosts for which it holds; none means all.
    pub hosts: Vec<HostPattern>,
    /// Methods and paths.
    pub route: Route,
    /// Where it leads.
    pub target: TargetSpec,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetSpec {
    /// To the app of this name.
    App(String),
    /// Into a folder.
    Files(FilesSpec),
    /// To a fixed response.
    Respond(StaticResponse),
    /// Nowhere: the route hides others that would match as well.
    NotFound,
}

/// A response which is always the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl StaticResponse {
    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let mut response = Response::new(whole(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

impl SiteSpec {
    /// One app that gets all requests.
    pub fn single(app: App) -> Self {
        let target = TargetSpec::App(app.name.to_string());
        Self { apps: vec![app], routes: vec![RouteSpec { hosts: Vec::new(), route: Route::everything(), target }] }
    }
}

/// Where a site comes from, for reloads.
pub trait SiteSource: Send + 'static {
    /// Why a site cannot be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads what is to be served now.
    ///
    /// # Errors
    /// If it cannot be read, or is wrong.
    fn load(&mut self) -> Result<Loaded, Self::Error>;
}

/// A site, and the files it was made of.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What is served.
    pub site: SiteSpec,
    /// Files whose change means that the site is to be loaded again: configuration, programs, secrets.
    pub watched: Vec<PathBuf>,
}
