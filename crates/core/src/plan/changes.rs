//! What changed between two records of a job's inputs, field by field, for who wonders why a job is
//! built again.

use std::collections::BTreeMap;

use super::inputs::{DockerfileRecord, InputsRecord, PatchInput, RecipeRecord};
use super::{Job, Need};
use crate::outcome::FailureRecord;

/// One difference. Of a list, each element that came or went is a change of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The record's key: `torch`, `archs`, `env.MAX_JOBS`, `patches.0001-fix.patch`.
    pub field: String,
    /// What it was; absent when it is new.
    pub before: Option<String>,
    /// What it is; absent when it is gone.
    pub after: Option<String>,
}

/// Why a job is built, beyond what its need says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Why {
    /// What is not as it was when the wheel on record was made.
    pub changes: SinceRecord,
    /// How its last run failed, when there was none since that went well.
    pub last_failure: Option<FailureRecord>,
}

/// What changed since the wheel on record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SinceRecord {
    /// Nothing, or there is no wheel on record.
    #[default]
    Nothing,
    /// This.
    Changes(Vec<Change>),
    /// Something; the record is from before inputs were kept, or cannot be read.
    NotOnRecord,
}

impl Why {
    /// Of a job with this need, given what is on record of its inputs and of its last failure.
    pub fn new(
        job: &Job,
        need: Need,
        inputs: Option<&InputsRecord>,
        last_failure: Option<FailureRecord>,
    ) -> Self {
        let changes = match (need, inputs) {
            (Need::InputsChanged, Some(before)) => match changes(before, &job.inputs()) {
                // A record that says nothing of what changed is not that wheel's.
                told if told.is_empty() => SinceRecord::NotOnRecord,
                told => SinceRecord::Changes(told),
            },
            (Need::InputsChanged, None) => SinceRecord::NotOnRecord,
            (
                Need::New | Need::WheelMissing | Need::Forced | Need::Rehearsed | Need::UpToDate,
                _,
            ) => SinceRecord::Nothing,
        };
        Self {
            changes,
            last_failure,
        }
    }
}

/// What changed from `before` to `after`: something, whenever their digests differ.
pub fn changes(before: &InputsRecord, after: &InputsRecord) -> Vec<Change> {
    let InputsRecord {
        // Says how the rest is written.
        schema: _,
        // Follows from the rest.
        job_digest: _,
        job,
        format,
        source,
        patches,
        archs,
        build_script,
        gpu_shim,
        output,
        local_version,
        build_number,
        source_date_epoch_s,
        dockerfile,
        recipe,
    } = before;
    let mut found = Differences(Vec::new());
    found.text("job", job, &after.job);
    found.text("source", source, &after.source);
    found.patches(patches, &after.patches);
    found.list("archs", archs, &after.archs);
    found.recipe(recipe, &after.recipe);
    found.text("output", output, &after.output);
    found.text("local_version", local_version, &after.local_version);
    let (old, new) = (build_number.as_ref(), after.build_number.as_ref());
    found.optional("build_number", old, new);
    let (old, new) = (source_date_epoch_s, &after.source_date_epoch_s);
    found.text("source_date_epoch_s", old, new);
    found.text("build_script", build_script, &after.build_script);
    let (old, new) = (gpu_shim.as_ref(), after.gpu_shim.as_ref());
    found.optional("gpu_shim", old, new);
    // The template asks whether there is a GPU shim, too.
    let recipe_changed = recipe != &after.recipe || gpu_shim.is_some() != after.gpu_shim.is_some();
    found.dockerfile(dockerfile, &after.dockerfile, recipe_changed);
    found.text("format", format, &after.format);
    found.0
}

struct Differences(Vec<Change>);

impl Differences {
    fn optional<T: ToString + PartialEq>(
        &mut self,
        field: &str,
        before: Option<&T>,
        after: Option<&T>,
    ) {
        if before != after {
            self.0.push(Change {
                field: field.to_owned(),
                before: before.map(ToString::to_string),
                after: after.map(ToString::to_string),
            });
        }
    }

