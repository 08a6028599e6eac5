//! The directory of a local cluster: one directory per node, and a description of the whole.
//!
//! A kept directory can be started from again. Its description guards against starting it as another cluster: nodes would refuse, or
//! worse, look for their keys elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::ClusterError;
use super::spec::{ClusterSpec, Dir, Facts};

/// What a directory says of its cluster.
const DESCRIPTION: &str = "cluster.json";

/// Where the nodes keep their data.
#[derive(Debug)]
pub(super) enum Home {
    /// Removed when dropped.
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Home {
    /// Makes the directory, or finds it.
    pub(super) fn open(dir: &Dir) -> Result<Self, ClusterError> {
        match dir {
            Dir::Temporary => {
                let made = tempfile::Builder::new().prefix("quorate-").tempdir();
                Ok(Self::Temporary(made.map_err(failed("make a directory in", std::env::temp_dir()))?))
            }
            Dir::Kept(path) => {
                std::fs::create_dir_all(path).map_err(failed("make the directory", path))?;
                Ok(Self::Kept(std::path::absolute(path).map_err(failed("find the directory", path))?))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(path) => path,
        }
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
        let text = std::fs::read_to_string(&path).map_err(failed("read", &path))?;
        let kept: Facts = serde_json::from_str(&text).map_err(|source| ClusterError::Description { path, source })?;
        if !kept.same_shape(&asked) {
            return Err(ClusterError::OtherShape { dir: self.path().to_owned(), kept, asked });
        }
        Ok(kept)
    }

    /// Removes what is temporary. No node may write into it any more.
    pub(super) fn close(self) -> Result<(), ClusterError> {
        match self {
            Self::Temporary(dir) => {
                let path = dir.path().to_owned();
                dir.close().map_err(failed("remove", path))
            }
            Self::Kept(_) => Ok(()),
        }
    }
}

/// Turns what the operating system says of a path into an error.
pub(super) fn failed(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.into();
    move |source| ClusterError::File { doing, path, source }
}
