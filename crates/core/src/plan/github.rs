//! The plan as a GitHub Actions matrix.

use serde::Serialize;

use super::{Job, Need};

/// The most jobs that one GitHub Actions matrix may have.
///
/// <https://docs.github.com/en/actions/reference/limits>
pub const GITHUB_JOB_LIMIT: usize = 256;

/// The plan does not fit into one matrix.
#[derive(Debug, thiserror::Error)]
#[error(
    "{jobs} jobs do not fit into a GitHub Actions matrix, which takes at most {GITHUB_JOB_LIMIT}"
)]
pub struct GithubError {
    jobs: usize,
}

impl GithubError {
    /// How to split the plan.
    pub fn hint(&self) -> &'static str {
        "split it over several matrices with `--only`, for example one per channel: \
         `--only '*-cu128-*'` and `--only '*-cu130-*'`, or one per package: `--only 'xformers-*'`"
    }
}

#[derive(Serialize)]
struct Include<'a> {
    archs: String,
    cuda: String,
    job: &'a str,
    package: &'a str,
    python: String,
    torch: String,
    version: String,
}

/// The jobs that must be built, as the JSON object that `fromJSON` takes for `strategy.matrix`.
///
/// An empty plan gives an empty `include`, on which GitHub fails: test for it in the workflow's
/// `if:`, as the README shows.
pub fn github_matrix(needs: &[(&Job, Need)]) -> Result<String, GithubError> {
    let include: Vec<_> = needs
        .iter()
        .filter(|(_, need)| *need != Need::UpToDate)
        .map(|(job, _)| include(job))
        .collect();
    if include.len() > GITHUB_JOB_LIMIT {
        return Err(GithubError {
            jobs: include.len(),
        });
    }
    let matrix = serde_json::json!({ "include": include });
    Ok(matrix.to_string())
}

fn include(job: &Job) -> Include<'_> {
    Include {
        archs: job.archs().map(ToString::to_string).unwrap_or_default(),
        cuda: job.environment().cuda.to_string(),
        job: job.id().as_str(),
        package: job.package().as_str(),
        python: job.environment().python.to_string(),
        torch: job.environment().torch.to_string(),
        version: job.release().version.value.to_string(),
    }
}
