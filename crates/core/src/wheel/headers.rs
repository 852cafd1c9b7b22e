//! The header block that METADATA and WHEEL share: `Name: value` lines as in an e-mail.
//!
//! An edit changes the lines it names and no other byte: order, spelling, line ends and the
//! description below the headers stay as upstream wrote them.

/// The text is not a block of headers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// A line is neither `Name: value` nor the continuation of one.
    #[error("line {line} is not a header")]
    NotAHeader {
        /// Counted from one.
        line: usize,
    },
    /// A header is not UTF-8, which the core metadata specification requires.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// Counted from one.
        line: usize,
    },
    /// A header that must stand once is missing.
    #[error("there is no `{name}` header")]
    Missing {
        /// The header's name.
        name: &'static str,
    },
    /// A header that must stand once is there again.
    #[error("the `{name}` header stands more than once")]
    Repeated {
        /// The header's name.
        name: &'static str,
    },
}

/// Headers in order, and all bytes from the first empty line on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Headers {
    fields: Vec<Field>,
    rest: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    /// Continuation lines are joined with a space.
    value: String,
    /// The line or lines as they stand, line ends included.
    raw: Vec<u8>,
}

impl Headers {
    /// Reads the headers of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut fields: Vec<Field> = Vec::new();
        let mut offset = 0;
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let line_number = index + 1;
            let text =
                str::from_utf8(line).map_err(|_| HeaderError::NotUtf8 { line: line_number })?;
            if text.trim_end_matches(['\r', '\n']).is_empty() {
                break;
            }
            offset += line.len();
            if text.starts_with([' ', '\t']) {
                let field = fields
                    .last_mut()
                    .ok_or(HeaderError::NotAHeader { line: line_number })?;
                field.value.push(' ');
                field.value.push_str(text.trim());
                field.raw.extend_from_slice(line);
            } else {
                let (name, value) = text
                    .split_once(':')
                    .ok_or(HeaderError::NotAHeader { line: line_number })?;
                fields.push(Field {
                    name: name.to_owned(),
                    value: value.trim().to_owned(),
                    raw: line.to_vec(),
                });
            }
        }
        Ok(Self {
            fields,
            rest: bytes[offset..].to_vec(),
        })
    }

    /// All values of a header, in order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |field| field.is(name))
            .map(|field| field.value.as_str())
    }

    /// The value of a header that stands at most once.
    pub(super) fn at_most_one(&self, name: &'static str) -> Result<Option<&str>, HeaderError> {
        let mut values = self.values(name);
        let value = values.next();
        match values.next() {
            Some(_) => Err(HeaderError::Repeated { name }),
            None => Ok(value),
        }
    }

    /// The value of a header that stands exactly once.
    pub(super) fn one(&self, name: &'static str) -> Result<&str, HeaderError> {
        self.at_most_one(name)?.ok_or(HeaderError::Missing { name })
    }

    /// Gives the `nth` header of that name another value; nothing happens when it is that already.
    pub(super) fn replace(&mut self, name: &str, nth: usize, value: &str) {
        let found = self
            .fields
            .iter_mut()
            .filter(|field| field.is(name))
            .nth(nth);
        if let Some(field) = found
            && field.value != value
        {
            *field = field.with_value(value);
        }
    }

    /// Adds a header below the last one of that name, or else below all headers.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let last = self.fields.iter().rposition(|field| field.is(name));
        let line_end = match self.fields.last() {
            Some(field) => field.line_end(),
            None => "\n",
        };
        if let Some(field) = self.fields.last_mut()
            && !field.raw.ends_with(b"\n")
        {
            field.raw.push(b'\n');
        }
        let field = Field {
            name: name.to_owned(),
            value: value.to_owned(),
            raw: format!("{name}: {value}{line_end}").into_bytes(),
        };
        let place = last.map_or(self.fields.len(), |index| index + 1);
        self.fields.insert(place, field);
    }

    /// Removes all headers of that name and puts one per value where the first of them stood.
    pub(super) fn set_all(&mut self, name: &str, values: &[String]) {
        if self.values(name).eq(values.iter().map(String::as_str)) {
            return;
        }
        let place = self.fields.iter().position(|field| field.is(name));
        let kept_below = self
            .fields
            .split_off(place.unwrap_or(self.fields.len()))
            .into_iter()
            .filter(|field| !field.is(name));
        let mut block = Self {
            fields: std::mem::take(&mut self.fields),
            rest: Vec::new(),
        };
        for value in values {
            block.add(name, value);
        }
        self.fields = block.fields;
        self.fields.extend(kept_below);
    }

    /// Headers and body as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for field in &self.fields {
            bytes.extend_from_slice(&field.raw);
        }
        bytes.extend_from_slice(&self.rest);
        bytes
    }
}

impl Field {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn line_end(&self) -> &'static str {
        if self.raw.ends_with(b"\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    fn with_value(&self, value: &str) -> Self {
        Self {
            name: self.name.clone(),
            value: value.to_owned(),
            raw: format!("{}: {value}{}", self.name, self.line_end()).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Metadata-Version: 2.1\r\nname: demo\r\nDescription: first\r\n  second\r\n\r\nName: not a header\n\n";

    #[test]
    fn values_are_unfolded_and_names_ignore_case() {
        let headers = Headers::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(headers.one("Name"), Ok("demo"));
        assert_eq!(headers.one("description"), Ok("first second"));
        assert_eq!(
            headers.one("Version"),
            Err(HeaderError::Missing { name: "Version" })
        );
    }

    #[test]
    fn an_edit_touches_its_own_line_only() {
        let mut headers = Headers::parse(TEXT.as_bytes()).unwrap();
        headers.replace("Name", 0, "other");
        headers.add("Requires-Dist", "torch");
        let want = TEXT
            .replace("name: demo", "name: other")
            .replace("second\r\n", "second\r\nRequires-Dist: torch\r\n");
        assert_eq!(String::from_utf8(headers.to_bytes()).unwrap(), want);
    }

    #[test]
    fn a_set_of_headers_is_replaced_where_it_stood() {
        let mut headers = Headers::parse(b"A: 1\nTag: x\nB: 2\nTag: y").unwrap();
        headers.set_all("Tag", &["z".to_owned()]);
        assert_eq!(headers.to_bytes(), b"A: 1\nTag: z\nB: 2\n");
    }

    #[test]
    fn a_header_can_follow_a_last_line_without_an_end() {
        let mut headers = Headers::parse(b"A: 1").unwrap();
        headers.add("B", "2");
        assert_eq!(headers.to_bytes(), b"A: 1\nB: 2\n");
    }

    #[test]
    fn bad_blocks_are_refused() {
        assert_eq!(
            Headers::parse(b"A: 1\nnonsense\n"),
            Err(HeaderError::NotAHeader { line: 2 })
        );
        assert_eq!(
            Headers::parse(b" folded"),
            Err(HeaderError::NotAHeader { line: 1 })
        );
        assert_eq!(
            Headers::parse(b"A: \xff\n"),
            Err(HeaderError::NotUtf8 { line: 1 })
        );
    }

    proptest! {
        #[test]
        fn unedited_blocks_keep_every_byte(
            head in proptest::collection::vec("[A-Za-z-]{1,8}:[ a-z]{0,9}(\r?\n [a-z]{1,5})?", 0..5),
            body in "(\r?\n\\PC{0,30}){0,3}",
        ) {
            let text = [head.join("\n"), body].join("\n");
            if let Ok(headers) = Headers::parse(text.as_bytes()) {
                prop_assert_eq!(headers.to_bytes(), text.as_bytes());
            }
        }
    }
}
