//! Which servers a night asks, what of theirs is here already, and what their answers come to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::facts::ImagesHere;
use super::wants::Wants;
use crate::matrix::Base;
use crate::source::{GitUrl, RemoteUrl, Source};

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// A package index, by the page of a project.
    Index,
    /// A file on a web server.
    File,
    /// A server of files, by its root: which files it will be is not known yet.
    Host,
    /// A git repository.
    Git,
    /// A registry of images, by the root of its API.
    Registry,
    /// A mirror of Debian, by its release file.
    Mirror,
    /// A Hub.
    Hub,
}

/// How a server is asked.
#[derive(Debug, Clone)]
pub enum Question {
    /// By a request for this address, of which only the head is read.
    Web(RemoteUrl),
    /// By `git ls-remote`.
    Git(GitUrl),
    /// It cannot be asked: what the matrix says is no address.
    Nothing,
}

/// A server that a night needs.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its kind.
    pub kind: TargetKind,
    /// As people read it; without secrets.
    pub name: String,
    /// How it is asked.
    pub question: Question,
    /// What needs it: packages, or a part of the images.
    pub needed_by: String,
    /// Why the night can do without it, when all that it takes from there is here.
    pub held: Option<String>,
}

/// A server and what came of asking it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The server.
    pub target: Target,
    /// What came of it.
    pub reach: Reach,
}

/// What came of asking a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It answered.
    Answered(Answer),
    /// git has read its references, after so many milliseconds.
    Listed {
        /// How long that took.
        ms: u64,
    },
    /// It could not be reached, or git was refused.
    Failed(String),
    /// It said nothing for so many seconds.
    Silent {
        /// How long was waited.
        seconds: u64,
    },
    /// It was not asked.
    NotAsked(&'static str),
}

/// An answer of a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Whether it is a page for people.
    pub is_page: bool,
    /// The host that answered, when it is another than the one that was asked.
    pub from_host: Option<String>,
    /// How long it took.
    pub ms: u64,
    /// By how many seconds the server's clock is ahead of this machine's.
    pub ahead_s: Option<i64>,
}

/// Where the image of a reference comes from: the host of its registry, and whether it is spoken to without
/// TLS. Docker Hub is what references without a host mean
/// (<https://github.com/distribution/reference>, `normalize.go`).
pub fn registry_of(reference: &str) -> (String, Tls) {
    let first = reference.split_once('/').map_or("", |(first, _)| first);
    let is_host = first.contains('.') || first.contains(':') || first == "localhost";
    if !is_host || first == "docker.io" || first == "index.docker.io" {
        return ("registry-1.docker.io".to_owned(), Tls::On);
    }
    let bare = first.split(':').next().unwrap_or(first);
    // What the engine holds for insecure unasked.
    let is_local = bare == "localhost" || bare.starts_with("127.");
    let tls = if is_local { Tls::Off } else { Tls::On };
    (first.to_owned(), tls)
}

/// Whether a registry is spoken to with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// What is here already.
#[derive(Debug, Default)]
pub struct Here<'a> {
    /// What of the plan's images is in the engine; `None`: not known.
    pub images: Option<&'a ImagesHere>,
    /// Which of the plan's sources are in the cache, by their place in [`Wants::sources`].
    pub sources: BTreeSet<usize>,
    /// Mirrors that the engine asks before Docker Hub.
    pub mirrors: &'a [String],
}

/// The servers that a night asks, each once.
pub fn targets(wants: &Wants, here: &Here<'_>) -> Vec<Target> {
    let mut list = List::default();
    indexes(wants, here, &mut list);
    sources(wants, here, &mut list);
    bases(wants, here, &mut list);
    list.0.into_values().collect()
}

/// By kind and name, in that order.
#[derive(Default)]
struct List(BTreeMap<(TargetKind, String), Target>);

impl List {
    /// Adds a target, or what needs it to the one that is there. It is held only if all of it is.
    fn add(&mut self, target: Target) {
        let key = (target.kind, target.name.clone());
        let Some(known) = self.0.get_mut(&key) else {
            self.0.insert(key, target);
            return;
        };
        if !known
            .needed_by
            .split(", ")
            .any(|need| need == target.needed_by)
        {
            known.needed_by = format!("{}, {}", known.needed_by, target.needed_by);
        }
        if target.held.is_none() {
            known.held = None;
            known.question = target.question;
        }
    }

    fn web(&mut self, kind: TargetKind, address: &str, (needed_by, held): (String, Option<&str>)) {
        let url = address.parse::<RemoteUrl>().ok();
        self.add(Target {
            kind,
            name: host_of(address),
            question: url.map_or(Question::Nothing, Question::Web),
            needed_by,
            held: held.map(str::to_owned),
        });
    }
}

fn indexes(wants: &Wants, here: &Here<'_>, list: &mut List) {
    const STAGES: &str = "the stages with torch are in the engine";
    let Some(index) = &wants.package_index else {
        return;
    };
    let page = |index: &str, project: &str| format!("{}/{project}/", index.trim_end_matches('/'));
    // Each job's own image asks it for the compiler cache's program and the build requirements.
    let need = "every image".to_owned();
    list.web(TargetKind::Index, &page(index, "pip"), (need, None));
    if host_of(index) == "pypi.org" {
        let need = "the files of pypi.org".to_owned();
        list.web(
            TargetKind::Host,
            "https://files.pythonhosted.org/",
            (need, None),
        );
    }
    for torch in wants.bases.values().flat_map(|base| &base.torch_indexes) {
        let is_made = here
            .images
            .is_some_and(|images| !images.torch_from.contains(torch));
        let need = ("torch".to_owned(), is_made.then_some(STAGES));
        list.web(TargetKind::Index, &page(torch, "torch"), need);
    }
}

