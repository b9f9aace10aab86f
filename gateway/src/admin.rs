//! The address for those who run the gateway: whether it lives, and whether it takes requests.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections at the same time. Probes and scrapers need a few.
const CONNECTIONS: usize = 64;
/// Time to send the head of a request, the idle time before it included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A pause after the system has refused a connection: it will not have more at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound admin address.
pub(crate) struct Admin {
    listener: TcpListener,
}

impl Admin {
    /// Binds the address. Must be called on a runtime.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let admin = Self { listener: TcpListener::bind(address).await? };
        tracing::info!("admin on http://{}", admin.listener.local_addr()?);
        Ok(admin)
    }

    /// Answers until it is dropped. The gateway is ready until it is `leaving`.
    pub(crate) async fn serve(self, leaving: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!("admin: cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let leaving = leaving.clone();
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let response = answer(&request, !leaving.is_cancelled());
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!("admin: {error}");
                }
            });
        }
    }
}

fn answer(request: &Request<Incoming>, is_ready: bool) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, "live\n"),
        (&Method::GET | &Method::HEAD, "/readyz") if is_ready => (StatusCode::OK, "ready\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => (StatusCode::SERVICE_UNAVAILABLE, "leaving\n"),
        (_, "/livez" | "/readyz") => (StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here\n"),
        _ => (StatusCode::NOT_FOUND, "there are /livez and /readyz\n"),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
