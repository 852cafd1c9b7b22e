//! Commits of git repositories, kept in bare repositories, one for each address.
//!
//! There is no work tree: the files come out of `git archive`, so nothing of a repository is
//! checked out, smudged or run. Submodules are repositories of their own, put in their places.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::GitCommit;
use wheelfarm_core::source::{
    GitUrl, SourceTree, Submodules, TopFolder, TreeCaps, TreeEntry, TreeError, TreePath,
};

use super::git_command::{Git, LocalRepositories};
use super::gitmodules::{Module, gitlinks, modules};
use super::{FetchError, FetchProgress, Fetcher, Progress, run_blocking};
use crate::files::{self, FileError, write_atomic};

/// How many submodules are fetched, with those of submodules: a repository can go on for ever.
const SUBMODULE_CAP: usize = 500;

/// `git archive` leaves files out and fills texts in where a repository's attributes say so. Set
/// here they win over the repository's own, and the files come out as they were committed.
const ATTRIBUTES: &[u8] = b"* -export-ignore -export-subst -text -eol -ident -filter \
                            -working-tree-encoding\n";

/// A commit and where its files belong.
#[derive(Debug, Clone)]
struct Place {
    /// The folder for it; none is the top.
    folder: Option<TreePath>,
    url: GitUrl,
    commit: GitCommit,
}

/// A bare repository of the cache that nobody else works in.
struct Repository<'a> {
    path: PathBuf,
    url: &'a GitUrl,
    local: LocalRepositories,
    stall_limit: Duration,
    /// Held while this lives; the system gives it back even when the process is killed.
    _lock: File,
}

impl Fetcher {
    pub(super) async fn fetch_git(
        &self,
        url: &GitUrl,
        commit: &GitCommit,
        submodules: Submodules,
        progress: Progress<'_>,
    ) -> Result<SourceTree, FetchError> {
        let local = LocalRepositories::of(url);
        let mut tree = SourceTree::new();
        let mut waiting = vec![Place {
            folder: None,
            url: url.clone(),
            commit: commit.clone(),
        }];
        let mut fetched = 0;
        while let Some(place) = waiting.pop() {
            fetched += 1;
            if fetched > SUBMODULE_CAP + 1 {
                let (url, cap) = (url.clone(), SUBMODULE_CAP);
                return Err(FetchError::TooManySubmodules { url, cap });
            }
            let repository = self
                .repository(&place.url, &place.commit, local, progress)
                .await?;
            let part = repository
                .commit(&place.commit, &self.options.tree_caps, progress)
                .await?;
            graft(&mut tree, part, &place, &self.options.tree_caps)?;
            if submodules == Submodules::On {
                waiting.extend(repository.submodules(&place).await?);
            }
        }
        Ok(tree)
    }

    /// Whether the cache's repository in `folder` has a commit whole. It is not locked: nothing is changed there, and
    /// a fetch that is under way may take long.
    pub(super) async fn has_commit(
        &self,
        folder: &Path,
        url: &GitUrl,
        commit: &GitCommit,
    ) -> Result<bool, FetchError> {
        let path = folder.join(format!("{}.git", object_format(commit)));
        if !path.exists() {
            return Ok(false);
        }
        let git = Git {
            url,
            repository: Some(&path),
            local: LocalRepositories::of(url),
            stall_limit: None,
        };
        is_whole(&git, commit).await
    }

    /// The cache's repository for an address, made when it is not there.
    async fn repository<'a>(
        &self,
        url: &'a GitUrl,
        commit: &GitCommit,
        local: LocalRepositories,
        progress: Progress<'_>,
    ) -> Result<Repository<'a>, FetchError> {
        let name = Sha256Digest::of(url.as_str().as_bytes()).to_string();
        let folder = self.cache.join("git").join(name);
        let format = object_format(commit);
        let lock = lock(&folder, progress).await?;
        let repository = Repository {
            path: folder.join(format!("{format}.git")),
            url,
            local,
            stall_limit: self.options.git_stall_limit,
            _lock: lock,
        };
        if repository.path.exists() {
            let path = repository.path.clone();
            run_blocking(move || remove_stale_locks(&path)).await?;
        } else {
            repository.init(&folder, format).await?;
        }
        Ok(repository)
    }
}

