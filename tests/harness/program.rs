//! A run of the real binary to its end, for tests.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use tempfile::TempDir;

/// What a run printed, and its exit code.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

// Each test program that includes this file uses a part of it.
#[allow(dead_code, reason = "no test program uses all of it")]
impl Run {
    /// Checks the exit code, and that standard error names everything expected.
    #[track_caller]
    pub fn fails<const N: usize>(&self, code: i32, named: [&str; N]) -> &Self {
        assert_eq!(self.code, code, "{self}");
        for name in named {
            assert!(self.stderr.contains(name), "`{name}` is missing in: {self}");
        }
        self
    }

    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.text(), self.stderr)
    }
}

/// A folder with guests, in which the binary is run.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file there.
    pub fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).expect("writable");
        self
    }

    /// The binary, about to be run there. Its cache is there too, and nothing of ours is in its environment.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = binary();
        command.args(args).current_dir(self.0.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command.env_remove("SOURCE_DATE_EPOCH");
        command
    }

    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        finish(&mut self.command(args), b"")
    }
}

/// The binary, through the runner which Cargo was given, if any: with WasmEdge in it, it may need another loader.
fn binary() -> Command {
    let binary = env!("CARGO_BIN_EXE_prewasm");
    match env::var_os("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(binary);
            command
        }
        None => Command::new(binary),
    }
}

/// Runs a command with this on its standard input.
pub fn finish(command: &mut Command, input: &[u8]) -> Run {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    let output = thread::scope(|scope| {
        // Beside reading the output: both pipes are small. A program which does not read it may have closed it.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("it ends")
    });
    Run {
        code: output.status.code().expect("no signal"),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A guest from `samples/prebuilt/`.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/prebuilt").join(name).with_extension("wasm")
}
