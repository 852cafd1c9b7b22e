//! Commits of real repositories.

use std::path::{Path, PathBuf};
use std::process::Command;

use wheelfarm_core::source::{GitUrl, Source, Submodules};

use super::server::{Reply, Server};
use super::{FetchError, FetchProgress, Told, fetcher, files_below, paths, report};
use crate::files::write_atomic;

/// A repository in a folder.
struct Repo {
    folder: PathBuf,
}

impl Repo {
    fn new(parent: &Path, name: &str) -> Self {
        Self::with_format(parent, name, "sha1")
    }

    fn with_format(parent: &Path, name: &str, format: &str) -> Self {
        let folder = parent.join(name);
        fs_err::create_dir_all(&folder).unwrap();
        let repo = Self { folder };
        let format = format!("--object-format={format}");
        repo.git(&["init", "--quiet", "--initial-branch=main", &format]);
        repo
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["-c", "user.name=A", "-c", "user.email=a@x.org"])
            .args(["-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.folder.join(path);
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        write_atomic(&place, text.as_bytes()).unwrap();
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }
}

fn source(url: &str, commit: &str, submodules: Submodules) -> Source {
    Source::Git {
        url: url.parse().unwrap(),
        commit: commit.parse().unwrap(),
        submodules,
    }
}

fn at(repo: &Repo, commit: &str) -> Source {
    source(&repo.url(), commit, Submodules::Off)
}

#[tokio::test]
async fn a_commit_comes_as_it_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    repo.write("setup.py", "version = '$Format:%H$'\n");
    repo.write("tests/x.py", "$Id$\n");
    repo.write("win.txt", "a\n");
    let attributes = "setup.py export-subst\ntests export-ignore\n*.py ident\nwin.txt eol=crlf\n";
    repo.write(".gitattributes", attributes);
    std::os::unix::fs::symlink("setup.py", repo.folder.join("link")).unwrap();
    let first = repo.commit();
    repo.write("later.py", "");
    repo.commit();
    let cache = folder.path().join("cache");
    let tree = fetcher(&cache)
        .fetch(&at(&repo, &first), |_| {})
        .await
        .unwrap();
    assert_eq!(
        paths(&tree),
        [
            ".gitattributes",
            "link",
            "setup.py",
            "tests/x.py",
            "win.txt"
        ]
    );
    let file = |path: &str| tree.file(&path.parse().unwrap()).unwrap();
    assert_eq!(file("setup.py"), b"version = '$Format:%H$'\n");
    assert_eq!(file("tests/x.py"), b"$Id$\n");
    assert_eq!(file("win.txt"), b"a\n");
}

#[tokio::test]
async fn a_commit_in_the_cache_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    repo.write("setup.py", "1\n");
    let first = repo.commit();
    repo.write("setup.py", "2\n");
    let second = repo.commit();
    let fetcher = fetcher(&folder.path().join("cache"));
    let (a, b) = (at(&repo, &first), at(&repo, &second));
    let before = fetcher.fetch(&a, |_| {}).await.unwrap();
    fetcher.fetch(&b, |_| {}).await.unwrap();
    fs_err::remove_dir_all(&repo.folder).unwrap();
    let told = Told::default();
    let again = fetcher.fetch(&a, told.listener()).await.unwrap();
    assert_eq!(again.digest(), before.digest());
    assert!(told.has(|step| *step == FetchProgress::Cached));
}

