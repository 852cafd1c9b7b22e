//! The branches and tags of a repository, as `git ls-remote` lists them.

use crate::ident::GitCommit;

/// What a repository offers besides its commits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitRefs {
    /// The tip of the default branch.
    pub head: Option<GitCommit>,
    /// The tags by name, each with the commit that it leads to, in the order of the listing.
    pub tags: Vec<(String, GitCommit)>,
}

impl GitRefs {
    /// Reads the output of `git ls-remote`.
    ///
    /// An annotated tag is an object of its own: the line that ends in `^{}` has its commit
    /// (gitrevisions(7)), and comes after the line of the tag. What is neither the head nor a tag is
    /// passed over.
    pub fn parse(listing: &str) -> Self {
        let mut refs = Self::default();
        for line in listing.lines() {
            let Some((commit, name)) = line.split_once('\t') else {
                continue;
            };
            let Ok(commit) = commit.parse() else {
                continue;
            };
            if name == "HEAD" {
                refs.head = Some(commit);
                continue;
            }
            let Some(tag) = name.strip_prefix("refs/tags/") else {
                continue;
            };
            let (tag, is_peeled) = match tag.strip_suffix("^{}") {
                Some(tag) => (tag, true),
                None => (tag, false),
            };
            match refs.tags.iter_mut().find(|(other, _)| other == tag) {
                Some((_, of_tag)) if is_peeled => *of_tag = commit,
                Some(_) => {}
                None => refs.tags.push((tag.to_owned(), commit)),
            }
        }
        refs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_leads_to_its_commit() {
        let of = |digit: &str| digit.repeat(40);
        let listing = format!(
            "{}\tHEAD\n{}\trefs/heads/main\n{}\trefs/tags/v1\n{}\trefs/tags/v2\n{}\trefs/tags/v2^{{}}\n\
             From file:///x\nzz\trefs/tags/v3\n",
            of("a"),
            of("a"),
            of("b"),
            of("c"),
            of("d"),
        );
        let refs = GitRefs::parse(&listing);
        assert_eq!(refs.head, Some(of("a").parse().unwrap()));
        let tags: Vec<_> = refs
            .tags
            .iter()
            .map(|(name, commit)| (name.as_str(), commit.as_str()))
            .collect();
        assert_eq!(tags, [("v1", &*of("b")), ("v2", &*of("d"))]);
        assert_eq!(GitRefs::parse(""), GitRefs::default());
    }
}
