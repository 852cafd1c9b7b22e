//! True indexes on a Hub: a static Space.
//!
//! What a repository's address answers is text/plain, which pip takes for no index. A Space of the kind
//! `static` is served as it lies, with types by the endings of names; its pages point at the wheels
//! in their own repository.

use std::collections::{BTreeMap, BTreeSet};

use super::address::{Endpoint, Repository, RepositoryKind};
use super::api::{Branch, Visibility};
use super::attributes;
use super::commit::Draft;
use super::error::HubError;
use super::shelf::{HubOptions, HubShelf, MAIN};
use crate::shelf::{Change, Head};

/// The longest label of a host's name (RFC 1035). For longer ones the Hub makes up another.
const LABEL_CHARS: usize = 63;

const README: &str = "README.md";
const README_TEXT: &str = "\
---
title: Wheels
sdk: static
pinned: false
---

Indexes that pip and uv install wheels from. Made by wheelfarm: changes by hand are lost.
";

const START: &str = "index.html";
const START_TEXT: &str = "\
<!DOCTYPE html>
<html><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url=whl/index.html\"></head>
<body><a href=\"whl/index.html\">whl/index.html</a></body></html>
";

/// A static Space that indexes are published to.
#[derive(Debug)]
pub struct IndexSpace {
    shelf: HubShelf,
    url: String,
}

/// What a Space has.
#[derive(Debug, Clone)]
pub struct SpaceState {
    parent: Option<String>,
    there: BTreeSet<String>,
}

impl IndexSpace {
    /// The Space of `options`, made for everybody if it is not there. `url` is where it is shown, for Hubs
    /// that show Spaces elsewhere than huggingface.co does.
    pub async fn open(options: HubOptions, url: Option<&str>) -> Result<Self, HubError> {
        let url = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => space_url(&options.endpoint, &options.repository)?,
        };
        let options = HubOptions {
            create: Some(Visibility::Public),
            ..options
        };
        let shelf = HubShelf::open(options).await?;
        Ok(Self { shelf, url })
    }

    /// Where it is shown, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has, to be changed; it is made if it is not there.
    pub async fn read(&self) -> Result<SpaceState, HubError> {
        Ok(match self.shelf.repository_for_writing().await? {
            Branch::At(parent) => {
                let there = self.shelf.api.tree(&parent).await?;
                SpaceState {
                    parent: Some(parent),
                    there: there.into_keys().collect(),
                }
            }
            Branch::Missing | Branch::NoRepository => SpaceState {
                parent: None,
                there: BTreeSet::new(),
            },
        })
    }

    /// Makes `files` what the Space has, in one commit; what else was there is removed. Fails with nothing
    /// changed when it has not what was read any more.
    pub async fn publish(
        &self,
        SpaceState { parent, there }: &SpaceState,
        files: &BTreeMap<String, Vec<u8>>,
        title: &str,
    ) -> Result<Head, HubError> {
        let api = &self.shelf.api;
        let change = change(files, there, title);
        let lines = self.shelf.lines(parent.as_deref(), &change).await?;
        if let Some(parent) = parent {
            if lines.is_empty() {
                return Ok(Head(parent.clone()));
            }
            let limit = self.shelf.commits_per_hour;
            api.check_budget(&[MAIN], 1, limit).await?;
        }
        let draft = Draft {
            branch: MAIN,
            parent: parent.as_deref(),
            title,
            notes: "",
            lines: &lines,
        };
        api.commit(&draft).await.map(Head)
    }
}

/// What makes `files` all that there is.
fn change(files: &BTreeMap<String, Vec<u8>>, there: &BTreeSet<String>, title: &str) -> Change {
    let mut put = files.clone();
    put.entry(START.to_owned())
        .or_insert_with(|| START_TEXT.as_bytes().to_vec());
    // The Hub makes one that says what kind of Space it is, and people may write into it.
    if !there.contains(README) {
        put.insert(README.to_owned(), README_TEXT.as_bytes().to_vec());
    }
    let is_kept = |path: &&String| {
        put.contains_key(*path) || [README, attributes::FILE_NAME].contains(&path.as_str())
    };
    let delete = there
        .iter()
        .filter(|path| !is_kept(path))
        .cloned()
        .collect();
    Change {
        title: title.to_owned(),
        add: Vec::new(),
        put,
        delete,
    }
}

/// Where huggingface.co shows a static Space: `https://owner-space.static.hf.space`.
fn space_url(endpoint: &Endpoint, space: &Repository) -> Result<String, HubError> {
    let unknown = || HubError::SpaceAddress {
        endpoint: endpoint.to_string(),
    };
    let label: String = format!("{}-{}", space.owner(), space.name())
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    if !endpoint.is_public_hub() || label.len() > LABEL_CHARS {
        return Err(unknown());
    }
    Ok(format!("https://{label}.static.hf.space"))
}

/// The Space that `text` (`owner/name`) names.
pub fn space(text: &str) -> Result<Repository, super::AddressError> {
    let text = text.strip_prefix("hf://spaces/").unwrap_or(text);
    Repository::new(RepositoryKind::Space, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_shown_at_a_host_of_their_own() {
        let url = |text: &str| space_url(&Endpoint::default(), &space(text).unwrap());
        assert_eq!(
            url("Me/Wheel_Index.cu130").unwrap(),
            "https://me-wheel-index-cu130.static.hf.space"
        );
        assert!(url(&format!("me/{}", "a".repeat(80))).is_err());
        let other = "http://127.0.0.1:1".parse().unwrap();
        let error = space_url(&other, &space("me/x").unwrap()).unwrap_err();
        insta::assert_snapshot!(error, @"the Hub `http://127.0.0.1:1` shows Spaces at an address that is not known");
    }

    #[test]
    fn what_is_no_longer_published_goes() {
        let files = BTreeMap::from([("whl/index.html".to_owned(), b"x".to_vec())]);
        let there = [".gitattributes", "README.md", "index.html", "whl/old.html"];
        let there = there.map(str::to_owned).into();
        let change = change(&files, &there, "release 2");
        let put: Vec<_> = change.put.keys().collect();
        assert_eq!(put, ["index.html", "whl/index.html"]);
        assert_eq!(change.delete, BTreeSet::from(["whl/old.html".to_owned()]));
    }
}
