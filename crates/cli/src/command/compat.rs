//! `wheelfarm compat`.

use std::str::FromStr;

use wheelfarm_core::compat::{self, Fit, Question};
use wheelfarm_core::gpu::{self, Gpu};
use wheelfarm_core::release::resolve::{Cuda, PythonAsked, QuestionError, TorchGiven};
use wheelfarm_core::version::CudaVersion;

use crate::args::{CompatArgs, Format};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &CompatArgs) -> Result<ExitCode, Failure> {
    let torch: Option<TorchGiven> = args.torch.as_deref().map(read).transpose()?;
    let python: Option<PythonAsked> = args.python.as_deref().map(read).transpose()?;
    let question = Question {
        gpu: args.gpu.as_deref().map(find_gpu).transpose()?,
        cuda: cuda(args.cuda.as_deref(), torch.as_ref())?,
        torch: torch.map(|torch| torch.version),
        python: python.map(|python| python.version),
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

/// The toolkit that was named, or that the torch's own name tells: `2.8.0+cu128`.
fn cuda(given: Option<&str>, torch: Option<&TorchGiven>) -> Result<Option<CudaVersion>, Failure> {
    // `cpu`, which `resolve` takes, is no toolkit.
    let wrong = |error: QuestionError| {
        Failure::bad_input(error).with_hint("write major and minor: `13.0`, or `cu130`")
    };
    let given: Option<Cuda> = given
        .map(|text| text.parse::<Cuda>().map_err(wrong))
        .transpose()?;
    let told = torch.and_then(TorchGiven::cuda);
    if let (Some(given), Some(told)) = (&given, &told)
        && given != told
    {
        let error = anyhow::anyhow!("the torch is for CUDA {told}, and --cuda says {given}");
        return Err(Failure::bad_input(error).with_hint("leave one of the two out"));
    }
    match given.or(told) {
        Some(Cuda::Version(version)) => Ok(Some(version)),
        Some(Cuda::Without(build)) => {
            let error = anyhow::anyhow!("`{build}` is a build of torch without CUDA");
            Err(Failure::bad_input(error).with_hint("write major and minor of a CUDA, `13.0`"))
        }
        None => Ok(None),
    }
}

fn read<T: FromStr<Err = QuestionError>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: QuestionError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}
