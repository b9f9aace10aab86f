//! The codec against rustls's own server, in memory.

use std::io::Write as _;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer};

use super::*;
use crate::{Authorities, OutboundPolicy, abi};

/// An authority, and the server's end of a connection.
struct Peer {
    authority: String,
    server: ServerConnection,
}

fn peer(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Peer {
    let mut params = CertificateParams::new(Vec::new()).expect("valid");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("random bytes");
    let authority = params.self_signed(&key).expect("valid");
    let issuer = Issuer::new(params, key);
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).expect("valid");
    change(&mut leaf);
    let key = KeyPair::generate().expect("random bytes");
    let certificate = leaf.signed_by(&key, &issuer).expect("valid");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("supported")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
        .expect("they fit");
    let server = ServerConnection::new(Arc::new(config)).expect("valid");
    Peer { authority: authority.pem(), server }
}

fn codecs(authority: Option<&str>) -> Codecs {
    let mut authorities = Authorities::default();
    if let Some(pem) = authority {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(pem.as_bytes()).expect("writable");
        authorities.add_file(file.path()).expect("an authority");
    }
    Codecs::new(Arc::new(Outbound::new(Arc::new(OutboundPolicy { authorities, ..OutboundPolicy::default() }))))
}

/// Carries records both ways until there are none, in pieces of a guest's buffer.
fn exchange(codecs: &mut Codecs, id: i32, server: &mut ServerConnection) -> Result<(), CodecError> {
    let mut buffer = [0; 4096];
    loop {
        let sent = codecs.write_tls(id, &mut buffer)?;
        let mut pieces = &buffer[..sent];
        while !pieces.is_empty() {
            server.read_tls(&mut pieces).expect("in memory");
            // What the server makes of an alert is not the point.
            let _ = server.process_new_packets();
        }
        let received = server.write_tls(&mut buffer.as_mut_slice()).expect("in memory");
        let mut taken = 0;
        while taken < received {
            taken += codecs.read_tls(id, &buffer[taken..received])?;
            codecs.process(id)?;
        }
        if sent + received == 0 {
            return Ok(());
        }
    }
}

fn handshake(codecs: &mut Codecs, name: &str, server: &mut ServerConnection) -> Result<i32, CodecError> {
    let id = codecs.open(DEFAULT_CONFIG, name.as_bytes())?;
    exchange(codecs, id, server)?;
    Ok(id)
}

#[test]
fn plaintext_crosses_both_ways_and_the_farewell_is_seen() {
    let Peer { authority, mut server } = peer("good.test", |_| {});
    let mut codecs = codecs(Some(&authority));
    let id = codecs.open(DEFAULT_CONFIG, b"good.test").expect("valid");
    assert!(codecs.is_handshaking(id).expect("open"));
    assert_eq!(codecs.wants(id).expect("open"), (false, true), "the greeting goes out first");
    exchange(&mut codecs, id, &mut server).expect("a handshake");
    assert!(!codecs.is_handshaking(id).expect("open"));
    assert_eq!(codecs.wants(id).expect("open"), (true, false));

    let mut buffer = [0; 64];
    assert_eq!(abi::codec::code(&codecs.read_plaintext(id, &mut buffer).expect_err("nothing is there")), -25);
    assert_eq!(codecs.write_plaintext(id, b"ping").expect("open"), 4);
    exchange(&mut codecs, id, &mut server).expect("in memory");
    assert_eq!(server.reader().read(&mut buffer).expect("in memory"), 4);
    server.writer().write_all(b"pong!").expect("in memory");
    exchange(&mut codecs, id, &mut server).expect("in memory");
    let state = codecs.process(id).expect("open");
    assert_eq!((state.plaintext_bytes_to_read, state.peer_has_closed), (5, false));
    assert_eq!(codecs.read_plaintext(id, &mut buffer).expect("open"), 5);

    server.send_close_notify();
    exchange(&mut codecs, id, &mut server).expect("in memory");
    assert!(codecs.process(id).expect("open").peer_has_closed);
    assert_eq!(codecs.read_plaintext(id, &mut buffer).expect("a clean end"), 0);
    codecs.send_close_notify(id).expect("open");
    assert!(codecs.wants(id).expect("open").1);
}

