//! Every relative link of the documents leads to a file and a heading that are there, and the contents
//! list every page.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs_err::canonicalize(top).unwrap()
}

/// The Markdown files below `folder`, those of builds and of other programs aside.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let is_ours = !name.starts_with('.') && !["target", "out", "shared"].contains(&&*name);
        if path.is_dir() && is_ours {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines outside fenced blocks, without what stands in backticks, and their numbers.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fence = None;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let ticks = start.chars().take_while(|letter| *letter == '`').count();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(open) if ticks >= open && start.trim_matches('`').is_empty() => fence = None,
            Some(_) => {}
            None => lines.push((number + 1, without_code(line))),
        }
    }
    assert_eq!(fence, None, "a block stays open");
    lines
}

fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    parts
        .map(|(number, part)| if number % 2 == 0 { part } else { "" })
        .collect()
}

/// Where the links of a line lead.
fn targets(line: &str) -> Vec<&str> {
    let ends = line.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// The anchors of a page's headings, as GitHub makes them: lower case, without punctuation, with `-` for
/// blanks, and a number where one comes again.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let mut fence = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fence = !fence;
        }
        // An anchor of its own, for a heading whose name is more than words.
        let id = line
            .split_once("<a id=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        found.extend(id.map(|(id, _)| id.to_owned()));
        let title = line.trim_start_matches('#');
        if fence || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let times = seen.entry(anchor.clone()).or_insert(0);
        found.insert(match *times {
            0 => anchor,
            times => format!("{anchor}-{times}"),
        });
        *times += 1;
    }
    found
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut all = Vec::new();
    pages(&top(), &mut all);
    assert!(all.len() > 25, "{}", all.len());
    let mut broken = Vec::new();
    let mut count = 0;
    for page in &all {
        let text = fs_err::read_to_string(page).unwrap();
        let name = page.strip_prefix(top()).unwrap().display();
        for (number, line) in prose(&text) {
            for target in targets(&line) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                count += 1;
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = match path {
                    "" => page.clone(),
                    path => page.parent().unwrap().join(path),
                };
                let is_there = if anchor.is_empty() {
                    file.exists()
                } else {
                    fs_err::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor))
                };
                if !is_there {
                    broken.push(format!("{name}:{number}: {target}"));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links to nowhere:\n{}",
        broken.join("\n")
    );
    assert!(count > 100, "{count} links");
}

#[test]
fn the_contents_list_every_page_and_each_page_leads_to_them() {
    let docs = top().join("docs");
    let contents = fs_err::read_to_string(docs.join("README.md")).unwrap();
    for entry in fs_err::read_dir(&docs).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "md") || name == "README.md" {
            continue;
        }
        assert!(
            contents.contains(&format!("]({name})")),
            "docs/README.md does not list {name}"
        );
        let page = fs_err::read_to_string(docs.join(name)).unwrap();
        assert!(page.starts_with("# "), "{name} has no title");
        let last = page.trim_end().lines().last().unwrap_or_default();
        assert!(
            last.starts_with("[Contents](README.md)"),
            "docs/{name} does not end with a line that begins `[Contents](README.md)`"
        );
    }
}

#[test]
fn links_are_read_as_they_are_shown() {
    let text = "see [a](x.md#b) and `[c](d)`\n````md\n```\n[e](f)\n```\n````\n[g](h)";
    let all: Vec<_> = prose(text);
    let found: Vec<_> = all.iter().flat_map(|(_, line)| targets(line)).collect();
    assert_eq!(found, ["x.md#b", "h"]);
    let found = anchors("# `--deep`, twice\n## A b\n## A b\n```\n# no\n```\n");
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["--deep-twice", "a-b", "a-b-1"]
    );
}
