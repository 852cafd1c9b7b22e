//! Python as far as it can be read without running it: where strings and comments are, and what is
//! given to a call.

use std::ops::Range;

/// A Python file taken apart.
#[derive(Debug)]
pub(super) struct Python<'a> {
    text: &'a str,
    /// The text with every letter of a comment blank, and every letter of a string a quote, so that
    /// places are the same in both.
    code: String,
    strings: Vec<Literal>,
}

/// A string as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Literal {
    /// With prefix and quotes.
    place: Range<usize>,
    /// Between the quotes.
    inner: Range<usize>,
    is_format: bool,
}

/// A text that the file may give: `*` stands for what only running it would tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) pattern: String,
    pub(super) is_exact: bool,
}

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Where its name begins.
    pub(super) at: usize,
    /// What stands between the parentheses, argument by argument.
    arguments: Vec<Range<usize>>,
}

impl<'a> Python<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let (code, strings) = lex(text);
        Self {
            text,
            code,
            strings,
        }
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.code.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// The lines from 1, comments blanked, strings as they are.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        let mut bytes = self.code.clone().into_bytes();
        for literal in &self.strings {
            let place = literal.place.clone();
            bytes[place.clone()].copy_from_slice(&self.text.as_bytes()[place]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines
            .into_iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The calls of a function, by the last part of its name.
    pub(super) fn calls(&self, name: &str) -> Vec<Call> {
        let open = |(at, _): (usize, &str)| {
            let after = at + name.len();
            let begins = !self.code[..at].ends_with(is_word);
            let rest = &self.code[after..];
            let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            let is_call = begins && rest[blank..].starts_with('(');
            // A definition is no call.
            let is_definition = self.code[..at].trim_end().ends_with("def")
                || self.code[..at].trim_end().ends_with("class");
            (is_call && !is_definition).then(|| Call {
                at,
                arguments: self.arguments(after + blank + 1),
            })
        };
        self.code.match_indices(name).filter_map(open).collect()
    }

    /// The names that stand for `name` after `other = name`, or may: `other = name if x else y`.
    pub(super) fn aliases(&self, name: &str) -> Vec<&str> {
        let lines = self.code.lines();
        lines
            .filter_map(|line| {
                let (alias, value) = line.split_once('=')?;
                let alias = alias.trim();
                let is_name = !alias.is_empty() && alias.chars().all(is_word);
                let mut words = value.split(|c: char| !is_word(c));
                let is_value = !value.contains('(') && words.any(|word| word == name);
                (is_name && !value.starts_with('=') && is_value).then_some(alias)
            })
            .collect()
    }

    /// Whether a module is imported anywhere, also where a function begins.
    pub(super) fn imports(&self, module: &str) -> bool {
        self.code.lines().any(|line| {
            let mut words = line
                .split(|c: char| !is_word(c))
                .filter(|word| !word.is_empty());
            let is_import = matches!(words.next(), Some("import" | "from"));
            is_import && words.next() == Some(module)
        })
    }

    /// The strings that directly follow `before`, with their places: `os.getenv(` and `"X"`.
    pub(super) fn strings_after(&self, before: &str) -> Vec<(usize, &'a str)> {
        let literal = |(at, _): (usize, &str)| {
            let from = at + before.len();
            let start = from + self.code[from..].len() - self.code[from..].trim_start().len();
            let literal = self.literal_at(start)?;
            Some((start, self.text.get(literal.inner.clone())?))
        };
        self.code
            .match_indices(before)
            .filter_map(literal)
            .collect()
    }

    /// What a call is given under a name, or else at a place.
    pub(super) fn argument(&self, call: &Call, name: &str, place: usize) -> Option<Text> {
        let named = call.arguments.iter().find_map(|argument| {
            let (key, _) = self.code[argument.clone()].split_once('=')?;
            (key.trim() == name).then(|| argument.start + key.len() + 1..argument.end)
        });
        let at_place = || {
            let argument = call.arguments.get(place)?;
            let is_named = self.code[argument.clone()].contains('=');
            (!is_named).then(|| argument.clone())
        };
        self.text_of(named.or_else(at_place)?)
    }

    /// What the file gives under a name in any call or assignment: `license="MIT"`.
    pub(super) fn keyword(&self, name: &str) -> Option<(usize, String)> {
        self.code.match_indices(name).find_map(|(at, _)| {
            if self.code[..at].ends_with(is_word) {
                return None;
            }
            let rest = &self.code[at + name.len()..];
            let value = rest.trim_start().strip_prefix('=')?;
            let start = self.code.len() - value.trim_start_matches([' ', '(', '\n', '\t']).len();
            let mut end = start;
            // Strings that stand beside each other are one.
            while let Some(literal) = self.literal_at(end) {
                let after = literal.place.end;
                let blank = &self.code[after..];
                end = after + blank.len() - blank.trim_start().len();
            }
            let is_name = |text: &str| !text.is_empty() && text.chars().all(is_word);
            if end == start {
                let word = self.code[start..].split(|c: char| !is_word(c)).next()?;
                end = start + if is_name(word) { word.len() } else { 0 };
            }
            let text = self.text_of(start..end)?;
            text.is_exact.then_some((self.line(at), text.pattern))
        })
    }

    /// The strings of a list that is given under a name: `requires = ["a", "b"]`.
    pub(super) fn list(&self, name: &str) -> Vec<&'a str> {
        let found = self.code.match_indices(name).find_map(|(at, _)| {
            if self.code[..at].ends_with(is_word) {
                return None;
            }
            let rest = self.code[at + name.len()..].trim_start();
            let items = rest.strip_prefix('=')?.trim_start().strip_prefix('[')?;
            let start = self.code.len() - items.len();
            let end = self.arguments(start).last()?.end;
            Some(start..end)
        });
        let within = |literal: &&Literal| {
            found
                .as_ref()
                .is_some_and(|found| found.contains(&literal.place.start))
        };
        let strings = self.strings.iter().filter(within);
        strings
            .filter_map(|literal| self.text.get(literal.inner.clone()))
            .collect()
    }

    fn literal_at(&self, at: usize) -> Option<&Literal> {
        let index = self
            .strings
            .binary_search_by_key(&at, |literal| literal.place.start);
        self.strings.get(index.ok()?)
    }

    /// The arguments from behind the opening parenthesis on.
    fn arguments(&self, from: usize) -> Vec<Range<usize>> {
        let mut arguments = Vec::new();
        let (mut depth, mut start) = (0_usize, from);
        for (at, c) in self.code[from..].char_indices() {
            let at = from + at;
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => {
                    arguments.push(start..at);
                    break;
                }
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(start..at);
                    start = at + 1;
                }
                _ => {}
            }
        }
        arguments
    }

    /// The text that an expression gives; nothing where no letter of it is known.
    fn text_of(&self, place: Range<usize>) -> Option<Text> {
        let code = &self.code[place.clone()];
        let is_filled = code.contains('%') || code.contains(".format");
        let mut pattern = String::new();
        let mut at = place.start;
        while at < place.end {
            if let Some(literal) = self.literal_at(at) {
                let inner = self.text.get(literal.inner.clone())?;
                pattern.push_str(&filled(inner, literal.is_format, is_filled));
                if is_filled {
                    // What follows fills the string in.
                    break;
                }
                at = literal.place.end;
                continue;
            }
            let rest = &self.code[at..place.end];
            let word: String = rest.chars().take_while(|&c| is_word(c)).collect();
            if word.is_empty() {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            // A name alone may be a text that is written elsewhere; a call is not.
            let after = rest[word.len()..].trim_start();
            let is_whole = after.is_empty() || after.starts_with(['+', ')']);
            let known = is_whole.then(|| self.assigned(&word)).flatten();
            pattern.push_str(known.as_deref().unwrap_or("*"));
            let next = rest.find('+').map_or(place.end, |plus| at + plus);
            at = next.max(at + word.len());
        }
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        let is_known = pattern.chars().any(|c| c != '*' && c != '.');
        is_known.then(|| Text {
            is_exact: !pattern.contains('*'),
            pattern,
        })
    }

    /// The text that a name is given, when it is given one alone.
    fn assigned(&self, name: &str) -> Option<String> {
        let mut values = self.code.match_indices(name).filter_map(|(at, _)| {
            let before = self.code[..at].lines().next_back().unwrap_or_default();
            let starts_line = self.code[..at].ends_with('\n') || before.trim().is_empty();
            let rest = &self.code[at + name.len()..];
            let value = rest.trim_start_matches(' ').strip_prefix('=')?;
            if !starts_line || value.starts_with('=') {
                return None;
            }
            let start = self.code.len() - value.trim_start_matches(' ').len();
            Some(self.literal_at(start))
        });
        let literal = values.next()??;
        if values.next().is_some() || literal.is_format {
            return None;
        }
        Some(self.text.get(literal.inner.clone())?.to_owned())
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A string with what is filled in later as `*`.
fn filled(inner: &str, is_format: bool, is_filled: bool) -> String {
    let mut out = String::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if is_format || is_filled => {
                if chars.peek() == Some(&'{') {
                    chars.next();
                    out.push('{');
                    continue;
                }
                for c in chars.by_ref() {
                    if c == '}' {
                        break;
                    }
                }
                out.push('*');
            }
            '%' if is_filled => {
                chars.next();
                out.push('*');
            }
            c => out.push(c),
        }
    }
    out
}

