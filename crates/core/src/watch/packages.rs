//! Packages: what is on their indexes and in their repositories against package.yaml and the matrix.

use std::collections::BTreeMap;

use super::torch::given;
use super::{
    Answer, Answers, Comparison, MatrixChange, News, NewsKind, NotChecked, Question, ReleaseChange,
    ReleaseChangeKind, listed, reason, source_question,
};
use crate::digest::Sha256Digest;
use crate::ident::{GitCommit, PackageName};
use crate::matrix::MatrixPackage;
use crate::package::{Package, PackageRelease};
use crate::source::simple_index::{self, IndexFile, IndexRelease};
use crate::source::{GitRefs, GitUrl, IndexUrl, Source};
use crate::version::PackageVersion;

/// Notes what is out there of a package.
pub(super) fn compare(
    entry: &MatrixPackage,
    package: &Package,
    answers: &Answers,
    comparison: &mut Comparison,
) {
    let Some(newest) = newest(package.releases.iter()) else {
        return;
    };
    let look = Look {
        entry,
        package,
        newest: &newest.version.value,
    };
    comparison.news.extend(look.unused());
    for (question, releases) in by_question(package) {
        match answers.get(&question) {
            Some(Answer::Files(files)) => {
                if let Question::Project { index, .. } = &question {
                    look.index(index, files, &releases, &mut comparison.news);
                }
            }
            Some(Answer::Refs(refs)) => {
                if let Question::Repository(url) = &question {
                    look.repository(url, refs, &releases, &mut comparison.news);
                }
            }
            other => comparison.not_checked.push(NotChecked {
                subject: match &question {
                    Question::Project { .. } => format!("releases of {}", package.name),
                    Question::Repository(url) => format!("tags of {}, {url}", package.name),
                },
                reason: reason(other),
            }),
        }
    }
}

/// A release and its place in package.yaml.
type Placed<'a> = (usize, &'a PackageRelease);

/// The releases by where news of them would be.
fn by_question(package: &Package) -> BTreeMap<Question, Vec<Placed<'_>>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, release) in package.releases.iter().enumerate() {
        if let Some(question) = source_question(&release.source) {
            found.entry(question).or_default().push((index, release));
        }
    }
    found
}

/// The release of the highest version, the first of equal ones.
fn newest<'a>(
    releases: impl DoubleEndedIterator<Item = &'a PackageRelease>,
) -> Option<&'a PackageRelease> {
    // Of equal ones, `max_by` takes the last.
    releases
        .rev()
        .max_by(|one, other| one.version.value.cmp(&other.version.value))
}

fn newest_placed<'a, 'p>(releases: &'a [Placed<'p>]) -> Option<&'a Placed<'p>> {
    let by_version =
        |one: &&Placed<'_>, other: &&Placed<'_>| one.1.version.value.cmp(&other.1.version.value);
    releases.iter().rev().max_by(by_version)
}

struct Look<'a> {
    entry: &'a MatrixPackage,
    package: &'a Package,
    newest: &'a PackageVersion,
}

