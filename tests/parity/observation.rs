//! What can be seen of a run, as lines that can be compared.

use crate::engine::Ended;

/// Bytes that a guest sent, to each of its peers.
pub type Wire = Vec<Vec<u8>>;

#[derive(Debug)]
pub struct Observation {
    pub lines: Vec<String>,
    pub status: Option<i32>,
}

impl Observation {
    /// `ports` are the test's own, which differ from run to run.
    pub fn new(ended: Ended, wire: &Wire, ports: &[u16]) -> Self {
        let mut lines = Vec::new();
        // WasmEdge's own messages go to standard output too.
        lines.extend(ended.stdout.iter().filter(is_the_guests()).map(|line| format!("out  {line}")));
        lines.extend(ended.stderr.iter().filter(is_the_guests()).map(|line| format!("err  {line}")));
        for (bytes, number) in wire.iter().zip(1..) {
            lines.extend(text(bytes).iter().map(|line| format!("wire {number} {line}")));
        }
        let status = ended.status;
        lines.push(status.map_or("stopped".to_owned(), |code| format!("exit {code}")));
        for port in ports {
            for line in &mut lines {
                *line = line.replace(&format!(":{port}"), ":PORT");
            }
        }
        Self { lines, status }
    }
}

/// Leaves out what the engines say themselves: ours after its name and indented below, WasmEdge after
/// the time in brackets.
fn is_the_guests() -> impl FnMut(&&String) -> bool {
    let mut ours = false;
    move |line| {
        ours = line.starts_with("prewasm: ") || (ours && line.starts_with("  "));
        !ours && !line.starts_with('[') && !line.starts_with("wasmedge: ")
    }
}

/// Lines with their ends visible. Fields of an HTTP head are sorted, as some clients keep them in a hash map, and the time
/// is taken out.
fn text(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> =
        bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.escape_ascii().to_string()).collect();
    for line in &mut lines {
        if line.starts_with("date: ") {
            *line = "date: …".to_owned();
        }
    }
    let mut start = 0;
    while let Some(head) = lines[start..].iter().position(|line| line.contains("HTTP/1.")) {
        let first = start + head + 1;
        let length = lines[first..].iter().position(|line| line == r"\r\n" || line == r"\n");
        let end = length.map_or(lines.len(), |length| first + length);
        lines[first..end].sort();
        start = end;
    }
    lines
}
