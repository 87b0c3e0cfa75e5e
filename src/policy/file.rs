use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{Diagnostics, Env, Policy};

/// A policy's file, to be read more than once, and what the command line says over it.
///
/// It remembers what it has read, the files of secrets included, so that it can tell whether any of
/// that has changed since.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    listen: Option<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    seen: Mutex<Seen>,
}

/// Files and the digests of what was in them; `None`: they could not be read.
type Seen = BTreeMap<PathBuf, Option<[u8; 32]>>;

impl PolicyFile {
    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let (path, seen) = (path.into(), Mutex::default());
        Self { path, listen: None, admin_listen: None, seen }
    }

    /// With these addresses, if any, in place of the policy's own.
    #[must_use]
    pub fn listening(mut self, on: Option<SocketAddr>, admin: Option<SocketAddr>) -> Self {
        (self.listen, self.admin_listen) = (on, admin);
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and checks it, with the process's environment and date; files of secrets are read again.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, or that it cannot be read.
    pub fn load(&self) -> Result<Policy, Diagnostics> {
        let mut seen = Seen::new();
        let bytes = std::fs::read(&self.path);
        seen.insert(self.path.clone(), bytes.as_ref().ok().map(|bytes| digest(bytes)));
        let secrets = Mutex::new(Seen::new());
        let read = |path: &Path| -> io::Result<String> {
            let bytes = std::fs::read(path);
            let digest = bytes.as_ref().ok().map(|bytes| digest(bytes));
            lock(&secrets).insert(path.to_owned(), digest);
            String::from_utf8(bytes?).map_err(|_| io::ErrorKind::InvalidData.into())
        };
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let env = Env::process().in_folder(folder).with_files(read);
        let policy = Policy::read(&self.path, bytes, &env);
        drop(env);
        seen.extend(secrets.into_inner().unwrap_or_else(PoisonError::into_inner));
        *lock(&self.seen) = seen;
        let mut policy = policy?;
        policy.listen = self.listen.unwrap_or(policy.listen);
        policy.admin.listen = self.admin_listen.unwrap_or(policy.admin.listen);
        Ok(policy)
    }

    /// Whether a file holds something else than when it was last read.
    pub fn has_changed(&self) -> bool {
        let now = |path: &Path| std::fs::read(path).ok().map(|bytes| digest(&bytes));
        lock(&self.seen).iter().any(|(path, then)| now(path) != *then)
    }

    /// The folders in which a change would show: those of the files and, where a file is a link, those
    /// of what it leads to.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> = lock(&self.seen)
            .keys()
            .flat_map(|path| [path.canonicalize().ok(), Some(path.clone())])
            .flatten()
            .filter_map(|path| path.parent().map(Path::to_owned))
            .map(|folder| if folder.as_os_str().is_empty() { ".".into() } else { folder })
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_read_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let source = PolicyFile::file(&path);
        assert!(source.load().is_err());
        assert!(!source.has_changed(), "still not there");
        let text = "providers: { openai: { api_key: \"file:key\" } }\n";
        fs::write(&path, text).unwrap();
        assert!(source.has_changed());
        assert!(source.load().is_err(), "no key");
        fs::write(folder.path().join("key"), "sk-one").unwrap();
        assert!(source.has_changed());
        assert_eq!(source.load().unwrap().providers.len(), 1);
        fs::write(&path, text).unwrap();
        assert!(!source.has_changed(), "written, but the same");
        fs::write(folder.path().join("key"), "sk-two").unwrap();
        assert!(source.has_changed());
    }

    /// As a config map is mounted: the file is a link through a link that is replaced.
    #[cfg(unix)]
    #[test]
    fn folders_behind_links_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        fs::create_dir(folder.join("real")).unwrap();
        fs::write(folder.join("real/policy.yaml"), "providers: { sim: { simulate: {} } }").unwrap();
        fs::create_dir(folder.join("mount")).unwrap();
        std::os::unix::fs::symlink("../real/policy.yaml", folder.join("mount/policy.yaml"))
            .unwrap();
        let source = PolicyFile::file(folder.join("mount/policy.yaml"));
        source.load().unwrap();
        assert_eq!(source.folders(), [folder.join("mount"), folder.join("real")]);
    }
}
