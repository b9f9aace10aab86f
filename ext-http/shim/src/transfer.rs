//! Sending and receiving.

use crate::{clock, errno::Errno, queue::LIMIT, socket::Role, state::Run, wait::Waited};

const FLAG_PEEK: u32 = 1;
const FLAG_WAITALL: u32 = 2;
/// The most that is received at once, even by a program which wants to have its buffer filled.
const MAX_RECEIVED: usize = 16 * 1024 * 1024;

/// What a blocking call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Receive,
    Send,
}

impl Run {
    pub(crate) fn receive(&mut self, fd: i32, max: u32, flags: u32) -> Result<Vec<u8>, Errno> {
        self.sockets.get(fd)?;
        let flags = flags & 0xffff;
        if flags & !(FLAG_PEEK | FLAG_WAITALL) != 0 {
            return Err(Errno::Inval);
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(MAX_RECEIVED);
        let (peek, wait_all) = (flags & FLAG_PEEK != 0, flags & FLAG_WAITALL != 0);
        let mut received = self.receive_some(fd, max, peek)?;
        while wait_all && !peek && received.len() < max && !received.is_empty() {
            match self.receive_some(fd, max - received.len(), peek) {
                Ok(more) if more.is_empty() => break,
                Ok(more) => received.extend_from_slice(&more),
                // What has been taken must reach the program; the error comes again.
                Err(_) => break,
            }
        }
        Ok(received)
    }

    fn receive_some(&mut self, fd: i32, max: usize, peek: bool) -> Result<Vec<u8>, Errno> {
        if max == 0 {
            // Like a host which has nothing to fill.
            return Ok(Vec::new());
        }
        self.until_done(fd, Direction::Receive, |run, waits| run.try_receive(fd, max, peek, waits))
    }

    fn try_receive(&mut self, fd: i32, max: usize, peek: bool, waits: bool) -> Result<Vec<u8>, Errno> {
        let (sockets, mut around) = self.split();
        match &mut sockets.get(fd)?.role {
            Role::Server(server) => {
                server.advance();
                server.try_receive(max, peek, waits)
            }
            Role::Client(client) => {
                client.advance(&mut around);
                client.try_receive(max, peek)
            }
            Role::Fresh | Role::Bound | Role::Listener => Err(Errno::NotConn),
        }
    }

    /// Sends. A blocking socket takes everything, as Linux does: public programs write once, without a loop.
    pub(crate) fn send(&mut self, fd: i32, data: &[u8], flags: u32) -> Result<usize, Errno> {
        let is_nonblocking = self.sockets.get(fd)?.is_nonblocking;
        // No flag is known.
        if flags & 0xffff != 0 {
            return Err(Errno::Inval);
        }
        let mut sent = 0;
        loop {
            let rest = &data[sent..];
            let result = self.until_done(fd, Direction::Send, |run, _| run.try_send(fd, rest));
            match result {
                Ok(length) => sent += length,
                Err(_) if sent > 0 => return Ok(sent),
                Err(errno) => return Err(errno),
            }
            if sent >= data.len() || (is_nonblocking && self.room(fd) == 0) {
                return Ok(sent);
            }
        }
    }

    fn try_send(&mut self, fd: i32, data: &[u8]) -> Result<usize, Errno> {
        let (sockets, mut around) = self.split();
        match &mut sockets.get(fd)?.role {
            Role::Server(server) => server.try_send(data),
            Role::Client(client) => client.try_send(data, &mut around),
            // Linux tells a sender without a connection so.
            Role::Fresh | Role::Bound | Role::Listener => Err(Errno::Pipe),
        }
    }

    fn room(&mut self, fd: i32) -> usize {
        match self.sockets.get(fd).map(|socket| &socket.role) {
            Ok(Role::Server(server)) => server.room(),
            Ok(Role::Client(client)) => client.room(),
            _ => LIMIT,
        }
    }

    /// Tries, and on a blocking socket waits and tries again, as long as the socket's own timeout permits; Linux tells an
    /// elapsed one as EAGAIN.
    fn until_done<T>(
        &mut self,
        fd: i32,
        direction: Direction,
        mut attempt: impl FnMut(&mut Self, bool) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let socket = self.sockets.get(fd)?;
        let waits = !socket.is_nonblocking;
        let limit = match direction {
            Direction::Receive => socket.options.receive_timeout,
            Direction::Send => socket.options.send_timeout,
        };
        let mut deadline = None;
        loop {
            match attempt(self, waits) {
                Err(Errno::Again) if waits => {}
                result => return result,
            }
            if !self.has_prospects(fd) {
                match self.starve(fd, direction) {
                    true => continue,
                    false => return Err(Errno::Again),
                }
            }
            if deadline.is_none() {
                deadline = limit.map(|limit| clock::now().saturating_add(limit));
            }
            if self.wait(deadline) == Waited::Elapsed {
                return Err(Errno::Again);
            }
        }
    }

    /// Nothing is under way for what the program waits for.
    fn starve(&mut self, fd: i32, direction: Direction) -> bool {
        match self.sockets.get(fd).map(|socket| &mut socket.role) {
            Ok(Role::Client(client)) if direction == Direction::Receive => client.starve(),
            _ => false,
        }
    }
}
