//! The life of a request, in reading order.

use std::{rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header, request::Parts};
use http_body::Body;
use prewasm_ext_http::ExtraEnv;

use crate::{
    app::Injected,
    body::{Counted, RequestBody, ResponseBody},
    cgi::{self, Place},
    chain::{self, Chain},
    failure::{BoxError, Failure},
    fields::remove_hop_by_hop,
    guest::{Call, command, core::CoreGuest, socket},
    injected,
    peer::Peer,
    prepared::Guest,
    record::{Record, Stage},
    route::Route,
    router::{Found, Lookup},
    site::{Destination, Member, Site, Target},
    target,
    turns::Turns,
};

/// A command which redirects locally more often than this is taken for a loop.
const MAX_LOCAL_REDIRECTS: usize = 10;

/// A worker, as far as requests need to know it.
pub(crate) struct Desk {
    /// Which one it is.
    pub(crate) worker: usize,
    /// Where it takes the calls that its guests make to other apps.
    pub(crate) chain: chain::Sender,
    /// Whose turn it is there.
    pub(crate) turns: Rc<Turns>,
}

/// What a request comes with: who is asking, on which worker, and where it is noted what becomes of it.
pub(crate) struct Visit<'a> {
    pub(crate) site: &'a Arc<Site>,
    pub(crate) peer: &'a Peer,
    pub(crate) desk: &'a Desk,
    pub(crate) record: &'a Arc<Record>,
    /// Apps that the request has come through.
    pub(crate) hops: u8,
}

/// Answers one request: a guest's failure is an answer too.
pub(crate) async fn call<B>(site: &Arc<Site>, request: Request<B>, peer: &Peer, desk: &Desk) -> Response<ResponseBody>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let record = Record::new(request.method(), request.uri(), peer.client.ip());
    let visit = Visit { site, peer, desk, record: &record, hops: 0 };
    let method = request.method().clone();
    let answer = serve(request.map(RequestBody::new), &visit).await;
    recorded(answer, record, &method)
}

/// Answers one request of another app of the site.
pub(crate) async fn call_app(
    site: &Arc<Site>,
    app: &str,
    request: Request<RequestBody>,
    peer: &Peer,
    desk: &Desk,
    hops: u8,
) -> Response<ResponseBody> {
    let record = Record::new(request.method(), request.uri(), peer.client.ip());
    let visit = Visit { site, peer, desk, record: &record, hops };
    let method = request.method().clone();
    let answer = serve_app(app, request, &visit).await;
    recorded(answer, record, &method)
}

fn recorded(
    answer: Result<Response<ResponseBody>, Failure>,
    record: Arc<Record>,
    method: &Method,
) -> Response<ResponseBody> {
    let response = answer.unwrap_or_else(|failure| {
        record.fail(&failure);
        failure.response()
    });
    record.status(response.status());
    if method == Method::HEAD || response.body().is_end_stream() {
        // Nothing of the body will be asked for.
        record.complete();
    }
    let declared = cgi::declared_length(response.headers()).ok().flatten();
    response.map(|body| -> ResponseBody { Box::pin(Counted::new(body, declared, record)) })
}

/// Asks the app of this name for its whole path.
async fn serve_app(
    app: &str,
    request: Request<RequestBody>,
    visit: &Visit<'_>,
) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, body) = request.into_parts();
    target::normalize(&mut head)?;
    let member = visit.site.member(app).ok_or(Failure::NoRoute)?;
    let route: Arc<str> = Route::everything().to_string().into();
    visit.record.route(&member.app.grants().name, &route);
    let uri = head.uri.clone();
    let found = Found { target: &(), base: "", rest: uri.path(), params: Vec::new() };
    match ask(member, head, body, (&found, &route), visit).await? {
        Outcome::Respond(response) => Ok(response),
        // Its target is one of the site's routes.
        Outcome::Again(redirected) => {
            Box::pin(serve(Request::from_parts(*redirected, RequestBody::empty()), visit)).await
        }
    }
}

/// Answers one request, or tells why there is no answer.
pub(crate) async fn serve(request: Request<RequestBody>, visit: &Visit<'_>) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, mut body) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(Failure::MethodNotAllowed { allow: String::new() });
    }
    // More than one round only if a command redirects: the target is then asked for as by a client (RFC 3875, 6.2.2).
    for _ in 0..=MAX_LOCAL_REDIRECTS {
        target::normalize(&mut head)?;
        // What is found borrows the path, and the head goes to the guest.
        let uri = head.uri.clone();
        let found = match visit.site.router.find(&target::host(&head), &head.method, uri.path()) {
            Lookup::Found(found) => found,
            Lookup::NotFound => return Err(Failure::NoRoute),
            Lookup::MethodNotAllowed { allow } => {
                return Err(Failure::MethodNotAllowed { allow: allow.join(", ") });
            }
        };
        let Destination { name, route, target } = found.target;
        visit.record.route(name, route);
        match target {
            Target::App(member) => match ask(member, head, body, (&found, route), visit).await? {
                Outcome::Respond(response) => return Ok(response),
                Outcome::Again(redirected) => (head, body) = (*redirected, RequestBody::empty()),
            },
            Target::Files(files) => return files.respond(&head, found.rest).await,
            Target::Respond(fixed) => return Ok(fixed.response()),
            Target::NotFound => return Err(Failure::NoRoute),
        }
    }
    Err(Failure::BadResponse { what: "it redirects locally without end".to_owned() })
}

/// What asking an app leads to.
enum Outcome {
    Respond(Response<ResponseBody>),
    /// A local redirect: this is asked for instead.
    Again(Box<Parts>),
}

