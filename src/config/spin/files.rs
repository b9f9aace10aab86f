//! `files` of a component: folders and files which it finds below `/`.
//!
//! Folders are given to the guest as they are. Patterns, single files and exclusions need a folder in which the files are
//! put together; which files those are is decided here, once per load.

use std::path::{self, Path, PathBuf};

use glob::Pattern;
use prewasm_ext_http::{Access, Directory};

use super::manifest::RawMount;
use crate::config::{
    resolve::Resolver,
    scratch::Mount,
    setting::{Origin, Setting},
};

const KEY: &str = "files";

/// What a component finds.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) dirs: Vec<Setting<Directory>>,
    pub(super) mount: Option<Setting<Mount>>,
}

type Written<T> = Option<Setting<Vec<Setting<T>>>>;

/// Decides how the files are given to the guest.
pub(super) fn resolve(written: Written<RawMount>, exclude: Written<String>, resolver: &mut Resolver<'_>) -> Files {
    let Some(written) = written else { return Files::default() };
    let origin = written.origin;
    let exclude = exclusions(exclude, resolver);
    // Absolute, so that what patterns match can be told from it.
    let folder = path::absolute(resolver.path(Path::new("."))).unwrap_or_default();
    let found: Vec<_> = written.value.iter().filter_map(|one| find(one, &folder, resolver)).collect();
    let directories = found.iter().map(Found::directory).collect::<Option<Vec<_>>>();
    match directories {
        Some(dirs) if exclude.is_empty() => Files { dirs, mount: None },
        _ => {
            let mount = assemble(&found, &folder, &exclude, resolver);
            Files { dirs: Vec::new(), mount: Some(Setting::new(mount, origin)) }
        }
    }
}

fn exclusions(written: Written<String>, resolver: &mut Resolver<'_>) -> Vec<Pattern> {
    let written = written.map(|written| written.value).unwrap_or_default();
    written.iter().filter_map(|pattern| compile(&pattern.value, "exclude_files", pattern.origin, resolver)).collect()
}

fn compile(pattern: &str, key: &str, origin: Origin, resolver: &mut Resolver<'_>) -> Option<Pattern> {
    Pattern::new(pattern).map_err(|error| resolver.wrong(key, origin, error)).ok()
}

/// What one entry of the list is about.
#[derive(Debug)]
enum Found {
    /// A folder of the host, and where the guest sees it.
    Folder { host: PathBuf, guest: PathBuf, origin: Origin },
    /// A file of the host, and where the guest sees it.
    File { host: PathBuf, guest: PathBuf, origin: Origin },
    /// Files which match, which the guest sees where they are in the application's folder.
    Matching { pattern: String, origin: Origin },
}

impl Found {
    fn directory(&self) -> Option<Setting<Directory>> {
        let Self::Folder { host, guest, origin } = self else { return None };
        let guest = Path::new("/").join(guest).display().to_string();
        Some(Setting::new(Directory { host: host.clone(), guest, access: Access::ReadOnly }, *origin))
    }
}

fn find(written: &Setting<RawMount>, folder: &Path, resolver: &mut Resolver<'_>) -> Option<Found> {
    let origin = written.origin;
    let (source, guest) = match &written.value {
        RawMount::Placement { source, destination } => (source, PathBuf::from(destination)),
        RawMount::Pattern(pattern) => (pattern, PathBuf::from(pattern)),
    };
    let host = folder.join(source);
    if matches!(written.value, RawMount::Pattern(_)) && ends_in_dots(source) {
        resolver.wrong(KEY, origin, format_args!("`{source}` is a folder without a name\n  hint: write `{{ source = \"{source}\", destination = \"/\" }}`"));
        return None;
    }
    if host.is_dir() {
        return Some(Found::Folder { host, guest, origin });
    }
    if host.is_file() {
        return Some(Found::File { host, guest, origin });
    }
    if matches!(written.value, RawMount::Pattern(_)) && Pattern::escape(source) != *source {
        compile(source, KEY, origin, resolver)?;
        return Some(Found::Matching { pattern: source.clone(), origin });
    }
    resolver.wrong(KEY, origin, format_args!("`{source}` does not exist"));
    None
}

fn ends_in_dots(pattern: &str) -> bool {
    matches!(pattern.rsplit('/').next(), Some("." | ".."))
}

fn assemble(found: &[Found], folder: &Path, exclude: &[Pattern], resolver: &mut Resolver<'_>) -> Mount {
    let mut mount = Mount::default();
    for one in found {
        match one {
            Found::File { host, guest, origin } => add(&mut mount, guest, host, *origin, resolver),
            Found::Folder { host, guest, origin } => {
                let pattern = format!("{}/**/*", Pattern::escape(&host.display().to_string()));
                for file in matching(&pattern, *origin, resolver) {
                    let place = file.strip_prefix(host).map(|inside| guest.join(inside));
                    if !is_excluded(&file, folder, exclude)
                        && let Ok(place) = place
                    {
                        add(&mut mount, &place, &file, *origin, resolver);
                    }
                }
            }
            Found::Matching { pattern, origin } => {
                let whole = format!("{}/{pattern}", Pattern::escape(&folder.display().to_string()));
                for file in matching(&whole, *origin, resolver) {
                    let place = file.strip_prefix(folder).map(Path::to_owned);
                    match place {
                        Ok(_) if is_excluded(&file, folder, exclude) => {}
                        Ok(place) => add(&mut mount, &place, &file, *origin, resolver),
                        Err(_) => resolver.wrong(KEY, *origin, outside(&file)),
                    }
                }
            }
        }
    }
    mount
}

/// Exclusions are about places in the application's folder.
fn is_excluded(file: &Path, folder: &Path, exclude: &[Pattern]) -> bool {
    let place = file.strip_prefix(folder).unwrap_or(file);
    exclude.iter().any(|pattern| pattern.matches_path(place))
}

fn matching(pattern: &str, origin: Origin, resolver: &mut Resolver<'_>) -> Vec<PathBuf> {
    let paths = match glob::glob(pattern) {
        Ok(paths) => paths,
        Err(error) => {
            resolver.wrong(KEY, origin, error);
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for path in paths {
        match path {
            Ok(path) if path.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => resolver.wrong(KEY, origin, error),
        }
    }
    files
}

fn add(mount: &mut Mount, guest: &Path, host: &Path, origin: Origin, resolver: &mut Resolver<'_>) {
    match mount.add(guest, host.to_owned()) {
        true => resolver.watch(host.to_owned()),
        false => resolver.wrong(KEY, origin, outside(guest)),
    }
}

fn outside(path: &Path) -> String {
    format!("`{}` is no place for a file in the folder that the component sees", path.display())
}
