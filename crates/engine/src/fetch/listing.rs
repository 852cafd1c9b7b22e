//! What there is to fetch: the references of a git repository, the sdists of a project.
//!
//! These answers change from one day to the next, so nothing of them is kept.

use wheelfarm_core::ident::{GitCommit, PackageName};
use wheelfarm_core::source::simple_index::{self, IndexFile};
use wheelfarm_core::source::{GitRefs, GitUrl, IndexUrl};
use wheelfarm_core::version::PackageVersion;

use super::git_command::{Git, LocalRepositories};
use super::{FetchError, FetchProgress, Fetcher, Progress};

/// A commit that a repository has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitTip {
    /// The whole name of the reference: `refs/tags/v2.2.0`. Of `HEAD`, that of its branch where the
    /// server tells it.
    pub reference: String,
    /// What it points to now.
    pub commit: GitCommit,
}

impl Fetcher {
    /// The commit of a branch, a tag or `HEAD`. A tag comes before a branch of the same name, as with
    /// git itself.
    pub async fn git_tip(&self, url: &GitUrl, name: &str) -> Result<GitTip, FetchError> {
        let no_reference = || FetchError::NoReference {
            url: url.clone(),
            reference: name.to_owned(),
        };
        if !is_reference(name) {
            return Err(no_reference());
        }
        let peeled = format!("{name}^{{}}");
        let args = ["--quiet", "--symref", "--", url.as_str(), name, &peeled];
        let listing = self.ls_remote(url, &args, &|_| {}).await?;
        tip(&listing, name).ok_or_else(no_reference)
    }

    /// The head and the tags of a repository.
    pub async fn remote_refs(
        &self,
        url: &GitUrl,
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<GitRefs, FetchError> {
        let args = ["--", url.as_str(), "HEAD", "refs/tags/*"];
        let listing = self.ls_remote(url, &args, &progress).await?;
        Ok(GitRefs::parse(&listing))
    }

    async fn ls_remote(
        &self,
        url: &GitUrl,
        args: &[&str],
        progress: Progress<'_>,
    ) -> Result<String, FetchError> {
        let git = Git {
            url,
            repository: None,
            local: LocalRepositories::of(url),
            // It says nothing while it works, so this bounds the whole of it.
            stall_limit: Some(self.options.stall_limit),
        };
        let listing = git.run("ls-remote", args, progress).await?;
        Ok(String::from_utf8_lossy(&listing).into_owned())
    }

    /// Every sdist of a project on an index, from old to new.
    pub async fn sdists(
        &self,
        index: &IndexUrl,
        project: &PackageName,
    ) -> Result<Vec<(PackageVersion, IndexFile)>, FetchError> {
        let files = self.listed_files(index, project, &|_| {}).await?;
        Ok(simple_index::sdists(&files, project))
    }

    /// The newest sdist of a project that an installer would take.
    pub async fn newest_sdist(
        &self,
        index: &IndexUrl,
        project: &PackageName,
    ) -> Result<(PackageVersion, IndexFile), FetchError> {
        let files = self.listed_files(index, project, &|_| {}).await?;
        let newest = simple_index::newest_sdist(&files, project);
        newest.ok_or_else(|| FetchError::NoSdists {
            index: index.clone(),
            project: project.clone(),
        })
    }
}

/// Whether git would take the text for the name of a reference, and for nothing else
/// (git-check-ref-format).
fn is_reference(name: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    !name.is_empty() && !name.starts_with('-') && !name.contains("..") && !name.contains(is_odd)
}

/// What `git ls-remote --symref` says of a name.
fn tip(listing: &str, name: &str) -> Option<GitTip> {
    let rows = || listing.lines().filter_map(|line| line.split_once('\t'));
    let commit = |wanted: &str| {
        let row = rows().find(|(first, name)| *name == wanted && !first.starts_with("ref: "));
        row.and_then(|(commit, _)| commit.parse().ok())
    };
    let branch = rows().find_map(|(first, name)| {
        let branch = first.strip_prefix("ref: ")?;
        (name == "HEAD").then_some(branch)
    });
    let (tag, head) = (format!("refs/tags/{name}"), format!("refs/heads/{name}"));
    let tip = |reference: &str, listed: &str| {
        Some(GitTip {
            reference: reference.to_owned(),
            commit: commit(listed)?,
        })
    };
    // A tag that is an object of its own has the commit under its peeled name.
    tip(&tag, &format!("{tag}^{{}}"))
        .or_else(|| tip(&tag, &tag))
        .or_else(|| tip(&head, &head))
        .or_else(|| tip(name, &format!("{name}^{{}}")))
        .or_else(|| match branch {
            Some(branch) if name == "HEAD" => tip(branch, name),
            _ => tip(name, name),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[track_caller]
    fn check(listing: &str, name: &str, want: Option<(&str, &str)>) {
        let listing = listing.replace("A\t", &format!("{A}\t"));
        let listing = listing.replace("B\t", &format!("{B}\t"));
        let tip = tip(&listing, name);
        let tip = tip
            .as_ref()
            .map(|tip| (tip.reference.as_str(), tip.commit.as_str()));
        assert_eq!(tip, want, "{name}");
    }

    #[test]
    fn a_name_means_what_git_takes_it_for() {
        check(
            "ref: refs/heads/main\tHEAD\nA\tHEAD\n",
            "HEAD",
            Some(("refs/heads/main", A)),
        );
        check("A\tHEAD\n", "HEAD", Some(("HEAD", A)));
        check("A\trefs/heads/x\n", "x", Some(("refs/heads/x", A)));
        check(
            "A\trefs/heads/x\nB\trefs/tags/x\n",
            "x",
            Some(("refs/tags/x", B)),
        );
        check(
            "A\trefs/tags/x\nB\trefs/tags/x^{}\n",
            "x",
            Some(("refs/tags/x", B)),
        );
        check(
            "A\trefs/pull/1/head\n",
            "refs/pull/1/head",
            Some(("refs/pull/1/head", A)),
        );
        // git matches from the end: another branch of that last name is not asked for.
        check("A\trefs/heads/old/x\n", "x", None);
        check("", "x", None);
    }

    #[test]
    fn what_git_would_take_for_something_else_is_no_name() {
        for good in ["HEAD", "main", "v2.2.0", "feat/x", "refs/pull/1/head"] {
            assert!(is_reference(good), "{good}");
        }
        for bad in [
            "",
            "--upload-pack=x",
            "a..b",
            "a b",
            "v*",
            "HEAD^",
            "a:b",
            "a\nb",
        ] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
