//! The life of a request, in reading order.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use http_body::Body;
use prewasm_ext_http::ExtraEnv;

use crate::{
    body::{Counted, RequestBody, ResponseBody, whole},
    cgi,
    failure::{BoxError, Failure},
    fields::remove_hop_by_hop,
    guest::{
        Call,
        command::{self, Outcome},
        core::CoreGuest,
        socket,
    },
    peer::Peer,
    prepared::{Guest, Prepared},
    record::Record,
};

/// A command which redirects locally more often than this is taken for a loop.
const MAX_LOCAL_REDIRECTS: usize = 10;

/// What a request comes with: who is asking, on which worker, and where it is noted what becomes of it.
pub(crate) struct Visit<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) worker: usize,
    pub(crate) record: &'a Arc<Record>,
}

/// Answers one request: a guest's failure is an answer too.
pub(crate) async fn call<B>(app: &Prepared, request: Request<B>, peer: &Peer, worker: usize) -> Response<ResponseBody>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let record = Record::new(request.method(), request.uri(), peer.client.ip());
    let visit = Visit { peer, worker, record: &record };
    let response = serve(app, request.map(RequestBody::new), &visit).await.unwrap_or_else(|failure| {
        record.fail(&failure);
        failure.response()
    });
    record.status(response.status());
    match response.body().size_hint().exact() {
        // It is there whole, and nothing can happen to it any more but that the client leaves.
        Some(length) => {
            record.sent(length);
            record.complete();
            response
        }
        None => response.map(|body| -> ResponseBody { Box::pin(Counted { body, record }) }),
    }
}

/// Answers one request, or tells why there is no answer.
pub(crate) async fn serve(
    app: &Prepared,
    request: Request<RequestBody>,
    visit: &Visit<'_>,
) -> Result<Response<ResponseBody>, Failure> {
    visit.record.route(&app.grants().name, &app.grants().name);
    if request.method() == Method::CONNECT {
        return Ok(refuse_connect());
    }
    let limits = &app.grants().limits;
    let (head, body) = request.into_parts();
    let body = body.limit(limits.body)?;
    match &app.guest {
        Guest::Isolated(guest) => {
            // A slow client's body is waited for before an instance is taken.
            let body = body.gather(limits.body, limits.timeout).await?;
            let call = admit(app, visit).await?;
            socket::serve_isolated(guest.clone(), for_guest(head, body), call).await
        }
        Guest::Resident(guest) => {
            let body = body.gather(limits.body, limits.timeout).await?;
            let call = admit(app, visit).await?;
            guest.serve(for_guest(head, body), call).await
        }
        Guest::Command(guest) => serve_command(app, guest, head, body, visit).await,
        Guest::Component(guest) => {
            let call = admit(app, visit).await?;
            guest.clone().serve(for_guest(head, body), call).await
        }
    }
}

async fn admit(app: &Prepared, visit: &Visit<'_>) -> Result<Call, Failure> {
    Ok(Call {
        permit: app.admit(visit.record).await?,
        outbound: app.door(visit.worker),
        peer: visit.peer.clone(),
        record: Arc::clone(visit.record),
    })
}

async fn serve_command(
    app: &Prepared,
    guest: &CoreGuest,
    head: Parts,
    mut body: RequestBody,
    visit: &Visit<'_>,
) -> Result<Response<ResponseBody>, Failure> {
    let limits = &app.grants().limits;
    let mut head = Arc::new(head);
    if body.length().is_none() {
        // CONTENT_LENGTH must be right (RFC 3875, 4.1.2), so a chunked body is read to its end first.
        body = body.gather_all(limits.body, limits.timeout).await?;
    }
    for _ in 0..=MAX_LOCAL_REDIRECTS {
        let length = body.length().filter(|length| *length > 0);
        let words = cgi::search_words(head.uri.query());
        let env = environment(Arc::clone(&head), length, visit.peer.clone());
        let guest = guest.with_arguments(words);
        let call = admit(app, visit).await?;
        match command::serve(guest, env, body, call).await? {
            Outcome::Respond(response) => return check_length(response, &head.method),
            Outcome::Again(location) => {
                let redirected = Arc::make_mut(&mut head);
                redirected.uri = location.parse().map_err(|_| bad_redirect(&location))?;
                redirected.method = Method::GET;
                redirected.headers.remove(header::CONTENT_TYPE);
                body = RequestBody::empty();
            }
        }
    }
    Err(Failure::BadResponse { what: "it redirects locally without end".to_owned() })
}

/// The meta-variables, made when the command asks for them.
fn environment(head: Arc<Parts>, length: Option<u64>, peer: Peer) -> ExtraEnv {
    Box::new(move || cgi::environment(&head, length, &peer))
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

fn refuse_connect() -> Response<ResponseBody> {
    let mut response = Response::new(whole("CONNECT is not supported\n"));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}