    fn text<T: ToString + PartialEq>(&mut self, field: &str, before: &T, after: &T) {
        self.optional(field, Some(before), Some(after));
    }

    /// What went and what came; when that is nothing and the order is another, the lists as they are.
    fn list(&mut self, field: &str, before: &[String], after: &[String]) {
        let gone = beyond(before, after);
        let new = beyond(after, before);
        if gone.is_empty() && new.is_empty() {
            self.text(field, &before.join(", "), &after.join(", "));
            return;
        }
        for element in gone {
            self.optional(field, Some(element), None);
        }
        for element in new {
            self.optional(field, None, Some(element));
        }
    }

    /// Each patch by its name, then their order if that is all that is left.
    fn patches(&mut self, before: &[PatchInput], after: &[PatchInput]) {
        let by_name = |patches: &[PatchInput]| -> BTreeMap<String, String> {
            let pairs = patches.iter();
            pairs
                .map(|patch| (patch.name.clone(), patch.sha256.to_string()))
                .collect()
        };
        self.map("patches", &by_name(before), &by_name(after));
        let names = |patches: &[PatchInput]| -> Vec<String> {
            patches.iter().map(|patch| patch.name.clone()).collect()
        };
        let (old, new) = (names(before), names(after));
        let mut sorted = (old.clone(), new.clone());
        sorted.0.sort();
        sorted.1.sort();
        if sorted.0 == sorted.1 {
            self.text("patches", &old.join(", "), &new.join(", "));
        }
    }

    fn map(
        &mut self,
        field: &str,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) {
        let new = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(new) {
            let field = format!("{field}.{name}");
            self.optional(&field, before.get(name), after.get(name));
        }
    }

    fn recipe(&mut self, before: &RecipeRecord, after: &RecipeRecord) {
        let RecipeRecord {
            base,
            base_mirror,
            interpreter,
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
        } = before;
        self.text("base", base, &after.base);
        let (old, new) = (base_mirror.as_ref(), after.base_mirror.as_ref());
        self.optional("base_mirror", old, new);
        self.text("interpreter", interpreter, &after.interpreter);
        self.text("toolkit", toolkit, &after.toolkit);
        self.list("toolkit_pins", toolkit_pins, &after.toolkit_pins);
        self.text("cuda", cuda, &after.cuda);
        self.text("torch", torch, &after.torch);
        self.text("torch_index", torch_index, &after.torch_index);
        self.text("python", python, &after.python);
        self.text("package_index", package_index, &after.package_index);
        self.text("pip", pip, &after.pip);
        self.list("system_packages", system_packages, &after.system_packages);
        self.list("requirements", requirements, &after.requirements);
        self.text("folder", folder, &after.folder);
        self.text("build_command", build_command, &after.build_command);
        self.map("env", env, &after.env);
    }

    /// What the Dockerfile says in another way, unless another recipe in the same template tells it all.
    fn dockerfile(
        &mut self,
        before: &DockerfileRecord,
        after: &DockerfileRecord,
        recipe_changed: bool,
    ) {
        if before.sha256 == after.sha256
            || recipe_changed && before.template_sha256 == after.template_sha256
        {
            return;
        }
        let told = self.0.len();
        self.list("dockerfile", &before.instructions, &after.instructions);
        if self.0.len() == told {
            // Its comments.
            self.text("dockerfile", &before.sha256, &after.sha256);
        }
    }
}

