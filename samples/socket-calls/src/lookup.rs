//! `sock_getaddrinfo`, with a chain of results laid out as `wasmedge_wasi_socket` does.

use crate::calls::{at, raw};

/// `__wasi_addrinfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    flags: u16,
    family: u8,
    kind: u8,
    protocol: u32,
    address_length: u32,
    address: u32,
    name: u32,
    name_length: u32,
    next: u32,
}

/// `__wasi_sockaddr_t`.
#[repr(C)]
struct Address {
    family: u32,
    data_length: u32,
    data: u32,
}

const HINTS: Info =
    Info { flags: 0, family: 1, kind: 2, protocol: 1, address_length: 0, address: 0, name: 0, name_length: 0, next: 0 };

pub fn run() {
    lookup("an address", "127.0.0.1\0", "80\0", HINTS, 4);
    lookup("without NUL", "127.0.0.1", "80", HINTS, 4);
    lookup("a name", "localhost\0", "http\0", HINTS, 4);
    lookup("no service", "127.0.0.1\0", "", HINTS, 4);
    lookup("no name", "", "80\0", HINTS, 4);
    lookup("nothing", "", "", HINTS, 4);
    lookup("no room", "127.0.0.1\0", "80\0", HINTS, 0);
    lookup("unknown name", "name.invalid\0", "80\0", HINTS, 4);
    lookup("unknown service", "127.0.0.1\0", "no-such-service\0", HINTS, 4);
    lookup("datagrams", "127.0.0.1\0", "80\0", Info { kind: 1, protocol: 2, ..HINTS }, 4);
    lookup("IPv6", "::1\0", "80\0", Info { family: 2, ..HINTS }, 4);
    lookup("numeric only", "localhost\0", "80\0", Info { flags: 4, ..HINTS }, 4);
    for flags in [0x80, 0x8000, 2] {
        lookup(
            &format!("flags {flags}"),
            if flags == 2 { "" } else { "127.0.0.1\0" },
            "80\0",
            Info { flags, ..HINTS },
            4,
        );
    }
    lookup("family 3", "127.0.0.1\0", "80\0", Info { family: 3, ..HINTS }, 4);
    lookup("type 3", "127.0.0.1\0", "80\0", Info { kind: 3, ..HINTS }, 4);
    lookup("protocol 3", "127.0.0.1\0", "80\0", Info { protocol: 3, ..HINTS }, 4);
}

/// Asks for sockets of any kind: some hosts do not survive it.
pub fn any_kind() {
    lookup("any kind", "127.0.0.1\0", "80\0", Info { family: 0, kind: 0, protocol: 0, ..HINTS }, 4);
}

fn lookup(what: &str, node: &str, service: &str, mut hints: Info, most: usize) {
    let mut data = vec![[0xee_u8; 26]; most];
    let mut addresses: Vec<_> =
        data.iter_mut().map(|bytes| Address { family: 0, data_length: 14, data: pointer(bytes) }).collect();
    let empty = Info { flags: 0, family: 0, kind: 0, protocol: 0, ..HINTS };
    let mut infos: Vec<_> = addresses.iter_mut().map(|address| Info { address: pointer(address), ..empty }).collect();
    for index in 1..most {
        infos[index - 1].next = pointer(&mut infos[index]);
    }
    let (mut node, mut service) = (node.as_bytes().to_vec(), service.as_bytes().to_vec());
    let mut found = infos.first_mut().map_or(0, pointer);
    let mut count = 0_u32;
    let length = |bytes: &[u8]| i32::try_from(bytes.len()).expect("small");
    let (node_length, service_length, most) = (length(&node), length(&service), i32::try_from(most).expect("small"));
    let errno = raw::sock_getaddrinfo(
        at(node.as_mut_slice()),
        node_length,
        at(service.as_mut_slice()),
        service_length,
        at(&mut hints),
        at(&mut found),
        most,
        at(&mut count),
    );
    println!("{what}: {errno} {count}");
    for index in 0..usize::try_from(count).expect("small") {
        let (info, address) = (infos[index], &addresses[index]);
        let length = usize::try_from(address.data_length).expect("small").min(data[index].len());
        println!(
            "  {} {} {} {} {} {} {:?}",
            info.flags,
            info.family,
            info.kind,
            info.protocol & 0xff,
            info.address_length,
            address.family & 0xff,
            &data[index][..length]
        );
    }
}

fn pointer<T>(value: &mut T) -> u32 {
    at(value).cast_unsigned()
}
