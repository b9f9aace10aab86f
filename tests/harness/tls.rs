//! HTTPS servers on loopback with certificates of an authority that nobody else knows, for tests.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

/// An authority which issues certificates for servers.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What is the matter with a certificate.
#[derive(Clone, Copy)]
pub enum Certificate {
    Valid,
    Expired,
}

impl Authority {
    /// Makes one. Authorities of one name would be taken for one another, up to the signature.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random bytes");
        let pem = params.self_signed(&key).expect("valid").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The certificate to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Starts a server with a certificate for `name`. It answers each request with its first line.
    pub fn serve(&self, name: &str, certificate: Certificate) -> SocketAddr {
        let config = Arc::new(self.config(name, certificate));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, config) = (stream.expect("a client"), Arc::clone(&config));
                thread::spawn(move || answer(stream, config));
            }
        });
        address
    }

    fn config(&self, name: &str, certificate: Certificate) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("valid");
        if let Certificate::Expired = certificate {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("random bytes");
        let certificate = params.signed_by(&key, &self.issuer).expect("valid");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("supported")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("they fit")
    }
}

/// Answers one request. A client may connect and say nothing, or refuse the certificate: then there is none.
fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let connection = ServerConnection::new(config).expect("valid");
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut line = request.clone();
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    let body = request.trim();
    let length = body.len();
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}
