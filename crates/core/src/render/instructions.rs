//! A Dockerfile as its instructions, so that two can be compared.

/// The instructions of `dockerfile`, each one line with its stage before it, `toolkit: RUN …`, without
/// comments. What stands before the first `FROM` has no stage.
///
/// Reads what the farm's own template writes: no here-documents, no parser directives, `\` at the end
/// of a line.
pub(crate) fn instructions(dockerfile: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut stage = String::new();
    let mut instruction = String::new();
    for line in dockerfile.lines().map(str::trim) {
        // A comment may stand between the lines of an instruction, and is no part of it.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !instruction.is_empty() {
            instruction.push(' ');
        }
        if let Some(part) = line.strip_suffix('\\') {
            instruction.push_str(part.trim_end());
            continue;
        }
        instruction.push_str(line);
        let whole = std::mem::take(&mut instruction);
        if let Some((_, name)) = whole
            .strip_prefix("FROM ")
            .and_then(|from| from.split_once(" AS "))
        {
            name.clone_into(&mut stage);
        }
        found.push(if stage.is_empty() {
            whole
        } else {
            format!("{stage}: {whole}")
        });
    }
    // A text that ends in the middle of an instruction is not lost.
    if !instruction.is_empty() {
        found.push(format!("{stage}: {instruction}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_one_line_with_its_stage() {
        let text = "# wheelfarm job demo\nARG BASE=debian\n\n# The base.\nFROM ${BASE} AS base\n\
                    ENV A=1 \\\n    B=2\nFROM base AS python\n# hadolint ignore=DL3008\n\
                    RUN one \\\n # why\n && two\n";
        assert_eq!(
            instructions(text),
            [
                "ARG BASE=debian",
                "base: FROM ${BASE} AS base",
                "base: ENV A=1 B=2",
                "python: FROM base AS python",
                "python: RUN one && two",
            ]
        );
    }

    #[test]
    fn a_text_that_ends_early_keeps_its_last_instruction() {
        assert_eq!(
            instructions("FROM a AS b\nRUN one \\\n"),
            ["b: FROM a AS b", "b: RUN one"]
        );
    }
}
