//! The files of a release: where everything stands that is made from its catalog.
//!
//! ```text
//! README.md                                  what there is, and the lines that install it
//! manifest.json                              the catalog
//! SHA256SUMS                                 for `sha256sum -c` at the root
//! whl/index.html                             the channels, for people
//! whl/cu130/torch2.11/simple/…               a simple index: --index, --extra-index-url
//! whl/cu130/torch2.11.html                   one page with all links: --find-links
//! whl/cu130/torch2.11/constraints.txt        for -c
//! req/cu130/torch2.11/cp311/<project>.txt    for -r: the address of the newest wheel
//! whl/nightly/…, req/nightly/…               the same for the nightly track
//! files/0f/0f81…/<wheel>                     the wheels and what stands beside them; not made here
//! ```

use std::collections::BTreeMap;

use crate::release::catalog::{self, Catalog, Pages};
use crate::release::links::Links;
use crate::release::listing::{Listing, listings};
use crate::release::{card, index, lists};

/// The number of the format of all pages. Raise it with every change of what a page says: pages that
/// stand on a shelf are written again then.
pub const FORMAT: u32 = 1;

/// A release as files.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// What it is about.
    pub catalog: &'a Catalog,
    /// How its pages point at files.
    pub links: &'a Links,
    /// Where the folder `whl/` is served as true HTML pages: `https://wheels.example.org/whl`.
    pub index_url: Option<&'a str>,
}

impl Layout<'_> {
    /// Every file that is made from the catalog, by its path from the root of the release.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let listings = listings(self.catalog);
        let catalog = self.catalog.to_text_with(Some(&self.pages()));
        let mut files = Files::default();
        files.add(catalog::FILE_NAME, catalog);
        files.add("README.md", card::readme(self, &listings));
        files.add("SHA256SUMS", lists::sha256sums(self.catalog));
        files.add("whl/index.html", card::overview(self, &listings));
        for listing in &listings {
            self.add_channel(listing, &mut files);
            self.add_requirements(listing, &mut files);
        }
        files.0
    }

    /// What the catalog will say of how the pages were made.
    pub fn pages(&self) -> Pages {
        Pages {
            format: FORMAT,
            links: self.links.clone(),
            index_url: self.index_url.map(str::to_owned),
        }
    }

    /// Whether the files that stand beside the catalog are those of [`Self::files`]: not when it came
    /// from an earlier program, or its links led elsewhere.
    pub fn is_there(&self) -> bool {
        self.catalog.pages.as_ref() == Some(&self.pages())
    }

    fn add_channel(&self, listing: &Listing<'_>, files: &mut Files) {
        let pages = listing.pages();
        let projects = || listing.projects.keys().copied();
        files.add(
            format!("{pages}/simple/index.html"),
            index::root_html(projects()),
        );
        files.add(
            format!("{pages}/simple/index.json"),
            index::root_json(projects()),
        );
        for (project, wheels) in &listing.projects {
            let folder = format!("{pages}/simple/{project}");
            let depth = depth_in(&folder);
            let title = format!("Links for {project}");
            let html = index::links_html(&title, wheels.iter().copied(), self.links, depth);
            files.add(format!("{folder}/index.html"), html);
            let json = index::project_json(project, wheels, self.links, depth);
            files.add(format!("{folder}/index.json"), json);
        }
        let offered = projects().flat_map(|project| listing.offered(project));
        let title = format!("Wheels of {}", &pages["whl/".len()..]);
        let flat = format!("{pages}.html");
        let depth = depth_of(&flat);
        files.add(flat, index::links_html(&title, offered, self.links, depth));
        files.add(
            format!("{pages}/constraints.txt"),
            lists::constraints(listing),
        );
    }

    fn add_requirements(&self, listing: &Listing<'_>, files: &mut Files) {
        for &python in &listing.pythons {
            let folder = listing.requirements(python);
            for project in listing.projects.keys() {
                for (name, text) in lists::requirements(listing, project, python, self.links) {
                    files.add(format!("{folder}/{name}"), text);
                }
            }
        }
    }
}

/// How many folders below the root of a release the file at `path` lies.
pub fn depth_of(path: &str) -> usize {
    path.matches('/').count()
}

fn depth_in(folder: &str) -> usize {
    depth_of(folder) + 1
}

