//! The examples in the documents are read as the program would read them, so that they stay true.

use wheelfarm_core::gate::contract;
use wheelfarm_core::matrix::Matrix;
use wheelfarm_core::package;
use wheelfarm_core::source::patch::Patch;

const DOCS: [(&str, &str); 5] = [
    ("README.md", include_str!("../../../README.md")),
    ("docs/gate.md", include_str!("../../../docs/gate.md")),
    ("docs/matrix.md", include_str!("../../../docs/matrix.md")),
    (
        "docs/new-package.md",
        include_str!("../../../docs/new-package.md"),
    ),
    (
        "docs/packages.md",
        include_str!("../../../docs/packages.md"),
    ),
];

/// What a contract file has besides its terms.
const JOB: &str = "schema: 1\nproject: demo\nversion: \"1.0\"\narchs: [\"9.0\"]\ncuda: \"12.8\"\n\
                   torch: \"2.8.0\"\npython: \"3.11\"\n";

/// A fenced block whose first line says, after the language, what it is: ` ```yaml matrix `.
struct Example {
    place: String,
    kind: String,
    text: String,
}

fn examples() -> Vec<Example> {
    let mut found = Vec::new();
    for (file, text) in DOCS {
        let mut open: Option<Example> = None;
        for (index, line) in text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (Some(_), Some(_)) => found.extend(open.take()),
                (Some(example), None) => {
                    example.text.push_str(line);
                    example.text.push('\n');
                }
                (None, Some(info)) => {
                    open = Some(Example {
                        place: format!("{file}:{}", index + 1),
                        kind: info.split_once(' ').map_or("", |(_, kind)| kind).to_owned(),
                        text: String::new(),
                    });
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{file} ends inside a block");
    }
    found
}

#[test]
fn examples_in_the_documents_are_read() {
    let mut kinds = Vec::new();
    for Example { place, kind, text } in examples() {
        let (kind, name) = kind.split_once('=').unwrap_or((&kind, ""));
        let res = match kind {
            "" => continue,
            "matrix" => Matrix::parse(&place, &text)
                .map(|_| ())
                .map_err(|faults| faults.to_string()),
            "package" => package::parse(&place, &text)
                .map(|_| ())
                .map_err(|faults| faults.to_string()),
            "contract" => contract::parse_file(&place, &text)
                .map(|_| ())
                .map_err(|faults| faults.to_string()),
            // The part of a package's contract, in a file that has what a job would say.
            "contract-terms" => contract::parse_file(&place, &format!("{JOB}{text}"))
                .map(|_| ())
                .map_err(|faults| faults.to_string()),
            "patch" => Patch::parse(name, &text)
                .map(|_| ())
                .map_err(|error| error.to_string()),
            other => Err(format!("`{other}` is no kind of example")),
        };
        assert!(res.is_ok(), "{place}: {res:?}");
        kinds.push(kind.to_owned());
    }
    let count = |wanted| kinds.iter().filter(|kind| *kind == wanted).count();
    let counts = ["matrix", "package", "patch", "contract", "contract-terms"].map(count);
    assert_eq!(counts, [2, 2, 3, 1, 1]);
}
