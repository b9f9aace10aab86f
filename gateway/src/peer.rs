//! Who is at the other end of a connection.

use std::net::SocketAddr;

use http::uri::Scheme;

/// What is known of a client before its request: it lives as long as the connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub client: SocketAddr,
    /// Our address, as the client reached it.
    pub local: SocketAddr,
    /// `http`, or `https` where TLS ends here.
    pub scheme: Scheme,
}
