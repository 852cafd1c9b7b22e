//! The pages that pip and uv read: simple indexes in HTML (PEP 503, with 592, 629, 658 and 714) and
//! JSON (PEP 691, 700), and flat pages of links.
//!
//! HTML and JSON hold the same, but for lengths and days, which HTML has no place for. Static hosts
//! serve the HTML; a server that looks at `Accept` can serve the JSON, whose content type no static
//! host gets right.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::{CatalogVariant, CatalogWheel};
use crate::release::links::Links;

/// PEP 700: `versions`, `size` and `upload-time` are there.
const API_VERSION: &str = "1.1";

/// The page that lists projects. `note` is for who reads it.
pub(super) fn root_html<'a>(
    projects: impl Iterator<Item = &'a PackageName>,
    note: Option<&str>,
) -> String {
    let links = projects.map(|project| format!("<a href=\"{project}/\">{project}</a>"));
    page("Simple index", note, links)
}

/// The same as JSON.
pub(super) fn root_json<'a>(
    projects: impl Iterator<Item = &'a PackageName>,
    note: Option<&str>,
) -> String {
    json(&RootPage {
        meta: Meta::new(note),
        projects: projects.map(|name| ProjectName { name }).collect(),
    })
}

/// A page of wheels that lies `depth` folders below the root of the release.
pub fn links_html<'a>(
    title: &str,
    wheels: impl Iterator<Item = &'a CatalogWheel>,
    links: &Links,
    depth: usize,
) -> String {
    let entries = wheels.map(|wheel| FileEntry::of(wheel, links, depth).link());
    page(title, None, entries)
}

/// A page of files.
pub(super) fn files_html(title: &str, files: &[FileEntry<'_>], note: Option<&str>) -> String {
    page(title, note, files.iter().map(FileEntry::link))
}

/// The wheels of a project as JSON, from the oldest to the newest.
pub(super) fn project_json(
    project: &PackageName,
    wheels: &[&CatalogWheel],
    links: &Links,
    depth: usize,
) -> String {
    let mut versions: Vec<_> = wheels.iter().map(|w| w.file_name.full_version()).collect();
    versions.dedup();
    let files = wheels
        .iter()
        .map(|wheel| FileEntry::of(wheel, links, depth))
        .collect();
    files_json(project, files, versions, None)
}

/// The files of a project as JSON, with every version that one is of.
pub(super) fn files_json(
    project: &PackageName,
    files: Vec<FileEntry<'_>>,
    versions: Vec<String>,
    note: Option<&str>,
) -> String {
    json(&ProjectPage {
        files,
        meta: Meta::new(note),
        name: project,
        versions,
    })
}

/// File names and project names hold no character that HTML reads; specifiers, reasons and addresses
/// do.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(title: &str, note: Option<&str>, links: impl Iterator<Item = String>) -> String {
    let links: String = links.map(|link| link + "<br>\n").collect();
    let title = escaped(title);
    let note = note.map_or_else(String::new, |note| format!("<p>{}</p>\n", escaped(note)));
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"pypi:repository-version\" content=\"{API_VERSION}\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{note}{links}</body>\n</html>\n"
    )
}

fn json(page: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(page)
        .expect("a page is made of text and numbers, which always have a JSON form");
    text + "\n"
}

/// Fields stand in the order of their JSON names.
#[derive(Serialize)]
struct RootPage<'a> {
    meta: Meta<'a>,
    projects: Vec<ProjectName<'a>>,
}

#[derive(Serialize)]
struct ProjectName<'a> {
    name: &'a PackageName,
}

#[derive(Serialize)]
struct ProjectPage<'a> {
    files: Vec<FileEntry<'a>>,
    meta: Meta<'a>,
    name: &'a PackageName,
    versions: Vec<String>,
}

/// PEP 691 leaves keys that begin with `_` to whoever writes the page.
#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "_note", skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(rename = "api-version")]
    api_version: &'static str,
}

impl<'a> Meta<'a> {
    fn new(note: Option<&'a str>) -> Self {
        Self {
            note,
            api_version: API_VERSION,
        }
    }
}

type Hashes = BTreeMap<&'static str, Sha256Digest>;

/// A file of a project, as a page lists it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FileEntry<'a> {
    /// None for what is no wheel.
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
    yanked: Option<Yanked<'a>>,
}

/// PEP 691: a reason that is not empty, or `true`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Yanked<'a> {
    Reason(&'a str),
    Unsaid(bool),
}

impl<'a> FileEntry<'a> {
    /// A wheel, for a page that lies `depth` folders below the root of the release.
    pub(super) fn of(wheel: &'a CatalogWheel, links: &Links, depth: usize) -> Self {
        let metadata = BTreeMap::from([("sha256", wheel.metadata_sha256)]);
        let yanked = wheel.yanked.as_deref().map(|reason| match reason {
            "" => Yanked::Unsaid(true),
            reason => Yanked::Reason(reason),
        });
        Self {
            core_metadata: Some(metadata.clone()),
            dist_info_metadata: Some(metadata),
            filename: wheel.file_name.to_string(),
            hashes: BTreeMap::from([("sha256", wheel.sha256)]),
            requires_python: wheel.requires_python.as_deref(),
            size: wheel.size_bytes,
            upload_time: &wheel.published_at,
            url: links.wheel(wheel, depth),
            yanked,
        }
    }

    /// The wheel as a variant.
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

    /// A file that is no wheel and lies beside the page.
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
        let yanked = self.yanked.as_ref().map(|yanked| match *yanked {
            Yanked::Reason(reason) => reason,
            Yanked::Unsaid(_) => "",
        });
        let yanked = attribute("data-yanked", yanked);
        // PEP 714 renamed the attribute; pip before 23.3 knows the old name alone.
        let metadata = self.core_metadata.as_ref().map_or_else(String::new, |of| {
            ["data-core-metadata", "data-dist-info-metadata"]
                .map(|name| format!(" {name}=\"sha256={}\"", of["sha256"]))
                .concat()
        });
        let url = escaped(&self.url);
        let (sha256, name) = (self.hashes["sha256"], &self.filename);
        format!("<a href=\"{url}#sha256={sha256}\"{python}{metadata}{yanked}>{name}</a>")
    }
}
