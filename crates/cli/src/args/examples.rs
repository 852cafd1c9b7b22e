//! The examples that `--help` and the man pages show: one place for all commands.
//!
//! A new command needs its lines in [`EXAMPLES`]; the tests below walk the tree of commands, and fail for
//! one that has none, for a line that the parser refuses, and for lines of a command that is gone.

use clap::Command;

/// A line to type, and what comes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example {
    /// What it does, a lowercase fragment.
    pub(crate) what: &'static str,
    /// What one types.
    pub(crate) line: &'static str,
}

const fn eg(what: &'static str, line: &'static str) -> Example {
    Example { what, line }
}

/// One to three for each command, by the words that name it; those of `wheelfarm` itself have none.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            eg("what a night would build, and why", "wheelfarm plan"),
            eg(
                "build one package, and see what came of it",
                "wheelfarm build --only 'sageattention-*'",
            ),
            eg(
                "will this wheel run on that GPU?",
                "wheelfarm inspect flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl --gpu \"RTX 5090\"",
            ),
        ],
    ),
    (
        "plan",
        &[
            eg("all jobs of matrix.yaml", "wheelfarm plan"),
            eg(
                "what a build of some of them would take",
                "wheelfarm plan --only 'flash-attn-*-cu130-*' --explain",
            ),
            eg(
                "the jobs as a GitHub Actions matrix",
                "wheelfarm plan --format github >> \"$GITHUB_OUTPUT\"",
            ),
        ],
    ),
    (
        "dockerfile",
        &[eg(
            "what a job is built from, checked by a linter",
            "wheelfarm dockerfile sageattention-2.2.0-cu128-torch2.8-cp312 | hadolint -",
        )],
    ),
    (
        "build",
        &[
            eg("everything that is not up to date", "wheelfarm build"),
            eg(
                "see in seconds whether a build compiles for the archs it should",
                "wheelfarm build --only 'flash-attn-*-cp312' --rehearse",
            ),
            eg(
                "go on where a stopped build was, two jobs at a time",
                "wheelfarm build --resume --jobs 2",
            ),
        ],
    ),
    (
        "runs",
        &[
            eg("the last runs", "wheelfarm runs"),
            eg("the jobs of one, and why some failed", "wheelfarm runs 12"),
            eg(
                "the last one as the summary of a step on GitHub",
                "wheelfarm runs last --format markdown >> \"$GITHUB_STEP_SUMMARY\"",
            ),
        ],
    ),
    (
        "diagnose",
        &[
            eg(
                "why a job of the last night failed",
                "wheelfarm diagnose out/failed/flash-attn-2.8.3.post2-cu130-torch2.11-cp311",
            ),
            eg(
                "the same of any log from anywhere",
                "pip install flash-attn 2>&1 | wheelfarm diagnose -",
            ),
            eg(
                "when no rule fits, ask the assistant that is installed here",
                "wheelfarm diagnose build.log --assistant=claude",
            ),
        ],
    ),
    (
        "doctor",
        &[
            eg("is this host fit for the night?", "wheelfarm doctor"),
            eg(
                "the token and the GPU as well, and build if nothing failed",
                "wheelfarm doctor --to hf://someone/wheels --prove && wheelfarm build",
            ),
        ],
    ),
    (
        "events",
        &[
            eg(
                "what a run says while it goes on",
                "wheelfarm events --follow",
            ),
            eg(
                "what came after number 1200, for a program that has read so far",
                "wheelfarm events --after 1200 | jq -c .",
            ),
        ],
    ),
    (
        "inspect",
        &[
            eg(
                "which GPUs a wheel runs on, and what else stands in it",
                "wheelfarm inspect out/jobs/*/*.whl",
            ),
            eg(
                "one answer for one GPU; of a remote wheel only parts are fetched",
                "wheelfarm inspect https://example.org/demo-1.0-cp312-cp312-linux_x86_64.whl --gpu \"RTX 5090\"",
            ),
        ],
    ),
    (
        "verify",
        &[
            eg(
                "a wheel against what its job asks for",
                "wheelfarm verify demo-1.0-cp312-cp312-linux_x86_64.whl --job demo-1.0-cu130-torch2.11-cp312",
            ),
            eg(
                "anybody's wheel against a contract of yours",
                "wheelfarm verify demo-1.0-cp312-cp312-linux_x86_64.whl --contract contract.yaml",
            ),
        ],
    ),
    (
        "publish",
        &[
            eg(
                "into a folder, each wheel installed and tested first",
                "wheelfarm publish --to out/release --prove",
            ),
            eg(
                "say what a publication would change on a Hub",
                "wheelfarm publish --to hf://someone/wheels --dry-run",
            ),
            eg(
                "a night's wheels, beside the stable ones",
                "wheelfarm publish --to hf://someone/wheels --track nightly",
            ),
        ],
    ),
    (
        "yank",
        &[
            eg(
                "keep pip and uv from a broken version",
                "wheelfarm yank 'demo-1.2*' --from out/release --reason 'crashes on import'",
            ),
            eg(
                "take that back",
                "wheelfarm yank 'demo-1.2*' --from out/release --undo",
            ),
        ],
    ),
    (
        "promote",
        &[eg(
            "give everybody what has proved itself on the nightly track",
            "wheelfarm promote 'cu130/torch2.11/flash_attn-*' --from out/release",
        )],
    ),
    (
        "rollback",
        &[eg(
            "see what the release before this one would bring back",
            "wheelfarm rollback --to latest-1 --from out/release --dry-run",
        )],
    ),
    (
        "gc",
        &[
            eg(
                "clear this host of what the farm has no more use for",
                "wheelfarm gc",
            ),
            eg(
                "say what would go of a shelf, but for what a lock file points to",
                "wheelfarm gc --from out/release --keep-last 3 --hold uv.lock --dry-run",
            ),
        ],
    ),
    (
        "hold",
        &[eg(
            "keep a wheel whatever gc is asked for",
            "wheelfarm hold 'flash_attn-2.8.3*' --from out/release --reason 'our paper names it'",
        )],
    ),
    (
        "status",
        &[
            eg(
                "the releases that there were",
                "wheelfarm status --from out/release",
            ),
            eg(
                "exit code 1 when no nightly has come for a day and a half",
                "wheelfarm status --from out/release --freshness --max-age 36h",
            ),
        ],
    ),
    (
        "prove",
        &[
            eg(
                "run a wheel's test on this machine's GPU, and keep the receipt",
                "wheelfarm prove demo-1.0-cp312-cp312-linux_x86_64.whl --package demo --out out",
            ),
            eg(
                "keep a receipt that another machine has written",
                "wheelfarm prove --import demo.gpu-receipt.json --out out",
            ),
        ],
    ),
    (
        "compat",
        &[
            eg(
                "what works with a GPU",
                "wheelfarm compat --gpu \"RTX 5090\"",
            ),
            eg(
                "whether these go together: exit code 0, 1 or 4",
                "wheelfarm compat --torch 2.11 --cuda 13.0 --python 3.13",
            ),
        ],
    ),
    (
        "explain",
        &[
            eg("all rules", "wheelfarm explain"),
            eg(
                "what one is about, and what to do",
                "wheelfarm explain arch/missing-sass",
            ),
        ],
    ),
    (
        "patch",
        &[eg(
            "whether the farm's patches still fit, and what upstream has now",
            "wheelfarm patch check",
        )],
    ),
    (
        "patch check",
        &[
            eg("all patches", "wheelfarm patch check"),
            eg(
                "those of one package against its main branch",
                "wheelfarm patch check flash-attn --against main",
            ),
        ],
    ),
    (
        "patch refresh",
        &[eg(
            "propose the patches of a release for the next one",
            "wheelfarm patch refresh flash-attn==2.8.3.post2 --to 2.8.4",
        )],
    ),
    (
        "patch new",
        &[eg(
            "a patch out of a source that you have changed",
            "wheelfarm patch new torch-scatter==2.1.2 0002-ninja.patch --from ../pytorch_scatter --why 'compile in \
             parallel' --upstream 'none known' --drop-when 'its setup.py asks for ninja'",
        )],
    ),
    (
        "watch",
        &[
            eg("what is out there and not in the matrix", "wheelfarm watch"),
            eg(
                "write what is proposed into the matrix",
                "wheelfarm watch --write",
            ),
        ],
    ),
    (
        "resolve",
        &[
            eg(
                "the line that installs flash-attn into this machine's Python",
                "wheelfarm resolve --package flash-attn --from hf://someone/wheels --here",
            ),
            eg(
                "a line for a Dockerfile that starts from an image with torch",
                "wheelfarm resolve --package flash-attn --from hf://someone/wheels --image my/image --gpu \"RTX 5090\" \
                 --format dockerfile",
            ),
            eg(
                "a whole environment for a GPU, torch and its companions pinned",
                "wheelfarm resolve --environment uv --gpu \"RTX 5090\" --python 3.12",
            ),
        ],
    ),
    (
        "init",
        &[
            eg(
                "a farm in this folder, for the GPUs of this machine",
                "wheelfarm init",
            ),
            eg(
                "a farm for another GPU, and two packages to begin with",
                "wheelfarm init my-farm --gpu \"RTX 5090\" --package sageattention --package flash-attn",
            ),
        ],
    ),
    (
        "init package",
        &[
            eg(
                "from its newest sdist on PyPI",
                "wheelfarm init package torch-cluster",
            ),
            eg(
                "from a commit, for a project without an sdist",
                "wheelfarm init package sageattention --git https://github.com/thu-ml/SageAttention --commit \
                 eb615cf6cf4d221338033340ee2de1c37fbdba4a",
            ),
        ],
    ),
    (
        "completions",
        &[
            eg(
                "for bash, from the next shell on",
                "wheelfarm completions bash > ~/.local/share/bash-completion/completions/wheelfarm",
            ),
            eg(
                "for zsh, in a folder of its $fpath",
                "wheelfarm completions zsh > ~/.zfunc/_wheelfarm",
            ),
            eg(
                "for fish",
                "wheelfarm completions fish > ~/.config/fish/completions/wheelfarm.fish",
            ),
        ],
    ),
    (
        "man",
        &[
            eg("read one page", "wheelfarm man patch check | man -l -"),
            eg(
                "write all pages where man finds them",
                "wheelfarm man --out ~/.local/share/man/man1",
            ),
        ],
    ),
    (
        "schema",
        &[
            eg("which there are", "wheelfarm schema"),
            eg(
                "that of matrix.yaml, for an editor",
                "wheelfarm schema matrix > matrix.schema.json",
            ),
        ],
    ),
];

