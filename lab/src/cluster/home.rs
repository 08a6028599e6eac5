//! The directory of a local cluster: one directory per node, and a description of the whole.
//!
//! A kept directory can be started from again. Its description guards against starting it as another cluster: nodes would refuse, or
//! worse, look for their keys elsewhere.
//!
//! **Promise.** A temporary directory goes with its cluster, and never under a process that uses it: every node holds a lock on its
//! data ([`LOCK`]) for as long as it lives, also one that somebody has started again by hand.
//!
//! - *Upon the end*: if such a lock is held, the directory stays, and belongs to whoever holds it from then on.
//! - *Upon the next start of a temporary cluster*: directories whose cluster was killed are removed. It was killed if nobody holds
//!   the lock that a cluster keeps on its own directory ([`OWNED`]), which is made before the description.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use quorate_ring::NodeId;
use tempfile::TempDir;

use super::error::ClusterError;
use super::process::Files;
use super::spec::{ClusterSpec, Dir, Facts};

/// What a directory says of its cluster.
const DESCRIPTION: &str = "cluster.json";
/// How the names of temporary directories begin.
const PREFIX: &str = "quorate-";
/// Locked by a cluster for as long as its temporary directory is its own.
const OWNED: &str = "temporary.lock";
/// Within the data of a node: locked by its process, whose id it holds.
const LOCK: &str = "lock";

/// Where the nodes keep their data.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    temporary: Option<Temporary>,
}

/// Removed when dropped, unless somebody uses it.
#[derive(Debug)]
struct Temporary {
    dir: TempDir,
    _owned: File,
}

/// A process that is not the cluster's and uses the data of one of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The node.
    pub node: NodeId,
    /// The process, as far as it has said.
    pub process: Option<u32>,
    /// The data it uses, which stay where they are.
    pub data: PathBuf,
}

