//! Whether a condition of a requirement (PEP 508) rules Linux with `CPython` out, as far as that is known.

/// What is known of the environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The machine: `x86_64`.
    pub(super) machine: Option<&'a str>,
}

/// Whether `marker` is false on Linux with `CPython`, whatever is not known. One that cannot be read rules
/// nothing out.
pub(super) fn rules_out(marker: &str, known: Known<'_>) -> bool {
    let mut reader = Reader {
        rest: marker,
        known,
        depth: 0,
    };
    let truth = reader.either();
    truth == Some(Truth::No) && reader.rest.trim().is_empty()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    Perhaps,
    Yes,
}

/// More than anyone writes; each is a call deeper.
const DEPTH_CAP: usize = 64;

struct Reader<'a> {
    rest: &'a str,
    known: Known<'a>,
    depth: usize,
}

/// One side of a comparison.
enum Side<'a> {
    Text(&'a str),
    Name(&'a str),
}

impl<'a> Reader<'a> {
    fn either(&mut self) -> Option<Truth> {
        let mut truth = self.both()?;
        while self.word("or") {
            truth = truth.max(self.both()?);
        }
        Some(truth)
    }

    fn both(&mut self) -> Option<Truth> {
        let mut truth = self.one()?;
        while self.word("and") {
            truth = truth.min(self.one()?);
        }
        Some(truth)
    }

    fn one(&mut self) -> Option<Truth> {
        self.rest = self.rest.trim_start();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            self.depth += 1;
            if self.depth > DEPTH_CAP {
                return None;
            }
            let truth = self.either()?;
            self.rest = self.rest.trim_start().strip_prefix(')')?;
            self.depth -= 1;
            return Some(truth);
        }
        let left = self.side()?;
        let operator = self.operator()?;
        let right = self.side()?;
        let (name, text) = match (left, right) {
            (Side::Name(name), Side::Text(text)) | (Side::Text(text), Side::Name(name)) => {
                (name, text)
            }
            (Side::Name(_), Side::Name(_)) | (Side::Text(_), Side::Text(_)) => return None,
        };
        let Some(value) = self.value(name) else {
            return Some(Truth::Perhaps);
        };
        Some(match operator {
            "==" if value == text => Truth::Yes,
            "!=" if value != text => Truth::Yes,
            "==" | "!=" => Truth::No,
            _ => Truth::Perhaps,
        })
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        match name {
            "sys_platform" => Some("linux"),
            "platform_system" => Some("Linux"),
            "os_name" => Some("posix"),
            "platform_python_implementation" => Some("CPython"),
            "implementation_name" => Some("cpython"),
            "platform_machine" => self.known.machine,
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let after = rest.strip_prefix(word);
        let after = after.filter(|after| after.starts_with([' ', '(', '\'', '"', '\t']));
        if let Some(after) = after {
            self.rest = after;
        }
        after.is_some()
    }

    fn side(&mut self) -> Option<Side<'a>> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next()?;
        if quote == '\'' || quote == '"' {
            let (text, rest) = rest[1..].split_once(quote)?;
            self.rest = rest;
            return Some(Side::Text(text));
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        (!name.is_empty()).then_some(Side::Name(name))
    }

    fn operator(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let end = rest
            .find(|c: char| !"<>=!~".contains(c))
            .unwrap_or(rest.len());
        if end > 0 {
            let (operator, rest) = rest.split_at(end);
            self.rest = rest;
            return Some(operator);
        }
        for operator in ["not in", "in"] {
            if let Some(after) = rest.strip_prefix(operator) {
                self.rest = after;
                return Some(operator);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_false_whatever_is_not_known_is_ruled_out() {
        let check = |marker: &str, machine: Option<&str>, want: bool| {
            let known = Known { machine };
            assert_eq!(rules_out(marker, known), want, "{marker} on {machine:?}");
        };
        let x86 = Some("x86_64");
        for (marker, want) in [
            ("sys_platform == 'darwin'", true),
            ("sys_platform == \"linux\"", false),
            ("'win32' == sys_platform", true),
            (
                "sys_platform != 'linux' and platform_machine == 'arm64'",
                true,
            ),
            ("python_full_version < '3.12'", false),
            (
                "python_full_version < '3.12' and sys_platform == 'darwin'",
                true,
            ),
            (
                "python_full_version < '3.12' or sys_platform == 'darwin'",
                false,
            ),
            ("platform_python_implementation == 'PyPy'", true),
            ("sys_platform in 'linux darwin'", false),
            ("(sys_platform == 'darwin'", false),
            ("sys_platform == 'darwin' else", false),
            ("sys_platform == 'darwin' or", false),
            ("", false),
            ("'linux' == 'darwin'", false),
        ] {
            check(marker, x86, want);
            check(marker, None, want);
        }
        let uv = "(platform_machine == 'aarch64' and platform_python_implementation == 'CPython' and \
                  sys_platform == 'linux') or sys_platform == 'darwin' or sys_platform == 'win32'";
        check(uv, x86, true);
        check(uv, Some("aarch64"), false);
        check(uv, None, false);
        check(&"(".repeat(100_000), None, false);
    }
}
