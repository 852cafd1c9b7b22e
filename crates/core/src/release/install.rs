//! The lines that a user types to get one wheel. README, `resolve` and the install table have them from
//! here, so that what is told is what is tried.
//!
//! torch stands in every line. A wheel that is tied to a torch asks for it, and an installer that is
//! free to choose would rather change an installed torch than refuse; with a version in the line it
//! cannot.

use crate::release::catalog::{CatalogWheel, Track};
use crate::release::channel::Channel;
use crate::release::links::{ADDRESS_VARIABLE, Links};
use crate::release::listing::channel_path;
use crate::version::PythonVersion;

/// Who installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// pip.
    Pip,
    /// uv, in its pip's clothes.
    Uv,
}

impl Client {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pip, Self::Uv];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv => "uv",
        }
    }

    fn install(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Pip => &["pip", "install"],
            Self::Uv => &["uv", "pip", "install"],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }
}

/// How a wheel is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// By a file of requirements, which names the newest wheel by its address.
    Requirements,
    /// By its own address.
    Direct,
    /// On the flat page of its channel.
    FindLinks,
    /// In the index of its channel.
    Index,
}

impl Way {
    /// Every way, the plainest first.
    pub const ALL: [Self; 4] = [
        Self::Requirements,
        Self::Direct,
        Self::FindLinks,
        Self::Index,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requirements => "requirements",
            Self::Direct => "direct",
            Self::FindLinks => "find-links",
            Self::Index => "index",
        }
    }
}

/// A wheel as it is offered to one Python in one channel.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// How the release points at files.
    pub links: &'a Links,
    /// Where the folder `whl/` is served as true HTML pages, if it is.
    pub index_url: Option<&'a str>,
    /// The track.
    pub track: Track,
    /// The channel.
    pub channel: &'a Channel,
    /// The Python.
    pub python: PythonVersion,
    /// The wheel.
    pub wheel: &'a CatalogWheel,
    /// The torch that has to stay: `torch==2.11.*` (see [`torch_requirement`]), or the very version
    /// that is installed: `torch==2.11.0`.
    pub torch: &'a str,
}

impl Offer<'_> {
    /// The command as its words; none where the way is closed to the client.
    ///
    /// A wheel without a local version could be taken for the file of another: one on PyPI has the
    /// same version. Such a wheel is found by its address, or by uv in an index, which it asks before
    /// PyPI. pip reads no page that a Hub serves as plain text.
    pub fn words(&self, client: Client, way: Way) -> Option<Vec<String>> {
        let mut words = client.install();
        words.push(self.torch.to_owned());
        let is_ours_alone = self.wheel.file_name.local_version().is_some();
        match way {
            Way::Requirements => words.extend(["-r".to_owned(), self.requirements_address()]),
            Way::Direct => words.push(direct_requirement(self.wheel, self.links)),
            Way::FindLinks => {
                let page = self.flat_address(client)?;
                if !is_ours_alone {
                    return None;
                }
                words.extend([self.pin(), "--find-links".to_owned(), page]);
            }
            Way::Index => {
                let option = match client {
                    Client::Pip if is_ours_alone => "--extra-index-url",
                    Client::Pip => return None,
                    Client::Uv => "--index",
                };
                let index = format!("{}/simple", self.channel_address()?);
                words.extend([self.pin(), option.to_owned(), index]);
            }
        }
        Some(words)
    }

    /// The command as a line for a shell.
    pub fn line(&self, client: Client, way: Way) -> Option<String> {
        let words = self.words(client, way)?;
        let words: Vec<_> = words.iter().map(|word| shell_word(word)).collect();
        Some(words.join(" "))
    }

    /// The address of the file of requirements that names the newest wheel.
    pub fn requirements_address(&self) -> String {
        let channel = channel_path(self.channel, self.track);
        let (python, project) = (self.python.tag(), self.wheel.file_name.project());
        let path = format!("req/{channel}/{python}/{project}.txt");
        self.links.address(&path, "main")
    }

    fn flat_address(&self, client: Client) -> Option<String> {
        if let Some(channel) = self.channel_address() {
            return Some(format!("{channel}.html"));
        }
        let path = format!("whl/{}.html", channel_path(self.channel, self.track));
        (client == Client::Uv).then(|| self.links.address(&path, "main"))
    }

    /// The channel's place below the address of `whl/`.
    fn channel_address(&self) -> Option<String> {
        let whl = whl_address(self.links, self.index_url)?;
        Some(format!("{whl}/{}", channel_path(self.channel, self.track)))
    }

    fn pin(&self) -> String {
        let name = &self.wheel.file_name;
        format!("{}=={}", name.project(), name.full_version())
    }
}

