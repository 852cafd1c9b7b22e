//! The model of a repo: branches, commits, trees. Small on purpose: no packs, no merges, ids that are
//! unique but not git's, except for the ids of blobs, which clients compute themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use sha1::{Digest as _, Sha1};

/// What kind of repo it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A model: `OWNER/NAME`.
    Model,
    /// A dataset: `datasets/OWNER/NAME`.
    Dataset,
    /// A Space: `spaces/OWNER/NAME`.
    Space,
}

impl Kind {
    /// As in `/api/models/`.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }

    pub(crate) fn from_plural(word: &str) -> Option<Self> {
        [Self::Model, Self::Dataset, Self::Space]
            .into_iter()
            .find(|kind| kind.plural() == word)
    }

    /// As in `"type": "model"`.
    pub(crate) fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }
}

/// The name of a repo with its kind, written as in a URL: `farm/wheels`, `datasets/farm/wheels`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoName {
    /// Its kind.
    pub kind: Kind,
    /// Its owner, a user or an organisation.
    pub owner: String,
    /// Its name without the owner.
    pub name: String,
}

impl RepoName {
    /// Owner and name, without the kind.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Model => {}
            Kind::Dataset | Kind::Space => write!(f, "{}/", self.kind.plural())?,
        }
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A text that names no repo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no repo; write OWNER/NAME, datasets/OWNER/NAME or spaces/OWNER/NAME")]
pub struct RepoNameError(String);

impl FromStr for RepoName {
    type Err = RepoNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split('/').collect();
        let (kind, owner, name) = match words.as_slice() {
            [owner, name] => (Some(Kind::Model), owner, name),
            [kind, owner, name] => (Kind::from_plural(kind), owner, name),
            _ => return Err(RepoNameError(text.to_owned())),
        };
        let is_name = |word: &str| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        match kind {
            Some(kind)
                if is_name(owner) && is_name(name) && name.strip_suffix(".git").is_none() =>
            {
                Ok(Self {
                    kind,
                    owner: (*owner).to_owned(),
                    name: (*name).to_owned(),
                })
            }
            _ => Err(RepoNameError(text.to_owned())),
        }
    }
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A git blob: its bytes stand in the repo.
    Regular {
        /// The bytes.
        bytes: Bytes,
        /// git's sha1 of the blob.
        oid: String,
    },
    /// A pointer: the bytes are in the LFS storage or in Xet.
    Lfs {
        /// Digest of the bytes, in hex.
        sha256: String,
        /// How many bytes.
        size: u64,
        /// git's sha1 of the pointer file.
        oid: String,
        /// Xet's hash of the bytes, where they are in Xet.
        xet_hash: Option<String>,
    },
}

impl Entry {
    pub(crate) fn regular(bytes: Bytes) -> Self {
        let oid = blob_oid(&bytes);
        Self::Regular { bytes, oid }
    }

    pub(crate) fn lfs(sha256: &str, size: u64, xet_hash: Option<String>) -> Self {
        Self::Lfs {
            oid: blob_oid(pointer(sha256, size).as_bytes()),
            sha256: sha256.to_owned(),
            size,
            xet_hash,
        }
    }

    /// git's id of what lies in the tree: the blob or the pointer.
    pub fn oid(&self) -> &str {
        match self {
            Self::Regular { oid, .. } | Self::Lfs { oid, .. } => oid,
        }
    }

    /// Bytes of the content, not of a pointer.
    pub fn size(&self) -> u64 {
        match self {
            Self::Regular { bytes, .. } => bytes.len().try_into().unwrap_or(u64::MAX),
            Self::Lfs { size, .. } => *size,
        }
    }

    /// Whether it is a pointer.
    pub fn is_lfs(&self) -> bool {
        match self {
            Self::Regular { .. } => false,
            Self::Lfs { .. } => true,
        }
    }
}

/// The pointer file of git LFS, version 1.
pub(crate) fn pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// git's id of a blob.
pub(crate) fn blob_oid(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex::encode(hash.finalize())
}

/// Paths and what lies there.
pub type Tree = BTreeMap<String, Entry>;

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Forty hex digits.
    pub id: String,
    /// The commit it was made on; none for the first one.
    pub parent: Option<String>,
    /// The first line of its message.
    pub title: String,
    /// The rest.
    pub message: String,
    /// The user whose token it came with.
    pub author: String,
    /// When it was made.
    pub time: Timestamp,
    /// The whole tree at this commit.
    pub tree: Arc<Tree>,
}

/// A change to a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add { path: String, entry: Entry },
    DeleteFile { path: String },
    DeleteFolder { path: String },
}

