//! The door as a whole: who gets through, and where to.

mod requests;
mod targets;

use std::collections::VecDeque;

use http::Request;

use super::{resolve::Lookup, *};

/// A door, step by step.
#[derive(Default)]
struct Case {
    policy: OutboundPolicy,
    answers: VecDeque<Vec<IpAddr>>,
}

/// A door which lets these patterns through.
fn allow<const N: usize>(patterns: [&str; N]) -> Case {
    let allow = patterns.iter().map(|text| text.parse().expect("valid pattern")).collect();
    Case { policy: OutboundPolicy { allow, ..OutboundPolicy::default() }, ..Case::default() }
}

impl Case {
    fn resolve(mut self, name: &str, to: &str) -> Self {
        self.policy.resolve.insert(name.to_owned(), to.parse().expect("valid resolution"));
        self
    }

    fn listeners<const N: usize>(mut self, addresses: [&str; N]) -> Self {
        self.policy.listeners = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        self
    }

    fn limits(mut self, limits: OutboundLimits) -> Self {
        self.policy.limits = limits;
        self
    }

    /// What the next lookup of any name is answered.
    fn answer<const N: usize>(mut self, addresses: [&str; N]) -> Self {
        self.answers.push_back(addresses.iter().map(|text| text.parse().expect("an address")).collect());
        self
    }

    fn outbound(self) -> Outbound {
        let mut outbound = Outbound::new(Arc::new(self.policy));
        outbound.resolver.lookup = Lookup::Script(Arc::new(Mutex::new(self.answers)));
        outbound
    }
}

/// Where a request for `url` would be dialled: the same steps as `send`, up to the connection.
async fn judge(outbound: &Outbound, url: &str) -> Result<Vec<SocketAddr>, Verdict> {
    let request = Request::builder().uri(url).body(()).map_err(|_| Verdict::NoUrl)?;
    let (request, purpose) = outbound.admit(request).map_err(Verdict::of)?;
    let url = url::Url::parse(&request.uri().to_string()).expect("admitted");
    let port = url.port_or_known_default().expect("admitted");
    match url.host().expect("admitted") {
        url::Host::Ipv4(ip) => Ok(vec![SocketAddr::new(ip.into(), port)]),
        url::Host::Ipv6(ip) => Ok(vec![SocketAddr::new(ip.into(), port)]),
        url::Host::Domain(name) => Ok(outbound.resolver.resolve(name, purpose).await?),
    }
}

/// Why a URL leads nowhere.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    NoUrl,
    Refused(Refusal),
}

impl Verdict {
    fn of(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::Url { .. } => Self::NoUrl,
            error => panic!("{error}"),
        }
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
