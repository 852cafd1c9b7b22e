//! `wheelfarm events`.

use std::thread;
use std::time::Duration;

use wheelfarm_engine::store::{FILE_NAME, History};

use crate::args::EventsArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render::{self, Reader};

/// How many events are read at a time.
const BATCH: u32 = 512;

/// How often the store is looked at for more: a person does not notice it, and neither does the store.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn run(args: &EventsArgs) -> Result<ExitCode, Failure> {
    let history = History::open(&args.out.join(FILE_NAME))?;
    let last = history.last_seq()?;
    if args.after > last {
        let error = anyhow::anyhow!(
            "no event {} in `{}`: its last one is {last}",
            args.after,
            history.path()
        );
        return Err(Failure::bad_input(error).with_hint(
            "its store was begun anew; `--after 0` begins with the first event there is",
        ));
    }
    let mut after = args.after;
    loop {
        let events = history.events_after(after, BATCH)?;
        for event in &events {
            // Whoever reads has seen enough.
            if render::stream(&event.line())? == Reader::Gone {
                return Ok(ExitCode::Done);
            }
            after = event.seq;
        }
        if events.is_empty() {
            if !args.follow {
                return Ok(ExitCode::Done);
            }
            // Ends by Ctrl-C, which nothing has to be tidied up after.
            thread::sleep(LOOK_EVERY);
        }
    }
}
