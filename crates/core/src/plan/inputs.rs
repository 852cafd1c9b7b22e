//! Everything that can change a wheel's bytes: what the job digest is taken over, and the readable
//! record of it beside the manifest, which tells what changed when the digest has.
//!
//! Both are made from [`Inputs`], and taking it apart names every field: one that is added to the
//! digest and not to the record does not compile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Job, JobDigest};
use crate::arch::ArchList;
use crate::digest::Sha256Digest;
use crate::ident::JobId;
use crate::matrix::Base;
use crate::render::{self, Recipe};
use crate::wheel::build_number::BuildNumber;

/// The schema that this program writes, and the only one that it reads.
pub const SCHEMA: u32 = 1;

/// The record's name beside the manifest.
pub const FILE_NAME: &str = "inputs.json";

/// What the digest is taken over. Raise `FORMAT` when the farm itself changes what a wheel's bytes
/// are: how it finishes wheels, what the compile container sees.
#[derive(Debug, Serialize)]
pub(super) struct Inputs<'a> {
    format: u32,
    id: &'a JobId,
    source: &'a str,
    patches: Vec<(&'a str, Sha256Digest)>,
    archs: Option<String>,
    dockerfile: String,
    build_script: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu_shim: Option<&'static str>,
    output: &'a str,
    local_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_number: Option<u32>,
    source_date_epoch_s: u64,
    /// What the Dockerfile says, which the digest has as its text.
    #[serde(skip)]
    recipe: Recipe<'a>,
}

const FORMAT: u32 = 2;

impl<'a> Inputs<'a> {
    /// The inputs of `job`.
    ///
    /// # Errors
    /// A template in the package's `env` that does not hold.
    pub(super) fn of(job: &'a Job) -> Result<Self, render::RenderError> {
        let recipe = Recipe::of(job)?;
        let patches = job.patches().iter();
        let build = &job.release().build;
        Ok(Self {
            format: FORMAT,
            id: job.id(),
            source: job.source_identity(),
            patches: patches
                .map(|patch| (patch.name.as_str(), patch.sha256))
                .collect(),
            archs: job.archs().map(ArchList::torch_list),
            dockerfile: render::recipe_text(&recipe),
            build_script: render::COMPILING,
            gpu_shim: build.gpu_shim.then_some(render::GPU_SHIM),
            output: build.output.as_str(),
            local_version: job.local_version(),
            build_number: job.release().build_number.map(BuildNumber::get),
            source_date_epoch_s: job.source_date_epoch_s(),
            recipe,
        })
    }

    /// The digest of them.
    pub(super) fn digest(&self) -> JobDigest {
        let text = serde_json::to_string(self).expect("plain text and numbers serialise");
        JobDigest(Sha256Digest::of(text.as_bytes()))
    }

    /// What goes on record of them, under the digest that was taken of them.
    pub(super) fn record(self, job_digest: JobDigest) -> InputsRecord {
        let Self {
            format,
            id,
            source,
            patches,
            archs,
            dockerfile,
            build_script,
            gpu_shim,
            output,
            local_version,
            build_number,
            source_date_epoch_s,
            recipe,
        } = self;
        let patches = patches.into_iter().map(|(name, sha256)| PatchInput {
            name: name.to_owned(),
            sha256,
        });
        let archs = archs.iter().flat_map(|list| list.split(';'));
        InputsRecord {
            schema: SCHEMA,
            job: id.clone(),
            job_digest,
            format,
            source: source.to_owned(),
            patches: patches.collect(),
            archs: archs.map(str::to_owned).collect(),
            build_script: Sha256Digest::of(build_script.as_bytes()),
            gpu_shim: gpu_shim.map(|text| Sha256Digest::of(text.as_bytes())),
            output: output.to_owned(),
            local_version,
            build_number,
            source_date_epoch_s,
            dockerfile: DockerfileRecord {
                sha256: Sha256Digest::of(dockerfile.as_bytes()),
                template_sha256: Recipe::template_sha256(),
                instructions: render::instructions(&dockerfile),
            },
            recipe: RecipeRecord::of(recipe),
        }
    }
}

