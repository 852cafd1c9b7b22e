//! Which rows a release has.

use std::collections::BTreeSet;

use super::cell::{Cell, beside, cells, glibc, machine, next_python};
use super::{Expected, Face, Installer, Purpose, Row};
use crate::ident::PackageName;
use crate::release::catalog::Catalog;
use crate::release::install::{Client, Offer, Way, torch_requirement};
use crate::release::links::Links;
use crate::release::listing::{Listing, listings, serves};
use crate::version::Threading;
use crate::wheel::name::WheelName;

/// The most rows of a table. A row of pip is a second, one of uv a tenth: this many are minutes.
pub const ROWS_CAP: usize = 600;

/// Where the release is served for its rows.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// How it points at files.
    pub links: &'a Links,
    /// Where its folder `whl/` is served as HTML, if it is.
    pub index_url: Option<&'a str>,
    /// Where the same is served by a host that reads `Accept`, if it is.
    pub json_index_url: Option<&'a str>,
}

/// The rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Those that are run.
    pub rows: Vec<Row>,
    /// How many there are beyond [`ROWS_CAP`].
    pub left_out: usize,
}

/// The rows for a release in which `changed` came or is listed differently. Only projects with such a
/// wheel have rows, in the channels that list one.
///
/// When there are more than [`ROWS_CAP`], rows go in this order: what holds of a channel as a whole and of
/// its yanked wheels; the newest wheel of every project on one Python, with every installer; the newest on
/// every other Python, and every other wheel that changed, with uv, which takes a tenth of pip's time; the
/// rest with the two pips.
pub fn rows(candidate: &Catalog, changed: &BTreeSet<WheelName>, places: &Places<'_>) -> Rows {
    let mut found = Found {
        places: *places,
        ranked: Vec::new(),
    };
    for listing in &listings(candidate) {
        let touched = |project: &&PackageName| {
            let mut wheels = listing.projects[*project].iter();
            wheels.any(|wheel| changed.contains(&wheel.file_name))
        };
        let projects: Vec<_> = listing.projects.keys().copied().filter(touched).collect();
        let cells = cells(listing, &projects, changed);
        found.of_channel(&cells);
        found.of_yanked(listing, &projects, changed);
        found.of_projects(&cells);
        found.of_other_pythons(&cells);
        found.of_earlier(listing, &projects, &cells, changed);
    }
    let mut ranked = found.ranked;
    ranked.sort_by_key(|(rank, _)| *rank);
    let left_out = ranked.len().saturating_sub(ROWS_CAP);
    ranked.truncate(ROWS_CAP);
    Rows {
        rows: ranked.into_iter().map(|(_, row)| row).collect(),
        left_out,
    }
}

/// Where a row stands when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Channel,
    Project,
    Wheel,
    Rest,
}

/// How a line keeps torch where it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pin {
    /// By the very version, as `resolve` tells it: `torch==2.11.0`.
    Exact,
    /// By the channel's minor version, as README tells it: `torch==2.11.*`.
    Minor,
}

/// How a row differs from the plain one.
#[derive(Clone)]
struct Asked<'a> {
    purpose: Purpose,
    rank: Rank,
    installer: Installer,
    way: Way,
    face: Face,
    /// The torch that is installed.
    installed: Option<String>,
    /// The torch that the user has or wants.
    torch: String,
    /// How the line says so.
    pin: Pin,
    /// What is asked for instead of the exact version.
    requirement: Option<&'a str>,
    expected: Expected,
}

struct Found<'a> {
    places: Places<'a>,
    ranked: Vec<(Rank, Row)>,
}

