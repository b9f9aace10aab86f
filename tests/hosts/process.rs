//! A program in the background: what it says, when it ends, and that nothing of it is left.

use std::{
    fs,
    io::Read,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// Some hosts compile at their start, and machines are busy: longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Process {
    child: Child,
    coming: Receiver<(Stream, Vec<u8>)>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    has_ended: bool,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// What a program printed, and its exit code: for a signal, what a shell makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts a program in a process group of its own: jco starts another one, which outlives it.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, coming) = mpsc::channel();
        follow(Stream::Stdout, child.stdout.take().expect("piped"), sender.clone());
        follow(Stream::Stderr, child.stderr.take().expect("piped"), sender);
        Self { child, coming, stdout: Vec::new(), stderr: Vec::new(), has_ended: false }
    }

    /// Waits for a line, in either stream, in which something is found; `None` if the program ends before it.
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let started = Instant::now();
        loop {
            let said = self.said();
            let mut complete = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(found) = complete.find_map(|line| find(line.trim_end())) {
                return Some(found);
            }
            if !self.receive(started) {
                return None;
            }
        }
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Ended {
        let started = Instant::now();
        while self.receive(started) {}
        let status = self.child.wait().expect("a child");
        self.has_ended = true;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("it ended");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code, stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    /// All that it has said until now.
    pub fn said(&mut self) -> String {
        while let Ok(piece) = self.coming.try_recv() {
            self.keep(piece);
        }
        [&self.stdout, &self.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
    }

    /// Resident memory, of all in its group.
    pub fn resident_bytes(&self) -> u64 {
        let group = self.child.id().to_string();
        let processes = fs::read_dir("/proc").expect("Linux").map_while(Result::ok).map(|entry| entry.path());
        // They may end meanwhile.
        let of_group = processes.filter(|path| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            // The name, in parentheses, may hold anything: state, parent and group follow it.
            stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(2)) == Some(&group)
        });
        let resident = of_group.filter_map(|path| {
            let status = fs::read_to_string(path.join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        resident.sum::<u64>() * 1024
    }

    /// Takes what comes next; `false` at the end of both streams.
    fn receive(&mut self, started: Instant) -> bool {
        match self.coming.recv_timeout(PATIENCE.saturating_sub(started.elapsed())) {
            Ok(piece) => self.keep(piece),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("it neither goes on nor ends:\n{}", self.said()),
        }
        true
    }

    fn keep(&mut self, (stream, bytes): (Stream, Vec<u8>)) {
        match stream {
            Stream::Stdout => self.stdout.extend(bytes),
            Stream::Stderr => self.stderr.extend(bytes),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its number may be somebody else's by now.
        if self.has_ended {
            return;
        }
        // By a shell, since a group cannot be ended in safe Rust.
        let group = format!("kill -s KILL -- -{} 2> /dev/null", self.child.id());
        let _ = Command::new("sh").arg("-c").arg(group).status();
        let _ = self.child.wait();
    }
}

fn follow(stream: Stream, mut from: impl Read + Send + 'static, to: Sender<(Stream, Vec<u8>)>) {
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if to.send((stream, piece[..length].to_vec())).is_err() {
                return;
            }
        }
    });
}
