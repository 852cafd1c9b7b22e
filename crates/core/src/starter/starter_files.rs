//! The files of a new farm.

use minijinja::context;

use super::draft::{Draft, templates};
use super::nightly::{self, NightlySettings, nightly};
use super::settings::{Settings, shell_word};
use super::{MATRIX, shipped};

const README: &str = include_str!("../../data/starter/README.md.j2");
/// What editors complete and check a matrix with; its first line names it.
const SCHEMA: &str = include_str!("../../../../schemas/matrix.schema.json");
const DEPENDABOT: &str = include_str!("../../data/starter/dependabot.yml");
const GITIGNORE: &str =
    "# What `wheelfarm build` writes: wheels, logs, and the memory of past runs.\n/out/\n";

/// A file of a new farm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StarterFile {
    /// Where it lies, from the top of the farm.
    pub path: String,
    /// What it says.
    pub text: String,
    /// What becomes of one that is there already.
    pub if_there: IfThere,
}

/// What becomes of a file that is there already and says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    /// Nothing is written at all.
    Refuse,
    /// It stays as it is: a repository often has one.
    Keep,
}

/// The files, the matrix last.
pub(super) fn files(settings: &Settings, draft: &Draft) -> Vec<StarterFile> {
    let file = |path: &str, text: String, if_there| StarterFile {
        path: path.to_owned(),
        text,
        if_there,
    };
    let mut files = vec![
        file("README.md", readme(settings, draft), IfThere::Keep),
        file(".gitignore", GITIGNORE.to_owned(), IfThere::Keep),
    ];
    let schema = super::draft::SCHEMA_PATH;
    files.push(file(schema, SCHEMA.to_owned(), IfThere::Keep));
    for entry in &draft.entries {
        for (path, text) in shipped::files(&entry.name) {
            files.push(file(path, text.to_owned(), IfThere::Refuse));
        }
    }
    if let Some(settings) = &settings.nightly {
        files.push(file(nightly::PATH, nightly(settings), IfThere::Refuse));
        let dependabot = ".github/dependabot.yml";
        files.push(file(dependabot, DEPENDABOT.to_owned(), IfThere::Keep));
        if let Some(text) = actionlint(settings) {
            files.push(file(".github/actionlint.yaml", text, IfThere::Keep));
        }
    }
    files.push(file(MATRIX, draft.matrix(), IfThere::Refuse));
    files
}

/// The labels that actionlint has to be told of: it knows those that GitHub gives every runner
/// (<https://github.com/rhysd/actionlint/blob/main/docs/checks.md>, runner labels).
fn actionlint(settings: &NightlySettings) -> Option<String> {
    const KNOWN: [&str; 7] = [
        "self-hosted",
        "linux",
        "macos",
        "windows",
        "x64",
        "arm",
        "arm64",
    ];
    let labels = settings.labels().iter();
    let own = labels.filter(|label| !KNOWN.contains(&label.to_ascii_lowercase().as_str()));
    let own: Vec<_> = own.map(|label| format!("\"{label}\"")).collect();
    let own = own.join(", ");
    (!own.is_empty()).then(|| {
        format!(
            "# For actionlint, which checks workflows: labels of the nightly's own runner.\n\
             self-hosted-runner:\n  labels: [{own}]\n"
        )
    })
}

fn readme(settings: &Settings, draft: &Draft) -> String {
    let packages = draft.entries.iter().map(|entry| {
        context! {
            name => entry.name.as_str(),
            version => entry.version.to_string(),
            summary => entry.summary.as_str(),
        }
    });
    let values = context! {
        repository => env!("CARGO_PKG_REPOSITORY"),
        farm => settings.farm.as_str(),
        packages => packages.collect::<Vec<_>>(),
        gpus => draft.gpus(),
        torch_minor => draft.candidate.torch.minor().to_string(),
        cuda => draft.candidate.cuda.to_string(),
        publish_to => shell_word(settings.publish_to.as_deref().unwrap_or("release")),
        labels => settings.nightly.as_ref().map(|one| one.labels().join(", ")),
    };
    templates()
        .render_str(README, values)
        .expect("a test renders it")
}
