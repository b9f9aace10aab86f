//! HTTP requests for guests: reqwest behind the policy.
//!
//! No proxies of the environment, no redirects, no retries: a guest's request is one request.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Outbound, OutboundPolicy, Refusal, Scheme};

/// Time to connect, TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence while an answer is read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an idle connection is kept for the next request of the same app.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an HTTP request of a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The policy does not permit it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The URL has no host, or a scheme other than http and https.
    #[error("`{uri}` is not an absolute http or https URL")]
    Url {
        /// The URL.
        uri: Uri,
    },
    /// The client could not be set up.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// Connecting, sending or receiving failed.
    #[error("cannot complete the request")]
    Transfer(#[source] reqwest::Error),
    /// The answer is larger than its receiver takes.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl RequestError {
    /// Whether the peer could not be reached at all.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Transfer(error) if error.is_connect())
    }

    /// Whether a time limit ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Transfer(error) if error.is_timeout())
    }
}

impl Outbound {
    /// Sends a request whose URL is absolute, if the policy permits; the body of the answer streams.
    ///
    /// # Errors
    /// [`RequestError`]; a refusal is also logged.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<AnswerBody>, RequestError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = request.map(|body| reqwest::Body::wrap(Shareable(Mutex::new(body))));
        let request = self.admit(request).inspect_err(|error| {
            if let RequestError::Refused(refusal) = error {
                tracing::warn!("{refusal}");
            }
        })?;
        let client = self.client()?;
        let request = reqwest::Request::try_from(request).map_err(RequestError::Transfer)?;
        let answer = client.execute(request).await.map_err(|error| {
            // The resolver's refusal is buried in the client's error.
            if let Some(refusal) = refusal_within(&error) {
                tracing::warn!("{refusal}");
                return RequestError::Refused(refusal);
            }
            RequestError::Transfer(error)
        })?;
        Ok(answer.into())
    }

    /// Sends a request and collects its answer.
    pub(crate) async fn send_whole(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let (head, mut body) = self.send(request.map(Full::new)).await?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(RequestError::Transfer)?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(RequestError::TooLarge { limit });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Response::from_parts(head, bytes.freeze()))
    }

    /// Checks scheme, host and port; literal addresses never reach the resolver, so they are checked here too.
    fn admit(&self, request: Request<reqwest::Body>) -> Result<Request<reqwest::Body>, RequestError> {
        let uri = request.uri().clone();
        let invalid = || RequestError::Url { uri: uri.clone() };
        // The WHATWG parser, which the client uses too: it knows `0x7f.1` and its like for addresses.
        let url = url::Url::parse(&uri.to_string()).map_err(|_| invalid())?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(invalid()),
        };
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        match url.host().ok_or_else(invalid)? {
            url::Host::Ipv4(ip) => self.check_address(scheme, SocketAddr::new(ip.into(), port))?,
            url::Host::Ipv6(ip) => self.check_address(scheme, SocketAddr::new(ip.into(), port))?,
            url::Host::Domain(name) => {
                self.policy.check_host(scheme, name, port)?;
                return Ok(self.redirect_port(request, &url, name, port));
            }
        }
        Ok(request)
    }

    /// Where `--resolve` maps the name to another port, dials that one; `Host` keeps what the guest asked for.
    fn redirect_port(
        &self,
        mut request: Request<reqwest::Body>,
        url: &url::Url,
        name: &str,
        port: u16,
    ) -> Request<reqwest::Body> {
        let Some(target) = self.resolution(name).and_then(|resolution| resolution.port) else { return request };
        let host = match url.port() {
            Some(_) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let mut rewritten = url.clone();
        if rewritten.set_port(Some(target)).is_ok()
            && let (Ok(uri), Ok(host)) = (rewritten.as_str().parse(), host.parse())
        {
            *request.uri_mut() = uri;
            request.headers_mut().entry(http::header::HOST).or_insert(host);
        }
        request
    }

    fn client(&self) -> Result<&reqwest::Client, RequestError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build(Arc::clone(&self.policy)).map_err(RequestError::Setup)?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn build(policy: Arc<OutboundPolicy>) -> Result<reqwest::Client, reqwest::Error> {
    let mut roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    policy.authorities.add_to(&mut roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .dns_resolver(PolicyResolver(policy))
        .build()
}

/// The streaming body of an answer.
pub type AnswerBody = reqwest::Body;

/// A body with one owner, for a client which wants it shareable between threads.
struct Shareable<B>(Mutex<B>);

impl<B: Body<Data = Bytes> + Unpin> Body for Shareable<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let body = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// Resolves names for the client: only addresses which the policy permits come out.
struct PolicyResolver(Arc<OutboundPolicy>);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            // Port 0 means: the one of the URL.
            let mut addresses = policy.resolve_checked(name.as_str(), 0).await?;
            for address in &mut addresses {
                address.set_port(0);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn refusal_within(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        error = current.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(allow: &str) -> Outbound {
        let allow = vec![allow.parse().expect("valid pattern")];
        Outbound::new(Arc::new(OutboundPolicy { allow, ..OutboundPolicy::default() }))
    }

    fn request(uri: &str) -> Request<reqwest::Body> {
        Request::builder().uri(uri).body(reqwest::Body::default()).expect("valid")
    }

    #[test]
    fn literal_addresses_in_any_spelling_are_checked() {
        let outbound = outbound("*://*:*");
        for uri in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            let error = outbound.admit(request(uri)).expect_err(uri);
            assert!(matches!(error, RequestError::Refused(Refusal::Guarded { .. })), "{uri}: {error}");
        }
        assert!(outbound.admit(request("http://1.1.1.1/")).is_ok());
    }
}
