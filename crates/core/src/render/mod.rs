//! Dockerfiles and build contexts.
//!
//! The Dockerfile is a product: people read it, and rebuild a wheel from it with `docker build` and
//! `docker run` alone. One template serves every environment; it lies in `dockerfiles/`.

mod context;
mod instructions;
mod proof;
mod template;

pub use context::{BuildContext, StageContext, render};
pub(crate) use instructions::instructions;
pub use proof::proof_dockerfile;
pub use template::RenderError;
pub(crate) use template::{Recipe, base_name, interpreter, pinned_toolkit};

use crate::plan::Job;

/// The script that compiles, inside the container.
pub const BUILD_SCRIPT: &str = include_str!("../../../../dockerfiles/build.sh");

/// What stands in nvcc's place and writes every command line down, inside the container.
const NVCC_RECORDER: &str = include_str!("../../../../dockerfiles/nvcc_recorder.py");

/// All of the farm's own that has a part in an object's bytes, inside the container: the script that compiles and
/// what stands in the compilers' place.
pub(crate) const COMPILING: &str = concat!(
    include_str!("../../../../dockerfiles/build.sh"),
    include_str!("../../../../dockerfiles/nvcc_recorder.py"),
);

/// What runs the build beside its compiler cache and leaves figures of both, inside the container.
const WATCHED_BUILD: &str = include_str!("../../../../dockerfiles/watched_build.py");

/// What shows a `setup.py` the GPUs that are asked for, inside the container.
pub(crate) const GPU_SHIM: &str = include_str!("../../../../dockerfiles/gpu_shim.py");

/// The folder of a container where the patched source lies.
pub const SOURCE_FOLDER: &str = "/build/source";

/// The file of a container that holds nvcc's command lines, one JSON object a line.
pub const COMMANDS_FILE: &str = "/build/commands.jsonl";

/// Set in a rehearsal: the recorder writes command lines down and compiles nothing.
pub const REHEARSAL_VARIABLE: &str = "WHEELFARM_REHEARSAL";

/// The folder of a container where a wheel is left.
pub const OUTPUT_FOLDER: &str = "/build/out";

/// The file of a container that names the tools, one `name version` a line.
pub const TOOLS_FILE: &str = "/build/tools.txt";

/// The folder of a container where the compiler cache lies.
pub const CACHE_FOLDER: &str = "/cache";

/// They tell a build of its compiler cache: its folder, and how many bytes it may have.
pub const CACHE_VARIABLES: [&str; 2] = ["WHEELFARM_CACHE", "WHEELFARM_CACHE_BYTES"];

/// The file of a container that says what the compiler cache did.
pub const CACHE_FIGURES_FILE: &str = "/build/cache.json";

/// Where a build leaves what its container used.
pub const USAGE_FILE: &str = "/build/usage.json";

/// The stages of the Dockerfile that are tagged on their own, because jobs share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedStage {
    /// Base, Python and torch: what a proof starts from.
    Torch,
    /// The same with the compilers.
    Toolkit,
}

impl SharedStage {
    /// Its name in the Dockerfile.
    pub fn target(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Toolkit => "toolkit",
        }
    }
}

/// The name of the image that everything of `job` starts from.
pub fn base_reference(job: &Job) -> String {
    base_name(&job.environment().base)
}

/// The Dockerfile of `recipe` as far as it can change the wheel: without the host's certificates.
pub(crate) fn recipe_text(recipe: &Recipe<'_>) -> String {
    recipe.dockerfile(template::CaFile::Absent)
}
