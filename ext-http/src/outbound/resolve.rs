//! Name resolution of ours: what comes out has been checked, and is what is dialled.

use std::{io, net::SocketAddr, sync::Arc};

use super::{OutboundPolicy, Refusal, Scheme};

/// What a name is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Purpose {
    pub(super) scheme: Scheme,
    pub(super) port: u16,
}

/// Who answers for names which `--resolve` does not map.
#[derive(Clone, Debug, Default)]
pub(super) enum Lookup {
    /// The system: its `hosts` file and its name servers.
    #[default]
    System,
    /// A script: one answer after the other. How rebinding is tested.
    #[cfg(test)]
    Script(Arc<std::sync::Mutex<std::collections::VecDeque<Vec<std::net::IpAddr>>>>),
}

impl Lookup {
    async fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((name, port)).await?.collect()),
            #[cfg(test)]
            Self::Script(answers) => {
                let answer = answers.lock().expect("no panic").pop_front().unwrap_or_default();
                Ok(answer.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
        }
    }
}

/// Resolves names under a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    pub(super) policy: Arc<OutboundPolicy>,
    pub(super) lookup: Lookup,
}

impl Resolver {
    /// Resolves a name; every address must be permitted, for any of them may be dialled.
    pub(super) async fn resolve(&self, name: &str, purpose: Purpose) -> Result<Vec<SocketAddr>, Refusal> {
        let found = self.find(name, purpose.port).await?;
        for address in &found {
            self.policy.check_address(purpose.scheme, name, *address)?;
        }
        Ok(found)
    }

    /// Resolves a name and checks nothing: for a guest that will connect later, and be judged then.
    pub(super) async fn find(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        if let Some(resolution) = self.policy.resolution(name) {
            return Ok(vec![SocketAddr::new(resolution.ip, resolution.port.unwrap_or(port))]);
        }
        let unresolved = || Refusal::Unresolved { host: name.to_owned() };
        let found = self.lookup.addresses(name, port).await.map_err(|_| unresolved())?;
        if found.is_empty() { Err(unresolved()) } else { Ok(found) }
    }
}