/// Asks an app.
async fn ask<T>(
    member: &Member,
    mut head: Parts,
    body: RequestBody,
    (found, route): (&Found<'_, T>, &Arc<str>),
    visit: &Visit<'_>,
) -> Result<Outcome, Failure> {
    match member.app.injected {
        Injected::None => {}
        Injected::Spin => injected::spin(&mut head, found, route, visit.peer),
    }
    let limits = &member.app.grants().limits;
    let body = body.limit(limits.body)?;
    match &member.app.guest {
        Guest::Isolated(guest) => {
            // A slow client's body is waited for before an instance is taken.
            let body = body.gather(limits.body, limits.timeout).await?;
            let call = admit(member, visit).await?;
            socket::serve_isolated(guest.clone(), for_guest(head, body), call).await.map(Outcome::Respond)
        }
        Guest::Resident(guest) => {
            let body = body.gather(limits.body, limits.timeout).await?;
            let call = admit(member, visit).await?;
            guest.serve(for_guest(head, body), call).await.map(Outcome::Respond)
        }
        Guest::Command(guest) => {
            let place = Place::of(found, route);
            ask_command(member, guest, head, body, place, visit).await
        }
        Guest::Component(guest) => {
            let call = admit(member, visit).await?;
            guest.clone().serve(for_guest(head, body), call).await.map(Outcome::Respond)
        }
        Guest::AsyncComponent(guest) => {
            let call = admit(member, visit).await?;
            let worker = visit.desk.worker;
            guest.clone().serve(for_guest(head, body), call, worker).await.map(Outcome::Respond)
        }
    }
}

/// A place among the instances, or one in the queue.
async fn admit(member: &Member, visit: &Visit<'_>) -> Result<Call, Failure> {
    let begin = Instant::now();
    let permit = member.admission.admit().await.map_err(|_| Failure::QueueFull)?;
    visit.desk.turns.take(&member.turns[visit.desk.worker]).await;
    visit.record.time(Stage::Queue, begin.elapsed());
    Ok(Call {
        permit,
        outbound: member.app.door(visit.desk.worker),
        chain: chain(member, visit),
        peer: visit.peer.clone(),
        record: Arc::clone(visit.record),
    })
}

/// The way to other apps, for those that know it.
fn chain(member: &Member, visit: &Visit<'_>) -> Option<Chain> {
    let chain = || Chain::new(Arc::clone(visit.site), visit.peer.clone(), visit.hops, visit.desk.chain.clone());
    (member.app.injected == Injected::Spin).then(chain)
}

async fn ask_command(
    member: &Member,
    guest: &CoreGuest,
    head: Parts,
    mut body: RequestBody,
    place: Place,
    visit: &Visit<'_>,
) -> Result<Outcome, Failure> {
    let limits = &member.app.grants().limits;
    if head.uri.path().contains("%2F") {
        // Decoded, as PATH_INFO is, it would be one more segment.
        return Err(Failure::BadTarget { what: "it contains an encoded slash".to_owned() });
    }
    if body.length().is_none() {
        // CONTENT_LENGTH must be right (RFC 3875, 4.1.2), so a chunked body is read to its end first.
        body = body.gather_all(limits.body, limits.timeout).await?;
    }
    let length = body.length().filter(|length| *length > 0);
    let guest = guest.with_arguments(cgi::Arguments::of(member.app.grants().argv.as_deref(), &head.uri));
    let head = Arc::new(head);
    let env = environment(Arc::clone(&head), length, place, visit.peer.clone());
    let call = admit(member, visit).await?;
    match command::serve(guest, env, body, call).await? {
        command::Outcome::Respond(response) => check_length(response, &head.method).map(Outcome::Respond),
        command::Outcome::Again(location) => {
            let mut head = Arc::unwrap_or_clone(head);
            head.uri = location.parse().map_err(|_| bad_redirect(&location))?;
            head.method = Method::GET;
            head.headers.remove(header::CONTENT_TYPE);
            Ok(Outcome::Again(Box::new(head)))
        }
    }
}

/// The meta-variables, made when the command asks for them.
fn environment(head: Arc<Parts>, length: Option<u64>, place: Place, peer: Peer) -> ExtraEnv {
    Box::new(move || cgi::environment(&head, length, &place, &peer))
}

/// A body which is there whole must be as long as its head says, except that an answer to HEAD has none.
fn check_length(response: Response<ResponseBody>, method: &Method) -> Result<Response<ResponseBody>, Failure> {
    let declared = cgi::declared_length(response.headers()).map_err(|what| Failure::BadResponse { what })?;
    match (declared, response.body().size_hint().exact()) {
        (Some(declared), Some(length)) if declared != length && method != Method::HEAD => {
            Err(Failure::BadResponse { what: format!("its Content-Length is {declared}, its body has {length} bytes") })
        }
        _ => Ok(response),
    }
}

fn bad_redirect(location: &str) -> Failure {
    Failure::BadResponse { what: format!("it redirects to `{}`", location.escape_debug()) }
}

/// The request as the guest gets it: HTTP/1.1 in origin form, with a Host, and without what was about the client's
/// connection.
fn for_guest(mut head: Parts, body: RequestBody) -> Request<RequestBody> {
    if !head.headers.contains_key(header::HOST) {
        let host = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        head.headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
    }
    // The gateway itself has answered `Expect: 100-continue`.
    head.headers.remove(header::EXPECT);
    remove_hop_by_hop(&mut head.headers);
    if head.uri.authority().is_some() {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse().unwrap_or(Uri::from_static("/"));
    }
    head.version = Version::HTTP_11;
    Request::from_parts(head, body)
}

#[cfg(test)]
mod tests;
