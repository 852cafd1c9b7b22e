//! Changes to YAML that people wrote: the text keeps its comments, its order and its spelling, and only
//! what changes is touched.
//!
//! Each change is made twice, in the text and in what the text says; the new text must say just that,
//! or there is no change. So a spelling of YAML that is not thought of here is refused and never
//! broken.

use super::At;
use super::tree::Tree;

/// The way to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Of a map.
    Key(&'a str),
    /// Of a list, from 0.
    Item(usize),
}

/// What is changed of the value at the end of the way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// A list gets another text at its end.
    Append(&'a str),
    /// A list gets another text before one of its items, counted from 0.
    Before {
        /// Which item.
        item: usize,
        /// The text.
        value: &'a str,
    },
    /// A text becomes another one.
    Replace(&'a str),
    /// A map gets another key at its end, with a list of texts.
    Insert {
        /// The key, which the map does not have.
        key: &'a str,
        /// The texts.
        items: &'a [String],
    },
    /// A list gets a copy of one of its items at its end, below a comment.
    Copy {
        /// Which item.
        item: usize,
        /// The comment, without its `#`.
        comment: &'a str,
    },
}

/// The text cannot be changed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// It is not YAML, or not of that shape.
    #[error("the file has no such place")]
    NoPlace,
    /// It is written in a way that a change by lines would not keep.
    #[error("it is written in a way that has to be changed by hand")]
    Spelling,
}

/// Makes a change in `text`.
pub(crate) fn edit(text: &str, way: &[Step<'_>], change: Change<'_>) -> Result<String, EditError> {
    let mut whole = read(text)?;
    let at = find(&mut whole, way).ok_or(EditError::NoPlace)?;
    if at.referenced != at.defined {
        // What an alias stands for is written elsewhere, and may be used twice.
        return Err(EditError::Spelling);
    }
    let source = Source { text };
    let changed = match change {
        Change::Append(value) => source.append(at, value),
        Change::Before { item, value } => source.before(at, item, value),
        Change::Replace(value) => source.replace(at, value),
        Change::Insert { key, items } => source.insert(at, key, items),
        Change::Copy { item, comment } => source.copy(at, item, comment),
    };
    let changed = changed.ok_or(EditError::Spelling)?;
    apply(at, change).ok_or(EditError::NoPlace)?;
    let found = read(&changed).map_err(|_| EditError::Spelling)?;
    if whole.value.says_as(&found.value) {
        Ok(changed)
    } else {
        Err(EditError::Spelling)
    }
}

fn read(text: &str) -> Result<At<Tree>, EditError> {
    super::parse("", text).map_err(|_| EditError::NoPlace)
}

fn find<'t>(tree: &'t mut At<Tree>, way: &[Step<'_>]) -> Option<&'t mut At<Tree>> {
    let Some((step, rest)) = way.split_first() else {
        return Some(tree);
    };
    let next = match (step, &mut tree.value) {
        (Step::Key(key), Tree::Map(entries)) => {
            &mut entries.iter_mut().find(|(other, _)| other == key)?.1
        }
        (Step::Item(index), Tree::List(items)) => items.get_mut(*index)?,
        (Step::Key(_) | Step::Item(_), _) => return None,
    };
    find(next, rest)
}

/// The change in what the text says; `None` where the value is of another kind.
fn apply(at: &mut At<Tree>, change: Change<'_>) -> Option<()> {
    let place = at.referenced;
    let located = |value| At::new(value, place, place);
    let text = |value: &str| located(Tree::Text(value.to_owned()));
    match (change, &mut at.value) {
        (Change::Append(value), Tree::List(items)) => items.push(text(value)),
        (Change::Before { item, value }, Tree::List(items)) => {
            if item > items.len() {
                return None;
            }
            items.insert(item, text(value));
        }
        (Change::Replace(value), Tree::Text(old)) => value.clone_into(old),
        (Change::Insert { key, items }, Tree::Map(entries)) => {
            let items = items.iter().map(|item| text(item)).collect();
            entries.push((key.to_owned(), located(Tree::List(items))));
        }
        (Change::Copy { item, .. }, Tree::List(items)) => {
            let copy = items.get(item)?.clone();
            items.push(copy);
        }
        _ => return None,
    }
    Some(())
}

/// A text and what is known of places in it.
#[derive(Clone, Copy)]
struct Source<'a> {
    text: &'a str,
}

/// Where a token stands, in bytes.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
}

