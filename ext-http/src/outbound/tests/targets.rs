//! Targets which a guest might reach by a trick: the table.

use super::*;
use crate::{
    Inbound, Network,
    abi::errno::Errno,
    plugin::{self, PluginError},
    sockets::{Family, Kind, Sockets},
};

/// Special addresses, in every spelling that some parser takes for one. With `*://*:*` allowed, none is reached.
const SPECIAL: &[&str] = &[
    // Loopback and this host.
    "http://127.0.0.1/",
    "HTTP://127.0.0.1/",
    "https://127.0.0.1:8443/",
    "http://127.0.0.1./",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://127.000.000.001/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0x0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    // Private networks.
    "http://10.0.0.1/",
    "http://10.1/",
    "http://0xa.1/",
    "http://167772161/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://192.168.257/",
    "http://3232235777/",
    "http://[fc00::1]/",
    "http://[fdff::1]/",
    // Metadata services and link-local addresses.
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.43518/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0XA9FEA9FE/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0251.0376.0251.0376/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fd00:ec2::254]/",
    // IPv4 within IPv6.
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::FFFF:A9FE:A9FE]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2002:7f00:1::1]/",
    "http://[2001:0:a9fe:a9fe::1]/",
    "http://[2a00::5efe:169.254.169.254]/",
    // Shared, multicast, reserved, for documents.
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://4294967295/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[2001:db8::1]/",
    "http://[4000::1]/",
    // What looks like a host is a user.
    "http://example.com@169.254.169.254/",
    "http://example.com:80@127.0.0.1/",
    "http://example.com%2f@10.0.0.1/",
];

/// What one parser might read as an address, and ours do not take at all.
const NO_URLS: &[&str] = &[
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\t/",
    "http://[::1%25lo]/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http:///",
    "gopher://127.0.0.1/",
    "file:///etc/passwd",
    "unix:///run/docker.sock",
    "/no/host",
];

#[tokio::test]
async fn no_spelling_of_a_special_address_gets_through() {
    let outbound = allow(["*://*:*"]).outbound();
    for url in SPECIAL {
        let verdict = judge(&outbound, url).await;
        assert!(matches!(verdict, Err(Verdict::Refused(Refusal::Guarded { .. }))), "{url}: {verdict:?}");
    }
    for url in NO_URLS {
        let verdict = judge(&outbound, url).await;
        assert_eq!(verdict, Err(Verdict::NoUrl), "{url}");
    }
    for url in ["http://1.1.1.1/", "http://16843009/", "https://[2606:4700::1111]/", "http://user@1.1.1.1/"] {
        assert_eq!(judge(&outbound, url).await.map(|found| found.len()), Ok(1), "{url}");
    }
}

#[tokio::test]
async fn no_name_leads_to_a_special_address() {
    for (name, answer) in [
        ("localhost", "127.0.0.1"),
        ("LOCALHOST", "127.0.0.1"),
        ("localhost.", "127.0.0.1"),
        ("a.localhost", "::1"),
        ("metadata.google.internal", "169.254.169.254"),
        ("metadata.google.internal.", "169.254.169.254"),
        ("127.0.0.1.nip.io", "127.0.0.1"),
        ("intranet.test", "10.1.2.3"),
        ("INTRANET.TEST", "192.168.1.1"),
        ("xn--bcher-kva.test", "172.16.0.1"),
        ("six.test", "fd00::1"),
        ("mapped.test", "::ffff:10.0.0.1"),
        ("nat.test", "64:ff9b::a00:1"),
        ("tunnel.test", "2002:a00:1::1"),
    ] {
        let outbound = allow(["*://*:*"]).answer([answer]).outbound();
        let verdict = judge(&outbound, &format!("http://{name}/")).await;
        assert!(matches!(verdict, Err(Verdict::Refused(Refusal::Guarded { .. }))), "{name}: {verdict:?}");
        // And for sockets, which look up first.
        let outbound = allow(["*://*:*"]).answer([answer]).outbound();
        let verdict = outbound.lookup(name).await;
        assert!(matches!(verdict, Err(Refusal::Guarded { .. })), "{name}: {verdict:?}");
    }
    // One address among public ones is enough: any may be dialled.
    let outbound = allow(["*://*:*"]).answer(["1.1.1.1", "10.0.0.1"]).outbound();
    assert!(matches!(judge(&outbound, "http://half.test/").await, Err(Verdict::Refused(Refusal::Guarded { .. }))));
}

#[tokio::test]
async fn a_pattern_means_its_own_host_and_port_only() {
    let outbound = allow(["http://good.test", "http://*.wild.test:8000..8010"]).outbound();
    for url in [
        "http://evil.test/",
        "http://good.test@evil.test/",
        "http://good.test:80@evil.test/",
        "http://good.test.evil.test/",
        "http://evilgood.test/",
        "http://evil.test/?good.test",
        "http://evil.test/good.test",
        "http://good.test:81/",
        "https://good.test/",
        "http://wild.test:8000/",
        "http://a.wild.test:8010/",
        "http://a.wild.test.evil.test:8000/",
        "http://1.1.1.1/",
    ] {
        let verdict = judge(&outbound, url).await;
        assert!(matches!(verdict, Err(Verdict::Refused(Refusal::NotAllowed { .. }))), "{url}: {verdict:?}");
    }
    for url in ["http://good.test/", "http://GOOD.test./x", "http://u:p@good.test/", "http://a.b.wild.test:8009/"] {
        let outbound = allow(["http://good.test", "http://*.wild.test:8000..8010"]).answer(["1.1.1.1"]).outbound();
        assert!(judge(&outbound, url).await.is_ok(), "{url}");
    }
}

