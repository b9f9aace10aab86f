//! The calls as WasmEdge 0.17.1 types them, and safe ways to make those.

/// Where something lies, as `__wasi_address_t` and as an iovec.
#[repr(C)]
pub struct Slice {
    pub start: *mut u8,
    pub length: u32,
}

impl Slice {
    pub fn of(bytes: &mut [u8]) -> Self {
        Self { start: bytes.as_mut_ptr(), length: u32::try_from(bytes.len()).expect("small") }
    }
}

/// Names and types of the host's functions.
pub mod raw {
    // Safe in so far as all offsets which are passed are those of values which live as long as the call, or of nothing.
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub safe fn sock_open(family: i32, kind: i32, fd: i32) -> i32;
        pub safe fn sock_open_v2(family: i32, kind: i32, fd: i32) -> i32;
        pub safe fn sock_bind(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_bind_v2(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_listen(fd: i32, backlog: i32) -> i32;
        pub safe fn sock_listen_v2(fd: i32, backlog: i32) -> i32;
        pub safe fn sock_connect(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_connect_v2(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_accept(fd: i32, out: i32) -> i32;
        #[link_name = "sock_accept"]
        pub safe fn sock_accept_3(fd: i32, flags: i32, out: i32) -> i32;
        pub safe fn sock_accept_v2(fd: i32, flags: i32, out: i32) -> i32;
        pub safe fn sock_recv(fd: i32, iovecs: i32, count: i32, flags: i32, length: i32, flags_out: i32) -> i32;
        pub safe fn sock_recv_v2(fd: i32, iovecs: i32, count: i32, flags: i32, length: i32, flags_out: i32) -> i32;
        pub safe fn sock_recv_from(
            fd: i32,
            iovecs: i32,
            count: i32,
            address: i32,
            flags: i32,
            length: i32,
            flags_out: i32,
        ) -> i32;
        #[link_name = "sock_recv_from"]
        pub safe fn sock_recv_from_8(
            fd: i32,
            iovecs: i32,
            count: i32,
            address: i32,
            flags: i32,
            port: i32,
            length: i32,
            flags_out: i32,
        ) -> i32;
        pub safe fn sock_recv_from_v2(
            fd: i32,
            iovecs: i32,
            count: i32,
            address: i32,
            flags: i32,
            port: i32,
            length: i32,
            flags_out: i32,
        ) -> i32;
        pub safe fn sock_send(fd: i32, iovecs: i32, count: i32, flags: i32, length: i32) -> i32;
        pub safe fn sock_send_v2(fd: i32, iovecs: i32, count: i32, flags: i32, length: i32) -> i32;
        pub safe fn sock_send_to(
            fd: i32,
            iovecs: i32,
            count: i32,
            address: i32,
            port: i32,
            flags: i32,
            length: i32,
        ) -> i32;
        pub safe fn sock_send_to_v2(
            fd: i32,
            iovecs: i32,
            count: i32,
            address: i32,
            port: i32,
            flags: i32,
            length: i32,
        ) -> i32;
        pub safe fn sock_shutdown(fd: i32, how: i32) -> i32;
        pub safe fn sock_getlocaladdr(fd: i32, address: i32, kind: i32, port: i32) -> i32;
        #[link_name = "sock_getlocaladdr"]
        pub safe fn sock_getlocaladdr_3(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_getlocaladdr_v2(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_getpeeraddr(fd: i32, address: i32, kind: i32, port: i32) -> i32;
        #[link_name = "sock_getpeeraddr"]
        pub safe fn sock_getpeeraddr_3(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_getpeeraddr_v2(fd: i32, address: i32, port: i32) -> i32;
        pub safe fn sock_getsockopt(fd: i32, level: i32, name: i32, value: i32, length: i32) -> i32;
        pub safe fn sock_setsockopt(fd: i32, level: i32, name: i32, value: i32, length: i32) -> i32;
        pub safe fn sock_getaddrinfo(
            node: i32,
            node_length: i32,
            service: i32,
            service_length: i32,
            hints: i32,
            found: i32,
            most: i32,
            count: i32,
        ) -> i32;
        pub safe fn poll_oneoff(subscriptions: i32, events: i32, count: i32, written: i32) -> i32;
        pub safe fn epoll_oneoff(subscriptions: i32, events: i32, count: i32, written: i32) -> i32;
        pub safe fn fd_fdstat_get(fd: i32, out: i32) -> i32;
        pub safe fn fd_fdstat_set_flags(fd: i32, flags: i32) -> i32;
        pub safe fn fd_read(fd: i32, iovecs: i32, count: i32, length: i32) -> i32;
        pub safe fn fd_write(fd: i32, iovecs: i32, count: i32, length: i32) -> i32;
        pub safe fn fd_close(fd: i32) -> i32;
    }
}

pub const INET4: i32 = 1;
pub const INET6: i32 = 2;
pub const DATAGRAM: i32 = 1;
pub const STREAM: i32 = 2;
pub const NONBLOCK: i32 = 4;
pub const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

/// Where a value lies, for the host to read and to write.
pub fn at<T: ?Sized>(value: &mut T) -> i32 {
    i32::try_from(std::ptr::from_mut(value).cast::<u8>().expose_provenance()).expect("the lower half of the memory")
}

/// Prints an errno with the name of what was done.
pub fn say(what: &str, errno: i32) {
    println!("{what}: {errno}");
}

/// A socket, and the errno.
pub fn open(kind: i32) -> i32 {
    let mut fd = 0;
    match raw::sock_open(INET4, kind, at(&mut fd)) {
        0 => fd,
        errno => panic!("no socket: {errno}"),
    }
}

/// An address of the second generation: the family in front.
pub fn long_address(ip: [u8; 4]) -> [u8; 128] {
    let mut bytes = [0; 128];
    bytes[0] = 1;
    bytes[2..6].copy_from_slice(&ip);
    bytes
}

pub fn bind(fd: i32, port: u16) -> i32 {
    let mut ip = LOOPBACK;
    raw::sock_bind(fd, at(&mut Slice::of(&mut ip)), port.into())
}

pub fn connect(fd: i32, port: u16) -> i32 {
    let mut ip = LOOPBACK;
    raw::sock_connect(fd, at(&mut Slice::of(&mut ip)), port.into())
}

/// The port on which a socket of ours is.
pub fn port(fd: i32) -> u16 {
    let (mut ip, mut kind, mut port) = ([0; 4], 0, 0_u32);
    let errno = raw::sock_getlocaladdr(fd, at(&mut Slice::of(&mut ip)), at(&mut kind), at(&mut port));
    assert_eq!(errno, 0, "no local address");
    u16::try_from(port).expect("a port in the host's byte order")
}

/// A listener on a port that the host chose.
pub fn listener() -> (i32, u16) {
    let fd = open(STREAM);
    assert_eq!((bind(fd, 0), raw::sock_listen(fd, 8)), (0, 0), "no listener");
    (fd, port(fd))
}

pub fn accept(listener: i32) -> i32 {
    let mut fd = 0;
    assert_eq!(raw::sock_accept(listener, at(&mut fd)), 0, "no connection");
    fd
}

/// Two ends of a connection: the one that connected, the one that was accepted.
pub fn pair() -> (i32, i32) {
    let (listener, port) = listener();
    let client = open(STREAM);
    assert_eq!(connect(client, port), 0, "cannot connect");
    let server = accept(listener);
    raw::fd_close(listener);
    (client, server)
}

pub fn set_nonblocking(fd: i32) -> i32 {
    raw::fd_fdstat_set_flags(fd, NONBLOCK)
}

/// Errno and length of a transfer.
pub fn send(fd: i32, text: &str) -> (i32, u32) {
    let (mut bytes, mut length) = (text.as_bytes().to_vec(), 0_u32);
    (raw::sock_send(fd, at(&mut Slice::of(&mut bytes)), 1, 0, at(&mut length)), length)
}

/// Errno, text and flags of a transfer into `room` bytes.
pub fn receive(fd: i32, room: usize, flags: i32) -> (i32, String, u16) {
    let (mut bytes, mut length, mut flags_out) = (vec![0; room], 0_u32, 0_u16);
    let errno = raw::sock_recv(fd, at(&mut Slice::of(&mut bytes)), 1, flags, at(&mut length), at(&mut flags_out));
    (errno, text(&bytes, length), flags_out)
}

/// What was received.
pub fn text(bytes: &[u8], length: u32) -> String {
    let length = usize::try_from(length).expect("small").min(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
