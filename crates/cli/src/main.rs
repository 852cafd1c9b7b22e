//! The `wheelfarm` command: arguments in, a picture or JSON out, and an exit code.

mod args;
mod command;
mod exit_code;
mod failure;
mod render;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) => return render::usage::end(&error).into(),
    };
    render::start_log(args.verbose);
    match command::run(args) {
        Ok(code) => code.into(),
        Err(failure) => {
            render::failure(&failure);
            failure.exit_code().into()
        }
    }
}