fn sources(wants: &Wants, here: &Here<'_>, list: &mut List) {
    const CACHED: &str = "what is fetched from it is in the cache";
    for (place, wanted) in wants.sources.iter().enumerate() {
        let packages: Vec<_> = wanted.packages.iter().map(ToString::to_string).collect();
        let held = here.sources.contains(&place).then_some(CACHED);
        let need = (packages.join(", "), held);
        match &wanted.source {
            Source::Sdist { project, index, .. } => {
                list.web(TargetKind::Index, &index.project_page(project), need);
            }
            Source::Git { url, .. } => list.add(Target {
                kind: TargetKind::Git,
                name: url.to_string(),
                question: Question::Git(url.clone()),
                needed_by: need.0,
                held: held.map(str::to_owned),
            }),
            Source::Archive { url, .. } => list.add(Target {
                kind: TargetKind::File,
                name: host_of(&url.to_string()),
                question: Question::Web(url.clone()),
                needed_by: need.0,
                held: held.map(str::to_owned),
            }),
            // It is read where it lies.
            Source::Folder { .. } => {}
        }
    }
}

fn bases(wants: &Wants, here: &Here<'_>, list: &mut List) {
    for (reference, wanted) in &wants.bases {
        let is_here = here
            .images
            .is_some_and(|images| images.bases.contains(reference));
        match &wanted.base {
            Base::Image { reference, .. } => {
                let held = is_here.then_some("the image is in the engine");
                let need = (format!("`{reference}`"), held);
                list.web(
                    TargetKind::Registry,
                    &registry(reference, here.mirrors),
                    need,
                );
            }
            Base::Debootstrap { suite, mirror } => {
                let has_compilers = here
                    .images
                    .is_some_and(|images| !images.compilers_on.contains(reference));
                let held = (is_here && has_compilers)
                    .then_some("Debian and the compilers are in the engine");
                let mirror = mirror.trim_end_matches('/');
                let address = format!("{mirror}/dists/{suite}/InRelease");
                let need = (format!("Debian {suite}"), held);
                list.web(TargetKind::Mirror, &address, need);
            }
        }
    }
}

fn registry(reference: &str, mirrors: &[String]) -> String {
    let (host, tls) = registry_of(reference);
    let scheme = match tls {
        Tls::On => "https",
        Tls::Off => "http",
    };
    match mirrors.first() {
        Some(mirror) if host == "registry-1.docker.io" => {
            format!("{}/v2/", mirror.trim_end_matches('/'))
        }
        _ => format!("{scheme}://{host}/v2/"),
    }
}

/// The Hub that is published to.
pub fn hub(endpoint: &str, repository: &str) -> Target {
    let mut list = List::default();
    let address = format!("{endpoint}/api/whoami-v2");
    let need = (format!("publishing to {repository}"), None);
    list.web(TargetKind::Hub, &address, need);
    let (_, target) = list.0.into_iter().next().expect("one was added");
    target
}

/// The host of an address, with its port, for people: no password, no path.
fn host_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    host.to_owned()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn references_name_their_registry() {
        for (reference, host, tls) in [
            (
                "nvidia/cuda:12.8.1-devel-ubuntu22.04",
                "registry-1.docker.io",
                Tls::On,
            ),
            ("debian:bookworm", "registry-1.docker.io", Tls::On),
            ("docker.io/library/debian", "registry-1.docker.io", Tls::On),
            ("ghcr.io/owner/image@sha256:00", "ghcr.io", Tls::On),
            ("nvcr.io/nvidia/pytorch:25.01-py3", "nvcr.io", Tls::On),
            ("registry.lab:5000/cuda", "registry.lab:5000", Tls::On),
            ("localhost:5000/cuda", "localhost:5000", Tls::Off),
            ("127.0.0.1:5000/cuda", "127.0.0.1:5000", Tls::Off),
        ] {
            assert_eq!(
                registry_of(reference),
                (host.to_owned(), tls),
                "{reference}"
            );
        }
    }

    fn shown(wants: &Wants, here: &Here<'_>) -> String {
        let lines = targets(wants, here).into_iter().map(|target| {
            let asked = match &target.question {
                Question::Web(url) => url.to_string(),
                Question::Git(url) => format!("git {url}"),
                Question::Nothing => "nothing".to_owned(),
            };
            let held = target.held.as_deref().unwrap_or("-");
            format!(
                "{:?} {} | {asked} | {} | {held}\n",
                target.kind, target.name, target.needed_by
            )
        });
        lines.collect()
    }

    #[test]
    fn each_server_is_asked_once_for_all_that_need_it() {
        insta::assert_snapshot!(shown(&fixture::wants(), &Here::default()));
    }

    #[test]
    fn what_is_here_is_not_needed_from_there() {
        let wants = fixture::wants();
        let images = ImagesHere {
            bases: wants.bases.keys().cloned().collect(),
            ..ImagesHere::default()
        };
        let here = Here {
            images: Some(&images),
            sources: (0..wants.sources.len()).collect(),
            mirrors: &["https://mirror.lab/".to_owned()],
        };
        insta::assert_snapshot!(shown(&wants, &here));
    }

    #[test]
    fn a_host_is_told_without_what_is_secret() {
        for (address, host) in [
            ("https://me:pw@x.org:8443/simple?sig=1", "x.org:8443"),
            ("https://x.org", "x.org"),
            ("x.org/a", "x.org"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }
}