/// What a commit says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Saying {
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) author: String,
}

/// Why changes do not make a tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("A file with the name \"{0}\" does not exist")]
    Missing(String),
    #[error("\"{0}\" is both a file and a directory")]
    FileAndFolder(String),
    #[error("Invalid file name: {0}")]
    BadPath(String),
    #[error("too many files per directory: \"{folder}\" has {entries}, at most {allowed}")]
    FullFolder {
        folder: String,
        entries: usize,
        allowed: usize,
    },
}

/// One repo.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) private: bool,
    pub(crate) sdk: Option<String>,
    pub(crate) created: Timestamp,
    /// Full names, `refs/heads/main`.
    pub(crate) refs: BTreeMap<String, String>,
    commits: BTreeMap<String, Commit>,
    made: u64,
    /// Whether a commit is being made: the lock of the real Hub.
    pub(crate) busy: bool,
    /// When the commits of the last hour were made.
    pub(crate) recent: VecDeque<Instant>,
}

impl Repo {
    /// A repo with the first commit that the real Hub makes.
    pub(crate) fn new(name: &RepoName, author: &str, private: bool, sdk: Option<String>) -> Self {
        let mut tree = Tree::new();
        let attributes = Entry::regular(Bytes::from_static(crate::attributes::DEFAULT.as_bytes()));
        tree.insert(".gitattributes".to_owned(), attributes);
        if let Some(sdk) = &sdk {
            let card = format!(
                "---\ntitle: {}\nsdk: {sdk}\npinned: false\n---\n",
                name.name
            );
            tree.insert("README.md".to_owned(), Entry::regular(card.into()));
        }
        let mut repo = Self {
            private,
            sdk,
            created: Timestamp::now(),
            refs: BTreeMap::new(),
            commits: BTreeMap::new(),
            made: 0,
            busy: false,
            recent: VecDeque::new(),
        };
        let saying = Saying {
            title: "initial commit".to_owned(),
            message: String::new(),
            author: author.to_owned(),
        };
        let id = repo.record(None, saying, tree, &name.to_string());
        repo.refs.insert("refs/heads/main".to_owned(), id);
        repo
    }

    /// The commit that a branch, a tag, a full reference or an id names.
    pub(crate) fn resolve(&self, revision: &str) -> Option<&Commit> {
        let id = [
            format!("refs/heads/{revision}"),
            format!("refs/tags/{revision}"),
            revision.to_owned(),
        ]
        .iter()
        .find_map(|name| self.refs.get(name))
        .map_or(revision, String::as_str);
        self.commits.get(id)
    }

    /// The commit and all it was made on, newest first.
    pub(crate) fn history(&self, from: &str) -> Vec<&Commit> {
        let mut commits = Vec::new();
        let mut next = self.commits.get(from);
        while let Some(commit) = next {
            commits.push(commit);
            next = commit
                .parent
                .as_ref()
                .and_then(|parent| self.commits.get(parent));
        }
        commits
    }

    /// Adds a commit that no reference names yet, and gives its id.
    pub(crate) fn record(
        &mut self,
        parent: Option<String>,
        saying: Saying,
        tree: Tree,
        salt: &str,
    ) -> String {
        self.made += 1;
        let time = Timestamp::now();
        let mut hash = Sha1::new();
        hash.update(format!(
            "{salt}\0{}\0{time}\0{parent:?}\0{}\0",
            self.made, saying.title
        ));
        for (path, entry) in &tree {
            hash.update(format!("{path}\0{}\0", entry.oid()));
        }
        let id = hex::encode(hash.finalize());
        let commit = Commit {
            id: id.clone(),
            parent,
            title: saying.title,
            message: saying.message,
            author: saying.author,
            time,
            tree: Arc::new(tree),
        };
        self.commits.insert(id.clone(), commit);
        id
    }

    /// Puts one commit without a parent in the place of a branch's history (the Hub's super-squash).
    pub(crate) fn squash(&mut self, reference: &str, saying: Saying, salt: &str) -> Option<String> {
        let tree = self
            .commits
            .get(self.refs.get(reference)?)?
            .tree
            .as_ref()
            .clone();
        let id = self.record(None, saying, tree, salt);
        self.refs.insert(reference.to_owned(), id.clone());
        Some(id)
    }
}