/// Where the folder `whl/` is served as HTML: at `index_url`, or wherever the whole release is; none on
/// a Hub, which serves pages as plain text.
pub(super) fn whl_address(links: &Links, index_url: Option<&str>) -> Option<String> {
    match (index_url, links) {
        (Some(url), _) => Some(url.trim_end_matches('/').to_owned()),
        (None, Links::Relative) => Some(format!("${{{ADDRESS_VARIABLE}}}/whl")),
        (None, Links::Absolute { .. } | Links::Hub { .. }) => None,
    }
}

/// The requirement of the torch that a channel's wheels are for: `torch==2.11.*`.
pub fn torch_requirement(channel: &Channel) -> String {
    format!("torch{}", channel.torch().specifier())
}

/// The lines that install the torch of a channel where there is none yet: PyPI's may be for another
/// CUDA. A nightly comes from the index of nightlies, which `--torch-backend` does not name.
pub fn torch_line(channel: &Channel, client: Client) -> String {
    let cuda = channel.cuda();
    let is_nightly = channel.torch().nightly().is_some();
    let nightly = if is_nightly { "nightly/" } else { "" };
    let from = match client {
        Client::Uv if !is_nightly => format!("--torch-backend={cuda}"),
        Client::Pip | Client::Uv => {
            format!("--index-url https://download.pytorch.org/whl/{nightly}{cuda}")
        }
    };
    let torch = shell_word(&torch_requirement(channel));
    format!("{} {torch} {from}", client.install().join(" "))
}

/// One requirement that names a wheel by its address and its digest: for command lines, files of
/// requirements, Dockerfiles and lock files.
pub fn direct_requirement(wheel: &CatalogWheel, links: &Links) -> String {
    format!(
        "{} @ {}#sha256={}",
        wheel.file_name.project(),
        links.wheel_address(wheel),
        wheel.sha256
    )
}

/// A word as a shell reads it; the release's address stays a variable.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=%".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{word}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::layout::tests::wheel;

    fn lines(name: &str, channel: &str, links: &Links, index_url: Option<&str>) -> String {
        let mut wheel = wheel(name, channel);
        wheel.commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
        let offer = Offer {
            links,
            index_url,
            track: Track::Stable,
            channel: &wheel.channel,
            python: "3.12".parse().unwrap(),
            wheel: &wheel,
            torch: &torch_requirement(&wheel.channel),
        };
        let mut lines: Vec<_> = Client::ALL
            .iter()
            .map(|&client| torch_line(&wheel.channel, client))
            .collect();
        for way in Way::ALL {
            for client in Client::ALL {
                lines.push(
                    offer.line(client, way).unwrap_or_else(|| {
                        format!("({} has no {})", client.as_str(), way.as_str())
                    }),
                );
            }
        }
        lines.join("\n")
    }

    const FLASH: &str = "flash_attn-2.8.3+cu130torch2.11-cp312-cp312-manylinux_2_28_x86_64.whl";

    #[test]
    fn lines_pin_the_wheel_and_its_torch() {
        let host = Links::Absolute {
            base: "https://wheels.example.org".to_owned(),
        };
        let index = Some("https://wheels.example.org/whl/");
        insta::assert_snapshot!(lines(FLASH, "cu130/torch2.11", &host, index));
    }

    #[test]
    fn a_release_without_an_address_is_found_by_a_variable() {
        insta::assert_snapshot!(lines(FLASH, "cu130/torch2.11", &Links::Relative, None));
    }

    #[test]
    fn a_hub_has_no_index_and_its_pages_are_for_uv_alone() {
        let hub = Links::Hub {
            endpoint: "https://huggingface.co".to_owned(),
            repository: "me/wheels".to_owned(),
        };
        insta::assert_snapshot!(lines(FLASH, "cu130/torch2.11", &hub, None));
    }

    #[test]
    fn a_wheel_whose_version_pypi_may_have_too_is_found_by_its_address() {
        let pure = "tools-0.1-py3-none-any.whl";
        insta::assert_snapshot!(lines(pure, "cu130/torch2.11", &Links::Relative, None));
    }

    #[test]
    fn a_nightly_is_pinned_to_its_day_and_comes_from_the_nightlies() {
        let name = "demo-1.0+cu130torch2.16.dev20261120-cp312-cp312-manylinux_2_28_x86_64.whl";
        insta::assert_snapshot!(lines(
            name,
            "cu130/torch2.16.dev20261120",
            &Links::Relative,
            None
        ));
    }
}
