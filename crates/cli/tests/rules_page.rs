//! docs/rules.md is made of `rules.yaml` and cannot drift from it.
//!
//! After a change of words: `WHEELFARM_UPDATE_GOLDEN=1 cargo test --package wheelfarm --test
//! rules_page`, then read the difference.

use std::fmt::Write;
use std::path::Path;

use wheelfarm_core::gate::rule::Rule;

const HEAD: &str = "\
# The rules of the gate

Every wheel is held against these rules before it goes out. `wheelfarm explain RULE` prints the same texts, and
`wheelfarm explain` the list.

A finding of an `error` keeps the wheel from going out. A `warning` lets it go; someone should look. A rule of any
severity that could not be held against the wheel is `not checked`, and so is the wheel: that is never a pass.

This page is made of `crates/core/data/rules.yaml`; change that file, and run the test `rules_page` as its head says.

";

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| rule | severity | what it finds |\n|---|---|---|\n");
    for &rule in Rule::ALL {
        let severity = rule.severity().as_str();
        let title = &rule.text().title;
        writeln!(page, "| [{rule}](#{rule}) | {severity} | {title} |").expect("it is a string");
    }
    for &rule in Rule::ALL {
        let text = rule.text();
        write!(
            page,
            "\n<a id=\"{rule}\"></a>\n\n## {rule}\n\n{}: {}.\n\n\
             ### Why\n\n{}\n\n### Source\n\n{}\n\n### What to do\n\n{}\n",
            rule.severity().as_str(),
            text.title,
            text.why.trim_end(),
            text.source.trim_end(),
            text.fix.trim_end(),
        )
        .expect("it is a string");
    }
    page.push_str("\n[Contents](README.md) · Next: [Publishing](publishing.md)\n");
    page
}

#[test]
fn the_page_has_the_texts_of_the_rules() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    let page = page();
    if std::env::var_os("WHEELFARM_UPDATE_GOLDEN").is_some() {
        fs_err::write(&file, &page).expect("the page can be written");
    }
    let there = fs_err::read_to_string(&file).expect("the page is there");
    assert!(
        there == page,
        "docs/rules.md has other words than rules.yaml; its head says how to make it anew"
    );
}
