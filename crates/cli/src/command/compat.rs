//! `wheelfarm compat`.

use std::str::FromStr;

use wheelfarm_core::compat::{self, Fit, Question, TorchAsked, TorchAskedError};
use wheelfarm_core::gpu::{self, Gpu};
use wheelfarm_core::version::VersionError;

use crate::args::{CompatArgs, Format};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &CompatArgs) -> Result<ExitCode, Failure> {
    let torch = |text: &String| -> Result<TorchAsked, Failure> {
        text.parse().map_err(|error: TorchAskedError| {
            let hint = error.hint();
            Failure::bad_input(error).with_hint(hint)
        })
    };
    let question = Question {
        gpu: args.gpu.as_deref().map(find_gpu).transpose()?,
        torch: args.torch.as_ref().map(torch).transpose()?,
        cuda: args.cuda.as_deref().map(version).transpose()?,
        python: args.python.as_deref().map(version).transpose()?,
    };
    let answer = compat::answer(&question);
    match args.format {
        Format::Human => render::compat::human(&question, &answer),
        Format::Json => render::compat::json(&question, &answer),
    }?;
    Ok(match answer.fit {
        Fit::Yes => ExitCode::Done,
        Fit::No => ExitCode::JobFailed,
        Fit::Unknown => ExitCode::NotChecked,
    })
}

fn find_gpu(text: &str) -> Result<&'static Gpu, Failure> {
    gpu::find(text).map_err(|error| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}

fn version<T: FromStr<Err = VersionError>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: VersionError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}
