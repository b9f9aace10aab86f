//! Looks up names as WasmEdge programs do: `nslookup` of `wasmedge_wasi_socket`, and its `ToSocketAddrs`.
//!
//! It exists for `sock_getaddrinfo`, which fills a chain of structures that the guest has laid out.
//!
//! `lookup-client NAME [SERVICE]` prints the addresses of NAME, a line each: first those for SERVICE (default: none), then
//! those with port 80. Where there are none it prints the error.

use std::net::SocketAddr;
use std::{env, io};

use wasmedge_wasi_socket::{ToSocketAddrs, nslookup};

fn main() {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let service = arguments.next().unwrap_or_default();
    show("nslookup", nslookup(&name, &service));
    show("to_socket_addrs", (name.as_str(), 80).to_socket_addrs());
}

fn show(by: &str, found: io::Result<impl IntoIterator<Item = SocketAddr>>) {
    match found {
        Ok(found) => {
            // In which order, and whether twice, is the resolver's business.
            let mut found: Vec<_> = found.into_iter().collect();
            found.sort();
            found.dedup();
            println!("{by}: {found:?}");
        }
        Err(error) => println!("{by}: {error}"),
    }
}