/// What a job was made from, as `inputs.json` has it. Long texts that no person of the farm writes
/// stand as their digests.
///
/// Readers of schema 1 accept keys that they do not know. A key that a later version adds needs a
/// default here, which is what an older record then has: the change shows once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InputsRecord {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// The job.
    pub job: JobId,
    /// The digest over what stands here.
    pub job_digest: JobDigest,
    /// The version of what the farm itself does with a wheel.
    pub format: u32,
    /// The source as it is pinned, with what is put into it.
    pub source: String,
    /// The patches in the order in which they are applied.
    pub patches: Vec<PatchInput>,
    /// The archs; none for a package that compiles on the user's GPU.
    pub archs: Vec<String>,
    /// The script that compiles, and what stands in the compilers' place, inside the container.
    pub build_script: Sha256Digest,
    /// What shows a `setup.py` the GPUs that are asked for; absent where none is shown.
    pub gpu_shim: Option<Sha256Digest>,
    /// Which file of the output folder is the wheel.
    pub output: String,
    /// The local version that the wheel gets.
    pub local_version: String,
    /// The build number that the wheel gets, if any.
    pub build_number: Option<u32>,
    /// The time stamp of every file in the wheel: seconds since 1970.
    pub source_date_epoch_s: u64,
    /// The Dockerfile.
    pub dockerfile: DockerfileRecord,
    /// What the Dockerfile's template is filled with.
    pub recipe: RecipeRecord,
}

/// A patch that is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PatchInput {
    /// Its file.
    pub name: String,
    /// The digest of its text.
    pub sha256: Sha256Digest,
}

/// The Dockerfile of a job, without the host's certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DockerfileRecord {
    /// The digest of its text.
    pub sha256: Sha256Digest,
    /// The digest of the template: when it is another, `recipe` alone does not tell what changed.
    pub template_sha256: Sha256Digest,
    /// Its instructions, each with its stage, without comments.
    pub instructions: Vec<String>,
}

/// What a Dockerfile's template is filled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecipeRecord {
    /// The reference of the image that everything starts from.
    pub base: String,
    /// Where the packages of a base come from that the farm bootstraps itself.
    pub base_mirror: Option<String>,
    /// Where its Python comes from.
    pub interpreter: String,
    /// Where nvcc comes from.
    pub toolkit: String,
    /// NVIDIA's wheels that make up the toolkit, when it comes from PyPI.
    pub toolkit_pins: Vec<String>,
    /// CUDA's version.
    pub cuda: String,
    /// torch's version.
    pub torch: String,
    /// The index that torch is installed from.
    pub torch_index: String,
    /// Python's version.
    pub python: String,
    /// The index that everything else is installed from.
    pub package_index: String,
    /// The pip that installs and builds.
    pub pip: String,
    /// Packages of the distribution that the build needs.
    pub system_packages: Vec<String>,
    /// Python packages that the build needs.
    pub requirements: Vec<String>,
    /// The folder of the container that the build runs in.
    pub folder: String,
    /// The command that builds.
    pub build_command: String,
    /// The environment of the command, with its templates filled.
    pub env: BTreeMap<String, String>,
}

impl RecipeRecord {
    fn of(recipe: Recipe<'_>) -> Self {
        let Recipe {
            // On record beside the recipe.
            job: _,
            gpu_shim: _,
            base,
            toolkit,
            toolkit_pins,
            cuda,
            torch,
            torch_index,
            python,
            package_index,
            pip,
            system_packages,
            requirements,
            folder,
            build_command,
            env,
        } = recipe;
        Self {
            base: render::base_name(base),
            base_mirror: match base {
                Base::Debootstrap { mirror, .. } => Some(mirror.clone()),
                Base::Image { .. } => None,
            },
            interpreter: render::interpreter(base).as_str().to_owned(),
            toolkit: toolkit.as_str().to_owned(),
            toolkit_pins: toolkit_pins.to_vec(),
            cuda: cuda.to_string(),
            torch: torch.to_string(),
            torch_index: torch_index.to_owned(),
            python: python.to_string(),
            package_index: package_index.to_owned(),
            pip: pip.to_owned(),
            system_packages: system_packages.to_vec(),
            requirements: requirements.to_vec(),
            folder,
            build_command: build_command.to_owned(),
            env,
        }
    }
}

/// A record of inputs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    /// The text is not such a record.
    #[error("failed to read the record of a job's inputs")]
    Malformed(#[source] serde_json::Error),
    /// It was written by another version of this program.
    #[error("the record of a job's inputs has schema {found}, and this program reads {SCHEMA}")]
    OtherSchema {
        /// What it says.
        found: u64,
    },
}