impl Repository<'_> {
    fn git(&self) -> Git<'_> {
        Git {
            url: self.url,
            repository: Some(&self.path),
            local: self.local,
            stall_limit: None,
        }
    }

    /// Makes the repository beside its place, so that half of one is never taken for a whole.
    async fn init(&self, folder: &Path, format: &str) -> Result<(), FetchError> {
        let fault = |source| FileError::new("create", &self.path, source);
        let staged = tempfile::Builder::new()
            .prefix(files::PART_PREFIX)
            .tempdir_in(folder)
            .map_err(fault)?;
        let git = Git {
            repository: Some(staged.path()),
            ..self.git()
        };
        let format = format!("--object-format={format}");
        // No template: it would bring sample hooks.
        let args = ["--quiet", "--bare", "--template=", &format];
        git.run("init", &args, &|_| {}).await?;
        let path = self.path.clone();
        run_blocking(move || {
            let fault = |source| FileError::new("create", &path, source);
            let info = staged.path().join("info");
            files::create_folder(&info)?;
            write_atomic(info.join("attributes"), ATTRIBUTES)?;
            fs_err::rename(staged.keep(), &path).map_err(fault)
        })
        .await?;
        Ok(())
    }

    /// The files of a commit, which is fetched when it is not there.
    async fn commit(
        &self,
        commit: &GitCommit,
        caps: &TreeCaps,
        progress: Progress<'_>,
    ) -> Result<SourceTree, FetchError> {
        if self.has(commit).await? {
            progress(FetchProgress::Cached);
        } else {
            self.fetch(commit, progress).await?;
        }
        progress(FetchProgress::Reading);
        let folder = self.path.clone();
        let file = run_blocking(move || {
            let file = tempfile::tempfile_in(&folder);
            file.map_err(|source| FileError::new("write into", &folder, source))
        })
        .await?;
        let broken = |source| FileError::new("read", &self.path, source);
        let output = file.try_clone().map_err(broken)?;
        let args = ["--format=tar", commit.as_str()];
        self.git().run_into("archive", &args, output).await?;
        let (caps, path) = (*caps, self.path.clone());
        let what = format!("{} at {commit}", self.url);
        run_blocking(move || {
            let mut file = file;
            file.rewind()
                .map_err(|source| FileError::new("read", &path, source))?;
            SourceTree::from_tar(BufReader::new(file), TopFolder::Keep, &caps)
                .map_err(|source| FetchError::Tree { what, source })
        })
        .await
    }

    async fn has(&self, commit: &GitCommit) -> Result<bool, FetchError> {
        is_whole(&self.git(), commit).await
    }

    /// Fetches one commit, or all of the repository from a server that gives out no single ones.
    async fn fetch(&self, commit: &GitCommit, progress: Progress<'_>) -> Result<(), FetchError> {
        let git = Git {
            stall_limit: Some(self.stall_limit),
            ..self.git()
        };
        let only = format!("+{commit}:{}", reference(commit));
        let shallow = ["--depth=1", &only];
        let refused = match self.fetch_with(&git, &shallow, progress).await {
            Ok(()) if self.has(commit).await? => return Ok(()),
            Ok(()) => return Err(self.no_commit(commit)),
            Err(error @ FetchError::Git { .. }) => error,
            Err(error) => return Err(error),
        };
        tracing::debug!(%refused, url = %self.url, "fetching the whole repository");
        let heads = "+refs/heads/*:refs/wheelfarm/heads/*";
        let tags = "+refs/tags/*:refs/wheelfarm/tags/*";
        let mut all = vec![heads, tags];
        if self.path.join("shallow").exists() {
            all.insert(0, "--unshallow");
        }
        self.fetch_with(&git, &all, progress).await?;
        let object = format!("{commit}^{{commit}}");
        if self
            .git()
            .ask("cat-file", &["-e", &object])
            .await?
            .is_none()
        {
            return Err(self.no_commit(commit));
        }
        let args = [&reference(commit), commit.as_str()];
        self.git().run("update-ref", &args, &|_| {}).await?;
        Ok(())
    }

    async fn fetch_with(
        &self,
        git: &Git<'_>,
        args: &[&str],
        progress: Progress<'_>,
    ) -> Result<(), FetchError> {
        let (options, references): (Vec<&str>, Vec<&str>) =
            args.iter().partition(|arg| arg.starts_with("--"));
        let mut all = vec![
            "--progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--force",
        ];
        all.extend(options);
        all.extend(["--", self.url.as_str()]);
        all.extend(references);
        git.run("fetch", &all, progress).await.map(drop)
    }

    fn no_commit(&self, commit: &GitCommit) -> FetchError {
        FetchError::NoCommit {
            url: self.url.clone(),
            commit: commit.clone(),
        }
    }

    /// The submodules of a commit that has been fetched.
    async fn submodules(&self, place: &Place) -> Result<Vec<Place>, FetchError> {
        let git = self.git();
        let commit = place.commit.as_str();
        let args = ["-r", "-z", "--full-tree", commit];
        let listing = git.run("ls-tree", &args, &|_| {}).await?;
        let links = gitlinks(&listing);
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let blob = format!("{commit}:.gitmodules");
        let args = ["--null", "--list", "--blob", &blob];
        let settings = git.ask("config", &args).await?.unwrap_or_default();
        let modules = modules(&settings);
        let mut places = Vec::new();
        for (path, commit) in links {
            let module = modules.iter().find(|module| module.path == path);
            let address = module.filter(|module| !module.url.is_empty());
            let Some(module) = address else {
                let url = self.url.clone();
                return Err(FetchError::NoSubmoduleUrl { url, path });
            };
            if module.update == "none" {
                continue;
            }
            places.push(self.submodule(place, module, commit)?);
        }
        Ok(places)
    }

    fn submodule(
        &self,
        parent: &Place,
        module: &Module,
        commit: GitCommit,
    ) -> Result<Place, FetchError> {
        let url = self.url.submodule(&module.url);
        let url = url.map_err(|source| FetchError::SubmoduleUrl {
            url: self.url.clone(),
            path: module.path.clone(),
            source,
        })?;
        let path: TreePath = module.path.parse().map_err(|error| FetchError::Tree {
            what: self.url.to_string(),
            source: TreeError::Path(error),
        })?;
        let folder = match &parent.folder {
            Some(folder) => path.below(folder),
            None => path,
        };
        Ok(Place {
            folder: Some(folder),
            url,
            commit,
        })
    }
}

