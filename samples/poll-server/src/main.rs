//! A server for several clients at a time without a runtime: `wasmedge_wasi_socket`'s `poll` over non-blocking sockets.
//!
//! It exists because such a program sees each event of `poll_oneoff` as it is: what is ready, in which order, and that
//! nothing is when nothing is.
//!
//! `poll-server [COUNT]` listens on 1238 and sends back what it gets. It prints what happens, each client by its number,
//! and ends when COUNT clients (default 1) have left.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use wasmedge_wasi_socket::poll::{EventType, Subscription, poll};
use wasmedge_wasi_socket::{TcpListener, TcpStream};

/// The listener's number; clients count from 1.
const LISTENER: u64 = 0;
/// Long enough never to be seen, unless nobody comes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let mut expected = env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    let listener = TcpListener::bind("0.0.0.0:1238", true)?;
    let mut clients = BTreeMap::new();
    let mut last = LISTENER;
    while expected > 0 {
        let mut subscriptions = vec![Subscription::io(LISTENER, &listener, true, false, None)];
        let streams = clients
            .iter()
            .map(|(number, stream): (&u64, &TcpStream)| Subscription::io(*number, stream, true, false, None));
        subscriptions.extend(streams);
        subscriptions.push(Subscription::timeout(u64::MAX, SystemTime::now() + PATIENCE));
        for event in poll(&subscriptions)? {
            match event.event_type {
                EventType::Timeout => return Err(io::ErrorKind::TimedOut.into()),
                EventType::Error(error) => return Err(error),
                EventType::Read | EventType::Write => {}
            }
            if event.userdata == LISTENER {
                let (stream, _) = listener.accept(true)?;
                last += 1;
                println!("{last} came");
                clients.insert(last, stream);
            } else if clients.get_mut(&event.userdata).is_some_and(|stream| !serve(event.userdata, stream)) {
                clients.remove(&event.userdata);
                println!("{} left", event.userdata);
                expected -= 1;
            }
        }
    }
    Ok(())
}

/// Reads all there is. `false`: the client has left.
fn serve(number: u64, stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 2048];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                println!("{number} sent {length} bytes");
                if let Err(error) = stream.write_all(&buffer[..length]) {
                    println!("{number}: cannot answer: {error}");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => {
                println!("{number}: {error}");
                return false;
            }
        }
    }
}