/// The examples of the command that these words name: `["patch", "check"]`.
pub(crate) fn of(path: &[&str]) -> &'static [Example] {
    let path = path.join(" ");
    let found = EXAMPLES.iter().find(|(command, _)| *command == path);
    found.map_or(&[], |(_, examples)| examples)
}

/// Puts its examples at the end of every command's `--help`; `-h` stays short.
pub(crate) fn attach(command: Command) -> Command {
    fn at(command: Command, path: &[&str]) -> Command {
        let names: Vec<_> = command
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        let command = names.iter().fold(command, |command, name| {
            let path: Vec<_> = path.iter().copied().chain([name.as_str()]).collect();
            command.mut_subcommand(name, |sub| at(sub, &path))
        });
        let examples = of(path);
        if examples.is_empty() {
            return command;
        }
        let lines = examples
            .iter()
            .map(|example| format!("  # {}\n  {}", example.what, example.line));
        let text = lines.collect::<Vec<_>>().join("\n\n");
        command.after_long_help(format!("Examples:\n{text}"))
    }
    at(command, &[])
}

#[cfg(test)]
mod tests {
    use super::super::{Args, command};
    use super::*;
    use clap::FromArgMatches;

    /// Every command with the words that name it.
    fn tree() -> Vec<(Vec<String>, Command)> {
        fn walk(command: &Command, path: &[String], found: &mut Vec<(Vec<String>, Command)>) {
            found.push((path.to_vec(), command.clone()));
            for sub in command.get_subcommands() {
                let name = sub.get_name().to_owned();
                let path: Vec<_> = path.iter().cloned().chain([name]).collect();
                walk(sub, &path, found);
            }
        }
        let mut found = Vec::new();
        walk(&command(), &[], &mut found);
        found
    }

