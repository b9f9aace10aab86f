//! What a result is kept under: the hash of everything that decides it.

use prewasm_artifact::{Artifact, Sha256, sha256};
use prewasm_ext_http::{Access, Directory};
use prewasm_snapshot::{
    Body, EntropyPolicy, InitExport, Inputs, Limits, Options, Rename, Sizes, Strip, Verification, WASMTIME_VERSION,
    WarmUp,
};

use super::super::declared::{Declared, EntryKind, hash_file};
use crate::exit::Failure;

/// Changes with the form of the key or of an entry.
const FORM: &[u8] = b"prewasm snapshot cache 1";

/// The key. Structures are taken apart field by field, so that a new one cannot be forgotten here.
pub(super) fn of(artifact: &Artifact, options: &Options) -> Result<Sha256, Failure> {
    let Options {
        until,
        init,
        init_export,
        renames,
        warm_ups,
        inputs,
        limits,
        layout,
        sizes,
        strip,
        verification,
        entropy,
        // They depend on the machine, and are looked for in what is kept, too.
        secrets: _,
    } = options;
    let mut fields = Fields::default();
    fields.add("form", FORM);
    fields.add("version", env!("CARGO_PKG_VERSION").as_bytes());
    fields.add("wasmtime", WASMTIME_VERSION.as_bytes());
    fields.add("input", artifact.sha256().as_bytes());
    fields.text("until", &until.to_string());
    fields.optional("init", init.as_deref().map(str::as_bytes));
    fields.text("layout", &layout.to_string());
    fields.add("strip", &[u8::from(*strip == Strip::Unreachable)]);
    fields.add("compressed sizes", &[u8::from(*sizes == Sizes::Compressed)]);
    fields.add("compared", &[u8::from(*verification == Verification::Compare)]);
    fields.text(
        "entropy",
        match entropy {
            EntropyPolicy::DenyHashKeys => "none",
            EntropyPolicy::HashKeys => "hash keys",
            EntropyPolicy::Any => "any",
        },
    );
    fields.add("keep init", &[u8::from(*init_export == InitExport::Keep)]);
    for Rename { to, from } in renames {
        fields.text("rename to", to);
        fields.text("rename from", from);
    }
    for warm_up in warm_ups {
        add_warm_up(&mut fields, warm_up)?;
    }
    add_inputs(&mut fields, inputs);
    add_files(&mut fields, options)?;
    // Time is no part of it: what was done within one limit need not be done again within another.
    let Limits { timeout: _, memory, fuel } = limits;
    fields.add("memory", &memory.to_le_bytes());
    fields.optional("fuel", fuel.map(u64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
    Ok(fields.hash())
}

fn add_warm_up(fields: &mut Fields, warm_up: &WarmUp) -> Result<(), Failure> {
    let WarmUp { method, target, body, status } = warm_up;
    fields.text("method", method.as_str());
    fields.text("target", &target.to_string());
    match body {
        Body::Empty => fields.add("no body", &[]),
        Body::File(path) => fields.add("body", hash_file(path)?.as_bytes()),
    }
    fields.optional("status", status.as_ref().map(|status| status.as_str().as_bytes()));
    Ok(())
}

fn add_inputs(fields: &mut Fields, inputs: &Inputs) {
    // Calls out are not repeatable, and have no key.
    let Inputs { args, env, dirs, stdin, outbound: _, realtime } = inputs;
    args.iter().for_each(|arg| fields.text("arg", arg));
    for (name, value) in env {
        fields.text("variable", name);
        fields.text("value", value);
    }
    // Where it is on the host does not show.
    for Directory { host: _, guest, access } in dirs {
        fields.text("directory", guest);
        fields.add("writable", &[u8::from(*access == Access::ReadWrite)]);
    }
    fields.optional("stdin", stdin.as_deref());
    fields.add("realtime", &realtime.to_le_bytes());
}

fn add_files(fields: &mut Fields, options: &Options) -> Result<(), Failure> {
    for entry in Declared::of(options)?.entries {
        fields.add("in directory", &(entry.directory as u64).to_le_bytes());
        fields.add("name", entry.name.as_os_str().as_encoded_bytes());
        fields.text(
            "kind",
            match entry.kind {
                EntryKind::File => "file",
                EntryKind::Folder => "folder",
                EntryKind::Link { .. } => "link",
                EntryKind::Special => "special",
            },
        );
        fields.optional("content", entry.hash()?.as_ref().map(|hash| hash.as_bytes().as_slice()));
    }
    Ok(())
}

/// Labels and values, each behind its length: no two lists have the same bytes.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn add(&mut self, label: &str, value: &[u8]) {
        for part in [label.as_bytes(), value] {
            self.0.extend((part.len() as u64).to_le_bytes());
            self.0.extend(part);
        }
    }

    fn text(&mut self, label: &str, value: &str) {
        self.add(label, value.as_bytes());
    }

    /// None is something else than an empty one.
    fn optional(&mut self, label: &str, value: Option<&[u8]>) {
        self.add(label, &[u8::from(value.is_some())]);
        if let Some(value) = value {
            self.add(label, value);
        }
    }

    fn hash(&self) -> Sha256 {
        sha256([self.0.as_slice()])
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::Path};

    use prewasm_artifact::{Artifact, Sha256};
    use prewasm_snapshot::Options;

    use super::of;

    fn key(change: impl FnOnce(&mut Options)) -> Sha256 {
        let artifact = Artifact::from_bytes("app", b"(module)".into()).expect("valid");
        let mut options = Options::default();
        change(&mut options);
        of(&artifact, &options).expect("all files are there")
    }

    fn with_dir(path: &Path) -> Sha256 {
        key(|options| {
            options.inputs.dirs = vec![prewasm_ext_http::Directory {
                host: path.to_owned(),
                guest: "/data".into(),
                access: prewasm_ext_http::Access::ReadOnly,
            }];
        })
    }

    #[test]
    fn every_option_that_decides_the_output_decides_the_key() {
        let body = tempfile::NamedTempFile::new().expect("a temporary file");
        let post = format!("POST / @{}", body.path().display());
        let empty_body = key(|options| options.warm_ups = vec![post.parse().expect("a request")]);
        fs::write(body.path(), "content").expect("writable");
        let keys = [
            empty_body,
            key(|_| {}),
            key(|options| options.until = "init".parse().expect("a stop point")),
            key(|options| options.until = "import:a.b".parse().expect("a stop point")),
            key(|options| options.init = Some(String::new())),
            key(|options| options.init_export = prewasm_snapshot::InitExport::Keep),
            key(|options| options.renames = vec!["a=b".parse().expect("a rename")]),
            key(|options| options.renames = vec!["ab=b".parse().expect("a rename")]),
            key(|options| options.warm_ups = vec!["GET /".parse().expect("a request")]),
            key(|options| options.warm_ups = vec!["GET / => 200".parse().expect("a request")]),
            key(|options| options.warm_ups = vec![post.parse().expect("a request")]),
            key(|options| options.inputs.args = vec!["ab".into()]),
            key(|options| options.inputs.args = vec!["a".into(), "b".into()]),
            key(|options| options.inputs.env = vec![("a".into(), "b".into())]),
            key(|options| options.inputs.env = vec![("ab".into(), String::new())]),
            key(|options| options.inputs.stdin = Some(Vec::new().into())),
            key(|options| options.inputs.stdin = Some(b"x".to_vec().into())),
            key(|options| options.inputs.realtime = 1),
            key(|options| options.limits.memory = 1),
            key(|options| options.limits.fuel = Some(1)),
            key(|options| options.layout = prewasm_snapshot::Layout::Wire),
            key(|options| options.strip = prewasm_snapshot::Strip::Unreachable),
            key(|options| options.sizes = prewasm_snapshot::Sizes::Compressed),
            key(|options| options.verification = prewasm_snapshot::Verification::Skip),
            key(|options| options.entropy = prewasm_snapshot::EntropyPolicy::Any),
            key(|options| options.entropy = prewasm_snapshot::EntropyPolicy::DenyHashKeys),
        ];
        assert_eq!(HashSet::from(keys).len(), keys.len());
        assert_eq!(key(|options| options.limits.timeout *= 2), key(|_| {}));
    }

    #[cfg(unix)]
    #[test]
    fn what_a_program_can_see_of_a_directory_decides_the_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let mut keys = vec![key(|_| {}), with_dir(folder.path())];
        fs::write(path("a"), "1").expect("writable");
        keys.push(with_dir(folder.path()));
        fs::write(path("a"), "2").expect("writable");
        keys.push(with_dir(folder.path()));
        fs::rename(path("a"), path("b")).expect("ours");
        keys.push(with_dir(folder.path()));
        fs::create_dir(path("empty")).expect("ours");
        keys.push(with_dir(folder.path()));
        // What a link leads to out of the directory cannot be seen, and what is around it neither.
        std::os::unix::fs::symlink("..", path("link")).expect("ours");
        keys.push(with_dir(folder.path()));
        fs::remove_file(path("link")).expect("ours");
        std::os::unix::fs::symlink("missing", path("link")).expect("ours");
        keys.push(with_dir(folder.path()));
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        let other = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(with_dir(other.path()), keys[1], "where it is does not matter");
    }
}
