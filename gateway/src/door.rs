//! The outbound door, as components knock on it.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use prewasm_ext_http::{Outbound, Refusal, RequestError, Scheme, Usage};
use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};
use wasmtime_wasi_http::{Error as WasiHttpError, RequestOptions, WasiBody, WasiHttpHooks};

/// Requests of one instance go through here.
pub(crate) struct Door {
    outbound: Arc<Outbound>,
    usage: Usage,
}

impl Door {
    pub(crate) fn new(outbound: Arc<Outbound>) -> Self {
        Self { usage: Usage::of(&outbound), outbound }
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