/// A repository is of one kind, and the kind shows in the length of its names.
fn object_format(commit: &GitCommit) -> &'static str {
    if commit.as_str().len() == 40 {
        "sha1"
    } else {
        "sha256"
    }
}

/// Whether the commit is there with all of its files: its reference is written last.
async fn is_whole(git: &Git<'_>, commit: &GitCommit) -> Result<bool, FetchError> {
    let reference = format!("{}^{{commit}}", reference(commit));
    let args = ["--quiet", "--verify", "--end-of-options", &reference];
    let found = git.ask("rev-parse", &args).await?;
    Ok(found.is_some_and(|found| found.trim_ascii() == commit.as_str().as_bytes()))
}

/// The reference that keeps a commit, and shows that it is whole.
fn reference(commit: &GitCommit) -> String {
    format!("refs/wheelfarm/commits/{commit}")
}

/// Waits until nobody else works in the folder. Can be dropped.
async fn lock(folder: &Path, progress: Progress<'_>) -> Result<File, FetchError> {
    let path = folder.join("lock");
    let folder = folder.to_owned();
    let place = path.clone();
    let file = run_blocking(move || {
        files::create_folder(&folder)?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&place)
            .map_err(|source| FileError::new("open", &place, source))
    })
    .await?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    progress(FetchProgress::Waiting);
                    told = true;
                }
                // Waiting in the kernel would hold a thread that nothing can call back.
                time::sleep(Duration::from_millis(100)).await;
            }
            Err(TryLockError::Error(source)) => {
                return Err(FileError::new("lock", &path, source).into());
            }
        }
    }
}

/// A git that was killed leaves its locks, and each later git would give up before them. Only the
/// holder of our own lock may remove them.
fn remove_stale_locks(repository: &Path) -> Result<(), FileError> {
    for name in [
        "shallow.lock",
        "packed-refs.lock",
        "config.lock",
        "HEAD.lock",
    ] {
        let path = repository.join(name);
        match fs_err::remove_file(&path) {
            Ok(()) => tracing::warn!(path = %path.display(), "removed the lock of a killed git"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FileError::new("remove", &path, source)),
        }
    }
    Ok(())
}

/// Puts the files of a commit in their place.
fn graft(
    tree: &mut SourceTree,
    part: SourceTree,
    place: &Place,
    caps: &TreeCaps,
) -> Result<(), FetchError> {
    let fault = |source| FetchError::Tree {
        what: format!("{} at {}", place.url, place.commit),
        source,
    };
    let Some(folder) = &place.folder else {
        *tree = part;
        return Ok(());
    };
    for (path, entry) in part.iter() {
        tree.insert(path.below(folder), entry.clone())
            .map_err(fault)?;
    }
    let count = u64::try_from(tree.len()).unwrap_or(u64::MAX);
    if count > caps.members {
        return Err(fault(TreeError::TooManyMembers { cap: caps.members }));
    }
    let lengths = tree.iter().map(|(_, entry)| match entry {
        TreeEntry::File { bytes, .. } => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        TreeEntry::Symlink { .. } => 0,
    });
    if lengths.sum::<u64>() > caps.total_bytes {
        let cap_bytes = caps.total_bytes;
        return Err(fault(TreeError::TooLarge { cap_bytes }));
    }
    Ok(())
}
