//! Temporary folders in which files from several places are put together for a guest.
//!
//! A folder goes when its app does. One which holds the same files is used again, so that an app whose files have not
//! changed is the same app after a reload.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Weak},
    time::SystemTime,
};

use tempfile::TempDir;

/// Files of the host, by the place where the guest finds them in its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    files: BTreeMap<PathBuf, PathBuf>,
}

impl Mount {
    /// Adds a file; `false` if its place is outside of the folder.
    pub fn add(&mut self, place: &Path, file: PathBuf) -> bool {
        let mut inside = PathBuf::new();
        for component in place.components() {
            match component {
                Component::Normal(name) => inside.push(name),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => return false,
            }
        }
        let is_named = !inside.as_os_str().is_empty();
        if is_named {
            self.files.insert(inside, file);
        }
        is_named
    }

    /// Where the guest finds the files.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

/// What tells whether files are still the same.
type Fingerprint = BTreeMap<PathBuf, (PathBuf, u64, Option<SystemTime>)>;

/// The temporary folders in use.
#[derive(Debug, Default)]
pub struct Scratches {
    used: Vec<(Fingerprint, Weak<TempDir>)>,
}

impl Scratches {
    /// A folder with these files, read-only for the guest that gets it.
    ///
    /// # Errors
    /// If a file cannot be read, or the folder cannot be made.
    pub fn assemble(&mut self, mount: &Mount) -> io::Result<Arc<TempDir>> {
        self.used.retain(|(_, folder)| folder.strong_count() > 0);
        let fingerprint = fingerprint(mount)?;
        let same = self.used.iter().find(|(other, _)| *other == fingerprint);
        if let Some(folder) = same.and_then(|(_, folder)| folder.upgrade()) {
            return Ok(folder);
        }
        let folder = Arc::new(tempfile::Builder::new().prefix("prewasm-files-").tempdir()?);
        for (place, file) in &mount.files {
            put(file, &folder.path().join(place))?;
        }
        self.used.push((fingerprint, Arc::downgrade(&folder)));
        Ok(folder)
    }
}

fn fingerprint(mount: &Mount) -> io::Result<Fingerprint> {
    let one = |(place, file): (&PathBuf, &PathBuf)| {
        let metadata = fs::metadata(file)?;
        Ok((place.clone(), (file.clone(), metadata.len(), metadata.modified().ok())))
    };
    mount.files.iter().map(one).collect()
}

/// A hard link takes no space and no time. What is linked symbolically is copied, since the guest could not follow.
fn put(file: &Path, place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_link = fs::symlink_metadata(file)?.is_symlink();
    if is_link || fs::hard_link(file, place).is_err() {
        fs::copy(file, place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_together_and_cleaned_up() {
        let host = tempfile::tempdir().expect("a temporary folder");
        let file = host.path().join("a.txt");
        fs::write(&file, "a").expect("writable");
        let mut mount = Mount::default();
        assert!(mount.add(Path::new("/deep/er/a.txt"), file.clone()));
        assert!(mount.add(Path::new("b.txt"), file.clone()));
        assert!(!mount.add(Path::new("../b.txt"), file.clone()), "outside");
        assert!(!mount.add(Path::new("/"), file.clone()), "no file");
        let mut scratches = Scratches::default();
        let first = scratches.assemble(&mount).expect("assembled");
        assert_eq!(fs::read_to_string(first.path().join("deep/er/a.txt")).expect("there"), "a");
        let second = scratches.assemble(&mount).expect("assembled");
        assert_eq!(first.path(), second.path(), "the same files, the same folder");
        fs::write(&file, "longer").expect("writable");
        let third = scratches.assemble(&mount).expect("assembled");
        assert_ne!(first.path(), third.path(), "other files, another folder");
        let path = first.path().to_owned();
        drop((first, second));
        assert!(!path.exists());
        assert!(third.path().exists());
    }
}