impl InputsRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// A text that is none, or one of another schema.
    pub fn parse(text: &str) -> Result<Self, InputsError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(InputsError::Malformed)?;
        let found = value.get("schema").and_then(serde_json::Value::as_u64);
        match found {
            Some(schema) if schema == u64::from(SCHEMA) => {
                serde_json::from_value(value).map_err(InputsError::Malformed)
            }
            found => Err(InputsError::OtherSchema {
                found: found.unwrap_or(0),
            }),
        }
    }

    /// Writes a record: sorted keys, a newline at the end.
    pub fn to_text(&self) -> String {
        // Through a Value, whose maps are sorted, so that the order of the fields above is free.
        let value = serde_json::to_value(self).expect("plain texts and numbers serialise");
        format!("{value:#}\n")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::changes::changes;

    /// A record that no real job has.
    pub(in crate::plan) fn sample() -> InputsRecord {
        let patch = |name: &str| PatchInput {
            name: name.to_owned(),
            sha256: Sha256Digest::of(name.as_bytes()),
        };
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        InputsRecord {
            schema: SCHEMA,
            job: "demo-1.0-cu130-torch2.11-cp311".parse().unwrap(),
            job_digest: JobDigest(Sha256Digest::of(b"job")),
            format: 2,
            source: "sdist demo-1.0.tar.gz".to_owned(),
            patches: vec![patch("0001-a.patch"), patch("0002-b.patch")],
            archs: words(&["8.0", "9.0"]),
            build_script: Sha256Digest::of(b"script"),
            gpu_shim: None,
            output: "*.whl".to_owned(),
            local_version: "cu130torch2.11".to_owned(),
            build_number: None,
            source_date_epoch_s: 315_532_800,
            dockerfile: DockerfileRecord {
                sha256: Sha256Digest::of(b"dockerfile"),
                template_sha256: Sha256Digest::of(b"template"),
                instructions: words(&["ARG BASE=debian", "toolkit: RUN two"]),
            },
            recipe: RecipeRecord {
                base: "debian".to_owned(),
                base_mirror: None,
                interpreter: "apt".to_owned(),
                toolkit: "pypi".to_owned(),
                toolkit_pins: words(&["nvidia-cuda-nvcc==13.0.88"]),
                cuda: "13.0".to_owned(),
                torch: "2.11.0".to_owned(),
                torch_index: "https://pypi.org/simple".to_owned(),
                python: "3.11".to_owned(),
                package_index: "https://pypi.org/simple".to_owned(),
                pip: "25.3".to_owned(),
                system_packages: words(&[]),
                requirements: words(&["ninja==1.13.0", "setuptools==80.9.0"]),
                folder: "/build/source".to_owned(),
                build_command: "make".to_owned(),
                env: [("MAX_JOBS".to_owned(), "2".to_owned())].into(),
            },
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let record = sample();
        let text = record.to_text();
        assert_eq!(InputsRecord::parse(&text).unwrap(), record);
        let newer = text.replacen('{', "{\n  \"a_later_key\": 1,", 1);
        assert_eq!(InputsRecord::parse(&newer).unwrap(), record);
        let other = text.replace("\"schema\": 1", "\"schema\": 2");
        let error = InputsRecord::parse(&other).unwrap_err();
        assert!(error.to_string().contains("schema 2"), "{error}");
    }

    /// Another value of the same kind, so that the record can still be read.
    fn other(value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Null => Value::Null,
            Value::Bool(flag) => Value::Bool(!flag),
            Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
            Value::String(text) if text.parse::<Sha256Digest>().is_ok() => {
                Sha256Digest::of(text.as_bytes()).to_string().into()
            }
            Value::String(text) => format!("{text}1").into(),
            Value::Array(list) => list.iter().map(other).collect(),
            Value::Object(map) => {
                let pairs = map.iter();
                pairs
                    .map(|(key, value)| (key.clone(), other(value)))
                    .collect()
            }
        }
    }

    /// Goes over what is written, so that a field that is added is tried too.
    #[test]
    fn every_field_on_record_is_told_when_it_changes() {
        let mut full = sample();
        full.gpu_shim = Some(Sha256Digest::of(b"shim"));
        full.build_number = Some(1);
        full.recipe.base_mirror = Some("http://deb.debian.org".to_owned());
        full.recipe.system_packages = vec!["libaio-dev".to_owned()];
        let written = serde_json::to_value(&full).unwrap();
        let mut tried = 0;
        for pointer in pointers(&written) {
            let mut changed = written.clone();
            let place = changed.pointer_mut(&pointer).unwrap();
            *place = other(place);
            let changed: InputsRecord = serde_json::from_value(changed).unwrap();
            let told = !changes(&full, &changed).is_empty();
            // The first two are about the record; the others tell how to read `dockerfile.sha256`.
            let is_no_input = [
                "/schema",
                "/job_digest",
                "/dockerfile/template_sha256",
                "/dockerfile/instructions",
            ];
            assert_eq!(told, !is_no_input.contains(&pointer.as_str()), "{pointer}");
            tried += 1;
        }
        assert!(tried >= 30, "{tried}");
    }

    /// The places of all values, but for those that are in lists and in `env`.
    fn pointers(value: &serde_json::Value) -> Vec<String> {
        let mut found = Vec::new();
        for (key, value) in value.as_object().unwrap() {
            if value.is_object() && key != "env" {
                let below = pointers(value).into_iter();
                found.extend(below.map(|place| format!("/{key}{place}")));
            } else {
                found.push(format!("/{key}"));
            }
        }
        found
    }
}