#[tokio::test]
async fn a_special_address_is_reached_where_it_is_named() {
    let named = || allow(["*://*:*", "http://10.0.0.0/8:8000", "https://localhost:*"]);
    assert!(judge(&named().outbound(), "http://10.1.2.3:8000/").await.is_ok());
    assert!(judge(&named().answer(["10.1.2.3"]).outbound(), "http://name.test:8000/").await.is_ok());
    assert!(judge(&named().answer(["127.0.0.1"]).outbound(), "https://localhost/").await.is_ok());
    // The name of one port or scheme is not that of another.
    for url in ["http://10.1.2.3:8001/", "https://10.1.2.3:8000/", "http://localhost/", "http://other.test:8000/"] {
        let outbound = named().answer(["127.0.0.1"]).outbound();
        let verdict = judge(&outbound, url).await;
        assert!(matches!(verdict, Err(Verdict::Refused(Refusal::Guarded { .. }))), "{url}: {verdict:?}");
    }
    let mapped = || allow(["*://*:*"]).resolve("db.test", "10.0.0.5:5432").outbound();
    let dialled = judge(&mapped(), "http://DB.test.:80/").await;
    assert_eq!(dialled, Ok(vec!["10.0.0.5:5432".parse().expect("valid")]));
    assert!(judge(&mapped(), "http://10.0.0.5:5432/").await.is_ok());
    assert!(judge(&mapped(), "http://10.0.0.5:22/").await.is_err(), "another port of that address is not named");
}

#[tokio::test]
async fn our_own_listeners_are_reached_only_by_name() {
    let ours = || allow(["*://*:*"]).listeners(["1.2.3.4:8080", "[2a00::1]:9090"]);
    for url in ["http://1.2.3.4:8080/", "http://0x01020304:8080/", "http://[2a00:0::1]:9090/"] {
        let verdict = judge(&ours().outbound(), url).await;
        assert!(matches!(verdict, Err(Verdict::Refused(Refusal::Guarded { .. }))), "{url}: {verdict:?}");
    }
    assert!(judge(&ours().answer(["1.2.3.4"]).outbound(), "http://us.test:8080/").await.is_err());
    assert!(judge(&ours().answer(["1.2.3.4"]).outbound(), "http://us.test/").await.is_ok(), "another port is not ours");
    assert!(judge(&ours().outbound(), "http://1.2.3.4:9090/").await.is_ok());
    let named = allow(["http://1.2.3.4:8080"]).listeners(["1.2.3.4:8080"]).outbound();
    assert!(judge(&named, "http://1.2.3.4:8080/").await.is_ok());
}

#[tokio::test]
async fn sockets_are_refused_the_same_targets() {
    for url in SPECIAL {
        // A socket knows no names and no users, only addresses; the URL's parser makes them from the table.
        let ip: IpAddr = match url::Url::parse(url).expect("checked above").host().expect("checked above") {
            url::Host::Ipv4(ip) => ip.into(),
            url::Host::Ipv6(ip) => ip.into(),
            url::Host::Domain(name) => panic!("{name} is no address"),
        };
        for kind in [Kind::Stream, Kind::Datagram] {
            let outbound = Arc::new(allow(["*://*:*"]).outbound());
            let usage = Usage::of(&outbound);
            let mut sockets = Sockets::new(Network { inbound: Inbound::Denied, outbound }, usage);
            let family = if ip.is_ipv4() { Family::Inet4 } else { Family::Inet6 };
            let fd = sockets.open(family, kind).expect("room");
            assert_eq!(sockets.connect(fd, SocketAddr::new(ip, 80)).await, Err(Errno::Acces), "{url}");
        }
    }
}

#[tokio::test]
async fn the_plugins_host_cannot_smuggle_in_another() {
    let outbound = allow(["https://good.test", "https://*.test:443"]).outbound();
    let usage = Usage::of(&outbound);
    for host in ["good.test@10.0.0.1", "10.0.0.1", "::1", "[::1]", "good.test@evil.example", "0x7f.1"] {
        let sent = plugin::send((&outbound, &usage), host, 443, b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n").await;
        let Err(PluginError::Request { source: RequestError::Refused(_), .. }) = sent else {
            panic!("{host}: {sent:?}");
        };
    }
    for host in ["good.test:22", "good.test good.test", "good.test\r\nX: y", ""] {
        let sent = plugin::send((&outbound, &usage), host, 443, b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(sent.is_err(), "{host:?}");
    }
    // The request line decides about the path, never about the host.
    let sent = plugin::send((&outbound, &usage), "evil.example", 443, b"GET https://good.test/ HTTP/1.1\r\n\r\n").await;
    assert!(matches!(sent, Err(PluginError::Request { source: RequestError::Refused(_), .. })), "{sent:?}");
}
