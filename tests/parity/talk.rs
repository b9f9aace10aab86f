//! Conversations with a server.

use std::{
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpStream},
};

use crate::{
    engine::{Engine, Running},
    observation::Wire,
    outside::{connect, read_exactly, read_to_end},
};

/// A server, and what it sent on each connection.
pub struct Talk<'a> {
    address: SocketAddr,
    guest: &'a mut Running,
    open: Vec<TcpStream>,
    wire: Wire,
}

impl<'a> Talk<'a> {
    pub fn with(engine: &Engine, guest: &'a mut Running, port: u16, talk: fn(&mut Talk)) -> Wire {
        let address = engine.address(guest, port);
        let mut conversation = Talk { address, guest, open: Vec::new(), wire: Wire::new() };
        talk(&mut conversation);
        conversation.wire
    }

    /// Sends pieces on a connection of their own, and reads what comes until the server closes.
    pub fn exchange(&mut self, pieces: &[&str]) {
        let mut stream = connect(self.address, self.guest);
        for piece in pieces {
            stream.write_all(piece.as_bytes()).expect("writable");
        }
        self.wire.push(read_to_end(&stream));
    }

    /// Sends something and goes away.
    pub fn leave(&mut self, piece: &str) {
        connect(self.address, self.guest).write_all(piece.as_bytes()).expect("writable");
    }

    /// Waits until the server says on standard error that something went wrong.
    pub fn await_complaint(&mut self) {
        self.guest.stderr.wait_for(|line| line.starts_with("connection ended early"));
    }

    /// Opens a connection, which has the number returned, and waits until the guest says so too.
    pub fn connect(&mut self) -> usize {
        let stream = connect(self.address, self.guest);
        self.open.push(stream);
        self.wire.push(Vec::new());
        let expected = format!("{} came", self.open.len());
        self.guest.stdout.wait_for(|line| line == expected);
        self.open.len() - 1
    }

    /// Sends a text and reads as much.
    pub fn say(&mut self, number: usize, text: &str) {
        let mut stream = &self.open[number];
        stream.write_all(text.as_bytes()).expect("writable");
        self.wire[number].extend(read_exactly(stream, text.len()));
    }

    pub fn hang_up(&mut self, number: usize) {
        self.open[number].shutdown(Shutdown::Write).expect("open");
        let rest = read_to_end(&self.open[number]);
        self.wire[number].extend(rest);
        let expected = format!("{} left", number + 1);
        self.guest.stdout.wait_for(|line| line == expected);
    }
}
