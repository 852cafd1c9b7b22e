//! The pages of the tree of variants: which files it lists, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr;

use pep440_rs::Version;

use super::page::{FileEntry, project_html, project_json, root_html, root_json};
use super::{DRAFT, json};
use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogVariant, CatalogWheel, Track, VariantTree};
use crate::release::channel::Channel;
use crate::release::index::escaped;
use crate::release::links::Links;
use crate::version::CudaVersion;
use crate::wheel::label::VariantLabel;
use crate::wheel::version::{PublicVersion, TorchAbi};

/// Where the pages lie, seen from the root of a release.
const FOLDER: &str = "whl/variants";

/// How many folders a project's page lies below the root.
const DEPTH: usize = 4;

/// Every file of the tree, by its path from the root of the release; none where the catalog asks for
/// no such tree.
///
/// It holds the variants of the stable track and the plain wheels of release torches.
pub fn tree(catalog: &Catalog, links: &Links) -> BTreeMap<String, Vec<u8>> {
    let Some(decided) = &catalog.variants else {
        return BTreeMap::new();
    };
    let projects = projects(catalog, decided);
    let mut files = BTreeMap::new();
    let mut add = |path: String, text: String| {
        files.insert(format!("{FOLDER}/{path}"), text.into_bytes());
    };
    add("index.html".to_owned(), overview(&projects, links));
    add(
        "simple/index.html".to_owned(),
        root_html(projects.keys().copied()),
    );
    add(
        "simple/index.json".to_owned(),
        root_json(projects.keys().copied()),
    );
    for (name, project) in &projects {
        let mut entries = Vec::new();
        for (version, listed) in project {
            if !listed.variants.is_empty() {
                let file_name = json::index_file_name(name, &version.text);
                let text = json::text(listed.labels());
                entries.push(listed.properties(&file_name, &text));
                add(format!("simple/{name}/{file_name}"), text);
            }
            let variants = listed.variants.iter();
            entries.extend(
                variants
                    .map(|(wheel, variant)| FileEntry::of_variant(wheel, variant, links, DEPTH)),
            );
            let plain = listed.plain.iter();
            entries.extend(plain.map(|wheel| FileEntry::of(wheel, links, DEPTH)));
        }
        let versions = project.keys().map(|version| version.text.clone()).collect();
        add(
            format!("simple/{name}/index.html"),
            project_html(name, &entries),
        );
        add(
            format!("simple/{name}/index.json"),
            project_json(name, entries, versions),
        );
    }
    files
}

/// A whole version, in the order of versions.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WholeVersion {
    order: Option<Version>,
    text: String,
}

impl WholeVersion {
    fn new(text: String) -> Self {
        Self {
            order: Version::from_str(&text).ok(),
            text,
        }
    }
}

/// What is listed of a version.
#[derive(Debug, Default)]
struct Listed<'a> {
    variants: Vec<(&'a CatalogWheel, &'a CatalogVariant)>,
    plain: Vec<&'a CatalogWheel>,
}

impl<'a> Listed<'a> {
    fn labels(&self) -> BTreeSet<&'a VariantLabel> {
        let variants = self.variants.iter();
        variants
            .map(|(_, variant)| variant.file_name.label())
            .collect()
    }

    /// The file of an index that says what the labels mean. It lies beside the page that links to it
    /// and goes out in the same change: uv takes a page with another digest of it for an attack.
    fn properties(&self, file_name: &str, text: &str) -> FileEntry<'a> {
        let days = self
            .variants
            .iter()
            .map(|(wheel, _)| wheel.published_at.as_str());
        FileEntry::beside(
            file_name,
            Sha256Digest::of(text.as_bytes()),
            u64::try_from(text.len()).unwrap_or(u64::MAX),
            days.max().unwrap_or_default(),
        )
    }
}

/// What is listed, by project and version.
type Projects<'a> = BTreeMap<&'a PackageName, BTreeMap<WholeVersion, Listed<'a>>>;

