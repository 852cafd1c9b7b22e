//! The place and the token.

use super::*;

fn hub(change: impl FnOnce(&mut HubFacts)) -> impl FnOnce(&mut Facts) {
    let mut hub = HubFacts {
        endpoint: "https://huggingface.co".to_owned(),
        repository: "hf://me/wheels".to_owned(),
        kind: "model".to_owned(),
        owner: "me".to_owned(),
        name: "wheels".to_owned(),
        token: TokenFound::In("HF_TOKEN".to_owned()),
        repository_there: Answered::With(true),
        identity: Answered::With(Identity {
            user: "me".to_owned(),
            organisations: Vec::new(),
            grant: Grant::Write,
        }),
    };
    change(&mut hub);
    |facts| facts.place = Some(PlaceFacts::Hub(Box::new(hub)))
}

#[test]
fn the_place_and_the_token() {
    check(
        Topic::Rights,
        hub(|_| {}),
        (Pass, "may write to `hf://me/wheels` as `me`"),
    );
    let grant = |grant| {
        hub(|hub| {
            hub.identity = Answered::With(Identity {
                user: "me".to_owned(),
                organisations: Vec::new(),
                grant,
            });
        })
    };
    check(Topic::Rights, grant(Grant::Read), (Fail, "may only read"));
    check(
        Topic::Rights,
        grant(Grant::Scoped(Vec::new())),
        (Fail, "scoped to nothing"),
    );
    check(
        Topic::Rights,
        grant(Grant::Unknown(None)),
        (NotChecked, "--dry-run"),
    );
    let refused = Answered::Refused("the Hub answered 401".to_owned());
    check(
        Topic::Rights,
        hub(|hub| hub.identity = refused),
        (Fail, "does not take the token"),
    );
    let silent = Answered::Not("timed out".to_owned());
    check(
        Topic::Rights,
        hub(|hub| hub.identity = silent),
        (NotChecked, "timed out"),
    );
    check(
        Topic::Token,
        hub(|hub| hub.token = TokenFound::Nowhere),
        (Fail, "hf auth login"),
    );
    assert_eq!(
        of(Topic::Rights, hub(|hub| hub.token = TokenFound::Nowhere)),
        []
    );
    let identity = || hub(|hub| hub.token = TokenFound::GithubIdentity);
    check(Topic::Token, identity(), (Pass, "identity on GitHub"));
    check(Topic::Rights, identity(), (NotChecked, "Trusted Publisher"));
    let missing = hub(|hub| hub.repository_there = Answered::With(false));
    check(Topic::Place, missing, (Warn, "--create"));
    let busy = |facts: &mut Facts| {
        facts.place = Some(PlaceFacts::Folder {
            folder: "dist".into(),
            hold: Hold::Unwritable("denied".to_owned()),
        });
    };
    check(Topic::Place, busy, (Fail, "`dist` cannot be written"));
}