#[tokio::test]
async fn submodules_come_at_their_recorded_commits() {
    let folder = tempfile::tempdir().unwrap();
    let inner = Repo::new(folder.path(), "inner");
    inner.write("deep.h", "");
    inner.commit();
    let middle = Repo::new(folder.path(), "middle");
    middle.write("middle.h", "old");
    middle.git(&[
        "submodule",
        "--quiet",
        "add",
        "../inner",
        "third party/inner",
    ]);
    middle.commit();
    let outer = Repo::new(folder.path(), "outer");
    outer.write("setup.py", "");
    outer.git(&["submodule", "--quiet", "add", &middle.url(), "csrc/middle"]);
    let commit = outer.commit();
    // What comes later in a submodule is not what was recorded.
    middle.write("middle.h", "new");
    middle.commit();
    let fetcher = fetcher(&folder.path().join("cache"));
    let with = source(&outer.url(), &commit, Submodules::On);
    let tree = fetcher.fetch(&with, |_| {}).await.unwrap();
    assert_eq!(
        paths(&tree),
        [
            ".gitmodules",
            "csrc/middle/.gitmodules",
            "csrc/middle/middle.h",
            "csrc/middle/third party/inner/deep.h",
            "setup.py",
        ]
    );
    let middle_h = "csrc/middle/middle.h".parse().unwrap();
    assert_eq!(tree.file(&middle_h), Some(&b"old"[..]));
    let tree = fetcher.fetch(&at(&outer, &commit), |_| {}).await.unwrap();
    assert_eq!(paths(&tree), [".gitmodules", "setup.py"]);
}

#[tokio::test]
async fn a_submodule_cannot_reach_what_its_parent_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let outer = Repo::new(folder.path(), "outer");
    let inner = Repo::new(folder.path(), "inner");
    inner.write("x", "");
    let id = inner.commit();
    let link = format!("160000,{id},sub");
    outer.git(&["update-index", "--add", "--cacheinfo", &link]);
    let fetcher = fetcher(&folder.path().join("cache"));
    for (module, want) in [
        ("", "has no address in `.gitmodules`"),
        ("url = ext::sh -c false", "cannot be fetched"),
        ("url = --upload-pack=false", "cannot be fetched"),
    ] {
        outer.write(
            ".gitmodules",
            &format!("[submodule \"s\"]\npath = sub\n{module}\n"),
        );
        outer.git(&["add", ".gitmodules"]);
        outer.git(&["commit", "--quiet", "--message=x"]);
        let commit = outer.git(&["rev-parse", "HEAD"]);
        let source = source(&outer.url(), &commit, Submodules::On);
        let error = fetcher.fetch(&source, |_| {}).await.unwrap_err();
        assert!(error.to_string().contains(want), "{}", report(&error));
    }
}

#[tokio::test]
async fn what_is_no_commit_of_the_repository_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    repo.write("a", "1");
    repo.commit();
    repo.git(&["tag", "--annotate", "--message=x", "v1"]);
    let tag = repo.git(&["rev-parse", "v1"]);
    let fetcher = fetcher(&folder.path().join("cache"));
    let missing = "0123456789012345678901234567890123456789";
    for id in [missing, &tag] {
        let error = fetcher.fetch(&at(&repo, id), |_| {}).await.unwrap_err();
        let text = report(&error);
        assert!(matches!(error, FetchError::NoCommit { .. }), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_gives_out_no_single_commits_is_fetched_whole() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    repo.write("a", "1");
    let first = repo.commit();
    repo.write("a", "2");
    repo.commit();
    repo.git(&["update-server-info"]);
    // Plain files behind HTTP: git's oldest transport, which cannot fetch a part.
    let mut server = Server::new().await;
    let files = repo.folder.join(".git");
    for path in files_below(&files) {
        let content = fs_err::read(files.join(&path)).unwrap();
        let reply = Reply::ok("text/plain", content);
        if path == "info/refs" {
            let asked = "/repo/info/refs?service=git-upload-pack";
            server.on(asked, reply.clone());
        }
        server.on(&format!("/repo/{path}"), reply);
    }
    let source = source(&server.url("/repo"), &first, Submodules::Off);
    let fetcher = fetcher(&folder.path().join("cache"));
    let res = server.during(fetcher.fetch(&source, |_| {})).await;
    let tree = res.unwrap_or_else(|error| panic!("{}", report(&error)));
    assert_eq!(tree.file(&"a".parse().unwrap()), Some(&b"1"[..]));
}

#[tokio::test]
async fn repositories_named_by_sha256_work() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::with_format(folder.path(), "repo", "sha256");
    repo.write("a", "1");
    let commit = repo.commit();
    assert_eq!(commit.len(), 64);
    let fetcher = fetcher(&folder.path().join("cache"));
    let tree = fetcher.fetch(&at(&repo, &commit), |_| {}).await.unwrap();
    assert_eq!(paths(&tree), ["a"]);
}

