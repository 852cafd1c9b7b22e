//! The lines that a user types to get one wheel.

use crate::digest::Sha256Digest;
use crate::release::channel::Channel;
use crate::wheel::name::WheelName;

/// What is to be installed, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstallTarget<'a> {
    /// Where the root of the release is served: `https://host/whl` or `file:///srv/whl`.
    pub base_url: &'a str,
    /// The channel of the user's CUDA and torch.
    pub channel: &'a Channel,
    /// The wheel.
    pub name: &'a WheelName,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// Shell lines, each complete with its tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallLines {
    /// Two commands: torch from its own index, then the wheel.
    pub pip: String,
    /// One command.
    pub uv: String,
    /// One requirement that names the file and its digest: for Dockerfiles and lock files.
    pub requirement: String,
}

/// The lines for pip and uv.
///
/// The version is pinned with its local part, which no file on PyPI may have: nobody can slip a
/// newer wheel of that name in between. pip gets torch by a command of its own, because it mixes
/// all indexes it knows and PyPI's torch may be for another CUDA. A nightly comes from the index of
/// nightlies, which `--torch-backend` does not name.
pub fn install_lines(target: &InstallTarget<'_>) -> InstallLines {
    let index = format!(
        "{}/{}/simple",
        target.base_url.trim_end_matches('/'),
        target.channel
    );
    let wheel = format!("{}=={}", target.name.project(), target.name.full_version());
    let abi = target.channel.torch();
    let torch = format!("torch{}", abi.specifier());
    let cuda = target.channel.cuda();
    let (torch_index, torch_from) = if abi.nightly().is_some() {
        let index = format!("https://download.pytorch.org/whl/nightly/{cuda}");
        let from = format!("--index {index}");
        (index, from)
    } else {
        let index = format!("https://download.pytorch.org/whl/{cuda}");
        (index, format!("--torch-backend={cuda}"))
    };
    InstallLines {
        pip: format!(
            "pip install \"{torch}\" --index-url {torch_index}\n\
             pip install \"{wheel}\" --extra-index-url \"{index}\"\n"
        ),
        uv: format!("uv pip install \"{wheel}\" \"{torch}\" {torch_from} --index \"{index}\"\n"),
        requirement: format!(
            "{} @ {}/{}/{}#sha256={}",
            target.name.project(),
            target.base_url.trim_end_matches('/'),
            target.channel,
            target.name.to_string().replace('+', "%2B"),
            target.sha256
        ),
    }
}