    /// The commands of a line as a shell would have them, each by its words, without redirections.
    fn commands(line: &str) -> Vec<Vec<String>> {
        let mut commands = vec![Vec::new()];
        let mut word: Option<String> = None;
        let (mut quote, mut redirects) = (None, false);
        for letter in line.chars().chain([' ']) {
            match (quote, letter) {
                (Some(open), _) if letter == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (None, ' ' | '|') => {
                    let ended = word.take();
                    let is_file = redirects && ended.is_some();
                    redirects &= !is_file;
                    let is_and = ended.as_deref() == Some("&&");
                    if is_and || letter == '|' {
                        commands.push(Vec::new());
                    }
                    let words = commands.last_mut().expect("there is one from the start");
                    words.extend(ended.filter(|_| !is_file && !is_and));
                }
                (None, '>') => {
                    word = None;
                    redirects = true;
                }
                _ => word.get_or_insert_default().push(letter),
            }
        }
        assert_eq!(quote, None, "a quote stays open: {line}");
        commands
    }

    #[test]
    fn every_command_has_examples_in_its_long_help_alone() {
        for (path, mut command) in tree() {
            let examples = of(&path.iter().map(String::as_str).collect::<Vec<_>>());
            let name = path.join(" ");
            assert!(
                (1..=3).contains(&examples.len()),
                "`wheelfarm {name}` has {} examples: give it one to three in args/examples.rs",
                examples.len()
            );
            // Long lines are wrapped as the terminal wants it.
            let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let short = on_one_line(&command.render_help().to_string());
            let long = on_one_line(&command.render_long_help().to_string());
            assert!(long.contains(" Examples: # "), "{long}");
            for example in examples {
                assert!(long.contains(example.line), "{long}");
                assert!(!short.contains(example.line), "{short}");
            }
            assert!(short.len() < long.len(), "{name}: {short}");
        }
    }

