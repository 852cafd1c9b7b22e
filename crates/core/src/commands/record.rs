//! The file that `dockerfiles/nvcc_recorder.py` writes.

use serde::Deserialize;

/// One command line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The folder that it ran in.
    pub cwd: String,
    /// Its arguments, without the program's name: as nvcc acts on them, with those that the
    /// environment adds.
    pub argv: Vec<String>,
}

/// A line is no command line.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the recorded commands cannot be read")]
pub struct RecordError {
    line: usize,
    #[source]
    source: serde_json::Error,
}

/// Reads the recorded commands. The last line may be half written while the build runs: a line
/// counts when its end is there.
pub fn parse(text: &str) -> Result<Vec<Recorded>, RecordError> {
    let lines = text.split_inclusive('\n').enumerate();
    let whole = lines.filter(|(_, line)| line.ends_with('\n'));
    whole
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| RecordError {
                line: index + 1,
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_and_half_a_line_is_none_yet() {
        let text = "{\"cwd\": \"/build/source\", \"argv\": [\"-c\", \"a.cu\"]}\n{\"cwd\": \"/bu";
        let commands = parse(text).unwrap();
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0].cwd, "/build/source");
        assert_eq!(commands[0].argv, ["-c", "a.cu"]);
        let error = parse("{}\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1 of the recorded commands cannot be read"
        );
    }
}
