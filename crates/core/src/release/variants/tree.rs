//! The pages of the tree of variants: which files it lists, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr;

use pep440_rs::Version;

use super::{DRAFT, json};
use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogVariant, CatalogWheel, Track, VariantTree};
use crate::release::channel::Channel;
use crate::release::index::{FileEntry, escaped, files_html, files_json, root_html, root_json};
use crate::release::links::Links;
use crate::release::listing::Age;
use crate::version::CudaVersion;
use crate::wheel::label::VariantLabel;
use crate::wheel::platform::machine_of;
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
        root_html(projects.keys().copied(), Some(DRAFT)),
    );
    add(
        "simple/index.json".to_owned(),
        root_json(projects.keys().copied(), Some(DRAFT)),
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
            files_html(&format!("Links for {name}"), &entries, Some(DRAFT)),
        );
        add(
            format!("simple/{name}/index.json"),
            files_json(name, entries, versions, Some(DRAFT)),
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
        listed.variants.sort_by_cached_key(|(_, variant)| {
            let name = &variant.file_name;
            (Age::of(name.wheel()), name.label())
        });
        listed
            .plain
            .sort_by_cached_key(|wheel| Age::of(&wheel.file_name));
    }
    projects
}

/// Project, version, torch, Python, ABI and machine: between wheels of one such key only the CUDA is left to choose.
type SameTorch<'a> = (
    &'a PackageName,
    &'a PublicVersion,
    TorchAbi,
    &'a [String],
    &'a [String],
    Option<&'a str>,
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
                name.platform_tags().iter().find_map(|tag| machine_of(tag)),
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
    let index = format!("{FOLDER}/simple");
    let address = match links {
        Links::Relative | Links::Absolute { .. } => links.address(&index, ""),
        // A Hub gives pages out as plain text: they are served from somewhere else.
        Links::Hub { .. } => Links::Relative.address(&index, ""),
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
         <pre>uv pip install --preview-features wheel-variants PROJECT \"torch==X.Y.*\" --index {}</pre>\n\
         <p>pip, and uv without the flag, take a plain wheel from there, whatever the machine has.</p>\n\
         <table>\n<tr><th>project</th><th>version</th><th>variants</th></tr>\n{rows}</table>\n</body>\n</html>\n",
        escaped(&address)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ModuleArchs;
    use crate::release::catalog::tests::sample;
    use crate::release::variants::variant_name;

    const NOW: &str = "2026-11-21T03:00:00Z";

    /// A wheel of a channel with code for these archs, and its variant if it can have one.
    fn wheel(version: &str, channel: &str, python: &str, images: &str) -> CatalogWheel {
        let channel: Channel = channel.parse().unwrap();
        let local = channel.local_version();
        let name =
            format!("flash_attn-{version}+{local}-{python}-{python}-manylinux_2_28_x86_64.whl");
        let cuda = CudaVersion::from_tag(channel.cuda()).unwrap();
        let images = images.split(' ').map(|image| (image.to_owned(), 1));
        let mut wheel = sample();
        wheel.built_against.cuda = cuda.to_string();
        wheel.channel = channel;
        wheel.sha256 = Sha256Digest::of(name.as_bytes());
        wheel.file_name = name.parse().unwrap();
        wheel.runs_on.clear();
        wheel
            .runs_on
            .insert("7.5".to_owned(), sample().runs_on["8.6"].clone());
        wheel.module_archs = BTreeMap::from([(
            "flash_attn/_C.so".to_owned(),
            ModuleArchs {
                containers: 1,
                images: images.collect(),
            },
        )]);
        wheel.variant = variant_name(&wheel).ok().map(|name| CatalogVariant {
            sha256: Sha256Digest::of(name.to_string().as_bytes()),
            size_bytes: 1234,
            metadata_sha256: Sha256Digest::of(b"Name: flash-attn"),
            commit: None,
            file_name: name,
        });
        wheel
    }

    fn wheels() -> Vec<CatalogWheel> {
        let mut yanked = wheel("2.8.4", "cu130/torch2.11", "cp312", "sm_90");
        yanked.yanked = Some("<wrong> results".to_owned());
        let mut pure = wheel("1.0", "cu130/torch2.11", "cp312", "sm_90");
        pure.file_name = "tools-0.1-py3-none-any.whl".parse().unwrap();
        pure.variant = None;
        vec![
            wheel("2.8.3", "cu130/torch2.11", "cp312", "sm_90a"),
            wheel("2.8.3", "cu130/torch2.11-sm120", "cp312", "sm_120f"),
            wheel("2.8.3", "cu128/torch2.11", "cp312", "sm_80 sm_90"),
            wheel("2.8.3", "cu128/torch2.11", "cp313", "sm_80 sm_90"),
            wheel("2.8.3", "cu128/torch2.8", "cp312", "sm_90 compute_90"),
            wheel("2.8.3", "cu130/torch2.16.dev20261120", "cp312", "sm_90"),
            wheel("2.8.3", "cu130/torch2.11-avx512", "cp312", "sm_90"),
            yanked,
            pure,
        ]
    }

    fn catalog(wheels: Vec<CatalogWheel>, plain: &[&str]) -> Catalog {
        let catalog = Catalog::empty().with(wheels, Track::Stable, NOW).unwrap();
        let plain = plain.iter().map(|channel| channel.parse().unwrap());
        Catalog {
            variants: Some(VariantTree {
                plain: plain.collect(),
            }),
            ..catalog
        }
    }

    fn page(catalog: &Catalog, path: &str) -> String {
        let files = tree(catalog, &Links::Relative);
        String::from_utf8(files[path].clone()).unwrap()
    }

    #[test]
    fn there_is_no_tree_until_it_is_asked_for() {
        let catalog = Catalog::empty().with(wheels(), Track::Stable, NOW).unwrap();
        assert_eq!(tree(&catalog, &Links::Relative), BTreeMap::new());
        let catalog = Catalog {
            variants: Some(VariantTree::default()),
            ..Catalog::empty()
        };
        assert_eq!(tree(&catalog, &Links::Relative).len(), 3);
    }

    #[test]
    fn a_project_lists_its_variants_what_they_mean_and_one_plain_wheel_of_a_torch() {
        let catalog = catalog(wheels(), &[]);
        let files: Vec<String> = tree(&catalog, &Links::Relative).into_keys().collect();
        insta::assert_snapshot!(files.join("\n"), @"
        whl/variants/index.html
        whl/variants/simple/flash-attn/flash_attn-2.8.3+torch2.11-variants.json
        whl/variants/simple/flash-attn/flash_attn-2.8.3+torch2.8-variants.json
        whl/variants/simple/flash-attn/flash_attn-2.8.4+torch2.11-variants.json
        whl/variants/simple/flash-attn/index.html
        whl/variants/simple/flash-attn/index.json
        whl/variants/simple/index.html
        whl/variants/simple/index.json
        whl/variants/simple/tools/index.html
        whl/variants/simple/tools/index.json
        ");
        insta::assert_snapshot!(page(&catalog, "whl/variants/index.html"));
        let folder = "whl/variants/simple/flash-attn";
        insta::assert_snapshot!(page(&catalog, &format!("{folder}/index.html")));
        insta::assert_snapshot!(page(&catalog, &format!("{folder}/index.json")));
    }

    #[test]
    fn the_file_of_a_version_has_all_its_labels_once_and_the_digest_that_the_page_says() {
        let catalog = catalog(wheels(), &[]);
        let folder = "whl/variants/simple/flash-attn";
        let text = page(
            &catalog,
            &format!("{folder}/flash_attn-2.8.3+torch2.11-variants.json"),
        );
        let labels = ["cu128_sm80_sm90", "cu130_sm120", "cu130_sm90"];
        let labels = labels.map(|label| label.parse::<VariantLabel>().unwrap());
        assert_eq!(text, json::text(&labels));
        let digest = Sha256Digest::of(text.as_bytes()).to_string();
        assert!(page(&catalog, &format!("{folder}/index.html")).contains(&digest));
        assert!(page(&catalog, &format!("{folder}/index.json")).contains(&digest));
    }

    /// The local versions of the plain wheels for torch 2.11 and a Python.
    #[track_caller]
    fn check_plain(wheels: Vec<CatalogWheel>, plain: &[&str], python: &str, want: &[&str]) {
        let catalog = catalog(wheels, plain);
        let listed = plain_wheels(&catalog, catalog.variants.as_ref().unwrap());
        let of_torch = listed.into_iter().filter(|wheel| {
            wheel.channel.torch().to_string() == "2.11"
                && wheel.file_name.python_tags() == [python.to_owned()]
                && wheel.file_name.public_version().as_str() == "2.8.3"
        });
        let found: Vec<String> = of_torch
            .filter_map(|wheel| wheel.file_name.local_version().map(ToString::to_string))
            .collect();
        assert_eq!(found, want);
    }

    #[test]
    fn the_plain_wheel_is_of_the_cuda_that_is_named_or_else_of_the_newest() {
        check_plain(wheels(), &[], "cp312", &["cu130torch2.11"]);
        check_plain(wheels(), &["cu128/torch2.11"], "cp312", &["cu128torch2.11"]);
        check_plain(wheels(), &["cu128/torch2.8"], "cp312", &["cu130torch2.11"]);
        // There is no other for this Python.
        check_plain(wheels(), &[], "cp313", &["cu128torch2.11"]);
        let mut withdrawn = wheels();
        withdrawn[0].yanked = Some("broken".to_owned());
        check_plain(withdrawn, &[], "cp312", &["cu128torch2.11"]);
        let mut newer = wheels();
        newer.push(wheel("2.8.3", "cu99/torch2.11", "cp312", "sm_90"));
        check_plain(newer, &[], "cp312", &["cu130torch2.11"]);
    }

    #[test]
    fn what_is_not_stable_is_not_listed() {
        let catalog = Catalog {
            variants: Some(VariantTree::default()),
            ..Catalog::empty()
                .with(wheels(), Track::Nightly, NOW)
                .unwrap()
        };
        assert_eq!(tree(&catalog, &Links::Relative).len(), 3);
    }

    #[test]
    fn on_a_hub_a_variant_is_linked_at_its_own_commit_and_its_meaning_beside_the_page() {
        let mut wheels = wheels();
        wheels.truncate(1);
        wheels[0].commit = Some("aaaa".to_owned());
        wheels[0].variant.as_mut().unwrap().commit = Some("bbbb".to_owned());
        let links = Links::Hub {
            endpoint: "https://huggingface.co".to_owned(),
            repository: "me/wheels".to_owned(),
        };
        let files = tree(&catalog(wheels, &[]), &links);
        let page = &files["whl/variants/simple/flash-attn/index.html"];
        let page = str::from_utf8(page).unwrap();
        let links: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("<a href=\"")?.split('#').next())
            .collect();
        assert_eq!(links.len(), 3);
        assert!(links[0].contains("/resolve/aaaa/files/"), "{links:?}");
        assert_eq!(links[1], "flash_attn-2.8.3%2Btorch2.11-variants.json");
        assert!(links[2].contains("/resolve/bbbb/files/"), "{links:?}");
    }

    #[test]
    fn the_order_of_publication_does_not_matter() {
        let mut reversed = wheels();
        reversed.reverse();
        let mut one_by_one = Catalog::empty();
        for wheel in reversed {
            one_by_one = one_by_one.with([wheel], Track::Stable, NOW).unwrap();
        }
        one_by_one.variants = Some(VariantTree::default());
        assert_eq!(
            tree(&one_by_one, &Links::Relative),
            tree(&catalog(wheels(), &[]), &Links::Relative)
        );
        let text = one_by_one.to_text();
        assert_eq!(Catalog::parse(&text).unwrap(), one_by_one);
    }
}