impl Source<'_> {
    fn append(self, list: &At<Tree>, value: &str) -> Option<String> {
        let Tree::List(items) = &list.value else {
            return None;
        };
        let Some(last) = items.last() else {
            let open = token(list)?;
            let is_open = self.text.get(open.start..open.end) == Some("[");
            return is_open.then(|| self.with(&[(open.end, quoted(value, '"'))]))?;
        };
        let Tree::Text(_) = last.value else {
            return None;
        };
        if last.referenced != last.defined {
            return None;
        }
        let last = token(last)?;
        let value = self.styled_as(last, value)?;
        if is_flow(list) {
            self.append_flow(last, &value)
        } else {
            self.append_block(last, &value)
        }
    }

    fn before(self, list: &At<Tree>, item: usize, value: &str) -> Option<String> {
        let Tree::List(items) = &list.value else {
            return None;
        };
        let next = token(items.get(item)?)?;
        let value = self.styled_as(next, value)?;
        if is_flow(list) {
            return self.with(&[(next.start, Some(format!("{value}, ")))]);
        }
        if let Some(previous) = item.checked_sub(1) {
            // Below the item before it, for comments stand above what they are about.
            return self.append_block(token(items.get(previous)?)?, &value);
        }
        let line = self.line(next.start);
        let dash = self.text.get(line.start..next.start)?;
        let newline = self.newline();
        self.with(&[(line.start, Some(format!("{dash}{value}{newline}")))])
    }

    /// `["a", "b"]`, on one line or with a line for each item.
    fn append_flow(self, last: Token, value: &str) -> Option<String> {
        let line = self.line(last.start);
        let indent = &self.text[line.start..last.start];
        if !indent.trim().is_empty() {
            return self.with(&[(last.end, Some(format!(", {value}")))]);
        }
        let newline = self.newline();
        let rest = self.text[last.end..line.end].trim();
        let ends = |rest: &str| rest.is_empty() || rest.starts_with('#');
        if ends(rest) {
            return self.with(&[
                (last.end, Some(",".to_owned())),
                (line.end, Some(format!("{newline}{indent}{value}"))),
            ]);
        }
        match rest.strip_prefix(',') {
            Some(after) if ends(after.trim()) => {
                self.with(&[(line.end, Some(format!("{newline}{indent}{value},")))])
            }
            Some(_) => self.with(&[(last.end, Some(format!(", {value}")))]),
            None => self.with(&[(last.end, Some(format!(",{newline}{indent}{value}")))]),
        }
    }

    /// `- a`, a line for each item.
    fn append_block(self, last: Token, value: &str) -> Option<String> {
        let line = self.line(last.start);
        let before = &self.text[line.start..last.start];
        let dash = before.rfind('-')?;
        if !before.chars().all(|c| c == ' ' || c == '-') {
            return None;
        }
        let (indent, dash) = (" ".repeat(dash), &before[dash..]);
        let newline = self.newline();
        self.with(&[(line.end, Some(format!("{newline}{indent}{dash}{value}")))])
    }

    fn replace(self, scalar: &At<Tree>, value: &str) -> Option<String> {
        let place = token(scalar)?;
        let value = self.styled_as(place, value)?;
        let text = self.text;
        Some(format!(
            "{}{value}{}",
            text.get(..place.start)?,
            text.get(place.end..)?
        ))
    }

    fn insert(self, map: &At<Tree>, key: &str, items: &[String]) -> Option<String> {
        let Tree::Map(entries) = &map.value else {
            return None;
        };
        if is_flow(map) || entries.iter().any(|(other, _)| other == key) {
            return None;
        }
        let indent = column(map)?;
        let end = self.block_end(token(map)?.start, indent);
        let items: Option<Vec<_>> = items.iter().map(|item| quoted(item, '"')).collect();
        let newline = self.newline();
        let line = format!(
            "{newline}{}{key}: [{}]",
            " ".repeat(indent),
            items?.join(", ")
        );
        self.with(&[(end, Some(line))])
    }

    fn copy(self, list: &At<Tree>, item: usize, comment: &str) -> Option<String> {
        let Tree::List(items) = &list.value else {
            return None;
        };
        if is_flow(list) {
            return None;
        }
        // Without indentation the place of a list is that of its first item.
        let line = self.line(token(items.first()?)?.start);
        let line = self.text.get(line.start..line.end)?;
        let dash = line.find(|c: char| c != ' ')?;
        if !line[dash..].starts_with('-') {
            return None;
        }
        let block = |item: &At<Tree>| {
            let start = self.line(token(item)?.start).start;
            let end = self.block_end(start, dash + 1);
            Some((start, end))
        };
        let (start, end) = block(items.get(item)?)?;
        let (_, last_end) = block(items.last()?)?;
        let newline = self.newline();
        let indent = " ".repeat(dash);
        let copy = self.text.get(start..end)?;
        self.with(&[(
            last_end,
            Some(format!(
                "{newline}{newline}{indent}# {comment}{newline}{copy}"
            )),
        )])
    }

    /// The end of the last line of what begins in the line of `start` and is indented by `indent` or
    /// more in the lines after it. Comments and blank lines behind it are not of it.
    fn block_end(self, start: usize, indent: usize) -> usize {
        let first = self.line(start);
        let mut end = first.end;
        let mut next = first.end;
        while let Some(rest) = self.text.get(next..).filter(|rest| !rest.is_empty()) {
            let begin = next + if rest.starts_with("\r\n") { 2 } else { 1 };
            if begin > self.text.len() {
                break;
            }
            let line = self.line(begin);
            let text = &self.text[line.start..line.end];
            let bare = text.trim_start_matches(' ');
            if !bare.is_empty() && !bare.starts_with('#') {
                if text.len() - bare.len() < indent {
                    break;
                }
                end = line.end;
            }
            next = line.end;
        }
        end
    }

    /// The line of a place, without its end.
    fn line(self, at: usize) -> Token {
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = rest[..length].strip_suffix('\r').unwrap_or(&rest[..length]);
        Token {
            start,
            end: start + line.len(),
        }
    }

    fn newline(self) -> &'static str {
        if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    /// `value` in the quotes of the text at `like`.
    fn styled_as(self, like: Token, value: &str) -> Option<String> {
        match self.text.get(like.start..like.end)?.chars().next()? {
            '\'' => quoted(value, '\''),
            // Plain, `3.14` would be a number.
            c if c != '"' && value.parse::<f64>().is_err() => is_plain(value).then(|| value.into()),
            _ => quoted(value, '"'),
        }
    }

    /// The text with pieces put in at places, which ascend.
    fn with(self, pieces: &[(usize, Option<String>)]) -> Option<String> {
        let mut out = String::new();
        let mut from = 0;
        for (at, piece) in pieces {
            out.push_str(self.text.get(from..*at)?);
            out.push_str(piece.as_deref()?);
            from = *at;
        }
        out.push_str(self.text.get(from..)?);
        Some(out)
    }
}

