//! The simple index of the tree, HTML and JSON, each page marked as a draft.

use std::collections::BTreeMap;

use serde::Serialize;

use super::DRAFT;
use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::{CatalogVariant, CatalogWheel};
use crate::release::index::escaped;
use crate::release::links::Links;

/// PEP 700: `versions`, `size` and `upload-time` are there.
const API_VERSION: &str = "1.1";

/// The page that lists projects.
pub(super) fn root_html<'a>(projects: impl Iterator<Item = &'a PackageName>) -> String {
    let links = projects.map(|project| format!("<a href=\"{project}/\">{project}</a>"));
    page("Simple index", links)
}

/// The same as JSON.
pub(super) fn root_json<'a>(projects: impl Iterator<Item = &'a PackageName>) -> String {
    text(&RootPage {
        meta: META,
        projects: projects.map(|name| ProjectName { name }).collect(),
    })
}

/// The page that lists the files of a project.
pub(super) fn project_html(project: &PackageName, files: &[FileEntry<'_>]) -> String {
    let links = files.iter().map(FileEntry::link);
    page(&format!("Links for {project}"), links)
}

/// The same as JSON, with all versions of which there is a file.
pub(super) fn project_json(
    project: &PackageName,
    files: Vec<FileEntry<'_>>,
    versions: Vec<String>,
) -> String {
    text(&ProjectPage {
        files,
        meta: META,
        name: project,
        versions,
    })
}

fn page(title: &str, links: impl Iterator<Item = String>) -> String {
    let links: String = links.map(|link| link + "<br>\n").collect();
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"pypi:repository-version\" content=\"{API_VERSION}\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{DRAFT}</p>\n{links}</body>\n</html>\n"
    )
}

fn text(page: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(page)
        .expect("a page is made of text and numbers, which always have a JSON form");
    text + "\n"
}

/// Fields stand in the order of their JSON names.
#[derive(Serialize)]
struct RootPage<'a> {
    meta: Meta,
    projects: Vec<ProjectName<'a>>,
}

#[derive(Serialize)]
struct ProjectName<'a> {
    name: &'a PackageName,
}

#[derive(Serialize)]
struct ProjectPage<'a> {
    files: Vec<FileEntry<'a>>,
    meta: Meta,
    name: &'a PackageName,
    versions: Vec<String>,
}

/// PEP 691 leaves keys that begin with `_` to whoever writes the page.
#[derive(Serialize)]
struct Meta {
    #[serde(rename = "_note")]
    note: &'static str,
    #[serde(rename = "api-version")]
    api_version: &'static str,
}

const META: Meta = Meta {
    note: DRAFT,
    api_version: API_VERSION,
};

/// A file of a project: a wheel, a variant, or what the labels of a version mean.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FileEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    core_metadata: Option<Hashes>,
    /// The name that `core-metadata` had before PEP 714.
    #[serde(skip_serializing_if = "Option::is_none")]
    dist_info_metadata: Option<Hashes>,
    filename: String,
    hashes: Hashes,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    size: u64,
    upload_time: &'a str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    yanked: Option<&'a str>,
}

type Hashes = BTreeMap<&'static str, Sha256Digest>;

impl<'a> FileEntry<'a> {
    /// A plain wheel, for a page that lies `depth` folders below the root of the release.
    pub(super) fn of(wheel: &'a CatalogWheel, links: &Links, depth: usize) -> Self {
        let metadata = BTreeMap::from([("sha256", wheel.metadata_sha256)]);
        Self {
            core_metadata: Some(metadata.clone()),
            dist_info_metadata: Some(metadata),
            filename: wheel.file_name.to_string(),
            hashes: BTreeMap::from([("sha256", wheel.sha256)]),
            requires_python: wheel.requires_python.as_deref(),
            size: wheel.size_bytes,
            upload_time: &wheel.published_at,
            url: links.wheel(wheel, depth),
            yanked: wheel.yanked.as_deref(),
        }
    }

    /// A wheel as a variant.
    pub(super) fn of_variant(
        wheel: &'a CatalogWheel,
        variant: &CatalogVariant,
        links: &Links,
        depth: usize,
    ) -> Self {
        let metadata = BTreeMap::from([("sha256", variant.metadata_sha256)]);
        let commit = variant.commit.as_deref().unwrap_or("main");
        Self {
            core_metadata: Some(metadata.clone()),
            dist_info_metadata: Some(metadata),
            filename: variant.file_name.to_string(),
            hashes: BTreeMap::from([("sha256", variant.sha256)]),
            size: variant.size_bytes,
            url: links.file(&variant.path(), commit, depth),
            ..Self::of(wheel, links, depth)
        }
    }

    /// A file beside the page.
    pub(super) fn beside(
        file_name: &str,
        sha256: Sha256Digest,
        size_bytes: u64,
        published_at: &'a str,
    ) -> Self {
        Self {
            core_metadata: None,
            dist_info_metadata: None,
            filename: file_name.to_owned(),
            hashes: BTreeMap::from([("sha256", sha256)]),
            requires_python: None,
            size: size_bytes,
            upload_time: published_at,
            url: file_name.replace('+', "%2B"),
            yanked: None,
        }
    }

    fn link(&self) -> String {
        let attribute = |name: &str, value: Option<&str>| match value {
            Some(value) => format!(" {name}=\"{}\"", escaped(value)),
            None => String::new(),
        };
        let python = attribute("data-requires-python", self.requires_python);
        let yanked = attribute("data-yanked", self.yanked);
        let metadata = self.core_metadata.as_ref().map_or_else(String::new, |of| {
            // PEP 714 renamed the attribute; pip before 23.3 knows the old name alone.
            ["data-core-metadata", "data-dist-info-metadata"]
                .map(|name| format!(" {name}=\"sha256={}\"", of["sha256"]))
                .concat()
        });
        let url = escaped(&self.url);
        let (sha256, name) = (self.hashes["sha256"], &self.filename);
        format!("<a href=\"{url}#sha256={sha256}\"{python}{metadata}{yanked}>{name}</a>")
    }
}
