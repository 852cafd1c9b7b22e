//! Fills the Dockerfile's template.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use minijinja::{Environment as Templates, UndefinedBehavior, context};
use serde::Deserialize;

use super::{COMMANDS_FILE, OUTPUT_FOLDER, SOURCE_FOLDER};
use crate::arch::ArchList;
use crate::diagnostic::Location;
use crate::digest::Sha256Digest;
use crate::ident::JobId;
use crate::matrix::{Base, Interpreter, Toolkit, TorchIndex};
use crate::plan::Job;
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::yaml;

const TEMPLATE: &str = include_str!("../../../../dockerfiles/wheel.Dockerfile.j2");
const TOOLKITS: &str = include_str!("../../../../dockerfiles/toolkits.yaml");

/// The pip that builds and installs in every image.
const PIP: &str = "25.3";

/// The build command unless the package has its own. No isolation, because isolation would install
/// the newest torch; no index, because there is no network.
const BUILD_COMMAND: &str = "python -m pip wheel --no-build-isolation --no-deps --no-cache-dir \
                             --no-index --verbose --wheel-dir \"$OUT\" .";

/// Whether the Dockerfile copies the host's certificates in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CaFile {
    /// The image's own certificates are used.
    Absent,
    /// `ca-bundle.crt` lies in the context.
    Present,
}

/// An entry of a package's `env` does not hold.
#[derive(Debug, thiserror::Error)]
#[error("environment variable `{variable}` cannot be set: {why}")]
pub struct RenderError {
    variable: String,
    location: Location,
    why: EnvFault,
}

/// What is wrong with an entry of `env`.
#[derive(Debug)]
enum EnvFault {
    NoName,
    Template { message: String },
    ControlCharacter,
}

impl fmt::Display for EnvFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("it is not a variable's name"),
            Self::Template { message } => f.write_str(message),
            Self::ControlCharacter => f.write_str("its value holds a control character"),
        }
    }
}

impl RenderError {
    /// Where the entry stands.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What may stand in its place.
    pub fn hint(&self) -> &'static str {
        match self.why {
            EnvFault::NoName => "a name has letters, digits and `_`, and no digit first",
            EnvFault::ControlCharacter => "a value is one line of text",
            EnvFault::Template { .. } => {
                "a value may use {{ archs.torch }}, {{ archs.numbers }}, {{ archs.capabilities }}, \
                 {{ archs.gencode }}, {{ cuda.version }}, {{ cuda.tag }}, {{ torch.version }}, {{ torch.minor }}, \
                 {{ python.version }}, {{ version }} and {{ local_version }}"
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolkitTable {
    schema: u32,
    toolkits: BTreeMap<String, Vec<String>>,
}

static TOOLKIT_PINS: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let table: ToolkitTable =
        yaml::parse("toolkits.yaml", TOOLKITS).expect("a test reads the built-in table");
    assert_eq!(
        table.schema, 1,
        "the built-in table has the reader's schema"
    );
    table.toolkits
});

/// The CUDA versions whose PyPI wheels are known by their pins.
pub(crate) fn pinned_toolkit(cuda: CudaVersion) -> Option<&'static [String]> {
    TOOLKIT_PINS.get(&cuda.to_string()).map(Vec::as_slice)
}

/// The reference of the image that an environment starts from.
pub(crate) fn base_name(base: &Base) -> String {
    match base {
        Base::Debootstrap { suite, .. } => format!("wheelfarm/debian:{suite}"),
        Base::Image { reference, .. } => reference.clone(),
    }
}

/// What the template is filled with, one value for each thing that a person may change. Of it and of
/// [`TEMPLATE`] alone the Dockerfile is made, but for the host's certificates.
#[derive(Debug, Clone)]
pub(crate) struct Recipe<'a> {
    pub(crate) job: &'a JobId,
    pub(crate) base: &'a Base,
    pub(crate) toolkit: Toolkit,
    pub(crate) toolkit_pins: &'static [String],
    pub(crate) cuda: CudaVersion,
    pub(crate) torch: TorchVersion,
    pub(crate) torch_index: &'a str,
    pub(crate) python: PythonVersion,
    pub(crate) package_index: &'a str,
    pub(crate) pip: &'static str,
    pub(crate) system_packages: &'a [String],
    pub(crate) requirements: &'a [String],
    pub(crate) folder: String,
    pub(crate) gpu_shim: bool,
    pub(crate) build_command: &'a str,
    pub(crate) env: BTreeMap<String, String>,
}