fn projects<'a>(catalog: &'a Catalog, decided: &VariantTree) -> Projects<'a> {
    let mut projects: Projects<'_> = BTreeMap::new();
    let mut listed = |project: &'a PackageName, version: String, list: &dyn Fn(&mut Listed<'a>)| {
        let versions = projects.entry(project).or_default();
        list(versions.entry(WholeVersion::new(version)).or_default());
    };
    for wheel in catalog.on(Track::Stable) {
        if let Some(variant) = &wheel.variant {
            let name = variant.file_name.wheel();
            listed(name.project(), name.full_version(), &|listed| {
                listed.variants.push((wheel, variant));
            });
        }
    }
    for wheel in plain_wheels(catalog, decided) {
        let name = &wheel.file_name;
        listed(name.project(), name.full_version(), &|listed| {
            listed.plain.push(wheel);
        });
    }
    for listed in projects.values_mut().flat_map(BTreeMap::values_mut) {
        listed
            .variants
            .sort_by_key(|(_, variant)| &variant.file_name);
        listed.plain.sort_by_key(|wheel| &wheel.file_name);
    }
    projects
}

/// Between wheels of one such key only the CUDA is left to choose.
type SameTorch<'a> = (
    &'a PackageName,
    &'a PublicVersion,
    TorchAbi,
    &'a [String],
    &'a [String],
);

/// The plain wheels: of several CUDAs for one torch the one that the maintainer names, or else the
/// newest. An installer that knows no variants would take any of them by the order of names.
fn plain_wheels<'a>(catalog: &'a Catalog, decided: &VariantTree) -> Vec<&'a CatalogWheel> {
    let mut plain = Vec::new();
    let mut groups: BTreeMap<SameTorch<'_>, BTreeMap<&Channel, Vec<&CatalogWheel>>> =
        BTreeMap::new();
    for wheel in catalog.on(Track::Stable) {
        let (name, channel) = (&wheel.file_name, &wheel.channel);
        if name.local_version().is_none() {
            // It serves every channel.
            plain.push(wheel);
        } else if channel.torch().nightly().is_none() && channel.variant().is_none() {
            let key = (
                name.project(),
                name.public_version(),
                channel.torch(),
                name.python_tags(),
                name.abi_tags(),
            );
            let channels = groups.entry(key).or_default();
            channels.entry(channel).or_default().push(wheel);
        }
    }
    for channels in groups.into_values() {
        let rank = |(channel, wheels): &(&Channel, Vec<&CatalogWheel>)| {
            (
                wheels.iter().any(|wheel| wheel.yanked.is_none()),
                decided.plain.contains(*channel),
                CudaVersion::from_tag(channel.cuda()),
            )
        };
        let chosen = channels.into_iter().max_by_key(rank);
        plain.extend(chosen.into_iter().flat_map(|(_, wheels)| wheels));
    }
    plain
}

/// The page for people.
fn overview(projects: &Projects<'_>, links: &Links) -> String {
    let address = match links {
        Links::Absolute { base } => base,
        Links::Relative | Links::Hub { .. } => "ADDRESS",
    };
    let mut rows = String::new();
    for (name, versions) in projects {
        for (version, listed) in versions {
            let labels = listed.labels();
            if labels.is_empty() {
                continue;
            }
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            writeln!(
                rows,
                "<tr><td><a href=\"simple/{name}/\">{name}</a></td><td>{}</td><td>{}</td></tr>",
                version.text,
                labels.join("<br>")
            )
            .expect("a String takes all that is written");
        }
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Wheel variants</title>\n</head>\n<body>\n<h1>Wheel variants</h1>\n<p>{DRAFT}</p>\n\
         <p>uv 0.13.6 or later takes the wheel for the driver and GPU of the machine. Say which torch:</p>\n\
         <pre>uv pip install --preview-features wheel-variants PROJECT \"torch==X.Y.*\" --index {}/{FOLDER}/simple</pre>\n\
         <p>pip, and uv without the flag, take a plain wheel from there, whatever the machine has.</p>\n\
         <table>\n<tr><th>project</th><th>version</th><th>variants</th></tr>\n{rows}</table>\n</body>\n</html>\n",
        escaped(address)
    )
}
