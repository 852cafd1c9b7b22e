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
use crate::release::catalog::CatalogWheel;
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
    json(&RootPage {
        meta: META,
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
    page(title, wheels.map(|wheel| link(wheel, links, depth)))
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
    let files = wheels.iter();
    json(&ProjectPage {
        files: files
            .map(|wheel| FileEntry::of(wheel, links, depth))
            .collect(),
        meta: META,
        name: project,
        versions,
    })
}

fn link(wheel: &CatalogWheel, links: &Links, depth: usize) -> String {
    let attribute = |name: &str, value: &Option<String>| match value {
        Some(value) => format!(" {name}=\"{}\"", escaped(value)),
        None => String::new(),
    };
    let python = attribute("data-requires-python", &wheel.requires_python);
    let yanked = attribute("data-yanked", &wheel.yanked);
    // PEP 714 renamed the attribute; pip before 23.3 knows the old name alone.
    let metadata = wheel.metadata_sha256;
    let metadata = ["data-core-metadata", "data-dist-info-metadata"]
        .map(|name| format!(" {name}=\"sha256={metadata}\""))
        .concat();
    let url = escaped(&links.wheel(wheel, depth));
    let (sha256, name) = (wheel.sha256, &wheel.file_name);
    format!("<a href=\"{url}#sha256={sha256}\"{python}{metadata}{yanked}>{name}</a>")
}

/// File names and project names hold no character that HTML reads; specifiers, reasons and addresses
/// do.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(title: &str, links: impl Iterator<Item = String>) -> String {
    let links: String = links.map(|link| link + "<br>\n").collect();
    let title = escaped(title);
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
    upload_time: &'a str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    yanked: Option<Yanked<'a>>,
}

/// PEP 691: a reason that is not empty, or `true`.
#[derive(Serialize)]
#[serde(untagged)]
enum Yanked<'a> {
    Reason(&'a str),
    Unsaid(bool),
}

impl<'a> FileEntry<'a> {
    fn of(wheel: &'a CatalogWheel, links: &Links, depth: usize) -> Self {
        let metadata = BTreeMap::from([("sha256", wheel.metadata_sha256)]);
        let yanked = wheel.yanked.as_deref().map(|reason| match reason {
            "" => Yanked::Unsaid(true),
            reason => Yanked::Reason(reason),
        });
        Self {
            core_metadata: metadata.clone(),
            dist_info_metadata: metadata,
            filename: wheel.file_name.to_string(),
            hashes: BTreeMap::from([("sha256", wheel.sha256)]),
            requires_python: wheel.requires_python.as_deref(),
            size: wheel.size_bytes,
            upload_time: &wheel.published_at,
            url: links.wheel(wheel, depth),
            yanked,
        }
    }
}