impl Home {
    /// Makes the directory, or finds it.
    pub(super) fn open(dir: &Dir) -> Result<Self, ClusterError> {
        match dir {
            Dir::Temporary => {
                sweep(&std::env::temp_dir());
                Temporary::make().map(|made| Self { path: made.dir.path().to_owned(), temporary: Some(made) })
            }
            Dir::Kept(path) => {
                std::fs::create_dir_all(path).map_err(failed("make the directory", path))?;
                let path = std::path::absolute(path).map_err(failed("find the directory", path))?;
                Ok(Self { path, temporary: None })
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The facts of the cluster that the directory holds, or of a new one, which are then written down there.
    pub(super) fn agree(&self, spec: &ClusterSpec) -> Result<Facts, ClusterError> {
        let path = self.path().join(DESCRIPTION);
        let asked = Facts::of(spec);
        if !path.exists() {
            let text = serde_json::to_string(&asked).expect("facts are plain values");
            std::fs::write(&path, text).map_err(failed("write", &path))?;
            return Ok(asked);
        }
        let kept = described(&path)?;
        if !kept.same_shape(&asked) {
            return Err(ClusterError::OtherShape { dir: self.path().to_owned(), kept, asked });
        }
        Ok(kept)
    }

    /// Removes what is temporary, unless a process uses it. The cluster's own must have ended.
    pub(super) fn close(mut self) -> Result<Vec<Stranger>, ClusterError> {
        let strangers = strangers(&self.path);
        match self.temporary.take() {
            Some(temporary) if strangers.is_empty() => {
                let path = self.path.clone();
                temporary.dir.close().map_err(failed("remove", path))?;
            }
            Some(temporary) => temporary.leave(),
            None => {}
        }
        Ok(strangers)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !strangers(&self.path).is_empty() {
            self.temporary.take().into_iter().for_each(Temporary::leave);
        }
    }
}

impl Temporary {
    fn make() -> Result<Self, ClusterError> {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let dir = made.map_err(failed("make a directory in", std::env::temp_dir()))?;
        let path = dir.path().join(OWNED);
        let owned = File::create(&path).map_err(failed("write", &path))?;
        owned.lock().map_err(failed("lock", &path))?;
        Ok(Self { dir, _owned: owned })
    }

    /// Leaves the directory to whoever uses it: from now on it looks like one that was meant to be kept.
    fn leave(self) {
        let path = self.dir.keep();
        // If it cannot be removed, a later sweep looks at the nodes' locks all the same.
        let _ = std::fs::remove_file(path.join(OWNED));
    }
}

/// Processes that use the data of nodes in a directory of which no node of ours runs.
fn strangers(path: &Path) -> Vec<Stranger> {
    let mut strangers: Vec<Stranger> = node_directories(path).filter_map(|(node, dir)| stranger(node, &dir)).collect();
    strangers.sort_by_key(|stranger| stranger.node);
    strangers
}

fn stranger(node: NodeId, dir: &Path) -> Option<Stranger> {
    let data = Files::within(dir).data;
    let lock = File::open(data.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let process = std::fs::read_to_string(data.join(LOCK)).ok().and_then(|text| text.trim().parse().ok());
            Some(Stranger { node, process, data })
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn node_directories(path: &Path) -> impl Iterator<Item = (NodeId, PathBuf)> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// Removes the directories of clusters that were killed before they could do so. What cannot be looked at or removed stays.
fn sweep(parent: &Path) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for entry in ours.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        if let Some(_held) = abandoned(&path)
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            tracing::debug!(path = %path.display(), %error, "a directory that was left behind stays");
        }
    }
}

/// All locks of a temporary directory that belongs to nobody any more; while they are held nobody can begin to use it.
fn abandoned(path: &Path) -> Option<Vec<File>> {
    described(&path.join(DESCRIPTION)).ok()?;
    let mut held = vec![locked(&path.join(OWNED))?];
    for (_, dir) in node_directories(path) {
        let lock = Files::within(&dir).data.join(LOCK);
        if lock.exists() {
            held.push(locked(&lock)?);
        }
    }
    Some(held)
}

/// The file, locked; none if it is not there, or somebody else holds it.
fn locked(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

fn described(path: &Path) -> Result<Facts, ClusterError> {
    let text = std::fs::read_to_string(path).map_err(failed("read", path))?;
    serde_json::from_str(&text).map_err(|source| ClusterError::Description { path: path.to_owned(), source })
}

/// Turns what the operating system says of a path into an error.
pub(super) fn failed(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.into();
    move |source| ClusterError::File { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N2: NodeId = NodeId(2);

    /// The directory of a cluster of which n2 has stored something.
    fn used() -> (Home, File) {
        let home = Home::open(&Dir::Temporary).expect("a directory");
        home.agree(&ClusterSpec::new("quorate", 3)).expect("nothing is there yet");
        let data = Files::within(&home.path().join("n2")).data;
        std::fs::create_dir_all(&data).expect("made");
        std::fs::write(data.join(LOCK), "4711\n").expect("written");
        let lock = File::open(data.join(LOCK)).expect("it is there");
        (home, lock)
    }

    #[test]
    fn a_temporary_directory_goes_with_its_cluster() {
        let (home, _) = used();
        let path = home.path().to_owned();
        assert_eq!(home.close().expect("removed"), []);
        assert!(!path.exists());
        let (home, _) = used();
        let path = home.path().to_owned();
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_somebody_else_uses_stays() {
        for close in [true, false] {
            let (home, lock) = used();
            lock.lock().expect("nobody has it");
            let path = home.path().to_owned();
            if close {
                let stranger = Stranger { node: N2, process: Some(4711), data: path.join("n2/data") };
                assert_eq!(home.close().expect("left alone"), [stranger]);
            } else {
                drop(home);
            }
            lock.unlock().expect("it was ours");
            sweep(path.parent().expect("it has one"));
            assert!(path.join("n2/data/lock").exists(), "who was told that it stays finds it later too");
            std::fs::remove_dir_all(path).expect("removed");
        }
    }

    #[test]
    fn only_what_a_killed_cluster_left_behind_is_swept_away() {
        let parent = tempfile::tempdir().expect("a directory");
        let made = |name: &str, files: &[&str]| {
            let path = parent.path().join(name);
            std::fs::create_dir_all(path.join("n1/data")).expect("made");
            let facts = serde_json::to_string(&Facts::of(&ClusterSpec::new("quorate", 3))).expect("facts");
            for file in files {
                std::fs::write(path.join(file), &facts).expect("written");
            }
            path
        };
        let all = [DESCRIPTION, OWNED, "n1/data/lock"];
        let left = [made("quorate-left", &all), made("quorate-early", &all[..2])];
        let alive = made("quorate-alive", &all);
        let owner = locked(&alive.join(OWNED)).expect("nobody has it");
        let in_use = made("quorate-in-use", &all);
        let node = locked(&in_use.join("n1/data/lock")).expect("nobody has it");
        let others = [made("quorate-kept", &[DESCRIPTION]), made("quorate-foreign", &[OWNED]), made("other", &all)];
        sweep(parent.path());
        assert!(left.iter().all(|path| !path.exists()));
        assert!(alive.exists() && in_use.exists() && others.iter().all(|path| path.exists()));
        drop((owner, node));
        sweep(parent.path());
        assert!(!alive.exists() && !in_use.exists() && others.iter().all(|path| path.exists()));
    }
}