fn token(at: &At<Tree>) -> Option<Token> {
    let span = at.referenced.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    Some(Token {
        start,
        end: start + length,
    })
}

/// The column from 0.
fn column(at: &At<Tree>) -> Option<usize> {
    usize::try_from(at.referenced.column().checked_sub(1)?).ok()
}

/// A list or map in brackets: its place is that of the bracket. One by lines has no sign of its own.
fn is_flow(at: &At<Tree>) -> bool {
    !at.referenced.span().is_empty()
}

fn is_plain(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".+_-".contains(c))
}

/// `value` between quotes; nothing else than versions, archs and digests is ever written.
fn quoted(value: &str, quote: char) -> Option<String> {
    is_plain(value).then(|| format!("{quote}{value}{quote}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, way: &[Step<'_>], change: Change<'_>, want: Result<&str, EditError>) {
        let got = edit(text, way, change);
        assert_eq!(got.as_deref().map_err(|&error| error), want, "{text}");
    }

    const LIST: [Step<'static>; 1] = [Step::Key("a")];

    #[track_caller]
    fn check_append(text: &str, want: &str) {
        check(text, &LIST, Change::Append("2.10"), Ok(want));
    }

    #[test]
    fn a_list_in_brackets_grows_at_its_end() {
        check_append(
            "a: [\"1.0\"]  # why\nb: 1\n",
            "a: [\"1.0\", \"2.10\"]  # why\nb: 1\n",
        );
        check_append("a: ['1.0' , ]", "a: ['1.0', '2.10' , ]");
        check_append("a: []\n", "a: [\"2.10\"]\n");
        check_append("a: [x, v1]\n", "a: [x, v1, \"2.10\"]\n");
        check_append("ä: \"ö\"\na: [\"ü\"]\n", "ä: \"ö\"\na: [\"ü\", \"2.10\"]\n");
    }

    #[test]
    fn a_list_in_brackets_with_a_line_for_each_item_gets_a_line() {
        check_append(
            "a: [\n  \"1.0\",  # one\n  \"1.1\",  # two\n]\n",
            "a: [\n  \"1.0\",  # one\n  \"1.1\",  # two\n  \"2.10\",\n]\n",
        );
        check_append(
            "a: [\n  \"1.0\",\n  \"1.1\"  # two\n]\n",
            "a: [\n  \"1.0\",\n  \"1.1\",  # two\n  \"2.10\"\n]\n",
        );
        check_append("a: [\n  '1.0']\n", "a: [\n  '1.0',\n  '2.10']\n");
        check_append("a: [\n  '1.0', ]\n", "a: [\n  '1.0', '2.10', ]\n");
    }

    #[test]
    fn a_list_by_lines_gets_a_line() {
        check_append(
            "a:\n  - \"1.0\"\n  -   \"1.1\"  # two\n  # of b\nb: 1\n",
            "a:\n  - \"1.0\"\n  -   \"1.1\"  # two\n  -   \"2.10\"\n  # of b\nb: 1\n",
        );
        check_append("a:\n- x", "a:\n- x\n- \"2.10\"");
        check_append(
            "a:\r\n- 'x'\r\nb: 1\r\n",
            "a:\r\n- 'x'\r\n- '2.10'\r\nb: 1\r\n",
        );
        check(
            "- - \"x\"\n- y\n",
            &[Step::Item(0)],
            Change::Append("z"),
            Ok("- - \"x\"\n  - \"z\"\n- y\n"),
        );
    }

    #[test]
    fn a_text_is_put_before_another() {
        let before = |item| Change::Before {
            item,
            value: "2.10",
        };
        let flow = "a: ['1', \n  '3']  # x\n";
        check(
            flow,
            &LIST,
            before(0),
            Ok("a: ['2.10', '1', \n  '3']  # x\n"),
        );
        check(
            flow,
            &LIST,
            before(1),
            Ok("a: ['1', \n  '2.10', '3']  # x\n"),
        );
        let lines = "a:\n  # one\n  - '1'\n  # three\n  - '3'\n";
        check(
            lines,
            &LIST,
            before(0),
            Ok("a:\n  # one\n  - '2.10'\n  - '1'\n  # three\n  - '3'\n"),
        );
        check(
            lines,
            &LIST,
            before(1),
            Ok("a:\n  # one\n  - '1'\n  - '2.10'\n  # three\n  - '3'\n"),
        );
        check(lines, &LIST, before(2), Err(EditError::Spelling));
    }

    #[test]
    fn a_text_is_replaced_in_its_own_quotes() {
        let way = [Step::Key("a"), Step::Item(1)];
        let replace = Change::Replace("2.9.1");
        check(
            "a: [x, '2.9.0']  # it\n",
            &way,
            replace,
            Ok("a: [x, '2.9.1']  # it\n"),
        );
        check("a: [x, 2.9.0]\n", &way, replace, Ok("a: [x, 2.9.1]\n"));
        let replace = Change::Replace("3.14");
        check("a:\n- x\n- y\n", &way, replace, Ok("a:\n- x\n- \"3.14\"\n"));
    }

    #[test]
    fn a_map_by_lines_gets_a_key() {
        let archs = ["8.0".to_owned(), "12.0+PTX".to_owned()];
        let insert = Change::Insert {
            key: "archs",
            items: &archs,
        };
        let way = [Step::Key("p"), Step::Item(0)];
        check(
            "p:\n  - name: x\n    versions: [\"1\"]  # v\n\n  # of y\n  - name: y\n",
            &way,
            insert,
            Ok(
                "p:\n  - name: x\n    versions: [\"1\"]  # v\n    archs: [\"8.0\", \"12.0+PTX\"]\n\n  \
                 # of y\n  - name: y\n",
            ),
        );
        check("p: [{name: x}]\n", &way, insert, Err(EditError::Spelling));
        let taken = "p:\n- archs: []\n";
        check(taken, &way, insert, Err(EditError::Spelling));
    }

    #[test]
    fn an_item_is_copied_below_a_comment() {
        let copy = Change::Copy {
            item: 0,
            comment: "review",
        };
        check(
            "r:\n  # first\n  - version: \"1\"\n    # why\n    env:\n      A: |\n        # no\n        x\n\n  \
             # second\n  - version: \"2\"\n# end\n",
            &[Step::Key("r")],
            copy,
            Ok(
                "r:\n  # first\n  - version: \"1\"\n    # why\n    env:\n      A: |\n        # no\n        \
                 x\n\n  # second\n  - version: \"2\"\n\n  # review\n  - version: \"1\"\n    # why\n    \
                 env:\n      A: |\n        # no\n        x\n# end\n",
            ),
        );
        check(
            "r:\n- version: \"1\"",
            &[Step::Key("r")],
            copy,
            Ok("r:\n- version: \"1\"\n\n# review\n- version: \"1\""),
        );
        check(
            "r: [{v: x}]\n",
            &[Step::Key("r")],
            copy,
            Err(EditError::Spelling),
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let append = Change::Append("1");
        let alias = "b: &x [\"1\"]\na: *x\n";
        check(alias, &LIST, append, Err(EditError::Spelling));
        let anchored = "a:\n- &y \"x\"\n";
        check(anchored, &LIST, append, Err(EditError::Spelling));
        check("a:\n-\n  \"x\"\n", &LIST, append, Err(EditError::Spelling));
        check(
            "a: [x]\n",
            &LIST,
            Change::Append("x # y"),
            Err(EditError::Spelling),
        );
        check("b: [x]\n", &LIST, append, Err(EditError::NoPlace));
        check("a: {x: y}\n", &LIST, append, Err(EditError::Spelling));
        check("a: [x\n", &LIST, append, Err(EditError::NoPlace));
    }

    fn styles() -> impl Strategy<Value = (usize, usize, usize, bool)> {
        (0..3_usize, 0..5_usize, 0..4_usize, any::<bool>())
    }

    /// The same list in another spelling.
    fn spelled(
        items: &[String],
        (quotes, shape, comments, trailing): (usize, usize, usize, bool),
    ) -> String {
        let item = |text: &String| match quotes {
            0 => format!("\"{text}\""),
            1 => format!("'{text}'"),
            _ if text.parse::<f64>().is_err() => text.clone(),
            _ => format!("\"{text}\""),
        };
        let items: Vec<_> = items.iter().map(item).collect();
        let comma = if trailing { "," } else { "" };
        let comment = ["", "  # why", " # \"x\", [", "   "][comments];
        match shape {
            0 => format!("a: [{}{comma}]{comment}\n", items.join(", ")),
            1 => format!("a: [{}{comma} ] {comment}\n", items.join(" ,")),
            2 => format!(
                "a: [\n    {}{comma}{comment}\n  ]\n",
                items.join(&format!(",{comment}\n    "))
            ),
            3 => format!(
                "a:\n  - {}{comment}\n",
                items.join(&format!("{comment}\n  - "))
            ),
            _ => format!(
                "a:\n# top\n-   {}{comment}\n\n# end\n",
                items.join(&format!("{comment}\n\n-   "))
            ),
        }
    }

    proptest! {
        #[test]
        fn an_edit_says_what_was_meant_and_keeps_every_other_line(
            items in proptest::collection::vec("[1-9][0-9]?\\.[0-9]{1,2}(\\.[0-9])?(\\+PTX)?", 1..5),
            style in styles(),
            new in "[1-9]\\.[0-9]{1,2}(\\+PTX)?",
        ) {
            let text = format!("# head\nz: 1\n{}b: [\"q\"]\n", spelled(&items, style));
            let edited = edit(&text, &LIST, Change::Append(&new)).unwrap();
            let mut want = items.clone();
            want.push(new.clone());
            let read: std::collections::BTreeMap<String, serde_json::Value> =
                super::super::parse("", &edited).unwrap();
            prop_assert_eq!(&read["a"], &serde_json::json!(want));
            // Every comment is still there, and taking the new text out gives the old one back.
            prop_assert_eq!(edited.matches('#').count(), text.matches('#').count());
            let first = edit(&text, &LIST, Change::Before { item: 0, value: &new }).unwrap();
            let read: std::collections::BTreeMap<String, serde_json::Value> =
                super::super::parse("", &first).unwrap();
            prop_assert_eq!(read["a"][0].as_str(), Some(&*new));
            prop_assert_eq!(first.matches('#').count(), text.matches('#').count());
            let replaced = edit(&text, &[Step::Key("a"), Step::Item(0)], Change::Replace(&new)).unwrap();
            want.pop();
            want[0] = new;
            let read: std::collections::BTreeMap<String, serde_json::Value> =
                super::super::parse("", &replaced).unwrap();
            prop_assert_eq!(&read["a"], &serde_json::json!(want));
            prop_assert_eq!(replaced.lines().count(), text.lines().count());
        }

        #[test]
        fn no_text_stops_the_editor(text in "[a\\[\\]\\-:,\"'#&*\n ]{0,40}") {
            drop(edit(&text, &LIST, Change::Append("1")));
            drop(edit(&text, &LIST, Change::Before { item: 0, value: "1" }));
            drop(edit(&text, &LIST, Change::Copy { item: 0, comment: "c" }));
            drop(edit(&text, &[], Change::Insert { key: "k", items: &[] }));
        }
    }
}