#[test]
fn an_end_without_a_farewell_is_an_error() {
    let Peer { authority, mut server } = peer("good.test", |_| {});
    let mut codecs = codecs(Some(&authority));
    let id = handshake(&mut codecs, "good.test", &mut server).expect("a handshake");
    assert_eq!(codecs.read_tls(id, &[]).expect("open"), 0);
    codecs.process(id).expect("open");
    assert_eq!(abi::codec::code(&codecs.read_plaintext(id, &mut [0; 8]).expect_err("cut off")), -26);
}

#[test]
fn certificates_are_verified() {
    let expired = |leaf: &mut CertificateParams| leaf.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let bad: [(&str, Peer, bool); 3] = [
        ("other.test", peer("good.test", |_| {}), true),
        ("good.test", peer("good.test", expired), true),
        ("good.test", peer("good.test", |_| {}), false),
    ];
    for (name, Peer { authority, mut server }, trusted) in bad {
        let mut codecs = codecs(trusted.then_some(&authority));
        let id = codecs.open(DEFAULT_CONFIG, name.as_bytes()).expect("valid");
        let error = exchange(&mut codecs, id, &mut server).expect_err("not to be trusted");
        assert_eq!(abi::codec::code(&error), -16, "{error}");
        // The alert is the guest's to send, and the error stays.
        assert!(codecs.wants(id).expect("open").1);
        assert_eq!(abi::codec::code(&codecs.process(id).expect_err("it has failed")), -16);
    }
}

#[test]
fn slots_are_reused_from_the_lowest_and_come_to_an_end() {
    let mut codecs = codecs(None);
    let mut open = || codecs.open(DEFAULT_CONFIG, b"a.test");
    for expected in 0..MAX_CODECS {
        assert_eq!(usize::try_from(open().expect("room")), Ok(expected));
    }
    assert!(matches!(open(), Err(CodecError::TooMany)));
    codecs.close(3);
    codecs.close(7);
    assert_eq!(codecs.open(DEFAULT_CONFIG, b"a.test").expect("room"), 3);
    for unknown in [7, -1, 1000, i32::MIN, i32::MAX] {
        codecs.close(unknown);
        assert!(matches!(codecs.wants(unknown), Err(CodecError::Parameter)), "{unknown}");
    }
}

#[test]
fn wrong_arguments_are_told() {
    let mut codecs = codecs(None);
    for (config, name) in [(1, b"a.test".as_slice()), (-1, b"a.test"), (0, b""), (0, b"not a name"), (0, b"\xff")] {
        assert!(matches!(codecs.open(config, name), Err(CodecError::Parameter)), "{config} {name:?}");
    }
}

#[test]
fn a_guest_that_never_sends_fills_no_more_than_the_buffer() {
    let mut codecs = codecs(None);
    let id = codecs.open(DEFAULT_CONFIG, b"a.test").expect("valid");
    let megabyte = vec![0; 1 << 20];
    assert_eq!(codecs.write_plaintext(id, &megabyte).expect("open"), SEND_BUFFER);
    assert_eq!(codecs.write_plaintext(id, &megabyte).expect("open"), 0);
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    for garbage in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), &[0; 300], &[22, 3, 3, 255, 255, 1], &[0xff; 4096]]
    {
        let mut codecs = codecs(None);
        let id = codecs.open(DEFAULT_CONFIG, b"a.test").expect("valid");
        codecs.read_tls(id, garbage).expect("room");
        let code = codecs.process(id).map_or_else(|error| abi::codec::code(&error), |_| 0);
        assert!((-26..0).contains(&code), "{garbage:?}: {code}");
    }
}
