//! HTTP requests for guests: reqwest behind the policy.
//!
//! No proxies of the environment, no redirects, no retries: a guest's request is one request.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;

use super::{
    AnswerBody, Outbound, Purpose, Refusal, Resolver, Scheme, Usage,
    body::SentBody,
    tls::{certificate_hint, tls_error_within},
};

/// How long an idle connection is kept for the next request of the same app.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// At most this many clients are kept, one for each scheme and port that guests call: a guest which tries all ports
/// must not fill our memory.
const MAX_CLIENTS: usize = 64;

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
    /// The server's certificate, or something else about TLS, is not as it must be.
    #[error("TLS with `{host}` failed{hint}", hint = certificate_hint(source))]
    Tls {
        /// The server, as the guest named it.
        host: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Connecting, sending or receiving failed.
    #[error("cannot complete the request")]
    Transfer(#[source] reqwest::Error),
    /// The head of the answer did not come.
    #[error("the server did not answer within {limit:?}")]
    NoAnswer {
        /// The limit, time to connect included.
        limit: Duration,
    },
    /// The answer stopped.
    #[error("the server fell silent for {limit:?} within its answer")]
    Silent {
        /// The limit.
        limit: Duration,
    },
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
        match self {
            Self::Transfer(error) => error.is_timeout(),
            Self::NoAnswer { .. } | Self::Silent { .. } => true,
            _ => false,
        }
    }

    /// Finds what the client's error is about: refusals and TLS errors are buried in it.
    fn of(error: reqwest::Error, host: String) -> Self {
        if let Some(refusal) = refusal_within(&error) {
            return Self::Refused(refusal);
        }
        match tls_error_within(&error) {
            Some(source) => Self::Tls { host, source },
            None => Self::Transfer(error),
        }
    }

    /// The guest sees a code at most, so the log has what the operator needs.
    fn log(&self) {
        match self {
            Self::Refused(refusal) => tracing::warn!("{refusal}"),
            Self::Tls { source, .. } => tracing::warn!("{self}\n  caused by: {source}"),
            _ => {}
        }
    }
}

impl Outbound {
    /// Sends a request whose URL is absolute, if the policy permits; the body of the answer streams.
    ///
    /// # Errors
    /// [`RequestError`]; refusals and TLS errors are also logged.
    pub async fn send<B>(&self, usage: &Usage, request: Request<B>) -> Result<Response<AnswerBody>, RequestError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let sent = self.attempt(usage, request).await;
        sent.inspect_err(RequestError::log)
    }

    async fn attempt<B>(&self, usage: &Usage, request: Request<B>) -> Result<Response<AnswerBody>, RequestError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (request, purpose) = self.admit(request)?;
        let call = Arc::new(usage.connect()?);
        let request = request.map(|body| reqwest::Body::wrap(SentBody::new(body, Arc::clone(&call))));
        let host = request.uri().host().unwrap_or_default().to_owned();
        let client = self.client(purpose)?;
        let request = reqwest::Request::try_from(request).map_err(RequestError::Transfer)?;
        let limits = usage.limits();
        let limit = limits.connect.saturating_add(limits.first_byte);
        let answer = tokio::time::timeout(limit, client.execute(request)).await;
        let answer = answer.map_err(|_| RequestError::NoAnswer { limit })?;
        let answer: Response<reqwest::Body> = answer.map_err(|error| RequestError::of(error, host))?.into();
        Ok(answer.map(|body| AnswerBody::new(body, call, limits.idle)))
    }

    /// Sends a request and collects its answer.
    pub(crate) async fn send_whole(
        &self,
        usage: &Usage,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let (head, mut body) = self.send(usage, request.map(Full::new)).await?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(RequestError::TooLarge { limit });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Response::from_parts(head, bytes.freeze()))
    }

    /// Checks scheme, host and port; literal addresses never reach the resolver, so they are checked here too.
    pub(super) fn admit<B>(&self, request: Request<B>) -> Result<(Request<B>, Purpose), RequestError> {
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
        let purpose = Purpose { scheme, port };
        match url.host().ok_or_else(invalid)? {
            url::Host::Ipv4(ip) => self.check_address(scheme, SocketAddr::new(ip.into(), port))?,
            url::Host::Ipv6(ip) => self.check_address(scheme, SocketAddr::new(ip.into(), port))?,
            url::Host::Domain(name) => {
                self.policy().check_host(scheme, name, port)?;
                return Ok((self.redirect_port(request, &url, name, port), purpose));
            }
        }
        Ok((request, purpose))
    }

    /// Where `--resolve` maps the name to another port, dials that one; `Host` keeps what the guest asked for.
    fn redirect_port<B>(&self, mut request: Request<B>, url: &url::Url, name: &str, port: u16) -> Request<B> {
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

    fn client(&self, purpose: Purpose) -> Result<reqwest::Client, RequestError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&purpose) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        let client = self.build(purpose).map_err(RequestError::Setup)?;
        clients.insert(purpose, client.clone());
        Ok(client)
    }

    fn build(&self, purpose: Purpose) -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls()))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(self.limits().connect)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .dns_resolver(PolicyResolver { resolver: self.resolver.clone(), purpose })
            .build()
    }
}

/// Resolves names for the client: only addresses which the policy permits come out.
struct PolicyResolver {
    resolver: Resolver,
    purpose: Purpose,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, purpose) = (self.resolver.clone(), self.purpose);
        Box::pin(async move {
            let mut addresses = resolver.resolve(name.as_str(), purpose).await?;
            for address in &mut addresses {
                // Means: the one of the URL.
                address.set_port(0);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn refusal_within(error: &(dyn Error + 'static)) -> Option<Refusal> {
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
    use crate::OutboundPolicy;

    fn outbound(allow: &str) -> Outbound {
        let allow = vec![allow.parse().expect("valid pattern")];
        Outbound::new(Arc::new(OutboundPolicy { allow, ..OutboundPolicy::default() }))
    }

    fn request(uri: &str) -> Request<()> {
        Request::builder().uri(uri).body(()).expect("valid")
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
