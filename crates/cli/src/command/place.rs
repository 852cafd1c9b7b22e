//! Opens the shelf that a user names.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use camino::Utf8Path;

use wheelfarm_engine::shelf::Fault;
use wheelfarm_engine::shelf::any::AnyShelf;
use wheelfarm_engine::shelf::folder::Address;
use wheelfarm_engine::shelf::hub::{
    Credentials, HubNotice, HubOptions, Listener, Repository, Visibility, space, xet_cache,
};
use wheelfarm_engine::shelf::place::{Place, endpoint};

use crate::args::{Format, HubArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// The shelf at `place`; `address` is how the pages of a folder point at files, and a repository that is
/// not there is made for `create` to see.
pub(super) async fn open(
    place: &str,
    hub: &HubArgs,
    (address, create): (Address, Option<Visibility>),
    format: Format,
) -> Result<AnyShelf, Failure> {
    let named = Place::parse(place).map_err(|error| {
        Failure::bad_input(error).with_hint("name a folder, or a repository as `hf://OWNER/NAME`")
    })?;
    match named {
        Place::Folder(folder) => {
            if let Some(space) = &hub.index_space {
                let error =
                    anyhow::anyhow!("`{folder}` is a folder, and `{space}` shows repositories");
                return Err(Failure::bad_input(error)
                    .with_hint("serve the folder as it is and say where: `--base-url URL`"));
            }
            refuse_hub_words(&folder, hub, create)?;
            AnyShelf::folder(&folder, address).map_err(failure)
        }
        Place::Hub(repository) => {
            if address != Address::Kept {
                let error =
                    anyhow::anyhow!("`--base-url` is for folders, and `{repository}` is on a Hub");
                return Err(Failure::bad_input(error).with_hint(
                    "its links lead to the Hub; for true indexes: `--index-space OWNER/SPACE`",
                ));
            }
            on_hub(repository, hub, create, format).await
        }
    }
}

/// Refuses what only a Hub could do, so that nobody takes it for done.
fn refuse_hub_words(
    folder: &Utf8Path,
    hub: &HubArgs,
    create: Option<Visibility>,
) -> Result<(), Failure> {
    let option = match (&hub.endpoint, create) {
        (Some(_), _) => "--endpoint",
        (None, Some(_)) => "--create",
        (None, None) => return Ok(()),
    };
    let error = anyhow::anyhow!("`{option}` is for repositories, and `{folder}` is a folder");
    Err(Failure::bad_input(error).with_hint(format!(
        "leave {option} out, or name a repository as `hf://OWNER/NAME`"
    )))
}

async fn on_hub(
    repository: Repository,
    hub: &HubArgs,
    create: Option<Visibility>,
    format: Format,
) -> Result<AnyShelf, Failure> {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let endpoint = endpoint(hub.endpoint.as_deref(), &variables).map_err(Failure::bad_input)?;
    let credentials = Credentials::of(&variables);
    let listener = match format {
        Format::Human => Listener::new(|notice: &HubNotice| render::publish::notice(notice)),
        Format::Json => Listener::none(),
    };
    let options = |repository| HubOptions {
        credentials: credentials.clone(),
        create,
        listener: listener.clone(),
        ..HubOptions::new(endpoint.clone(), repository)
    };
    let index = match &hub.index_space {
        Some(text) => Some(options(space(text).map_err(Failure::bad_input)?)),
        None => None,
    };
    let shelf = AnyShelf::hub(options(repository), index, hub.index_url.as_deref()).await;
    shelf.map_err(failure)
}

/// Begins this program again with a variable that says where the uploads of Xet keep their cache: below
/// `cache`, and not in the user's home. Nothing is done where the user has said it, or for a folder.
///
/// hf-hub 1.0.0 reads it from the environment alone, which a running program cannot change soundly.
pub(super) fn keep_xet_below(cache: &Utf8Path, place: &str) -> Result<(), Failure> {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let is_hub = place.starts_with("hf://");
    let Some((name, folder)) = xet_cache(&variables, cache).filter(|_| is_hub) else {
        return Ok(());
    };
    let program = std::env::current_exe().map_err(Failure::infrastructure)?;
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(name, folder)
        .exec();
    Err(Failure::infrastructure(error))
}

/// What a shelf's own error means for whoever asked.
pub(super) fn failure(error: impl Fault) -> Failure {
    let hint = error.hint();
    let failure = if error.is_bad_input() {
        Failure::bad_input(error)
    } else if error.is_refusal() {
        Failure::new(ExitCode::JobFailed, error)
    } else {
        Failure::infrastructure(error)
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