impl<'a> Found<'a> {
    /// The plain row of a cell: the channel's torch is installed and pinned.
    fn plain(&self, cell: &Cell<'_>, installer: Installer) -> Asked<'a> {
        let torch = cell.torch();
        let way = self.main_way(cell, installer);
        Asked {
            purpose: Purpose::Newest,
            rank: Rank::Rest,
            installer,
            way,
            face: self.face(way),
            installed: Some(torch.clone()),
            torch,
            pin: Pin::Exact,
            requirement: None,
            expected: cell.file(),
        }
    }

    /// The index where there is one for this installer and wheel, else the file of requirements.
    fn main_way(&self, cell: &Cell<'_>, installer: Installer) -> Way {
        let offer = self.offer(cell, "torch", Face::Static);
        match offer.words(installer.client(), Way::Index) {
            Some(_) => Way::Index,
            None => Way::Requirements,
        }
    }

    /// Who serves what the way leads to.
    fn face(&self, way: Way) -> Face {
        match (way, self.places.links) {
            (Way::Index | Way::FindLinks, _) | (_, Links::Relative | Links::Absolute { .. }) => {
                Face::Static
            }
            (Way::Requirements | Way::Direct, Links::Hub { .. }) => Face::Hub,
        }
    }

    fn offer<'b>(&self, cell: &Cell<'b>, torch: &'b str, face: Face) -> Offer<'b>
    where
        'a: 'b,
    {
        Offer {
            links: self.places.links,
            index_url: match face {
                Face::Static => self.places.index_url,
                Face::Negotiating => self.places.json_index_url,
                Face::Hub => None,
            },
            track: cell.listing.track,
            channel: cell.listing.channel,
            python: cell.python,
            wheel: cell.wheel,
            torch,
        }
    }

    /// Adds a row, if there is a line for it. A wheel that is out already is asked for in ways alone that
    /// need no more of it than its METADATA: the rest may lie behind a password.
    fn add(&mut self, cell: &Cell<'_>, asked: Asked<'_>) {
        let is_downloaded = asked.installer == Installer::PipOldest || asked.way != Way::Index;
        if !cell.is_new && is_downloaded && asked.expected != Expected::Refusal {
            return;
        }
        // uv cannot be told to install for a free-threaded Python that it does not run in.
        if cell.python.threading() == Threading::Free && asked.installer == Installer::Uv {
            return;
        }
        let torch = match asked.pin {
            Pin::Exact => format!("torch=={}", asked.torch),
            Pin::Minor => torch_requirement(cell.listing.channel),
        };
        let offer = self.offer(cell, &torch, asked.face);
        let words = if asked.purpose == Purpose::ClosedWay {
            Some(self.closed(cell, &asked, &torch))
        } else {
            offer.words(asked.installer.client(), asked.way)
        };
        let Some(mut words) = words else {
            return;
        };
        if let Some(requirement) = asked.requirement {
            let pin = format!("{}=={}", cell.project, cell.wheel.file_name.full_version());
            for word in &mut words {
                if *word == pin {
                    requirement.clone_into(word);
                }
            }
        }
        self.ranked.push((
            asked.rank,
            Row {
                purpose: asked.purpose,
                track: cell.listing.track,
                channel: cell.listing.channel.clone(),
                python: cell.python,
                machine: cell.machine.to_owned(),
                glibc: glibc(cell.wheel),
                installed_torch: asked.installed,
                torch: asked.torch,
                torch_requirement: torch,
                installer: asked.installer,
                way: asked.way,
                face: asked.face,
                project: cell.project.clone(),
                words,
                expected: asked.expected,
            },
        ));
    }

    /// The line for a way that a Hub closes to an installer: nobody is told it, and all try it.
    fn closed(&self, cell: &Cell<'_>, asked: &Asked<'_>, torch: &str) -> Vec<String> {
        let pages = cell.listing.pages();
        let (option, path) = match (asked.way, asked.installer.client()) {
            (Way::FindLinks, _) => ("--find-links", format!("{pages}.html")),
            (_, Client::Pip) => ("--extra-index-url", format!("{pages}/simple")),
            (_, Client::Uv) => ("--index", format!("{pages}/simple")),
        };
        let begin: &[&str] = match asked.installer.client() {
            Client::Pip => &["pip", "install"],
            Client::Uv => &["uv", "pip", "install"],
        };
        let pin = format!("{}=={}", cell.project, cell.wheel.file_name.full_version());
        let address = self.places.links.address(&path, "main");
        let words = begin.iter().map(|&word| word.to_owned());
        words
            .chain([torch.to_owned(), pin, option.to_owned(), address])
            .collect()
    }

    /// What holds of a channel as a whole, on its smallest wheel.
    fn of_channel(&mut self, cells: &[Cell<'_>]) {
        let pythons: BTreeSet<_> = cells
            .iter()
            .map(|cell| (cell.python, cell.machine))
            .collect();
        for (python, machine) in &pythons {
            let here = cells.iter();
            let here = here.filter(|cell| cell.python == *python && cell.machine == *machine);
            if let Some(cell) =
                here.min_by_key(|cell| (!cell.is_new, cell.wheel.size_bytes, cell.project))
            {
                self.of_ways(cell);
            }
        }
        let newest = pythons.last().copied();
        let last = cells.iter();
        let last = last.filter(|cell| Some((cell.python, cell.machine)) == newest);
        let Some(cell) =
            last.min_by_key(|cell| (!cell.is_new, cell.wheel.size_bytes, cell.project))
        else {
            return;
        };
        for installer in Installer::ALL {
            let plain = Asked {
                rank: Rank::Channel,
                ..self.plain(cell, installer)
            };
            if self.places.json_index_url.is_some() {
                self.add(
                    cell,
                    Asked {
                        purpose: Purpose::OtherWay,
                        way: Way::Index,
                        face: Face::Negotiating,
                        ..plain.clone()
                    },
                );
            }
            if matches!(self.places.links, Links::Hub { .. }) {
                self.add(
                    cell,
                    Asked {
                        purpose: Purpose::ClosedWay,
                        way: Way::Index,
                        face: Face::Hub,
                        expected: Expected::Refusal,
                        ..plain.clone()
                    },
                );
            }
            self.add(
                cell,
                Asked {
                    purpose: Purpose::NoTorch,
                    installed: None,
                    ..plain.clone()
                },
            );
            // A nightly says its CUDA in its own version or not at all.
            if cell.listing.channel.torch().nightly().is_none() {
                let local = format!("{}+{}", plain.torch, cell.listing.channel.cuda());
                for pin in [Pin::Exact, Pin::Minor] {
                    self.add(
                        cell,
                        Asked {
                            purpose: Purpose::LocalTorch,
                            installed: Some(local.clone()),
                            torch: local.clone(),
                            pin,
                            ..plain.clone()
                        },
                    );
                }
            }
        }
    }

    /// Every way besides the main one.
    fn of_ways(&mut self, cell: &Cell<'_>) {
        for installer in Installer::ALL {
            let plain = Asked {
                purpose: Purpose::OtherWay,
                rank: Rank::Channel,
                pin: Pin::Minor,
                ..self.plain(cell, installer)
            };
            for way in [Way::Requirements, Way::Direct, Way::FindLinks] {
                if way == plain.way {
                    continue;
                }
                let face = self.face(way);
                self.add(
                    cell,
                    Asked {
                        way,
                        face,
                        ..plain.clone()
                    },
                );
            }
            let is_hub = matches!(self.places.links, Links::Hub { .. });
            if is_hub && cell.wheel.file_name.local_version().is_some() {
                let (purpose, expected) = match installer.client() {
                    Client::Pip => (Purpose::ClosedWay, Expected::Refusal),
                    Client::Uv => (Purpose::OtherWay, plain.expected.clone()),
                };
                self.add(
                    cell,
                    Asked {
                        purpose,
                        way: Way::FindLinks,
                        face: Face::Hub,
                        expected,
                        ..plain
                    },
                );
            }
        }
    }

    /// The newest wheel of each project on each Python; on the newest Python also beside another torch
    /// and by its version alone.
    fn of_projects(&mut self, cells: &[Cell<'_>]) {
        for (place, cell) in cells.iter().enumerate() {
            let later = cells[place + 1..].iter();
            let mut same = later
                .filter(|other| other.project == cell.project && other.machine == cell.machine);
            let is_last = same.next().is_none();
            for installer in Installer::ALL {
                if !cell.is_cheap(installer) && !is_last {
                    continue;
                }
                let plain = self.plain(cell, installer);
                let rank = match installer {
                    _ if is_last => Rank::Project,
                    Installer::Uv => Rank::Wheel,
                    Installer::PipOldest | Installer::PipNewest => Rank::Rest,
                };
                self.add(cell, Asked { rank, ..plain });
            }
            if is_last {
                self.of_project(cell);
            }
        }
    }

    fn of_project(&mut self, cell: &Cell<'_>) {
        let name = &cell.wheel.file_name;
        let public = format!("{}=={}", cell.project, name.public_version());
        for installer in Installer::ALL {
            let plain = Asked {
                rank: Rank::Project,
                ..self.plain(cell, installer)
            };
            let is_cheap = cell.is_cheap(installer);
            if plain.way == Way::Index && name.local_version().is_some() && is_cheap {
                self.add(
                    cell,
                    Asked {
                        purpose: Purpose::PublicVersion,
                        requirement: Some(&public),
                        ..plain.clone()
                    },
                );
            }
            for torch in cell.other_torches() {
                let Some(expected) = beside(cell.wheel, &torch) else {
                    continue;
                };
                if expected != Expected::Refusal && !is_cheap {
                    continue;
                }
                self.add(
                    cell,
                    Asked {
                        purpose: Purpose::OtherTorch,
                        installed: Some(torch.clone()),
                        torch,
                        expected,
                        ..plain.clone()
                    },
                );
            }
        }
    }

    /// A Python that the channel has no wheel of the project for.
    fn of_other_pythons(&mut self, cells: &[Cell<'_>]) {
        for (place, cell) in cells.iter().enumerate() {
            let mut later = cells[place + 1..].iter();
            if later.any(|other| other.project == cell.project) {
                continue;
            }
            let Some(python) = next_python(cell.python) else {
                continue;
            };
            let mut wheels = cell.listing.projects[cell.project].iter();
            if wheels.any(|wheel| serves(wheel, python)) {
                continue;
            }
            for installer in Installer::ALL {
                let mut asked = Asked {
                    purpose: Purpose::OtherPython,
                    rank: Rank::Project,
                    expected: Expected::Refusal,
                    ..self.plain(cell, installer)
                };
                if asked.way == Way::Requirements {
                    // There is no such file for a Python that nothing is for.
                    asked.way = Way::Direct;
                }
                self.add(&Cell { python, ..*cell }, asked);
            }
        }
    }

    /// Yanked wheels: taken by who pins them to the file, and by nobody else (PEP 592).
    fn of_yanked(
        &mut self,
        listing: &Listing<'_>,
        projects: &[&PackageName],
        changed: &BTreeSet<WheelName>,
    ) {
        for &project in projects {
            let yanked = listing.projects[project].iter().copied();
            for wheel in yanked.filter(|wheel| wheel.yanked.is_some()) {
                let python = listing
                    .pythons
                    .iter()
                    .copied()
                    .find(|&python| serves(wheel, python));
                let (Some(python), Some(machine)) = (python, machine(wheel)) else {
                    continue;
                };
                let cell = Cell {
                    listing,
                    project,
                    python,
                    machine,
                    wheel,
                    is_new: changed.contains(&wheel.file_name),
                };
                let version = wheel.file_name.full_version();
                let mut offered = listing.offered_to(project, python);
                let is_replaced = offered.any(|other| other.file_name.full_version() == version);
                for installer in Installer::ALL {
                    let plain = Asked {
                        rank: Rank::Channel,
                        ..self.plain(&cell, installer)
                    };
                    // Files of requirements name no yanked wheel.
                    if plain.way != Way::Index {
                        continue;
                    }
                    let unpinned = Asked {
                        purpose: Purpose::YankedUnpinned,
                        requirement: Some(project.as_str()),
                        expected: Expected::AnythingBut(wheel.file_name.clone()),
                        ..plain.clone()
                    };
                    self.add(&cell, unpinned);
                    let is_cheap = cell.is_cheap(installer);
                    if !is_replaced && is_cheap {
                        self.add(
                            &cell,
                            Asked {
                                purpose: Purpose::YankedPinned,
                                ..plain
                            },
                        );
                    }
                }
            }
        }
    }

    /// Wheels that changed and are not the newest of any cell.
    fn of_earlier(
        &mut self,
        listing: &Listing<'_>,
        projects: &[&PackageName],
        cells: &[Cell<'_>],
        changed: &BTreeSet<WheelName>,
    ) {
        for &project in projects {
            for wheel in listing.offered(project) {
                let is_newest = |cell: &Cell<'_>| cell.wheel.file_name == wheel.file_name;
                if !changed.contains(&wheel.file_name) || cells.iter().any(is_newest) {
                    continue;
                }
                let python = listing
                    .pythons
                    .iter()
                    .copied()
                    .find(|&python| serves(wheel, python));
                let (Some(python), Some(machine)) = (python, machine(wheel)) else {
                    continue;
                };
                let cell = Cell {
                    listing,
                    project,
                    python,
                    machine,
                    wheel,
                    is_new: changed.contains(&wheel.file_name),
                };
                let mut plain = Asked {
                    purpose: Purpose::Earlier,
                    rank: Rank::Wheel,
                    ..self.plain(&cell, Installer::Uv)
                };
                // Of several builds of a version an index gives the highest alone.
                let version = wheel.file_name.full_version();
                let mut same = listing.offered_to(project, python).filter(|other| {
                    other.file_name.full_version() == version && other.file_name != wheel.file_name
                });
                if plain.way == Way::Requirements || same.next().is_some() {
                    plain.way = Way::Direct;
                    plain.face = self.face(Way::Direct);
                }
                self.add(&cell, plain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::release::catalog::{CatalogWheel, Track};
    use crate::release::layout::tests::{NOW, wheel};

    fn bound(name: &str, channel: &str) -> CatalogWheel {
        let mut wheel = wheel(name, channel);
        wheel.uses_torch_cxx_abi = true;
        wheel.built_against.torch = format!("{}.0", wheel.channel.torch().minor());
        wheel.requires_dist = vec![format!("torch{}", wheel.channel.torch().specifier())];
        wheel.sha256 = Sha256Digest::of(name.as_bytes());
        wheel
    }

    fn catalog(wheels: Vec<CatalogWheel>) -> Catalog {
        Catalog::empty().with(wheels, Track::Stable, NOW).unwrap()
    }

    fn all(catalog: &Catalog) -> BTreeSet<WheelName> {
        catalog.wheels.keys().cloned().collect()
    }

    fn hub() -> Links {
        Links::Hub {
            endpoint: "https://h".to_owned(),
            repository: "o/r".to_owned(),
        }
    }

    fn places(links: &Links) -> Places<'_> {
        Places {
            links,
            index_url: Some("https://i/whl"),
            json_index_url: None,
        }
    }

    fn told(rows: &Rows) -> String {
        let line = |row: &Row| {
            let words = row.words.join(" ");
            format!(
                "{} | {} | {} | {}\n  {words}\n  {}\n",
                row.purpose.as_str(),
                row.environment(),
                row.face.as_str(),
                row.installer,
                row.expected
            )
        };
        rows.rows.iter().map(line).collect()
    }

    const FLASH: &str = "flash_attn-2.8.3+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl";

    #[test]
    fn one_wheel_on_a_hub_has_these_rows() {
        let catalog = catalog(vec![bound(FLASH, "cu130/torch2.11")]);
        let links = hub();
        let mut rows = rows(&catalog, &all(&catalog), &places(&links));
        // The two pips have the same lines.
        rows.rows
            .retain(|row| row.installer != Installer::PipOldest);
        insta::assert_snapshot!(told(&rows));
    }

    #[test]
    fn without_an_index_the_files_of_requirements_are_the_main_way() {
        let catalog = catalog(vec![bound(FLASH, "cu130/torch2.11")]);
        let links = hub();
        let bare = Places {
            index_url: None,
            ..places(&links)
        };
        let rows = rows(&catalog, &all(&catalog), &bare);
        let newest = |row: &&Row| row.purpose == Purpose::Newest;
        assert!(
            rows.rows
                .iter()
                .filter(newest)
                .all(|row| row.way == Way::Requirements)
        );
        let is_open = |row: &&Row| row.way == Way::Index && row.purpose != Purpose::ClosedWay;
        assert_eq!(rows.rows.iter().find(is_open), None);
    }

    #[test]
    fn only_what_changed_has_rows() {
        let other = "flash_attn-2.8.3+cu128torch2.8-cp311-cp311-manylinux_2_28_x86_64.whl";
        let scatter = "torch_scatter-2.1.2+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl";
        let catalog = catalog(vec![
            bound(FLASH, "cu130/torch2.11"),
            bound(other, "cu128/torch2.8"),
            bound(scatter, "cu130/torch2.11"),
        ]);
        let changed = BTreeSet::from([FLASH.parse().unwrap()]);
        let rows = rows(&catalog, &changed, &places(&hub()));
        assert!(!rows.rows.is_empty());
        for row in &rows.rows {
            assert_eq!(
                (row.channel.to_string().as_str(), row.project.as_str()),
                ("cu130/torch2.11", "flash-attn")
            );
        }
        let none = super::rows(&catalog, &BTreeSet::new(), &places(&hub()));
        assert_eq!((none.rows, none.left_out), (Vec::new(), 0));
    }

    #[test]
    fn what_is_out_already_is_not_downloaded_for_a_row() {
        let old = FLASH.replace("cp311", "cp310");
        let catalog = catalog(vec![
            bound(FLASH, "cu130/torch2.11"),
            bound(&old, "cu130/torch2.11"),
        ]);
        let changed = BTreeSet::from([FLASH.parse().unwrap()]);
        let rows = rows(&catalog, &changed, &places(&hub()));
        let is_old = |row: &&Row| row.python.to_string() == "3.10";
        let of_old = rows.rows.iter().filter(is_old);
        // A refusal needs no file.
        let of_old: Vec<_> = of_old
            .filter(|row| row.expected != Expected::Refusal)
            .map(|row| (row.purpose, row.installer, row.way))
            .collect();
        assert_eq!(
            of_old,
            [Installer::Uv, Installer::PipNewest].map(|one| (Purpose::Newest, one, Way::Index))
        );
    }

    #[test]
    fn a_wheel_of_any_torch_is_expected_where_its_requirements_hold() {
        let mut wheel = bound(FLASH, "cu130/torch2.11");
        wheel.uses_torch_cxx_abi = false;
        wheel.requires_dist = vec!["torch>=2.11".to_owned()];
        let catalog = catalog(vec![wheel]);
        let rows = rows(&catalog, &all(&catalog), &places(&hub()));
        let beside = |torch: &str| {
            let mut rows = rows
                .rows
                .iter()
                .filter(|row| row.purpose == Purpose::OtherTorch);
            let row = rows.find(|row| row.torch == torch).unwrap();
            row.expected == Expected::Refusal
        };
        assert!(beside("2.10.0") && !beside("2.12.0"));
    }

    #[test]
    fn a_large_release_is_sampled_and_every_project_is_tried_with_everyone() {
        let mut wheels = Vec::new();
        for project in 0..40 {
            for python in 310..316 {
                for (cuda, torch) in [("cu130", "2.11"), ("cu128", "2.8")] {
                    let name = format!(
                        "p{project}-1.0+{cuda}torch{torch}-cp{python}-cp{python}-manylinux_2_28_x86_64.whl"
                    );
                    wheels.push(bound(&name, &format!("{cuda}/torch{torch}")));
                }
            }
        }
        let catalog = catalog(wheels);
        let rows = rows(&catalog, &all(&catalog), &places(&hub()));
        assert_eq!(rows.rows.len(), ROWS_CAP);
        assert!(rows.left_out > 1000, "{}", rows.left_out);
        let ranks_kept = |purpose: Purpose| rows.rows.iter().any(|row| row.purpose == purpose);
        assert!(ranks_kept(Purpose::OtherWay) && ranks_kept(Purpose::Newest));
    }
}
