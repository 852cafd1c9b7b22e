//! What there is to say of the gate's rules.

use serde_json::json;
use wheelfarm_core::gate::rule::Rule;

use super::{OutputError, data};

/// Wide enough for most lines of the texts, narrow enough for a window beside another.
const WIDTH: usize = 96;

/// A table of the rules.
pub(crate) fn list(rules: &[Rule]) -> Result<(), OutputError> {
    data(&list_text(rules))
}

fn list_text(rules: &[Rule]) -> String {
    let severities = rules.iter().map(|rule| rule.severity().as_str().len());
    let severity_width = severities.max().unwrap_or(0);
    let id_width = rules.iter().map(|rule| rule.id().len()).max().unwrap_or(0);
    let lines = rules.iter().map(|&rule| {
        let severity = rule.severity().as_str();
        let title = rule.text().title.trim();
        format!("{rule:id_width$}  {severity:severity_width$}  {title}")
    });
    let mut lines: Vec<_> = lines.collect();
    lines.push(format!(
        "{} rules; `wheelfarm explain RULE` says why, where from, and what to do",
        rules.len()
    ));
    lines.join("\n")
}

/// One rule with its texts under headings.
pub(crate) fn human(rule: Rule) -> Result<(), OutputError> {
    data(&human_text(rule))
}

fn human_text(rule: Rule) -> String {
    let text = rule.text();
    let severity = rule.severity().as_str();
    let mut lines = vec![format!("{rule} ({severity})"), text.title.trim().to_owned()];
    let parts = [
        ("Why", &text.why),
        ("Source", &text.source),
        ("What to do", &text.fix),
    ];
    for (heading, part) in parts {
        lines.push(String::new());
        lines.push(heading.to_owned());
        for line in laid_out(part, WIDTH - 2) {
            lines.push(format!("  {line}").trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// Schema 1: all that is known of each of `rules`.
pub(crate) fn json(rules: &[Rule]) -> Result<(), OutputError> {
    let rules: Vec<_> = rules
        .iter()
        .map(|rule| {
            let text = rule.text();
            json!({
                "id": rule.id(),
                "severity": rule.severity().as_str(),
                "title": text.title.trim(),
                "why": text.why.trim_end(),
                "source": text.source.trim_end(),
                "fix": text.fix.trim_end(),
            })
        })
        .collect();
    let rules = json!({ "schema": 1, "rules": rules });
    data(&format!("{rules:#}"))
}

/// A text of `rules.yaml` in lines of at most `width` letters. Paragraphs and items are filled anew,
/// indented lines stay as they are, and no word is broken, however long.
pub(super) fn laid_out(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for block in text.trim_end().split("\n\n") {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        if block.starts_with("    ") {
            lines.extend(block.lines().map(str::to_owned));
            continue;
        }
        let mut filled: Vec<(String, &str)> = Vec::new();
        for line in block.lines() {
            match (line.strip_prefix("- "), filled.last_mut()) {
                (None, Some((text, _))) => {
                    text.push(' ');
                    text.push_str(line.trim_start());
                }
                (None, None) => filled.push((line.to_owned(), "")),
                (Some(item), _) => filled.push((item.to_owned(), "- ")),
            }
        }
        for (text, mark) in filled {
            lines.extend(fill(&text, mark, width));
        }
    }
    lines
}

/// `text` in lines of at most `width` letters, the first behind `mark`, the others behind as many
/// blanks.
fn fill(text: &str, mark: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = mark.to_owned();
    for word in text.split_whitespace() {
        let is_empty = line.len() == mark.len();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(line);
            line = " ".repeat(mark.len());
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        assert_eq!(laid_out(text, 20), want);
    }

    #[test]
    fn paragraphs_are_filled_anew() {
        check(
            "one two\nthree four five six\n\nseven\n",
            &["one two three four", "five six", "", "seven"],
        );
    }

    #[test]
    fn items_hang_behind_their_marks() {
        check(
            "- one two three\n  four five\n- six\n",
            &["- one two three four", "  five", "- six"],
        );
    }

    #[test]
    fn indented_lines_and_long_words_stay_whole() {
        check(
            "see\n\n    a line that is longer than all others\n    b\n\n- x https://example.org/long/path y\n",
            &[
                "see",
                "",
                "    a line that is longer than all others",
                "    b",
                "",
                "- x",
                "  https://example.org/long/path",
                "  y",
            ],
        );
    }

    #[test]
    fn letters_are_counted_and_not_bytes() {
        check("ääääääääääääää ööööö", &["ääääääääääääää ööööö"]);
    }

    #[test]
    fn every_rule_fits_but_for_words_that_cannot_be_broken() {
        for &rule in Rule::ALL {
            for line in human_text(rule).lines() {
                let words = line.split_whitespace().filter(|word| *word != "-").count();
                let fits = line.chars().count() <= WIDTH;
                assert!(
                    fits || words == 1 || line.starts_with("      "),
                    "{rule}: {line}"
                );
                // Lines that are shown as they are cannot be filled: they have to be short enough.
                assert!(line.chars().count() <= 116, "{rule}: {line}");
            }
        }
    }
}
