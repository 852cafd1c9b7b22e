//! What the Hub holds in place of a file: its git object id, or the sha256 of what is stored as LFS.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};
use wheelfarm_core::digest::Sha256Digest;

/// The id that git gives a file's content: the SHA-1 of `blob <length>\0` and the content
/// (git's gitformat-pack). It is the Hub's only record of a file that is not LFS. That nobody can make
/// two contents of one id is not counted on: what a wheel is stands in its sha256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BlobId([u8; 20]);

impl BlobId {
    /// The id of `content`.
    pub(super) fn of(content: &[u8]) -> Self {
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0", content.len()));
        hasher.update(content);
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a file of a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// A file in git.
    Blob {
        /// Its id, as the Hub has it.
        id: String,
        /// Its length.
        size_bytes: u64,
    },
    /// A file that is stored as LFS.
    Lfs {
        /// The digest of its content.
        sha256: Sha256Digest,
        /// Its length.
        size_bytes: u64,
    },
}

impl Held {
    /// What a file in git with that content is.
    pub(super) fn blob(content: &[u8]) -> Self {
        Self::Blob {
            id: BlobId::of(content).to_string(),
            size_bytes: length(content),
        }
    }

    /// What a file that is stored as LFS with that content is.
    pub(super) fn lfs(content: &[u8]) -> Self {
        Self::Lfs {
            sha256: Sha256Digest::of(content),
            size_bytes: length(content),
        }
    }

    /// Whether it has that content, whichever way it is stored.
    pub(super) fn has(&self, content: &[u8]) -> bool {
        *self
            == match self {
                Self::Blob { .. } => Self::blob(content),
                Self::Lfs { .. } => Self::lfs(content),
            }
    }

    /// Its length.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Blob { size_bytes, .. } | Self::Lfs { size_bytes, .. } => *size_bytes,
        }
    }

    /// What an entry of the Hub's tree says; an error where its digest is none.
    pub(super) fn of_entry(
        id: &str,
        size_bytes: u64,
        lfs: Option<(&str, u64)>,
    ) -> Result<Self, <Sha256Digest as FromStr>::Err> {
        Ok(match lfs {
            Some((sha256, size_bytes)) => Self::Lfs {
                sha256: sha256.parse()?,
                size_bytes,
            },
            None => Self::Blob {
                id: id.to_owned(),
                size_bytes,
            },
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob { id, size_bytes } => write!(f, "git blob {id} of {size_bytes} bytes"),
            Self::Lfs { sha256, size_bytes } => {
                write!(f, "LFS sha256 {sha256} of {size_bytes} bytes")
            }
        }
    }
}

fn length(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        // `git hash-object` of an empty file and of one with a line.
        let empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        assert_eq!(BlobId::of(b"").to_string(), empty);
        let line = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(BlobId::of(b"hello\n").to_string(), line);
    }

    #[test]
    fn content_is_known_again_however_it_is_stored() {
        assert!(Held::blob(b"a").has(b"a") && Held::lfs(b"a").has(b"a"));
        assert!(!Held::blob(b"a").has(b"b") && !Held::lfs(b"a").has(b"b"));
        assert_ne!(Held::blob(b"a"), Held::lfs(b"a"));
        assert!(Held::of_entry("x", 1, Some(("nothing", 1))).is_err());
    }
}
