//! The lines of a log that someone who has to find out would read: the first errors, and the end.

use std::collections::VecDeque;

use super::redact::KeyBlock;

/// Signs by which a line that names an error is known. Part of a line, and with its case.
const SIGNS: [&str; 11] = [
    "error:",
    "error   :",
    "Error:",
    "ERROR:",
    "CMake Error",
    "fatal",
    "Killed",
    "not found",
    "undefined symbol",
    "No space left",
    "Segmentation fault",
];

/// Whether a line names an error.
pub fn is_error_like(line: &str) -> bool {
    SIGNS.iter().any(|sign| line.contains(sign))
}

/// At most this many errors are kept with what stands around them.
const PASSAGES: usize = 5;
/// Lines before an error.
const BEFORE: usize = 5;
/// Lines behind an error.
const BEHIND: usize = 12;
/// Lines of the end.
const LAST: usize = 50;
/// Letters of a line.
const LETTERS: usize = 400;

/// Lines that follow one another, but for empty ones, which are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// Each with its number in the log, from 1; cut at 400 letters.
    pub lines: Vec<(u64, String)>,
}

/// What is kept of a log while it goes by: a bounded amount, however long it is.
#[derive(Debug, Clone, Default)]
pub struct Extract {
    before: VecDeque<(u64, String)>,
    passages: Vec<Passage>,
    /// How many more lines belong to the last passage.
    open: usize,
    last: VecDeque<(u64, String)>,
    /// A passage may begin inside of a key, so keys are masked before lines are kept.
    key: KeyBlock,
}

impl Extract {
    /// Takes the next line. Private keys do not get in.
    pub(super) fn push(&mut self, line: &str, number: u64) {
        let line = cut(&self.key.masked(line));
        let is_error = is_error_like(&line);
        if self.open > 0 {
            self.open -= 1;
            if let Some(passage) = self.passages.last_mut() {
                passage.lines.push((number, line.clone()));
            }
        } else if is_error && self.passages.len() < PASSAGES {
            self.before.push_back((number, line.clone()));
            let lines = self.before.drain(..).collect();
            self.passages.push(Passage { lines });
            self.open = BEHIND;
        } else {
            if self.before.len() == BEFORE {
                self.before.pop_front();
            }
            self.before.push_back((number, line.clone()));
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back((number, line));
    }

    /// Forgets the errors so far: the stage that they were printed in ended well.
    pub(super) fn forget_errors(&mut self) {
        self.passages.clear();
        self.before.clear();
        self.open = 0;
    }

    /// The first lines that name an error, each with what stands around it.
    pub fn errors(&self) -> &[Passage] {
        &self.passages
    }

    /// The last lines.
    pub fn last(&self) -> Passage {
        let lines = self.last.iter().cloned().collect();
        Passage { lines }
    }
}

/// A line that is not too long.
fn cut(line: &str) -> String {
    match line.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(lines: impl IntoIterator<Item = String>) -> Extract {
        let mut extract = Extract::default();
        for (line, number) in lines.into_iter().zip(1..) {
            extract.push(&line, number);
        }
        extract
    }

    #[test]
    fn errors_come_with_what_stands_around_them() {
        let lines = (1..=40).map(|number| match number {
            20 => "x.cu(3): error: no".to_owned(),
            number => format!("line {number}"),
        });
        let extract = extract(lines);
        let [passage] = extract.errors() else {
            panic!("{:?}", extract.errors());
        };
        assert_eq!(passage.lines[0].0, 15);
        assert_eq!(passage.lines.len(), BEFORE + 1 + BEHIND);
        assert_eq!(passage.lines[BEFORE], (20, "x.cu(3): error: no".to_owned()));
        assert_eq!(extract.last().lines[0].0, 1);
    }

    #[test]
    fn a_long_log_is_kept_in_little_room() {
        let extract =
            extract((0..10_000).map(|number| format!("error: {number} {}", "x".repeat(999))));
        assert_eq!(extract.errors().len(), PASSAGES);
        assert_eq!(extract.last().lines.len(), LAST);
        assert_eq!(extract.last().lines[0].0, 9_951);
        let is_cut = |(_, line): &(u64, String)| line.len() < 410;
        assert!(extract.last().lines.iter().all(is_cut));
    }

    #[test]
    fn an_empty_log_has_no_last_line() {
        assert_eq!(extract([]).last(), Passage::default());
    }
}
