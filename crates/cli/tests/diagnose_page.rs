//! docs/diagnose.md is made of the rules in `crates/core/data/diagnose/` and cannot drift from them.
//!
//! After a change of a rule: `WHEELFARM_UPDATE_GOLDEN=1 cargo test --package wheelfarm --test
//! diagnose_page`, then read the difference.

use std::fmt::Write;
use std::path::Path;

use wheelfarm_core::diagnose::{Kind, Place, Rule, Rules};

const HEAD: &str = "\
# Why did it fail?

`wheelfarm diagnose` reads a log of a build, an installation or a run, from this farm or from anywhere, and says what
went wrong, why, and what to type:

```sh
wheelfarm diagnose out/failed/flash-attn-2.8.3-cu130-torch2.11-cp311   # a job of this farm
pip install flash-attn 2>&1 | wheelfarm diagnose -                     # what is printed right now
gh run view 123456 --log-failed | wheelfarm diagnose -                 # a run on GitHub
```

```text
this nvcc does not compile for compute capability 12.0 (nvcc-unsupported-arch)
  line 212: nvcc fatal   : Unsupported gpu architecture 'compute_120'

Why
  Each toolkit knows the archs of its time: …
```

The summary of `wheelfarm build`, and `wheelfarm runs N`, say the first lines of it beside each job that failed.

Colours, time stamps, the prefixes of containers and of GitHub are no obstacle, nor is the length of the log: it is
read once, in little memory. Of a log of the farm itself only the stage that failed counts as a cause.

What is found is ordered: a **cause** ended the build; a **notice** ended nothing, but what came out is not what was
wanted; an **end** says only that something before it failed, and explains nothing. A rule that names others in
\"before\" is shown before them wherever both fit: their failures follow from its own. A cause that stands in a warning,
or that builds ask for and go on without (git, nvidia-smi), comes behind the other causes.

Exit codes: 0 a rule fits, 2 there is no such log, 4 no rule fits.

## When no rule fits

Then it says so, and writes a prompt for a person or an assistant: the first lines that name an error with what stands
around them, the last lines, the job, its Dockerfile, the versions that are known, and the question. It lies beside the
log, or where `--prompt FILE` says. It is at most 32 KiB, and secrets are masked: tokens by their form (`hf_…`,
`ghp_…`), private keys from their first line to their last, what is named a password or a token, and the values of the
farm's own variables for secrets. Read it before you give it away all the same.

`--assistant` hands it to `claude` or `gemini`, the first that is on PATH, or the one that is named:
`--assistant=gemini`. The program gets the prompt on its standard input, with its tools off as far as its flags go, in
an empty folder, without the farm's tokens, and has five minutes. Its answer is shown as its own. Nothing of it is run,
and the exit code stays 4.

## A new rule

The rules are the files in `crates/core/data/diagnose/`; the head of `toolkit.yaml` tells the fields. A rule needs a
real log as its example: one that was made here, with how, or one that is quoted, with its address. The tests hold every
example against all rules: its own has to come first. This page is made of those files; `wheelfarm diagnose --list`
lists them, and with `--format json` gives all of them.

";

fn places(rule: &Rule) -> String {
    let places: Vec<_> = rule.places.iter().copied().map(Place::as_str).collect();
    places.join(", ")
}

/// A slot's braces would do no harm in Markdown; angle brackets in texts would.
fn text(text: &str) -> &str {
    text.trim_end()
}

fn page() -> String {
    let rules = Rules::built_in().all();
    let mut page = HEAD.to_owned();
    for (kind, heading) in [
        (Kind::Cause, "Causes"),
        (Kind::Notice, "Notices"),
        (Kind::End, "Ends"),
    ] {
        write!(
            page,
            "## {heading}\n\n| rule | where | what happened |\n|---|---|---|\n"
        )
        .expect("it is a string");
        for rule in rules.iter().filter(|rule| rule.kind == kind) {
            let title = rule.title.replace('|', "\\|");
            writeln!(
                page,
                "| [{0}](#{0}) | {1} | {title} |",
                rule.id,
                places(rule)
            )
            .expect("it is a string");
        }
        page.push('\n');
    }
    page.push_str("## The rules\n");
    for rule in rules {
        section(&mut page, rule);
    }
    page.push_str("\n[Contents](README.md) · Next: [When something fails](errors.md)\n");
    page
}

fn section(page: &mut String, rule: &Rule) {
    let mut say = |args: std::fmt::Arguments<'_>| page.write_fmt(args).expect("it is a string");
    say(format_args!(
        "\n### {}\n\n{}: {}.\n",
        rule.id,
        rule.kind.as_str(),
        rule.title
    ));
    say(format_args!("\n{}\n", text(&rule.meaning)));
    say(format_args!("\n**What to do.** {}\n", text(&rule.fix)));
    let before: Vec<_> = rule
        .outranks
        .iter()
        .map(|id| format!("[{id}](#{id})"))
        .collect();
    if !before.is_empty() {
        say(format_args!("\nBefore: {}.\n", before.join(", ")));
    }
    for example in &rule.examples {
        let from = match example.origin {
            wheelfarm_core::diagnose::Origin::MadeHere => format!("Made {}", example.from),
            wheelfarm_core::diagnose::Origin::Quoted => format!("From <{}>", example.from),
        };
        let log = example.log.trim_end();
        say(format_args!("\n{from}:\n\n```text\n{log}\n```\n"));
    }
    say(format_args!("\nSource:\n\n"));
    for source in &rule.sources {
        say(format_args!("- {source}\n"));
    }
}

#[test]
fn the_page_has_the_rules() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnose.md");
    let page = page();
    if std::env::var_os("WHEELFARM_UPDATE_GOLDEN").is_some() {
        fs_err::write(&file, &page).expect("the page can be written");
    }
    let there = fs_err::read_to_string(&file).expect("the page is there");
    assert!(
        there == page,
        "docs/diagnose.md has other words than the rules; its test says how to make it anew"
    );
}
