//! The outbound door, as components knock on it.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use prewasm_ext_http::{Outbound, Refusal, RequestError, Scheme, Usage};
use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};
use wasmtime_wasi_http::{Error as WasiHttpError, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{
    body::RequestBody,
    chain::{Chain, ChainError},
};

/// Requests of one instance go through here.
pub(crate) struct Door {
    outbound: Arc<Outbound>,
    /// The way to other apps of the site.
    chain: Option<Chain>,
    usage: Usage,
}

impl Door {
    pub(crate) fn new(outbound: Arc<Outbound>, chain: Option<Chain>) -> Self {
        Self { usage: Usage::of(&outbound), outbound, chain }
    }

    /// What it leads through.
    pub(crate) fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.outbound)
    }
}

/// Lets a component connect where the policy allows `tcp` to an address, and use no other sockets. Names cannot be
/// judged: wasmtime-wasi does not tell which one an address was found for.
pub(crate) fn allow_sockets(wasi: &mut WasiCtxBuilder, outbound: Arc<Outbound>) {
    wasi.allow_tcp(true).allow_udp(false);
    wasi.socket_addr_check(move |address, usage| {
        let is_allowed = is_allowed(&outbound, address, usage);
        Box::pin(async move { is_allowed }) as Pin<Box<dyn Future<Output = bool> + Send + Sync>>
    });
}

fn is_allowed(outbound: &Outbound, address: SocketAddr, usage: SocketAddrUse) -> bool {
    match usage {
        SocketAddrUse::TcpConnect => match outbound.check_address(Scheme::Tcp, address) {
            Ok(()) => true,
            Err(refusal) => {
                tracing::warn!("{refusal}");
                false
            }
        },
        // What the system does before it connects: any port of any address.
        SocketAddrUse::TcpBind => address.port() == 0 && address.ip().is_unspecified(),
        _ => false,
    }
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>), WasiHttpError>;

impl WasiHttpHooks for Door {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (outbound, usage) = (Arc::clone(&self.outbound), self.usage.clone());
        let app = request.uri().host().and_then(Chain::app).map(str::to_owned);
        if let (Some(chain), Some(app)) = (&self.chain, app) {
            return Box::new(call_app(outbound, chain.clone(), app, request));
        }
        Box::new(async move {
            let between_bytes = options.and_then(|options| options.between_bytes_timeout);
            let first_byte = options.and_then(|options| options.first_byte_timeout);
            let request = request.map(|body| body.map_err(BodyError));
            let sending = outbound.send(&usage, request);
            let response = match first_byte {
                Some(limit) => {
                    tokio::time::timeout(limit, sending).await.map_err(|_| WasiHttpError::ConnectionReadTimeout)?
                }
                None => sending.await,
            };
            let response = response.map_err(|error| error_code(&error))?;
            let response = response.map(|body| match between_bytes {
                Some(limit) => body.with_idle_limit(limit),
                None => body,
            });
            let response = response
                .map(|body| body.map_err(|error| WasiHttpError::InternalError(Some(error.to_string()))).boxed_unsync());
            let done: Box<dyn Future<Output = Result<(), WasiHttpError>> + Send> = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

/// Calls another app of the site, if the rules allow its name as they would any other.
async fn call_app(outbound: Arc<Outbound>, chain: Chain, app: String, mut request: Request<WasiBody>) -> Sent {
    let host = request.uri().host().unwrap_or_default();
    let port = request.uri().port_u16().unwrap_or(80);
    outbound.check_name(Scheme::Http, host, port).map_err(|refusal| {
        tracing::warn!("{refusal}");
        WasiHttpError::HttpRequestDenied
    })?;
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    let request = request.map(|body| RequestBody::new(body.map_err(BodyError)));
    let response = chain.call(&app, request).await.map_err(|error| match error {
        ChainError::NoApp { .. } => WasiHttpError::DestinationNotFound,
        ChainError::Loop => WasiHttpError::LoopDetected,
        ChainError::Ended => WasiHttpError::DestinationUnavailable,
    })?;
    let response = response.map(|body| body.map_err(|_| WasiHttpError::HttpResponseIncomplete).boxed_unsync());
    let done: Box<dyn Future<Output = Result<(), WasiHttpError>> + Send> = Box::new(async { Ok(()) });
    Ok((response, done))
}

fn error_code(error: &RequestError) -> WasiHttpError {
    match error {
        RequestError::Refused(Refusal::TooManyConnections { .. }) => WasiHttpError::ConnectionLimitReached,
        RequestError::Refused(_) => WasiHttpError::HttpRequestDenied,
        RequestError::Url { .. } => WasiHttpError::HttpRequestUriInvalid,
        RequestError::TooLarge { .. } => WasiHttpError::HttpResponseBodySize(None),
        RequestError::Tls { .. } => WasiHttpError::TlsCertificateError,
        RequestError::NoAnswer { .. } | RequestError::Silent { .. } => WasiHttpError::ConnectionReadTimeout,
        error if error.is_timeout() => WasiHttpError::ConnectionTimeout,
        error if error.is_connect() => WasiHttpError::ConnectionRefused,
        RequestError::Setup(_) | RequestError::Transfer(_) => WasiHttpError::ConnectionTerminated,
    }
}

/// The guest's request body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the guest's request body breaks off: {0:?}")]
struct BodyError(WasiHttpError);
