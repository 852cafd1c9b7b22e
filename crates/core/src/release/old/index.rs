//! The pages of a simple index: HTML (PEP 503, with 629, 658 and 714) and JSON (PEP 691, 700).
//!
//! Both hold the same. Static hosts serve the HTML; a server that looks at `Accept` can serve
//! the JSON, whose content type no static host gets right.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Projects, ReleasedWheel};
use crate::digest::Sha256Digest;
use crate::ident::PackageName;

/// PEP 700: `versions` and `size` are there. `upload-time`, which it leaves open, is not: a
/// release knows no clock.
const API_VERSION: &str = "1.1";

/// The page that lists projects.
pub(super) fn root_html(projects: &Projects<'_>) -> String {
    let links = projects
        .keys()
        .map(|project| format!("<a href=\"{project}/\">{project}</a>"));
    page("Simple index", links)
}

/// The same as JSON.
pub(super) fn root_json(projects: &Projects<'_>) -> String {
    json(&RootPage {
        meta: META,
        projects: projects.keys().map(|name| ProjectName { name }).collect(),
    })
}

/// The page that lists the wheels of a project.
pub(super) fn project_html(project: &PackageName, wheels: &[&ReleasedWheel]) -> String {
    let links = wheels.iter().map(|wheel| link(wheel));
    page(&format!("Links for {project}"), links)
}

/// The same as JSON.
pub(super) fn project_json(project: &PackageName, wheels: &[&ReleasedWheel]) -> String {
    let mut versions: Vec<String> = wheels.iter().map(|w| w.name.full_version()).collect();
    versions.dedup();
    json(&ProjectPage {
        files: wheels.iter().map(|wheel| FileEntry::of(wheel)).collect(),
        meta: META,
        name: project,
        versions,
    })
}

/// Where a wheel stands, seen from its project's page. A `+` is written out, since object stores
/// may read a raw one as a space.
fn url(wheel: &ReleasedWheel) -> String {
    format!("../../{}", wheel.name).replace('+', "%2B")
}

fn link(wheel: &ReleasedWheel) -> String {
    let python = match &wheel.requires_python {
        Some(python) => format!(" data-requires-python=\"{}\"", escaped(python)),
        None => String::new(),
    };
    // PEP 714 renamed the attribute; pip before 23.3 knows the old name alone.
    let metadata = Sha256Digest::of(&wheel.metadata);
    let metadata = ["data-core-metadata", "data-dist-info-metadata"]
        .map(|name| format!(" {name}=\"sha256={metadata}\""))
        .concat();
    let (url, sha256, name) = (url(wheel), wheel.sha256, &wheel.name);
    format!("<a href=\"{url}#sha256={sha256}\"{python}{metadata}>{name}</a>")
}

/// File names, project names and URLs hold no character that HTML reads; specifiers do.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(title: &str, links: impl Iterator<Item = String>) -> String {
    let links: String = links.map(|link| link + "<br>\n").collect();
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"pypi:repository-version\" content=\"{API_VERSION}\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{links}</body>\n</html>\n"
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

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: &'static str,
}

const META: Meta = Meta {
    api_version: API_VERSION,
};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FileEntry<'a> {
    core_metadata: BTreeMap<&'static str, Sha256Digest>,
    /// The name that `core-metadata` had before PEP 714.
    dist_info_metadata: BTreeMap<&'static str, Sha256Digest>,
    filename: String,
    hashes: BTreeMap<&'static str, Sha256Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    size: u64,
    url: String,
}

impl<'a> FileEntry<'a> {
    fn of(wheel: &'a ReleasedWheel) -> Self {
        let metadata = BTreeMap::from([("sha256", Sha256Digest::of(&wheel.metadata))]);
        Self {
            core_metadata: metadata.clone(),
            dist_info_metadata: metadata,
            filename: wheel.name.to_string(),
            hashes: BTreeMap::from([("sha256", wheel.sha256)]),
            requires_python: wheel.requires_python.as_deref(),
            size: wheel.size_bytes,
            url: url(wheel),
        }
    }
}
