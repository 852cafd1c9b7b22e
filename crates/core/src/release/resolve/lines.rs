//! The lines that install one wheel, pinned to its bytes.

use super::question::Question;
use crate::release::catalog::CatalogWheel;
use crate::release::install::{direct_requirement, torch_requirement};
use crate::release::links::Links;

/// What to write into a Dockerfile, a requirements file or a `pyproject.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Where the wheel is.
    pub url: String,
    /// The pin of torch: what was asked about, or what the wheel works with alone. `None` where the
    /// wheel leaves it open and nothing is known of it.
    pub torch: Option<String>,
    /// A `RUN` of a Dockerfile.
    pub dockerfile: String,
    /// A line of a requirements file.
    pub pip: String,
    /// The same for a file in which every line has a digest (`pip install --require-hashes`).
    pub pip_hashed: String,
    /// The parts of a `pyproject.toml` that uv reads. It refuses an address with a digest there, and
    /// notes in `uv.lock` the digest of what it found.
    pub uv: String,
}

/// The lines for `wheel`. The torch stands in them as a pin, for pip would otherwise replace one that
/// is installed by the newest that the wheel admits.
pub(super) fn lines(wheel: &CatalogWheel, question: &Question, links: &Links) -> Lines {
    let url = in_double_quotes(&links.wheel_address(wheel));
    let project = wheel.file_name.project();
    let sha256 = wheel.sha256;
    let torch = match &question.torch {
        Some(torch) => Some(format!("torch{}", torch.specifier())),
        None if wheel.uses_torch_cxx_abi => Some(torch_requirement(&wheel.channel)),
        None => None,
    };
    let pip = in_double_quotes(&direct_requirement(wheel, links));
    let mut quoted: Vec<String> = torch.iter().map(|torch| format!("\"{torch}\"")).collect();
    quoted.push(format!("\"{pip}\""));
    let own = format!("{project}=={}", wheel.file_name.full_version());
    let dependencies = torch.iter().chain([&own]);
    let dependencies: Vec<String> = dependencies
        .map(|dependency| format!("    \"{dependency}\",\n"))
        .collect();
    Lines {
        dockerfile: format!("RUN pip install --no-cache-dir {}", quoted.join(" ")),
        pip_hashed: format!("{project} @ {url} \\\n    --hash=sha256:{sha256}"),
        uv: format!(
            "[project]\ndependencies = [\n{}]\n\n\
             # uv.lock has to say sha256:{sha256}\n\
             [tool.uv.sources]\n{project} = {{ url = \"{url}\" }}",
            dependencies.concat()
        ),
        url,
        torch,
        pip,
    }
}

/// The text with nothing in it that a shell or TOML reads between double quotes.
fn in_double_quotes(url: &str) -> String {
    let mut safe = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            '$' => safe.push_str("%24"),
            '`' => safe.push_str("%60"),
            '"' => safe.push_str("%22"),
            '\\' => safe.push_str("%5C"),
            c => safe.push(c),
        }
    }
    safe
}
