//! The plain lists of a channel: digests for `sha256sum`, pins for pip and uv.

use super::{Projects, ReleasedWheel};
use crate::release::channel::Channel;

/// `SHA256SUMS` of the wheels of a channel: `sha256sum -c` takes it in the channel's folder.
pub(super) fn sha256sums(projects: &Projects<'_>) -> String {
    let mut lines: Vec<String> = projects
        .values()
        .flatten()
        .map(|wheel| format!("{}  {}\n", wheel.sha256, wheel.name))
        .collect();
    lines.sort_by(|left, right| left[64..].cmp(&right[64..]));
    lines.concat()
}

/// `requirements.txt` of a channel: the newest version of each project, since a second line for
/// one project is an error to pip.
pub(super) fn requirements(channel: &Channel, projects: &Projects<'_>) -> String {
    let pins: String = projects.values().filter_map(|wheels| pin(wheels)).collect();
    format!(
        "# The newest wheels of channel {channel}, pinned by digest.\n\
         # With one pinned line pip wants digests of everything, so leave the rest to another command:\n\
         #   pip install --no-deps --index-url URL/{channel}/simple -r requirements.txt\n{pins}"
    )
}

/// One line for all wheels of the newest version.
fn pin(wheels: &[&ReleasedWheel]) -> Option<String> {
    let newest = wheels.last()?;
    let version = newest.name.full_version();
    let mut lines = vec![format!("{}=={version}", newest.name.project())];
    let same = wheels.iter().filter(|w| w.name.full_version() == version);
    lines.extend(same.map(|wheel| format!("    --hash=sha256:{}", wheel.sha256)));
    Some(lines.join(" \\\n") + "\n")
}