/// The tree after the changes, which are made in their order.
pub(crate) fn changed(
    tree: &Tree,
    changes: Vec<Change>,
    allowed: usize,
) -> Result<Tree, ChangeError> {
    let mut tree = tree.clone();
    let mut grown = BTreeSet::new();
    for change in changes {
        match change {
            Change::Add { path, entry } => {
                let is_bad = |part: &str| matches!(part, "" | "." | ".." | ".git");
                if path.split('/').any(is_bad) {
                    return Err(ChangeError::BadPath(path));
                }
                let in_file = ancestors(&path).any(|folder| tree.contains_key(folder));
                if in_file || has_folder(&tree, &path) {
                    return Err(ChangeError::FileAndFolder(path));
                }
                grown.extend(ancestors(&path).map(str::to_owned));
                grown.insert(String::new());
                tree.insert(path, entry);
            }
            Change::DeleteFile { path } => {
                if tree.remove(&path).is_none() {
                    return Err(ChangeError::Missing(path));
                }
            }
            Change::DeleteFolder { path } => {
                let folder = path.trim_matches('/');
                if !has_folder(&tree, folder) {
                    return Err(ChangeError::Missing(path));
                }
                tree.retain(|path, _| !is_inside(path, folder));
            }
        }
    }
    check_folders(&tree, &grown, allowed)?;
    Ok(tree)
}

fn check_folders(tree: &Tree, grown: &BTreeSet<String>, allowed: usize) -> Result<(), ChangeError> {
    if tree.len() <= allowed {
        return Ok(());
    }
    let mut children: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for path in tree.keys() {
        for place in ancestors(path).chain([path.as_str()]) {
            let (folder, name) = place.rsplit_once('/').unwrap_or(("", place));
            if grown.contains(folder) {
                children.entry(folder).or_default().insert(name);
            }
        }
    }
    match children
        .into_iter()
        .find(|(_, names)| names.len() > allowed)
    {
        Some((folder, names)) => Err(ChangeError::FullFolder {
            folder: folder.to_owned(),
            entries: names.len(),
            allowed,
        }),
        None => Ok(()),
    }
}

/// `a/b/c` is in `a` and in `a/b`.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

pub(crate) fn is_inside(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

pub(crate) fn has_folder(tree: &Tree, folder: &str) -> bool {
    folder.is_empty()
        || tree
            .range(format!("{folder}/")..)
            .next()
            .is_some_and(|(path, _)| is_inside(path, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(path: &str) -> Change {
        Change::Add {
            path: path.to_owned(),
            entry: Entry::regular(Bytes::from_static(b"x")),
        }
    }

    #[test]
    fn a_blob_has_the_id_that_git_gives_it() {
        // `printf 'hello\n' | git hash-object --stdin`.
        assert_eq!(
            blob_oid(b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }

    #[test]
    fn changes_are_made_in_their_order() {
        let tree = changed(&Tree::new(), vec![add("a/b"), add("a/c"), add("d")], 10).unwrap();
        let folder = Change::DeleteFolder {
            path: "a/".to_owned(),
        };
        let tree = changed(&tree, vec![folder, add("a/e")], 10).unwrap();
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["a/e", "d"]);
    }

    #[test]
    fn what_is_not_there_cannot_be_deleted() {
        let file = Change::DeleteFile {
            path: "a".to_owned(),
        };
        assert!(matches!(
            changed(&Tree::new(), vec![file], 10),
            Err(ChangeError::Missing(path)) if path == "a"
        ));
    }

    #[test]
    fn a_file_is_no_folder() {
        let tree = changed(&Tree::new(), vec![add("a")], 10).unwrap();
        assert!(matches!(
            changed(&tree, vec![add("a/b")], 10),
            Err(ChangeError::FileAndFolder(_))
        ));
        let tree = changed(&Tree::new(), vec![add("a/b")], 10).unwrap();
        assert!(matches!(
            changed(&tree, vec![add("a")], 10),
            Err(ChangeError::FileAndFolder(_))
        ));
    }

    #[test]
    fn a_full_folder_takes_no_more() {
        let tree = changed(&Tree::new(), vec![add("a/1"), add("a/2"), add("b/1")], 2).unwrap();
        assert!(matches!(
            changed(&tree, vec![add("a/3")], 2),
            Err(ChangeError::FullFolder { folder, entries: 3, .. }) if folder == "a"
        ));
        assert!(changed(&tree, vec![add("a/2"), add("b/2")], 2).is_ok());
    }

    #[test]
    fn names_are_read_and_written() {
        for text in ["farm/wheels", "datasets/farm/wheels", "spaces/farm/index"] {
            assert_eq!(text.parse::<RepoName>().unwrap().to_string(), text);
        }
        for text in ["wheels", "a/b/c", "farm/", "models/farm/x/y", "farm/x.git"] {
            assert!(text.parse::<RepoName>().is_err(), "{text}");
        }
    }
}