    /// The words that name the command which the program takes `words` for.
    fn command_of(words: &[String]) -> String {
        let line = words.join(" ");
        let matches = command().try_get_matches_from(words);
        let matches = matches.unwrap_or_else(|error| panic!("{line}\n{error}"));
        Args::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{line}\n{error}"));
        let mut named = Vec::new();
        let mut below = matches.subcommand();
        while let Some((name, matches)) = below {
            named.push(name);
            below = matches.subcommand();
        }
        named.join(" ")
    }

    #[test]
    fn every_example_is_a_line_that_the_program_takes() {
        for (path, examples) in EXAMPLES {
            for example in *examples {
                let ours = commands(example.line);
                let ours = ours.iter().filter(|words| words[0] == "wheelfarm");
                let named: Vec<_> = ours.map(|words| command_of(words)).collect();
                assert!(
                    named.iter().any(|name| name.starts_with(path)),
                    "{} stands under `{path}`",
                    example.line
                );
            }
        }
    }

    #[test]
    fn no_examples_are_left_of_commands_that_are_gone_and_none_stands_twice() {
        let tree = tree();
        let mut paths: Vec<_> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        for path in &paths {
            let there = tree.iter().any(|(words, _)| words.join(" ") == *path);
            assert!(there, "there is no `wheelfarm {path}`");
        }
        paths.sort_unstable();
        let all = paths.len();
        paths.dedup();
        assert_eq!(all, paths.len(), "a command stands twice");
    }

    #[test]
    fn lines_are_read_as_a_shell_reads_them() {
        let one = [vec!["a", "b c", "--d", "e"]];
        assert_eq!(commands("a 'b c' --d \"e\" >> \"$F\""), one);
        let several = [vec!["a", ""], vec!["b", "-"], vec!["c"]];
        assert_eq!(commands("a '' 2>&1 | b - && c > f"), several);
    }
}
