//! Proves wheels before they go out: in a clean container without a network, pip installs each wheel of a
//! channel from the channel's index, and the package's own test runs.
//!
//! The container starts from the image of torch alone, so it has no compiler, no toolkit and no
//! source; what else the wheels require is installed beforehand, as wheels only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::{JobId, PackageName};
use wheelfarm_core::package::GpuWish;
use wheelfarm_core::plan::Job;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::receipt::{Check, CheckResult, parse_report};
use wheelfarm_core::release::ReleaseError;
use wheelfarm_core::release::catalog::{Catalog, CatalogWheel, Track};
use wheelfarm_core::release::channel::Channel;
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::render;
use wheelfarm_core::source::{FileMode, SourceTree, TarLayout, TreeEntry, TreePath};

use super::CHECKS;
use crate::container::{
    ContainerSpec, Engine, EngineError, EngineErrorKind, GpuAccess, GpuOffer, ImageBuild, ImageId,
    ImageKind, ImageRef, Network, OwnedContainer, RootFileSystem, RunHow, RunLimits, TarSource,
};
use crate::files::FileError;
use crate::run::{StopSignal, farm_labels, kind_label, torch_image};
use crate::shelf::Blob;

/// The script that a proof's container runs.
const SCRIPT: &str = include_str!("../../../../dockerfiles/prove.sh");

/// The memory of a proof's container.
const MEMORY: ByteSize = ByteSize::gib(8);

/// The limits of a proof in time.
const LIMITS: RunLimits = RunLimits {
    total: Duration::from_mins(30),
    silence: Duration::from_mins(15),
    grace: Duration::from_secs(10),
};

/// One wheel to prove.
#[derive(Debug, Clone)]
pub struct ProofSubject {
    /// The wheel, as its own record tells it.
    pub wheel: CatalogWheel,
    /// It and its METADATA, where they lie.
    pub blobs: [Blob; 2],
    /// The job that built it.
    pub job: Job,
    /// The text of its package's test.
    pub test: Option<String>,
}

/// What a proof leaves behind of one wheel.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// The wheel.
    pub wheel: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// The engine's id of the image that it was installed into.
    pub image: String,
    /// Whether the container had a GPU.
    pub gpu: bool,
    /// What was checked.
    pub checks: Vec<Check>,
}

impl Receipt {
    /// Whether no check failed and at least one was made.
    pub fn holds(&self) -> bool {
        let is = |wanted| move |check: &Check| check.result == wanted;
        self.checks.iter().any(is(CheckResult::Pass))
            && !self.checks.iter().any(is(CheckResult::Fail))
    }
}