impl<'a> Recipe<'a> {
    /// The recipe of `job`.
    pub(crate) fn of(job: &'a Job) -> Result<Self, RenderError> {
        let environment = job.environment();
        let build = &job.release().build;
        let toolkit_pins = match environment.toolkit {
            Toolkit::Image => &[],
            Toolkit::Pypi => pinned_toolkit(environment.cuda).unwrap_or_default(),
        };
        Ok(Self {
            job: job.id(),
            base: &environment.base,
            toolkit: environment.toolkit,
            toolkit_pins,
            cuda: environment.cuda,
            torch: environment.torch,
            torch_index: match &environment.torch_index {
                TorchIndex::Pypi => &environment.package_index,
                TorchIndex::Url(url) => url,
            },
            python: environment.python,
            package_index: &environment.package_index,
            pip: PIP,
            system_packages: &build.system_packages,
            requirements: &build.requirements,
            folder: build.folder.as_ref().map_or_else(
                || SOURCE_FOLDER.to_owned(),
                |folder| format!("{SOURCE_FOLDER}/{folder}"),
            ),
            gpu_shim: build.gpu_shim,
            build_command: build.command.as_deref().unwrap_or(BUILD_COMMAND),
            env: environment_variables(job)?,
        })
    }

    /// The digest of the template that it fills.
    pub(crate) fn template_sha256() -> Sha256Digest {
        Sha256Digest::of(TEMPLATE.as_bytes())
    }