#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn add(&mut self, path: impl Into<String>, text: String) {
        self.0.insert(path.into(), text.into_bytes());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::digest::Sha256Digest;
    use crate::release::catalog::{CatalogWheel, OnGpu, Track};

    pub(crate) const NOW: &str = "2026-11-21T03:00:00Z";

    /// A wheel of that name for a channel, with a Python of its tag.
    pub(crate) fn wheel(name: &str, channel: &str) -> CatalogWheel {
        let mut wheel = catalog::tests::sample();
        wheel.file_name = name.parse().unwrap();
        let file_name = wheel.file_name.clone();
        wheel.channel = channel.parse().unwrap();
        wheel.package = file_name.project().clone();
        wheel.sha256 = Sha256Digest::of(name.as_bytes());
        wheel.metadata_sha256 = Sha256Digest::of(format!("{name}.metadata").as_bytes());
        wheel.size_bytes = 1234;
        wheel.requires_python = Some(">=3.10,<4".to_owned());
        let python = match file_name.python_tags()[0].strip_prefix("cp3") {
            Some(minor) => format!("3.{minor}"),
            None => "3.12".to_owned(),
        };
        wheel.built_against.python = python.clone();
        let torch = channel.split_once("/torch").unwrap().1;
        wheel.built_against.torch = format!("{torch}.0");
        let cuda = channel.split_once('/').unwrap().0;
        wheel.built_against.cuda = format!("{}.{}", &cuda[2..4], &cuda[4..]);
        let tag = python.replace("3.", "cp3");
        let (project, version) = (file_name.project(), file_name.public_version());
        let channel = channel.replace('/', "-");
        wheel.job = format!("{project}-{version}-{channel}-{tag}")
            .parse()
            .unwrap();
        wheel.runs_on = [("9.0", "native"), ("12.0", "jit"), ("8.6", "fails")]
            .map(|(capability, verdict)| {
                let verdict = OnGpu {
                    verdict: verdict.to_owned(),
                    least_driver: None,
                };
                (capability.to_owned(), verdict)
            })
            .into();
        wheel
    }

    pub(crate) fn flash(version: &str, python: &str) -> CatalogWheel {
        let name = format!(
            "flash_attn-{version}+cu130torch2.11-{python}-{python}-manylinux_2_28_x86_64.whl"
        );
        wheel(&name, "cu130/torch2.11")
    }

    /// Wheels of two channels and two tracks, one of them yanked.
    pub(crate) fn catalog() -> Catalog {
        let mut pure = wheel("tools-0.1-py3-none-any.whl", "cu130/torch2.11");
        pure.requires_python = None;
        pure.runs_on = BTreeMap::from([(
            "9.0".to_owned(),
            OnGpu {
                verdict: "no-device-code".to_owned(),
                least_driver: None,
            },
        )]);
        let mut other = wheel("tools-0.1-py3-none-any.whl", "cu128/torch2.8");
        other.requires_python = None;
        let mut yanked = flash("2.10.1", "cp312");
        yanked.yanked = Some("wrong results on 9.0 & <later>".to_owned());
        let abi3 = "sparse-1.0+cu130torch2.11-cp310-abi3-manylinux_2_28_x86_64.whl";
        let mut abi3 = wheel(abi3, "cu130/torch2.11");
        abi3.built_against.python = "3.12".to_owned();
        abi3.runs_on.clear();
        let arm = wheel(
            "sparse-1.0+cu130torch2.11-cp310-abi3-manylinux_2_28_aarch64.whl",
            "cu130/torch2.11",
        );
        let stable = [
            flash("2.10.0", "cp313"),
            flash("2.8.3", "cp312"),
            pure,
            other,
            yanked,
            abi3,
            arm,
            flash("2.10.0", "cp312"),
            wheel(
                "flash_attn-2.8.3+cu128torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl",
                "cu128/torch2.8",
            ),
        ];
        let nightly = wheel(
            "flash_attn-2.11.0.dev1+cu130torch2.11-cp312-cp312-manylinux_2_28_x86_64.whl",
            "cu130/torch2.11",
        );
        let catalog = Catalog::empty().with([nightly], Track::Nightly, NOW);
        catalog.unwrap().with(stable, Track::Stable, NOW).unwrap()
    }

    fn host() -> Links {
        Links::Absolute {
            base: "https://wheels.example.org".to_owned(),
        }
    }

    fn files(links: &Links, index_url: Option<&str>) -> BTreeMap<String, Vec<u8>> {
        let catalog = catalog();
        let layout = Layout {
            catalog: &catalog,
            links,
            index_url,
        };
        layout.files()
    }

    #[track_caller]
    fn text(path: &str) -> String {
        String::from_utf8(files(&Links::Relative, None)[path].clone()).unwrap()
    }

    #[test]
    fn a_release_has_one_index_per_channel_and_track() {
        let paths: Vec<_> = files(&Links::Relative, None).into_keys().collect();
        insta::assert_snapshot!(paths.join("\n"));
    }

    #[test]
    fn the_root_page_lists_projects() {
        insta::assert_snapshot!(text("whl/cu130/torch2.11/simple/index.html"));
        insta::assert_snapshot!(text("whl/cu130/torch2.11/simple/index.json"));
    }

    #[test]
    fn a_project_page_lists_wheels_from_old_to_new_and_marks_the_yanked() {
        insta::assert_snapshot!(text("whl/cu130/torch2.11/simple/flash-attn/index.html"));
        insta::assert_snapshot!(text("whl/cu130/torch2.11/simple/flash-attn/index.json"));
    }

    #[test]
    fn a_wheel_that_names_no_python_has_no_attribute_for_it() {
        insta::assert_snapshot!(text("whl/cu130/torch2.11/simple/tools/index.html"));
    }

    #[test]
    fn a_night_has_pages_of_its_own_one_folder_deeper() {
        insta::assert_snapshot!(text(
            "whl/nightly/cu130/torch2.11/simple/flash-attn/index.html"
        ));
        insta::assert_snapshot!(text("whl/nightly/cu130/torch2.11.html"));
    }

    #[test]
    fn flat_pages_and_lists_leave_the_yanked_out() {
        insta::assert_snapshot!(text("whl/cu130/torch2.11.html"));
        insta::assert_snapshot!(text("whl/cu130/torch2.11/constraints.txt"));
        insta::assert_snapshot!(text("SHA256SUMS"));
    }

    #[test]
    fn requirements_name_one_wheel_by_its_address_for_each_machine() {
        insta::assert_snapshot!(text("req/cu130/torch2.11/cp312/flash-attn.txt"));
        let files = files(&host(), None);
        let sparse = &files["req/cu130/torch2.11/cp313/sparse.txt"];
        insta::assert_snapshot!(String::from_utf8_lossy(sparse));
    }

    #[test]
    fn the_card_and_the_overview_say_what_there_is_and_how_to_get_it() {
        let card = |links: &Links, index_url| {
            String::from_utf8(files(links, index_url)["README.md"].clone()).unwrap()
        };
        insta::assert_snapshot!(card(&Links::Relative, None));
        insta::assert_snapshot!(card(&host(), Some("https://wheels.example.org/whl")));
        let hub = Links::Hub {
            endpoint: "https://huggingface.co".to_owned(),
            repository: "me/wheels".to_owned(),
        };
        insta::assert_snapshot!(card(&hub, None));
        insta::assert_snapshot!(text("whl/index.html"));
    }

    #[test]
    fn the_catalog_says_how_its_pages_were_made() {
        let host = host();
        let files = files(&host, Some("https://wheels.example.org/whl"));
        let text = String::from_utf8(files[catalog::FILE_NAME].clone()).unwrap();
        let catalog = Catalog::parse(&text).unwrap();
        let layout = |links| Layout {
            catalog: &catalog,
            links,
            index_url: Some("https://wheels.example.org/whl"),
        };
        assert!(layout(&host).is_there());
        assert!(!layout(&Links::Relative).is_there());
        assert_eq!(layout(&host).files(), files);
    }

    #[test]
    fn an_empty_catalog_has_pages_that_say_so() {
        let catalog = Catalog::empty();
        let layout = Layout {
            catalog: &catalog,
            links: &Links::Relative,
            index_url: None,
        };
        let files = layout.files();
        assert_eq!(files.len(), 4);
        let card = String::from_utf8_lossy(&files["README.md"]);
        assert!(card.contains("no wheels"), "{card}");
    }

    /// The targets of all links of a page that lies at `path`.
    fn targets(path: &str, html: &str) -> Vec<String> {
        let folder = &path[..path.rfind('/').unwrap_or(0)];
        let links = html.split("href=\"").skip(1);
        links
            .map(|link| {
                let link = link.split(['"', '#']).next().unwrap();
                let mut place: Vec<&str> = folder.split('/').collect();
                for part in link.split('/') {
                    match part {
                        ".." => drop(place.pop()),
                        part => place.push(part),
                    }
                }
                place.join("/").replace("%2B", "+")
            })
            .collect()
    }

    #[test]
    fn every_relative_link_of_a_page_leads_to_something() {
        let files = files(&Links::Relative, None);
        let catalog = catalog();
        let mut known: BTreeSet<String> = files.keys().cloned().collect();
        for wheel in catalog.wheels.values() {
            known.insert(wheel.path());
            known.insert(format!("{}.html", wheel.path()));
        }
        let mut seen = 0;
        let pages = files
            .iter()
            .filter(|(_, text)| text.starts_with(b"<!DOCTYPE"));
        for (path, text) in pages {
            for target in targets(path, &String::from_utf8_lossy(text)) {
                seen += 1;
                let page = format!("{}/index.html", target.trim_end_matches('/'));
                assert!(
                    known.contains(&target) || known.contains(&page),
                    "{path}: {target}"
                );
            }
        }
        assert!(seen > 30, "{seen}");
    }

    proptest! {
        #[test]
        fn the_order_of_publication_does_not_matter(
            order in Just((0..9).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let all: Vec<_> = catalog().wheels.into_values().map(|mut wheel| {
                wheel.tracks.clear();
                wheel
            }).collect();
            let at_once = Catalog::empty().with(all.clone(), Track::Stable, NOW).unwrap();
            let shuffled = order.iter().map(|&place| all[place % all.len()].clone());
            let shuffled = Catalog::empty()
                .with(shuffled.chain(all.iter().rev().cloned()), Track::Stable, NOW)
                .unwrap();
            let links = Links::Relative;
            let layout = |catalog| Layout { catalog, links: &links, index_url: None };
            prop_assert_eq!(layout(&shuffled).files(), layout(&at_once).files());
        }
    }
}