#[tokio::test]
async fn fetches_of_one_repository_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    let commits: Vec<_> = (0..4)
        .map(|number| {
            repo.write("a", &number.to_string());
            repo.commit()
        })
        .collect();
    let fetcher = fetcher(&folder.path().join("cache"));
    let sources: Vec<_> = commits.iter().map(|commit| at(&repo, commit)).collect();
    let fetches = sources.iter().map(|source| fetcher.fetch(source, |_| {}));
    for (number, res) in futures_util::future::join_all(fetches)
        .await
        .iter()
        .enumerate()
    {
        let tree = res.as_ref().unwrap();
        let text = number.to_string();
        assert_eq!(tree.file(&"a".parse().unwrap()), Some(text.as_bytes()));
    }
}

#[tokio::test]
async fn the_locks_of_a_killed_git_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    repo.write("a", "1");
    let first = repo.commit();
    repo.write("a", "2");
    let second = repo.commit();
    let cache = folder.path().join("cache");
    let fetcher = fetcher(&cache);
    fetcher.fetch(&at(&repo, &first), |_| {}).await.unwrap();
    let shallow = files_below(&cache)
        .into_iter()
        .find(|path| path.ends_with("/shallow"));
    let lock = cache.join(shallow.unwrap()).with_extension("lock");
    write_atomic(&lock, b"").unwrap();
    fetcher.fetch(&at(&repo, &second), |_| {}).await.unwrap();
    assert!(!lock.exists());
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told_in_gits_words() {
    let folder = tempfile::tempdir().unwrap();
    let url: GitUrl = "file:///nowhere/repo".parse().unwrap();
    let missing = "0123456789012345678901234567890123456789";
    let source = source(url.as_str(), missing, Submodules::Off);
    let fetcher = fetcher(&folder.path().join("cache"));
    let error = fetcher.fetch(&source, |_| {}).await.unwrap_err();
    let text = report(&error);
    let want = "`git fetch` for `file:///nowhere/repo` failed with exit status: 128";
    assert_eq!(error.to_string(), want, "{text}");
    assert!(
        text.contains("git said: fatal: '/nowhere/repo' does not"),
        "{text}"
    );
}

#[tokio::test]
async fn the_head_and_the_tags_of_a_repository_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path(), "repo");
    repo.write("setup.py", "1\n");
    let first = repo.commit();
    repo.git(&["tag", "v1.0"]);
    repo.write("setup.py", "2\n");
    let second = repo.commit();
    repo.git(&["tag", "--annotate", "--message=x", "v2.0"]);
    repo.git(&["branch", "other", &first]);
    let cache = folder.path().join("cache");
    let url: GitUrl = repo.url().parse().unwrap();
    let refs = fetcher(&cache).remote_refs(&url, |_| {}).await.unwrap();
    assert_eq!(refs.head, Some(second.parse().unwrap()));
    let tags: Vec<_> = refs
        .tags
        .iter()
        .map(|(tag, commit)| (tag.as_str(), commit.as_str()))
        .collect();
    assert_eq!(tags, [("v1.0", &*first), ("v2.0", &*second)]);
    assert!(!cache.exists(), "nothing is fetched");

    let nowhere: GitUrl = "file:///nonexistent/repo".parse().unwrap();
    let error = fetcher(&cache)
        .remote_refs(&nowhere, |_| {})
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`git ls-remote` for `file:///nonexistent/repo` failed"),
        "{error}"
    );
}