/// The elements of `list` of which there are more than `other` has.
fn beyond<'a>(list: &'a [String], other: &[String]) -> Vec<&'a String> {
    let mut others: BTreeMap<&String, usize> = BTreeMap::new();
    for element in other {
        *others.entry(element).or_default() += 1;
    }
    let is_beyond = |element: &&String| match others.get_mut(*element) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        Some(_) | None => true,
    };
    list.iter().filter(is_beyond).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Sha256Digest;
    use crate::plan::inputs::tests::sample;

    fn told(before: &InputsRecord, after: &InputsRecord) -> Vec<String> {
        let sign = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let line = |change: &Change| {
            let (before, after) = (sign(&change.before), sign(&change.after));
            format!("{}: {before} > {after}", change.field)
        };
        changes(before, after).iter().map(line).collect()
    }

    #[track_caller]
    fn check(change: impl Fn(&mut InputsRecord), want: &[&str]) {
        let before = sample();
        let mut after = before.clone();
        change(&mut after);
        assert_eq!(told(&before, &after), want);
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn nothing_is_told_of_equal_inputs() {
        check(|_| {}, &[]);
        // When it was written and under which digest is no input.
        check(|after| after.schema = 7, &[]);
    }

    #[test]
    fn what_came_to_a_list_and_what_went_are_told_apart() {
        check(
            |after| after.archs = words(&["9.0", "12.0+PTX"]),
            &["archs: 8.0 > -", "archs: - > 12.0+PTX"],
        );
        check(
            |after| after.recipe.requirements = words(&["ninja==1.13.0", "ninja==1.13.0"]),
            &[
                "requirements: setuptools==80.9.0 > -",
                "requirements: - > ninja==1.13.0",
            ],
        );
    }

    #[test]
    fn another_order_is_told_as_the_two_lists() {
        check(
            |after| after.recipe.requirements.reverse(),
            &[
                "requirements: ninja==1.13.0, setuptools==80.9.0 > setuptools==80.9.0, ninja==1.13.0",
            ],
        );
        check(
            |after| after.patches.reverse(),
            &["patches: 0001-a.patch, 0002-b.patch > 0002-b.patch, 0001-a.patch"],
        );
    }

    #[test]
    fn a_patch_and_a_variable_are_told_by_their_names() {
        let other = Sha256Digest::of(b"other");
        let was = sample().patches[1].sha256;
        check(
            |after| after.patches[1].sha256 = other,
            &[&format!("patches.0002-b.patch: {was} > {other}")],
        );
        check(
            |after| {
                after.recipe.env.remove("MAX_JOBS");
                after.recipe.env.insert("FORCE".to_owned(), "1".to_owned());
            },
            &["env.MAX_JOBS: 2 > -", "env.FORCE: - > 1"],
        );
    }

    #[test]
    fn the_dockerfile_is_told_where_the_recipe_does_not_explain_it() {
        let (one, two) = (Sha256Digest::of(b"one"), Sha256Digest::of(b"two"));
        let was = sample().dockerfile.sha256;
        check(
            |after| {
                after.recipe.torch = "2.11.1".to_owned();
                after.dockerfile.sha256 = one;
                after.dockerfile.instructions.pop();
            },
            &["torch: 2.11.0 > 2.11.1"],
        );
        check(
            |after| {
                after.dockerfile.template_sha256 = two;
                after.dockerfile.sha256 = one;
                after.dockerfile.instructions[1] = "toolkit: RUN three".to_owned();
            },
            &[
                "dockerfile: toolkit: RUN two > -",
                "dockerfile: - > toolkit: RUN three",
            ],
        );
        check(
            |after| after.dockerfile.sha256 = one,
            &[&format!("dockerfile: {was} > {one}")],
        );
    }

    fn list() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[ab]", 0..4)
    }

    proptest! {
        /// Of two lists, nothing is told exactly when they are equal, and what is told accounts for
        /// every element.
        #[test]
        fn lists_that_differ_are_told(before in list(), after in list()) {
            let mut found = Differences(Vec::new());
            found.list("list", &before, &after);
            prop_assert_eq!(found.0.is_empty(), before == after);
            let is_order = found.0.iter().any(|change| change.before.is_some() && change.after.is_some());
            if !is_order {
                let gone = found.0.iter().filter(|change| change.before.is_some()).count();
                let new = found.0.len() - gone;
                prop_assert_eq!(before.len() - gone + new, after.len());
            }
        }
    }
}
