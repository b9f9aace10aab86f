//! The repository itself: prebuilt guests fit their sources, the dependency tree has nothing banned, and no file tells
//! where it was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// What `samples/build.sh` writes.
#[derive(Deserialize)]
struct Manifest {
    guests: Vec<Guest>,
}

#[derive(Deserialize)]
struct Guest {
    file: String,
    sha256: String,
    sources: BTreeMap<String, String>,
}

/// What goes into every guest besides its own package, as in `samples/build.sh`.
const SHARED_SOURCES: [&str; 3] = [".cargo/config.toml", "Cargo.lock", "Cargo.toml"];

/// TLS stacks which need more than a C compiler; ours is rustls with ring.
const BANNED_PACKAGES: [&str; 2] = ["openssl-sys", "aws-lc-sys"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn hash(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The files below `folder`, relative to `base`, with `/` between names.
fn files(folder: &Path, base: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path, base));
        } else {
            let relative = path.strip_prefix(base).expect("below the base");
            found.insert(relative.to_str().expect("UTF-8").replace('\\', "/"));
        }
    }
    found
}

fn manifest() -> Manifest {
    let text = fs::read_to_string(root().join("samples/prebuilt/manifest.json")).expect("readable");
    serde_json::from_str(&text).expect("a manifest")
}

#[test]
fn prebuilt_guests_are_those_of_the_manifest() {
    let prebuilt = root().join("samples/prebuilt");
    let mut expected: BTreeSet<_> = manifest().guests.into_iter().map(|guest| guest.file).collect();
    for file in &expected {
        assert!(file.ends_with(".wasm"), "{file}");
    }
    expected.insert("manifest.json".to_owned());
    assert_eq!(files(&prebuilt, &prebuilt), expected);
    for guest in manifest().guests {
        assert_eq!(hash(&prebuilt.join(&guest.file)), guest.sha256, "{}", guest.file);
    }
}

#[test]
fn prebuilt_guests_fit_their_sources() {
    let samples = root().join("samples");
    for guest in manifest().guests {
        let file = guest.file.strip_suffix(".wasm").expect("a wasm file");
        let package = file.strip_suffix("-default").unwrap_or(file);
        let mut expected = files(&samples.join(package), &samples);
        expected.extend(SHARED_SOURCES.map(str::to_owned));
        let listed: BTreeSet<_> = guest.sources.keys().cloned().collect();
        assert_eq!(listed, expected, "{package}: run samples/build.sh");
        for (path, sha256) in &guest.sources {
            assert_eq!(hash(&samples.join(path)), *sha256, "{package}: {path} has changed; run samples/build.sh");
        }
    }
}

/// What `ext-http/shim/build.sh` writes.
#[derive(Deserialize)]
struct ShimManifest {
    files: Vec<ShimFile>,
    sources: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ShimFile {
    file: String,
    sha256: String,
}

#[test]
fn the_prebuilt_shim_fits_its_sources() {
    let shim = root().join("ext-http/shim");
    let text = fs::read_to_string(shim.join("prebuilt/manifest.json")).expect("readable");
    let manifest: ShimManifest = serde_json::from_str(&text).expect("a manifest");
    assert!(!manifest.files.is_empty() && !manifest.sources.is_empty());
    for ShimFile { file, sha256 } in &manifest.files {
        assert_eq!(hash(&shim.join("prebuilt").join(file)), *sha256, "{file}");
    }
    for (path, sha256) in &manifest.sources {
        assert_eq!(hash(&shim.join(path)), *sha256, "{path} has changed; run ext-http/shim/build.sh");
    }
}

/// The lock file has the packages of every platform and every feature, so this is stricter than a look at one tree.
#[test]
fn no_banned_package_is_in_the_lock_file() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("readable");
    for package in BANNED_PACKAGES {
        assert!(!lock.contains(&format!("name = \"{package}\"\n")), "{package} is in Cargo.lock");
    }
}

#[test]
fn no_file_names_a_place_on_the_machine_it_was_written_on() {
    let Some(files) = files_of_the_repository() else {
        // A source archive: the check has been made where it came from.
        eprintln!("skipped: not a git checkout");
        return;
    };
    // In two halves, so that this file does not find itself.
    let places = ["root", "home", "work", "Users"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for path in files {
        // Not text, or deleted and not yet committed.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (line, number) in text.lines().zip(1..) {
            if places.iter().any(|place| is_mentioned(line, place)) {
                found.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Whether a path in `line` begins with `place`; one that only contains it further in does not.
fn is_mentioned(line: &str, place: &str) -> bool {
    let starts_path = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-*}".contains(c));
    line.match_indices(place).any(|(at, _)| starts_path(at))
}

/// Tracked files, and new ones which are not ignored; `None` without git.
fn files_of_the_repository() -> Option<Vec<PathBuf>> {
    let output = Command::new("git")
        // The checkout may belong to somebody else, as in a container; nothing of it is run.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let names = String::from_utf8(output.stdout).expect("UTF-8 names");
    Some(names.split_terminator('\0').map(PathBuf::from).collect())
}
