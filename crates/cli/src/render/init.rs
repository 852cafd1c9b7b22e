//! What was begun, and what comes next.

use camino::Utf8Path;
use serde_json::json;
use wheelfarm_core::diagnostic::Diagnostics;
use wheelfarm_core::plan::{Job, Plan};
use wheelfarm_engine::scaffold::NewPackage;

use super::{OutputError, data};

/// A package that was begun.
pub(crate) struct Begun<'a> {
    pub(crate) new: &'a NewPackage,
    /// What a plan with it gives.
    pub(crate) plan: &'a Result<Plan, Diagnostics>,
    /// The matrix.
    pub(crate) matrix: &'a Utf8Path,
}

impl Begun<'_> {
    fn job(&self) -> Option<&Job> {
        self.plan.as_ref().ok()?.jobs.first()
    }

    fn faults(&self) -> Vec<String> {
        let faults = self.plan.as_ref().err();
        let faults = faults.into_iter().flat_map(Diagnostics::iter);
        faults
            .map(|fault| format!("{} [{}]", fault.message, fault.rule))
            .collect()
    }

    fn version(&self) -> String {
        let mut releases = self.new.package.releases.iter();
        let version = releases
            .next()
            .map(|release| release.version.value.to_string());
        version.unwrap_or_default()
    }

    fn files(&self) -> [String; 2] {
        ["package.yaml", "test.py"].map(|file| self.new.folder.join(file).into_string())
    }

    /// What to type when the package is read and named in the matrix.
    fn commands(&self) -> [String; 3] {
        let name = &self.new.package.name;
        let matrix = match self.matrix.as_str() {
            "matrix.yaml" => String::new(),
            other => format!(" --matrix {other}"),
        };
        let id = self.job().map(|job| job.id().to_string());
        let id = id.unwrap_or_else(|| "JOB".to_owned());
        [
            format!("wheelfarm plan{matrix} --only '{name}-*'"),
            format!("wheelfarm dockerfile{matrix} {id}"),
            format!("wheelfarm build{matrix} --only '{id}'"),
        ]
    }
}

/// The files, what was found, and the next commands.
pub(crate) fn human(begun: &Begun<'_>) -> Result<(), OutputError> {
    data(&human_text(begun))
}

fn human_text(begun: &Begun<'_>) -> String {
    let (name, version) = (&begun.new.package.name, begun.version());
    let survey = &begun.new.survey;
    let mut lines: Vec<_> = begun
        .files()
        .iter()
        .map(|file| format!("wrote  {file}"))
        .collect();
    let what = match (survey.cuda_files.len(), survey.has_triton) {
        (0, true) => "no .cu file, kernels for Triton".to_owned(),
        (0, false) => "neither a .cu file nor a kernel for Triton".to_owned(),
        (1, _) => "1 .cu file".to_owned(),
        (count, _) => format!("{count} .cu files"),
    };
    lines.push(format!("found  {name} {version}: {what}"));
    for remark in &survey.remarks {
        lines.push(format!("       {remark}"));
    }
    for item in &begun.new.not_checked {
        lines.push(format!("not checked  {item}"));
    }
    for fault in begun.faults() {
        lines.push(format!("plan   would refuse it: {fault}"));
    }
    lines.push(String::new());
    lines.push(format!(
        "Read {}, which says what is guessed, and name the package in {}:",
        begun.files()[0],
        begun.matrix
    ));
    lines.push(format!("  - name: {name}"));
    lines.push(format!("    versions: [\"{version}\"]"));
    lines.push("Then:".to_owned());
    lines.extend(
        begun
            .commands()
            .iter()
            .map(|command| format!("  {command}")),
    );
    lines.join("\n")
}

/// Schema 1.
pub(crate) fn json(begun: &Begun<'_>) -> Result<(), OutputError> {
    let survey = &begun.new.survey;
    let remarks: Vec<_> = survey
        .remarks
        .iter()
        .map(|remark| json!({ "file": remark.file, "line": remark.line, "what": remark.what }))
        .collect();
    let extensions: Vec<_> = survey
        .extensions
        .iter()
        .map(|extension| {
            json!({
                "glob": extension.glob(),
                "exact": extension.is_exact,
                "line": extension.line,
            })
        })
        .collect();
    let value = json!({
        "schema": 1,
        "package": begun.new.package.name.as_str(),
        "version": begun.version(),
        "files": begun.files(),
        "cuda_files": survey.cuda_files,
        "extensions": extensions,
        "remarks": remarks,
        "not_checked": begun.new.not_checked,
        "plan_faults": begun.faults(),
        "next": begun.commands(),
    });
    data(&format!("{value:#}"))
}
