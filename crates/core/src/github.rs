//! Text for GitHub Actions: annotations, and Markdown for the page of a run.
//!
//! What is told there may come from a build, so from strangers: nothing in it may be taken for a command
//! of the runner, for HTML, for a link or for the end of the block that it stands in.

/// The most annotations of one level that every runner takes of a step: `_maxIssueCount` in
/// `src/Runner.Worker/ExecutionContext.cs` of actions/runner, which is 10 in earlier versions and 100 in
/// later ones. Nobody reads more than ten either.
pub const ANNOTATION_LIMIT: usize = 10;

/// The most characters of an annotation's text (`_maxIssueMessageLength`, in the same place).
pub const ANNOTATION_LENGTH: usize = 4096;

/// The most bytes that a step's summary may have; one with more is not shown at all
/// (<https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary>).
pub const SUMMARY_LIMIT_BYTES: usize = 1024 * 1024;

/// How much an annotation stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something went well the second time.
    Warning,
    /// Something to know.
    Notice,
}

impl Level {
    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// The line that makes an annotation of `text`, which may have several lines itself. Escaped as the
/// runner reads it (`src/Runner.Common/ActionCommand.cs` of actions/runner): `%`, CR and LF in the text,
/// `:` and `,` as well in the title.
pub fn annotation(level: Level, title: &str, text: &str) -> String {
    let level = level.as_str();
    let title = escape(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={title}::{}", escape(text))
}

fn escape(text: &str) -> String {
    // `%` first: the others write it.
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// `text` so that the runner reads no line of it as a command. It reads two forms: `::name::…` at the
/// beginning of a line, behind spaces, and the older `##[name]…` anywhere in one
/// (`TryParseV2` and `TryParse` in `src/Runner.Common/ActionCommand.cs`). Both get a space inside, so people
/// read what there was.
pub fn inert(text: &str) -> String {
    let text = text.replace("##[", "## [");
    // A CR is the end of a line to the runner.
    let lines = text.split_inclusive(['\n', '\r']).map(|line| {
        let start = line.trim_start();
        match start.strip_prefix("::") {
            Some(rest) => format!("{}: :{rest}", &line[..line.len() - start.len()]),
            None => line.to_owned(),
        }
    });
    lines.collect()
}

/// `text` as plain words of Markdown, on one line, also in a table: every sign that means something is
/// escaped by HTML or by a backslash, and what GitHub would make a link or a mention of is broken up.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // `@name` is a mention, `https:` and `www.` are links, `#7` an issue: an empty comment or an
            // entity between their parts makes them words.
            '@' => escaped.push_str("&#64;"),
            ':' => escaped.push_str("&#58;"),
            '#' => escaped.push_str("&#35;"),
            '|' => escaped.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '!' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(sign);
            }
            sign if sign.is_control() => escaped.push(' '),
            sign => escaped.push(sign),
        }
    }
    escaped.replace("www.", "www&#46;").trim().to_owned()
}

/// `text` as a block of code, which nothing in it ends: its fence is longer than any run of backticks.
/// Control characters but tabs and line feeds go, for a log has colours.
pub fn code_block(text: &str) -> String {
    let text = plain(text);
    let mut longest = 0;
    let mut run = 0;
    for sign in text.chars() {
        run = if sign == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

/// Without what a terminal would obey: CSI sequences and other control characters.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign == '\u{1b}' && signs.peek() == Some(&'[') {
            signs.next();
            // Parameters, then a final byte from `@` to `~` (ECMA-48, 5.4).
            for sign in signs.by_ref() {
                if ('@'..='~').contains(&sign) {
                    break;
                }
            }
        } else if sign == '\n' || sign == '\t' || !sign.is_control() {
            plain.push(sign);
        }
    }
    plain
}

/// As much of `text` from its end as `limit` bytes hold, whole lines only.
pub fn tail(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut start = text.len() - limit;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let cut = &text[start..];
    cut.split_once('\n').map_or("", |(_, whole)| whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn annotations_are_one_line_whatever_they_say() {
        let line = annotation(Level::Error, "a: b, c", "50%\r\n::set-output name=x::y");
        assert_eq!(
            line,
            "::error title=a%3A b%2C c::50%25%0D%0A::set-output name=x::y"
        );
    }

    /// What the runner takes for a command, as `ActionCommand.cs` has it.
    fn is_command(line: &str) -> bool {
        let new = line
            .trim_start()
            .strip_prefix("::")
            .is_some_and(|rest| rest.contains("::"));
        let old = line
            .split_once("##[")
            .is_some_and(|(_, rest)| rest.contains(']'));
        new || old
    }

    #[test]
    fn commands_in_a_log_become_text() {
        for (said, want) in [
            ("::add-mask::a", ": :add-mask::a"),
            ("\t ::stop-commands::a\n", "\t : :stop-commands::a\n"),
            (
                "nvcc ##[set-output name=a]b",
                "nvcc ## [set-output name=a]b",
            ),
            ("a\r::error::b", "a\r: :error::b"),
            ("torch::Tensor at::zeros", "torch::Tensor at::zeros"),
        ] {
            assert_eq!(inert(said), want);
        }
    }

    proptest! {
        #[test]
        fn no_line_of_inert_text_is_a_command(parts in proptest::collection::vec(
            prop_oneof!["::", "##\\[", "#", "\\[", "\\]", "\n", "\r", " ", "\t", "add-mask", "[a-z]{0,4}"], 0..30)) {
            let text = inert(&parts.concat());
            for line in text.split(['\n', '\r']) {
                prop_assert!(!is_command(line), "{line:?}");
            }
        }

        #[test]
        fn nothing_ends_a_block_of_code(text in "[`~ a\n]{0,40}") {
            let block = code_block(&text);
            let (fence, rest) = block.split_once("text\n").unwrap();
            let ends: Vec<_> = rest
                .split('\n')
                .filter(|line| line.trim().starts_with(fence))
                .collect();
            prop_assert_eq!(ends, [fence]);
        }

        #[test]
        fn markdown_is_words_alone(text in "\\PC{0,40}") {
            let words = markdown(&text);
            prop_assert!(!words.contains(['<', '>', '|', '@', '\n', '\r']));
            prop_assert!(!words.contains("://") && !words.contains("www."));
        }
    }

    #[test]
    fn logs_lose_their_colours_and_keep_their_lines() {
        let block = code_block("\u{1b}[31mred\u{1b}[0m\ta\r\nb\u{7}\n\n");
        assert_eq!(block, "```text\nred\ta\nb\n```");
    }

    #[test]
    fn words_that_github_would_link_are_broken_up() {
        assert_eq!(
            markdown("<b> @farm #7 https://x.org [a](b) `c` |\n"),
            "&lt;b&gt; &#64;farm &#35;7 https&#58;//x.org \\[a\\]\\(b\\) \\`c\\` &#124;"
        );
    }

    #[test]
    fn a_tail_has_whole_lines() {
        assert_eq!(tail("one\ntwo\nthree", 100), "one\ntwo\nthree");
        assert_eq!(tail("one\ntwo\nthree", 9), "three");
        assert_eq!(tail("äääää\nb", 3), "b");
        assert_eq!(tail("abcdef", 3), "");
    }
}