    /// The Dockerfile.
    pub(super) fn dockerfile(&self, ca: CaFile) -> String {
        let env = self.env.iter();
        let env: Vec<_> = env
            .map(|(name, value)| (name.clone(), dockerfile_word(value)))
            .collect();
        let values = context! {
            job => context! { id => self.job.as_str() },
            base => base_values(self.base),
            ca_bundle => ca == CaFile::Present,
            interpreter => interpreter(self.base).as_str(),
            toolkit => self.toolkit.as_str(),
            toolkit_pins => self.toolkit_pins.join(" "),
            cuda => context! { major => self.cuda.major() },
            python => context! {
                folder => self.python.manylinux_folder(),
                tuple => self.python.to_string().trim_end_matches('t').replace('.', ", "),
            },
            torch => context! { version => self.torch.to_string() },
            torch_index => shell_word(self.torch_index),
            package_index => shell_word(self.package_index),
            pip => self.pip,
            system_packages => words(self.system_packages),
            requirements => words(self.requirements),
            folder => self.folder.as_str(),
            gpu_shim => self.gpu_shim,
            build_command => dockerfile_word(self.build_command),
            env,
        };
        let mut text = strict_templates()
            .render_str(TEMPLATE, values)
            .expect("a test renders the built-in template in every environment");
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// Renders the Dockerfile of `job`.
pub(super) fn dockerfile(job: &Job, ca: CaFile) -> Result<String, RenderError> {
    Ok(Recipe::of(job)?.dockerfile(ca))
}

fn base_values(base: &Base) -> minijinja::Value {
    let reference = base_name(base);
    match base {
        Base::Debootstrap { suite, mirror } => {
            context! { kind => "debootstrap", reference, suite, mirror }
        }
        Base::Image { .. } => context! { kind => "image", reference },
    }
}

pub(crate) fn interpreter(base: &Base) -> Interpreter {
    match base {
        Base::Debootstrap { .. } => Interpreter::Apt,
        Base::Image { interpreter, .. } => *interpreter,
    }
}

/// What a package's `env` values may use; `RenderError::hint` lists the same names.
fn template_values(job: &Job) -> minijinja::Value {
    let environment = job.environment();
    let archs = |text: fn(&ArchList) -> String| job.archs().map(text).unwrap_or_default();
    context! {
        archs => context! {
            torch => archs(ArchList::torch_list),
            numbers => archs(ArchList::numbers),
            capabilities => archs(ArchList::capabilities),
            gencode => archs(ArchList::gencode),
        },
        cuda => context! {
            version => environment.cuda.to_string(),
            tag => environment.cuda.tag(),
        },
        torch => context! {
            version => environment.torch.to_string(),
            minor => environment.torch.minor().to_string(),
        },
        python => context! { version => environment.python.to_string() },
        version => job.release().version.value.to_string(),
        local_version => job.local_version(),
    }
}

/// The compile container's environment: the package's own, then what every build gets.
fn environment_variables(job: &Job) -> Result<BTreeMap<String, String>, RenderError> {
    let build = &job.release().build;
    let epoch = job.source_date_epoch_s().to_string();
    // nvcc takes the last of two `--threads`, so this overrules a setup.py that hard-codes eight.
    let mut variables: BTreeMap<String, String> = [
        ("HOME", "/tmp"),
        ("NVCC_APPEND_FLAGS", "--threads=1"),
        ("NVCC_THREADS", "1"),
        ("OUT", OUTPUT_FOLDER),
        ("PYTHONHASHSEED", "0"),
        ("SOURCE_DATE_EPOCH", &epoch),
        ("TMPDIR", "/build/tmp"),
        ("WHEELFARM_COMMANDS", COMMANDS_FILE),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if build.gpu_shim
        && let Some(archs) = job.archs()
    {
        variables.insert("WHEELFARM_SHOWN_GPUS".to_owned(), archs.capabilities());
    }
    let templates = strict_templates();
    let values = template_values(job);
    for (name, template) in &build.env {
        let refuse = |why| RenderError {
            variable: name.clone(),
            location: template.location.clone(),
            why,
        };
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(refuse(EnvFault::NoName));
        }
        let value = templates
            .render_str(&template.value, values.clone())
            .map_err(|error| refuse(template_fault(&template.value, &error)))?;
        if value.chars().any(char::is_control) {
            return Err(refuse(EnvFault::ControlCharacter));
        }
        variables.insert(name.clone(), value);
    }
    Ok(variables)
}

/// What the template engine says, without the name it makes up for a template that is no file.
fn template_fault(template: &str, error: &minijinja::Error) -> EnvFault {
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail} in `{template}`", error.kind()),
        None => format!("{} in `{template}`", error.kind()),
    };
    EnvFault::Template { message }
}

fn strict_templates() -> Templates<'static> {
    let mut templates = Templates::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates
}

/// A value as one word of a Dockerfile's `ENV`.
fn dockerfile_word(value: &str) -> String {
    let mut word = String::with_capacity(value.len() + 2);
    word.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$') {
            word.push('\\');
        }
        word.push(c);
    }
    word.push('"');
    word
}

/// Texts as words of a shell command.
fn words(texts: &[String]) -> String {
    let words: Vec<_> = texts.iter().map(|text| shell_word(text)).collect();
    words.join(" ")
}

/// A text as one word of a shell command.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=+!~/:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_break_out() {
        assert_eq!(dockerfile_word("a b"), "\"a b\"");
        assert_eq!(dockerfile_word("\"$OUT\" \\"), "\"\\\"\\$OUT\\\" \\\\\"");
        assert_eq!(shell_word("ninja==1.13.0"), "ninja==1.13.0");
        assert_eq!(shell_word("x; rm -rf '/'"), "'x; rm -rf '\\''/'\\'''");
    }

    #[test]
    fn pinned_toolkits_are_whole() {
        let pins = pinned_toolkit("13.0".parse().unwrap()).unwrap();
        for part in ["nvcc", "crt", "nvvm", "cccl"] {
            assert!(pins.iter().any(|pin| pin.contains(part)), "{part}");
        }
    }
}