/// A proof as it goes out beside its wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofRecord {
    /// Its path from the root of the release: `files/…/<wheel>.proof-cp311.json`.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The engine failed.
    #[error("failed to prove channel `{channel}`")]
    Engine {
        /// The channel.
        channel: Channel,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// The image that proofs start from is not there.
    #[error("the image that the wheels of channel `{channel}` were built on is not in the engine")]
    NoImage {
        /// The channel.
        channel: Channel,
    },
    /// A wheel requires a file by its address.
    #[error("a wheel requires `{requirement}`, which is an address and not a version")]
    DirectRequirement {
        /// The requirement.
        requirement: String,
    },
    /// A package needs a GPU and the engine offers none.
    #[error("job `{job}` needs a GPU to be proven, and the engine offers none")]
    NoGpu {
        /// The first such job.
        job: JobId,
    },
    /// The wheels do not go together.
    #[error("failed to lay out the release that is proven")]
    Release(#[source] ReleaseError),
    /// A file of the release cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something in the release cannot be packed.
    #[error("failed to pack `{path}` for the proof's container")]
    Pack {
        /// The file.
        path: String,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Where proofs are made, and how they end early.
#[derive(Debug)]
pub struct Prover<E: Engine> {
    /// The engine.
    pub engine: Arc<E>,
    /// The label on containers: of the farm and where it publishes to, so that two publications are told apart.
    pub label: String,
    /// The label on images: of the farm and its folder, in which `gc` looks for what is to be cleared away.
    pub image_label: String,
    /// The PEM file that containers trust.
    pub ca_bundle: Option<Vec<u8>>,
    /// The user's wish to stop.
    pub stop: StopSignal,
}

impl<E: Engine> Prover<E> {
    /// Proves the subjects of one channel and one Python.
    pub async fn prove(
        &self,
        channel: &Channel,
        subjects: &[ProofSubject],
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Vec<(Receipt, ProofRecord)>, ProofError> {
        let fail = |source| engine_failure(channel, source);
        let Some(subject) = subjects.first() else {
            return Ok(Vec::new());
        };
        let facts = self.engine.describe().await.map_err(fail)?;
        let torch = self.torch_image(channel, &subject.job).await?;
        let image = self.proof_image(channel, torch, subjects, on_line).await?;
        let wants_gpu = subjects
            .iter()
            .any(|subject| subject.job.release().gpu != GpuWish::None);
        let gpu = match facts.gpu {
            GpuOffer::NvidiaRuntime | GpuOffer::Cdi if wants_gpu => {
                Some(GpuAccess { offer: facts.gpu })
            }
            GpuOffer::None | GpuOffer::NvidiaRuntime | GpuOffer::Cdi => None,
        };
        let needy = subjects
            .iter()
            .find(|subject| subject.job.release().gpu == GpuWish::Required);
        if let (Some(subject), None) = (needy, gpu) {
            return Err(ProofError::NoGpu {
                job: subject.job.id().clone(),
            });
        }
        let memory_bytes = MEMORY.bytes().min(facts.memory_bytes);
        let python = subject.job.environment().python.tag();
        let spec = self.spec(&image, channel, &python, memory_bytes, gpu);
        let archive = pack(subjects)?;
        let mut container = OwnedContainer::create(Arc::clone(&self.engine), spec)
            .await
            .map_err(fail)?;
        let res = self.run_in(&container, archive, on_line).await;
        if let Err(error) = container.remove().await {
            tracing::warn!(%channel, %error, "container left in the engine");
        }
        let output = res.map_err(fail)?.ok_or(ProofError::Stopped)?;
        let proved_at = jiff::Timestamp::now().to_string();
        let receipts = subjects.iter().enumerate().map(|(place, subject)| {
            let receipt = Receipt {
                wheel: subject.wheel.file_name.to_string(),
                sha256: subject.wheel.sha256,
                image: image.to_string(),
                gpu: gpu.is_some(),
                checks: output.checks(place, subject),
            };
            let record = record(subject, channel, &python, &proved_at, &receipt);
            (receipt, record)
        });
        Ok(receipts.collect())
    }

    /// The image of torch alone that the job's own image was built on.
    async fn torch_image(&self, channel: &Channel, job: &Job) -> Result<ImageRef, ProofError> {
        let fail = |source| engine_failure(channel, source);
        let no_image = || ProofError::NoImage {
            channel: channel.clone(),
        };
        let found = torch_image(&*self.engine, job, self.ca_bundle.as_deref()).await;
        let (tag, _) = found.map_err(fail)?.ok_or_else(no_image)?;
        Ok(tag)
    }

    /// The torch image with what the wheels require besides each other and torch.
    async fn proof_image(
        &self,
        channel: &Channel,
        torch: ImageRef,
        subjects: &[ProofSubject],
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ImageId, ProofError> {
        let fail = |source| engine_failure(channel, source);
        let own: Vec<_> = subjects.iter().map(|s| s.job.package().clone()).collect();
        let mut requirements: Vec<_> = subjects
            .iter()
            .flat_map(|subject| &subject.wheel.requires_dist)
            .filter(|requirement| {
                let project = project_of(requirement);
                !requirement.contains("extra ==")
                    && project.is_some_and(|project| {
                        project.as_str() != "torch" && !own.contains(&project)
                    })
            })
            .cloned()
            .collect();
        requirements.sort();
        requirements.dedup();
        // pip would fetch and build what an address names, whatever `--only-binary` says.
        if let Some(requirement) = requirements.iter().find(|text| text.contains('@')) {
            return Err(ProofError::DirectRequirement {
                requirement: requirement.clone(),
            });
        }
        if requirements.is_empty() {
            let image = self.engine.image(&torch).await.map_err(fail)?;
            return image.map(|image| image.id).ok_or(ProofError::NoImage {
                channel: channel.clone(),
            });
        }
        let index = subjects
            .first()
            .map(|subject| subject.job.environment().package_index.clone())
            .unwrap_or_default();
        let dockerfile = render::proof_dockerfile(torch.as_str(), &index, &requirements);
        let tag = Sha256Digest::of(dockerfile.as_bytes()).short();
        let mut context = SourceTree::new();
        add(&mut context, "Dockerfile", dockerfile.into_bytes())?;
        let build = ImageBuild {
            context: TarSource::Memory(tar(&context)),
            target: None,
            tag: ImageRef::new(format!("wheelfarm/proof:{tag}")),
            labels: kind_label(farm_labels(&self.image_label), ImageKind::Proof),
        };
        let mut show = |line: &[u8]| on_line(&crate::container::sanitise_line(line));
        self.engine
            .build_image(build, &self.stop.stop, &mut show)
            .await
            .map_err(fail)
    }

    fn spec(
        &self,
        image: &ImageId,
        channel: &Channel,
        python: &str,
        memory_bytes: u64,
        gpu: Option<GpuAccess>,
    ) -> ContainerSpec {
        ContainerSpec {
            name: format!(
                "wheelfarm-proof-{}-{python}-{}",
                channel.local_version(),
                Sha256Digest::of(self.label.as_bytes()).short()
            ),
            image: image.clone(),
            command: ["sh", "/proof/prove.sh", &format!("whl/{channel}/simple")]
                .map(str::to_owned)
                .into(),
            env: BTreeMap::from([("HOME".to_owned(), "/tmp".to_owned())]),
            working_dir: Some("/tmp".to_owned()),
            user: None,
            network: Network::Off,
            memory_bytes,
            milli_cpus: 2000,
            pids_limit: 1024,
            // pip installs into the image's own environment, and files are put in beforehand.
            root: RootFileSystem::Writable,
            tmpfs: Vec::new(),
            volumes: Vec::new(),
            gpu,
            labels: farm_labels(&self.label),
        }
    }

    /// The output, unless the user stopped the proof.
    async fn run_in(
        &self,
        container: &OwnedContainer<E>,
        archive: Bytes,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Option<Output>, EngineError> {
        container.upload("/", TarSource::Memory(archive)).await?;
        let mut output = Output::default();
        let end = container
            .run_to_end(&LIMITS, &self.stop.stop, &self.stop.at_once, |line| {
                let line = crate::container::sanitise_line(line);
                on_line(&line);
                output.take(&line);
            })
            .await?;
        let ending = match (end.how, end.exit_code) {
            (RunHow::Cancelled, _) => return Ok(None),
            (RunHow::Exited, 0) => return Ok(Some(output)),
            (RunHow::Exited, code) => format!("the proof ended with exit code {code}"),
            (RunHow::OutOfMemory, _) => "the proof ran out of memory".to_owned(),
            (RunHow::TimedOut, _) => "the proof ran past its time limit".to_owned(),
            (RunHow::Stalled, _) => "the proof printed nothing for too long".to_owned(),
        };
        output.fail(ending);
        Ok(Some(output))
    }
}

fn engine_failure(channel: &Channel, source: EngineError) -> ProofError {
    if source.kind() == EngineErrorKind::Cancelled {
        return ProofError::Stopped;
    }
    ProofError::Engine {
        channel: channel.clone(),
        source,
    }
}

/// What the script said, by the place of the wheel among the subjects.
#[derive(Debug, Default)]
struct Output {
    current: Option<usize>,
    checks: BTreeMap<usize, Vec<Check>>,
    /// Whether the current wheel's own test runs now, and the wheels whose tests have reported.
    in_test: bool,
    tested: BTreeSet<usize>,
}

impl Output {
    /// Takes a line: `wheelfarm-proof 3` begins the fourth wheel, and a JSON object reports on it.
    fn take(&mut self, line: &str) {
        if let Some(place) = line.strip_prefix("wheelfarm-proof ") {
            self.current = place.parse().ok();
            self.in_test = false;
            return;
        }
        if line == "wheelfarm-test" {
            self.in_test = true;
            return;
        }
        if let (Some(current), Some(checks)) = (self.current, parse_report(line)) {
            if self.in_test {
                self.tested.insert(current);
            }
            self.checks.entry(current).or_default().extend(checks);
        }
    }

    /// Puts the end of the container on the wheel that it ended in.
    fn fail(&mut self, detail: String) {
        let current = self.current.unwrap_or_default();
        let check = Check::new("proof", CheckResult::Fail, detail);
        self.checks.entry(current).or_default().push(check);
    }

    fn checks(&self, place: usize, subject: &ProofSubject) -> Vec<Check> {
        let reported = self.checks.get(&place);
        let mut checks = reported.cloned().unwrap_or_default();
        if checks.is_empty() {
            let detail = "the proof ended before it reported on this wheel";
            checks.push(Check::new("proof", CheckResult::Fail, detail));
        } else if subject.test.is_some() && !self.tested.contains(&place) {
            checks.push(super::no_report());
        } else if subject.test.is_none() {
            checks.push(super::no_test());
        }
        checks
    }
}

/// The project that a requirement names.
fn project_of(requirement: &str) -> Option<PackageName> {
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .unwrap_or(requirement.len());
    PackageName::normalise(&requirement[..end]).ok()
}

/// A release of these wheels alone, the script, the tests, and the list of what to install: what crosses
/// into the container is no more than it needs, however much the shelf has.
fn pack(subjects: &[ProofSubject]) -> Result<Bytes, ProofError> {
    let mut tree = SourceTree::new();
    add(&mut tree, "proof/prove.sh", SCRIPT.into())?;
    add(&mut tree, "proof/wheelfarm_checks.py", CHECKS.into())?;
    let mut wanted = String::new();
    for (place, subject) in subjects.iter().enumerate() {
        let name = &subject.wheel.file_name;
        let (project, version) = (name.project().as_str(), name.full_version());
        wanted.extend([
            place.to_string().as_str(),
            " ",
            project,
            " ",
            &version,
            "\n",
        ]);
        if let Some(test) = &subject.test {
            let path = format!("proof/{place}/test.py");
            add(&mut tree, &path, test.clone().into_bytes())?;
        }
    }
    add(&mut tree, "proof/wanted", wanted.into_bytes())?;
    add_release(&mut tree, subjects)?;
    Ok(tar(&tree))
}

fn add_release(tree: &mut SourceTree, subjects: &[ProofSubject]) -> Result<(), ProofError> {
    let wheels = subjects.iter().map(|subject| subject.wheel.clone());
    let catalog = Catalog::empty().with(wheels, Track::Stable, "");
    let catalog = catalog.map_err(ProofError::Release)?;
    let layout = Layout {
        catalog: &catalog,
        links: &Links::Relative,
        index_url: None,
    };
    for (path, content) in layout.files() {
        if path.contains("/simple/") {
            add(tree, &format!("release/{path}"), content)?;
        }
    }
    for blob in subjects.iter().flat_map(|subject| &subject.blobs) {
        let fault = |source| FileError::new("read", &blob.source, source);
        let content = fs_err::read(&blob.source).map_err(fault)?;
        add(tree, &format!("release/{}", blob.path), content)?;
    }
    Ok(())
}

fn add(tree: &mut SourceTree, path: &str, content: Vec<u8>) -> Result<(), ProofError> {
    let refuse = || ProofError::Pack {
        path: path.to_owned(),
    };
    let inside: TreePath = path.parse().map_err(|_| refuse())?;
    let entry = TreeEntry::File {
        bytes: content.into(),
        mode: FileMode::Plain,
    };
    tree.insert(inside, entry).map_err(|_| refuse())
}

fn tar(tree: &SourceTree) -> Bytes {
    let bytes = tree
        .write_tar(&TarLayout::default(), Vec::new())
        .expect("writing into memory does not fail");
    Bytes::from(bytes)
}

fn record(
    subject: &ProofSubject,
    channel: &Channel,
    python: &str,
    proved_at: &str,
    receipt: &Receipt,
) -> ProofRecord {
    let proof = serde_json::json!({
        "schema": 1,
        "channel": channel,
        "python": python,
        "proved_at": proved_at,
        "receipt": receipt,
    });
    ProofRecord {
        path: format!("{}.proof-{python}.json", subject.wheel.path()),
        text: format!("{proof:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_name_their_project() {
        for (requirement, project) in [
            ("torch==2.11.*", "torch"),
            ("Flash_Attn >= 2", "flash-attn"),
            ("numpy; python_version > '3'", "numpy"),
            ("einops", "einops"),
        ] {
            assert_eq!(project_of(requirement).unwrap().as_str(), project);
        }
    }

    #[test]
    fn reports_belong_to_the_wheel_that_was_named_last() {
        let mut output = Output::default();
        output.take("{\"schema\":1,\"checks\":[{\"name\":\"lost\",\"result\":\"pass\"}]}");
        output.take("wheelfarm-proof 3");
        output.take("some text {");
        assert!(output.tested.is_empty());
        output.take("wheelfarm-test");
        output.take(
            "{\"schema\":1,\"checks\":[{\"name\":\"x\",\"result\":\"not checked\",\"detail\":\"y\"}]}",
        );
        assert_eq!(output.checks.len(), 1);
        assert_eq!(output.checks[&3][0].result, CheckResult::NotChecked);
        assert!(output.tested.contains(&3));
    }
}