impl Look<'_> {
    fn name(&self) -> &PackageName {
        &self.package.name
    }

    fn news(&self, kind: NewsKind, subject: String, there: String, link: String) -> News {
        News {
            kind,
            subject,
            there,
            here: listed(self.in_matrix()),
            link,
            notes: Vec::new(),
            change: None,
            release: None,
        }
    }

    fn in_matrix(&self) -> impl Iterator<Item = &PackageVersion> {
        self.entry.versions.iter().map(|version| &version.value)
    }

    /// PEP 440: a pre-release is for those who have one already.
    fn is_news(&self, version: &PackageVersion) -> bool {
        version > self.newest && (!version.is_prerelease() || self.newest.is_prerelease())
    }

    fn add_version(&self, version: &PackageVersion) -> MatrixChange {
        MatrixChange::AddVersion {
            package: self.name().clone(),
            version: version.clone(),
        }
    }

    /// A release that package.yaml has and the matrix does not.
    fn unused(&self) -> Option<News> {
        let is_later = self
            .in_matrix()
            .max()
            .is_some_and(|in_use| self.newest > in_use);
        is_later.then(|| News {
            change: Some(self.add_version(self.newest)),
            ..self.news(
                NewsKind::PackageUnused,
                self.name().to_string(),
                self.newest.to_string(),
                self.package.upstream.clone(),
            )
        })
    }

    fn index(
        &self,
        index: &IndexUrl,
        files: &[IndexFile],
        releases: &[Placed<'_>],
        news: &mut Vec<News>,
    ) {
        let on_index = simple_index::releases(files, self.name());
        for (_, release) in releases {
            let version = &release.version.value;
            if let Source::Sdist { sha256, .. } = &release.source
                && self.in_matrix().any(|in_use| in_use == version)
            {
                let found = on_index.iter().find(|found| found.version == *version);
                news.extend(self.in_use(index, version, *sha256, found));
            }
        }
        let fits = |found: &&IndexRelease| self.is_news(&found.version) && found.yanked().is_none();
        let later: Vec<_> = on_index.iter().filter(fits).collect();
        if let (Some((found, before)), Some((like, release))) =
            (later.split_last(), newest_placed(releases))
        {
            news.push(self.release(index, found, before, (*like, release)));
        }
    }

    /// A release in the matrix that is not as its index has it.
    fn in_use(
        &self,
        index: &IndexUrl,
        version: &PackageVersion,
        sha256: Sha256Digest,
        found: Option<&IndexRelease>,
    ) -> Option<News> {
        let subject = format!("{} {version}", self.name());
        let item = |kind, there: String| {
            let link = self.link(index, Some(version));
            self.news(kind, subject.clone(), there, link)
        };
        let sdists = found.map(|found| &found.sdists[..]).unwrap_or_default();
        let fits = |file: &&IndexFile| file.sha256.is_none_or(|listed| listed == sha256);
        match (sdists.iter().find(fits), sdists.first()) {
            (Some(file), _) => {
                let reason = file.yanked.as_ref()?;
                let mut item = item(NewsKind::PackageYanked, "withdrawn".to_owned());
                item.notes.extend(given(reason));
                Some(item)
            }
            (None, Some(other)) => {
                let listed = other.sha256.map(|sha256| sha256.to_string());
                let mut item = item(NewsKind::PackageDigest, listed.unwrap_or_default());
                item.notes.push(format!("package.yaml pins {sha256}"));
                item.notes.push(
                    "a published file never changes: find out which of the two is genuine"
                        .to_owned(),
                );
                Some(item)
            }
            (None, None) => {
                let mut item = item(NewsKind::PackageMissing, "not on the index".to_owned());
                item.notes
                    .push("it has no `.tar.gz` sdist there".to_owned());
                Some(item)
            }
        }
    }

    fn release(
        &self,
        index: &IndexUrl,
        found: &IndexRelease,
        before: &[&IndexRelease],
        (like, release): Placed<'_>,
    ) -> News {
        let version = &found.version;
        let mut item = self.news(
            NewsKind::PackageRelease,
            self.name().to_string(),
            version.to_string(),
            self.link(index, Some(version)),
        );
        if !before.is_empty() {
            let before = before.iter().map(|found| &found.version);
            item.notes.push(format!("between them: {}", listed(before)));
        }
        item.change = Some(self.add_version(version));
        let Some(sdist) = found.sdist() else {
            item.notes
                .push("it has no `.tar.gz` sdist there: its source needs a `git` entry".to_owned());
            return item;
        };
        let Some(sha256) = sdist.sha256 else {
            item.notes
                .push("the index gives no sha256 of its sdist: write the entry by hand".to_owned());
            return item;
        };
        if let Some(range) = &sdist.requires_python
            && *range != release.needs.python.to_string()
        {
            let needs = match release.needs.python.to_string() {
                needs if needs.is_empty() => "any".to_owned(),
                needs => format!("`{needs}`"),
            };
            item.notes.push(format!(
                "its requires-python is `{range}`; {} needs {needs}",
                release.version.value
            ));
        }
        item.notes.extend(review(self.name(), version, release));
        item.release = Some(ReleaseChange {
            package: self.name().clone(),
            like,
            kind: ReleaseChangeKind::Sdist {
                version: version.clone(),
                sha256,
            },
        });
        item
    }

    fn link(&self, index: &IndexUrl, version: Option<&PackageVersion>) -> String {
        match version {
            Some(version) if *index == IndexUrl::default() => {
                format!("https://pypi.org/project/{}/{version}/", self.name())
            }
            _ => index.project_page(self.name()),
        }
    }

    fn repository(
        &self,
        url: &GitUrl,
        refs: &GitRefs,
        releases: &[Placed<'_>],
        news: &mut Vec<News>,
    ) {
        let tags = refs
            .tags
            .iter()
            .filter_map(|(tag, commit)| Some((tag_version(tag, self.name())?, tag, commit)));
        let latest = tags.filter(|(version, ..)| self.is_news(version)).max();
        if let (Some((version, tag, commit)), Some((like, release))) =
            (latest, newest_placed(releases))
        {
            let there = format!("{version}, tag {tag}, {commit}");
            let mut item = self.news(
                NewsKind::GitTag,
                self.name().to_string(),
                there,
                url.to_string(),
            );
            item.change = Some(self.add_version(&version));
            item.notes.extend(review(self.name(), &version, release));
            item.release = Some(ReleaseChange {
                package: self.name().clone(),
                like: *like,
                kind: ReleaseChangeKind::Git {
                    version: version.clone(),
                    commit: commit.clone(),
                },
            });
            news.push(item);
        }
        for (index, release) in releases {
            news.extend(self.tip(url, refs, *index, release));
        }
    }

    /// Says where the default branch has gone since, to a release that was pinned on a branch: one
    /// that was pinned at a tag follows tags.
    fn tip(
        &self,
        url: &GitUrl,
        refs: &GitRefs,
        index: usize,
        release: &PackageRelease,
    ) -> Option<News> {
        let Source::Git { commit: pinned, .. } = &release.source else {
            return None;
        };
        let head: &GitCommit = refs.head.as_ref()?;
        let version = &release.version.value;
        let is_tagged = refs.tags.iter().any(|(_, commit)| commit == pinned);
        let is_in_use = self.in_matrix().any(|in_use| in_use == version);
        if !is_in_use || is_tagged || head == pinned {
            return None;
        }
        let subject = format!("{} {version}", self.name());
        let mut item = self.news(NewsKind::GitTip, subject, head.to_string(), url.to_string());
        item.here = pinned.to_string();
        item.notes.push(
            "the tip of the default branch; its version may be another one by now".to_owned(),
        );
        item.notes.extend(review(self.name(), version, release));
        item.release = Some(ReleaseChange {
            package: self.name().clone(),
            like: index,
            kind: ReleaseChangeKind::Commit(head.clone()),
        });
        Some(item)
    }
}

/// What has to be looked at before a copy of `release` is believed.
fn review(
    name: &PackageName,
    version: &PackageVersion,
    release: &PackageRelease,
) -> Option<String> {
    (!release.patches.is_empty()).then(|| {
        format!(
            "review: {} of {} must be checked: wheelfarm patch check {name}=={version}",
            match release.patches.len() {
                1 => "the patch".to_owned(),
                count => format!("the {count} patches"),
            },
            release.version.value,
        )
    })
}

/// The version that a tag is named after: `v2.2.0`, `flash-attn-2.8.3`, `2.8.3`.
fn tag_version(tag: &str, name: &PackageName) -> Option<PackageVersion> {
    let tag = match tag.char_indices().nth(name.as_str().len()) {
        Some((at, '-' | '_' | '/'))
            if PackageName::normalise(&tag[..at]).is_ok_and(|other| other == *name) =>
        {
            &tag[at + 1..]
        }
        _ => tag,
    };
    tag.strip_prefix(['v', 'V']).unwrap_or(tag).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: &str, want: Option<&str>) {
        let found = tag_version(tag, &"flash-attn".parse().unwrap());
        let found = found.map(|version| version.to_string());
        assert_eq!(found.as_deref(), want, "{tag}");
    }

    #[test]
    fn tags_are_named_after_versions() {
        check("v2.8.3", Some("2.8.3"));
        check("2.8.3.post1", Some("2.8.3.post1"));
        check("flash_attn-v2.8.3", Some("2.8.3"));
        check("flash-attn/2.8", Some("2.8"));
        check("v2.8.0rc1", Some("2.8.0rc1"));
        check("fa4-v4.0.0.beta4", None);
        check("nightly", None);
        check("2.8.3-post1", None);
        check("ü", None);
    }
}