/// The code without strings and comments, and the strings.
fn lex(text: &str) -> (String, Vec<Literal>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'#' => {
                let length = bytes[at..].iter().position(|&byte| byte == b'\n');
                let end = length.map_or(bytes.len(), |length| at + length);
                code[at..end].fill(b' ');
                at = end;
            }
            b'"' | b'\'' => {
                let literal = literal(bytes, at);
                for place in literal.place.clone() {
                    if code[place] != b'\n' {
                        code[place] = b'"';
                    }
                }
                at = literal.place.end;
                strings.push(literal);
            }
            _ => at += 1,
        }
    }
    // Only whole characters were replaced, by letters of ASCII.
    (String::from_utf8_lossy(&code).into_owned(), strings)
}

/// The string whose quote is at `quote`.
fn literal(bytes: &[u8], quote: usize) -> Literal {
    let is_prefix = |byte: &u8| b"rRbBuUfF".contains(byte);
    let prefix = bytes[..quote]
        .iter()
        .rev()
        .take(2)
        .take_while(|byte| is_prefix(byte));
    let prefix = prefix.count();
    let before = quote.checked_sub(prefix + 1).map(|at| bytes[at]);
    // `if"x"` has no prefix `f`.
    let prefix = match before {
        Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => 0,
        _ => prefix,
    };
    let start = quote - prefix;
    let mark = bytes[quote];
    let length = if bytes[quote..].starts_with(&[mark; 3]) {
        3
    } else {
        1
    };
    let mut at = quote + length;
    let inner = at;
    let mut end = bytes.len();
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 2;
            continue;
        }
        let is_end = bytes[at..].starts_with(&[mark; 3][..length]);
        // A string in single quotes ends with its line, closed or not.
        if is_end || (length == 1 && bytes[at] == b'\n') {
            end = at;
            break;
        }
        at += 1;
    }
    let end = end.min(bytes.len());
    let closing = if bytes.get(end) == Some(&mark) {
        length
    } else {
        0
    };
    Literal {
        is_format: bytes[start..quote].iter().any(|byte| b"fF".contains(byte)),
        inner: inner.min(end)..end,
        place: start..(end + closing).min(bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<(&str, bool)>) {
        let python = Python::read(text);
        let calls = python.calls("Extension");
        let found = calls
            .first()
            .and_then(|call| python.argument(call, "name", 0));
        let want = want.map(|(pattern, is_exact)| Text {
            pattern: pattern.to_owned(),
            is_exact,
        });
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn names_of_extensions_are_read() {
        check("Extension('a._C', [x])", Some(("a._C", true)));
        check(
            "cpp.Extension(\n    sources=[f(1, 2)],\n    name=\"a.b\",\n)",
            Some(("a.b", true)),
        );
        check(
            "Extension(f'a._{name}_{suffix}', [])",
            Some(("a._*_*", false)),
        );
        check("Extension('a._' + name, [])", Some(("a._*", false)));
        check("N = 'x'\nExtension('a.' + N)", Some(("a.x", true)));
        check(
            "N = 'x'\nif y:\n    N = 'z'\nExtension('a.' + N)",
            Some(("a.*", false)),
        );
        check("Extension('a.%s' % name)", Some(("a.*", false)));
        check("Extension('a.{}'.format(name), [])", Some(("a.*", false)));
        check("Extension(name=\"a\" \"b\")", Some(("ab", true)));
        check(
            "NAME = \"a._C\"\nExtension(name=NAME)",
            Some(("a._C", true)),
        );
        check("Extension(name)", None);
        check("Extension(*args)", None);
        check("# Extension('a')\n\"Extension('a')\"", None);
        check("def Extension('a'): pass", None);
        check("MyExtension('a')", None);
        check("Extension('a", None);
    }

    #[test]
    fn keywords_and_strings_are_read() {
        let python = Python::read(
            "VERSION = '1.2'\nos.getenv( 'A', '0')  # os.getenv('B')\nsetup(version=VERSION, \
             description=('one '\n  'two'), license='MIT', url=get('x'))\n",
        );
        assert_eq!(python.keyword("version").unwrap().1, "1.2");
        assert_eq!(python.keyword("description").unwrap().1, "one two");
        assert_eq!(python.keyword("license"), Some((4, "MIT".to_owned())));
        assert_eq!(python.keyword("url"), None);
        assert_eq!(python.keyword("nothing"), None);
        let read: Vec<_> = python
            .strings_after("os.getenv(")
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(read, ["A"]);
    }

    #[test]
    fn aliases_are_found() {
        let python =
            Python::read("if x:\n    E = CUDAExtension\nF = CUDAExtension()\nE == CUDAExtension\n");
        assert_eq!(python.aliases("CUDAExtension"), ["E"]);
        let python = Python::read("E = CppExtension if s == 'cpu' else CUDAExtension\n");
        assert_eq!(python.aliases("CUDAExtension"), ["E"]);
        assert_eq!(python.aliases("CppExtension"), ["E"]);
    }

    #[test]
    fn imports_are_found() {
        let python = Python::read(
            "import os\ndef f():\n    import psutil\nfrom numpy.x import y\n# import z\n",
        );
        for (module, want) in [
            ("psutil", true),
            ("numpy", true),
            ("y", false),
            ("z", false),
        ] {
            assert_eq!(python.imports(module), want, "{module}");
        }
    }

    #[test]
    fn lines_have_strings_and_no_comments() {
        let python = Python::read("a = 'x#y'  # z\n\"\"\"b\nc\"\"\"\n");
        let lines: Vec<_> = python
            .lines()
            .map(|(_, line)| line.trim_end().to_owned())
            .collect();
        assert_eq!(lines, ["a = 'x#y'", "\"\"\"b", "c\"\"\""]);
    }

    proptest! {
        #[test]
        fn no_text_stops_the_reader(text in "[E('\"\\\\fü#={}%+.,\n )(nameExtension]{0,60}") {
            let python = Python::read(&text);
            prop_assert_eq!(python.code.len(), text.len());
            for call in python.calls("n") {
                drop(python.argument(&call, "name", 0));
            }
            drop(python.keyword("name"));
            prop_assert!(python.lines().count() <= text.len() + 1);
            drop(python.strings_after("("));
        }
    }
}
