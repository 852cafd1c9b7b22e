//! The known failures: `data/diagnose/*.yaml`, read and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

use super::fill;
use crate::yaml;

/// The files of the built-in rules, in the order of the documentation.
const FILES: [(&str, &str); 6] = [
    (
        "toolkit.yaml",
        include_str!("../../data/diagnose/toolkit.yaml"),
    ),
    (
        "compile.yaml",
        include_str!("../../data/diagnose/compile.yaml"),
    ),
    (
        "python.yaml",
        include_str!("../../data/diagnose/python.yaml"),
    ),
    ("host.yaml", include_str!("../../data/diagnose/host.yaml")),
    ("run.yaml", include_str!("../../data/diagnose/run.yaml")),
    ("facts.yaml", include_str!("../../data/diagnose/facts.yaml")),
];

/// What a rule says of the log that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It ended the build or the program.
    Cause,
    /// Nothing ended here, but what comes out is not what was wanted: a wheel without CUDA.
    Notice,
    /// The end of something whose cause stands further up: it explains nothing by itself.
    End,
}

impl Kind {
    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cause => "cause",
            Self::Notice => "notice",
            Self::End => "end",
        }
    }
}

/// Where a failure is met: a stage of the farm's, or what comes before and behind a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Docker and the driver, before anything is built.
    Host,
    /// The stage `fetch`.
    Fetch,
    /// The stage `patch`.
    Patch,
    /// The stage `image`, and any `docker build`.
    Image,
    /// The stage `compile`, and any `pip wheel`.
    Compile,
    /// Where a wheel is installed.
    Install,
    /// Where a wheel is imported and used.
    Run,
    /// Where wheels are brought to a Hub.
    Publish,
}

impl Place {
    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Fetch => "fetch",
            Self::Patch => "patch",
            Self::Image => "image",
            Self::Compile => "compile",
            Self::Install => "install",
            Self::Run => "run",
            Self::Publish => "publish",
        }
    }
}

/// How an example came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The failure was made on this project's machines; the text is as it was printed.
    MadeHere,
    /// The text stands so in an issue or in upstream's source.
    Quoted,
}

impl Origin {
    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MadeHere => "made-here",
            Self::Quoted => "quoted",
        }
    }
}

/// How much a line of a rule says, where other rules fit too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Weight {
    /// It ended something, unless it stands in a warning.
    #[default]
    Plain,
    /// Builds ask for it and go on without.
    Probe,
}

/// Lines that a rule fits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// How it came to be.
    pub origin: Origin,
    /// What was done to make it, or where it stands.
    pub from: String,
    /// The lines.
    pub log: String,
}

/// Two lines that mean something only together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    first: String,
    then: String,
    /// In so many lines.
    within: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    id: String,
    kind: Kind,
    places: Vec<Place>,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    pairs: Vec<RawPair>,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    outranks: Vec<String>,
    #[serde(default)]
    same_as: Option<String>,
    #[serde(default)]
    weight: Weight,
    title: String,
    meaning: String,
    fix: String,
    sources: Vec<String>,
    examples: Vec<Example>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFact {
    name: String,
    lines: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[expect(dead_code, reason = "judged before the rest is read")]
    schema: u32,
    #[serde(default)]
    rules: Vec<RawRule>,
    #[serde(default)]
    facts: Vec<RawFact>,
}

/// One known failure. `title`, `meaning` and `fix` have slots that a log fills: `{arch}`.
#[derive(Debug)]
pub struct Rule {
    /// The stable name: `cuda-home-missing`.
    pub id: String,
    /// What it says of a log.
    pub kind: Kind,
    /// Where it is met.
    pub places: Vec<Place>,
    /// The rules whose failures follow from this one.
    pub outranks: Vec<String>,
    /// The farm's own kind of failure that says the same already.
    pub same_as: Option<String>,
    pub(super) weight: Weight,
    /// What happened, in one line.
    pub title: String,
    /// Why, in a few sentences.
    pub meaning: String,
    /// What to type or to change; the first paragraph is the short answer.
    pub fix: String,
    /// Where that is known from.
    pub sources: Vec<String>,
    /// Lines that it fits.
    pub examples: Vec<Example>,
}

/// What a pattern that matched is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Alone, for a rule.
    Line { rule: usize },
    /// As the first half of a pair.
    First { pair: usize },
    /// As the second half of one.
    Then { pair: usize },
    /// To take a rule back.
    Unless { rule: usize },
    /// To learn something of the environment.
    Fact { fact: usize },
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) rule: usize,
    pub(super) within: u64,
}

/// The rules, with all of their patterns as one automaton.
#[derive(Debug)]
pub struct Rules {
    all: Vec<Rule>,
    pub(super) pairs: Vec<Pair>,
    pub(super) facts: Vec<String>,
    pub(super) set: RegexSet,
    pub(super) patterns: Vec<(Regex, Use)>,
}

static BUILT_IN: LazyLock<Rules> = LazyLock::new(|| {
    let files = FILES.map(|(name, text)| {
        yaml::parse_schema_1::<RawFile>(name, text).expect("a test reads the built-in rules")
    });
    Rules::new(files.into()).expect("a test reads the built-in rules")
});

impl Rules {
    /// The rules that are part of the program.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// The rules, in the order of the documentation.
    pub fn all(&self) -> &[Rule] {
        &self.all
    }

    /// The rule of that id.
    pub fn find(&self, id: &str) -> Option<&Rule> {
        self.all.iter().find(|rule| rule.id == id)
    }

    fn new(files: Vec<RawFile>) -> Result<Self, String> {
        let mut rules = Vec::new();
        let mut pairs = Vec::new();
        let mut facts = Vec::new();
        let mut texts: Vec<(String, Use)> = Vec::new();
        for file in files {
            for raw in file.rules {
                let rule = rules.len();
                check_slots(&raw)?;
                for line in raw.lines {
                    texts.push((line, Use::Line { rule }));
                }
                for line in raw.unless {
                    texts.push((line, Use::Unless { rule }));
                }
                for raw_pair in raw.pairs {
                    let pair = pairs.len();
                    texts.push((raw_pair.first, Use::First { pair }));
                    texts.push((raw_pair.then, Use::Then { pair }));
                    pairs.push(Pair {
                        rule,
                        within: raw_pair.within,
                    });
                }
                rules.push(Rule {
                    id: raw.id,
                    kind: raw.kind,
                    places: raw.places,
                    outranks: raw.outranks,
                    same_as: raw.same_as,
                    weight: raw.weight,
                    title: raw.title,
                    meaning: raw.meaning,
                    fix: raw.fix,
                    sources: raw.sources,
                    examples: raw.examples,
                });
            }
            for raw in file.facts {
                let fact = facts.len();
                for line in raw.lines {
                    texts.push((line, Use::Fact { fact }));
                }
                facts.push(raw.name);
            }
        }
        check_ranks(&rules)?;
        let set = RegexSetBuilder::new(texts.iter().map(|(text, _)| text))
            .unicode(false)
            // All patterns at once need a larger automaton than one does.
            .dfa_size_limit(64 << 20)
            .build()
            .map_err(|error| error.to_string())?;
        let patterns = texts
            .into_iter()
            .map(|(text, role)| {
                let regex = RegexBuilder::new(&text).unicode(false).build();
                regex
                    .map(|regex| (regex, role))
                    .map_err(|error| error.to_string())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            all: rules,
            pairs,
            facts,
            set,
            patterns,
        })
    }
}

/// Every slot of a rule's texts has to be a group of every pattern, or to say what stands there
/// otherwise.
fn check_slots(rule: &RawRule) -> Result<(), String> {
    let alone = rule.lines.iter().map(|line| vec![line.as_str()]);
    let pairs = rule
        .pairs
        .iter()
        .map(|pair| vec![pair.first.as_str(), pair.then.as_str()]);
    let ways: Vec<_> = alone.chain(pairs).collect();
    for text in [&rule.title, &rule.meaning, &rule.fix] {
        let slots = fill::slots(text).map_err(|why| format!("{}: {why}", rule.id))?;
        for slot in slots {
            let group = format!("(?P<{}>", slot.name);
            let has = |way: &Vec<&str>| way.iter().any(|pattern| pattern.contains(&group));
            let is_sure = ways.iter().all(has) && slot.filter.is_none();
            let is_there = ways.iter().any(has);
            if !is_there || (!is_sure && slot.otherwise.is_none()) {
                return Err(format!("{}: `{{{}}}` may stay empty", rule.id, slot.name));
            }
        }
    }
    Ok(())
}

/// Ids are unique, ranks name rules, and no rule outranks itself over others.
fn check_ranks(rules: &[Rule]) -> Result<(), String> {
    let by_id: BTreeMap<_, _> = rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    if by_id.len() != rules.len() {
        return Err("an id stands twice".to_owned());
    }
    for rule in rules {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = rule.outranks.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            let Some(outranked) = by_id.get(id) else {
                return Err(format!("{}: outranks `{id}`, which is no rule", rule.id));
            };
            if reached.insert(id) {
                open.extend(outranked.outranks.iter().map(String::as_str));
            }
        }
        if reached.contains(rule.id.as_str()) {
            return Err(format!("{}: outranks itself", rule.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::Reader;

    #[test]
    fn the_built_in_rules_are_read() {
        for (name, text) in FILES {
            let file = yaml::parse_schema_1::<RawFile>(name, text);
            assert!(file.is_ok(), "{file:?}");
        }
        let files = FILES.map(|(name, text)| yaml::parse_schema_1::<RawFile>(name, text).unwrap());
        Rules::new(files.into()).unwrap();
        assert!(Rules::built_in().all().len() >= 50);
    }

    #[test]
    fn every_rule_has_every_field() {
        for rule in Rules::built_in().all() {
            let id = &rule.id;
            for text in [&rule.title, &rule.meaning, &rule.fix] {
                assert!(text.trim().len() > 15, "{id}: {text}");
            }
            assert!(
                rule.title.len() <= 110 && !rule.title.contains('\n'),
                "{id}"
            );
            assert!(!rule.title.ends_with('.'), "{id}");
            assert!(!rule.places.is_empty() && !rule.sources.is_empty(), "{id}");
            assert!(!rule.examples.is_empty(), "{id}");
            for example in &rule.examples {
                assert!(!example.log.trim().is_empty(), "{id}");
                if example.origin == Origin::Quoted {
                    assert!(
                        example.from.starts_with("https://"),
                        "{id}: {}",
                        example.from
                    );
                }
            }
            assert!(
                id.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{id}"
            );
        }
    }

    #[test]
    fn every_example_is_fitted_by_its_own_rule_first() {
        let mut wrong = Vec::new();
        for rule in Rules::built_in().all() {
            for example in &rule.examples {
                let mut reader = Reader::new();
                reader.push(example.log.as_bytes());
                let found = reader.finish().found;
                let ids: Vec<_> = found.iter().map(|found| found.rule.as_str()).collect();
                if ids.first() != Some(&rule.id.as_str()) {
                    wrong.push(format!("{}: {ids:?}", rule.id));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// With the slots of every example filled, nothing is left open.
    #[test]
    fn every_example_fills_the_texts() {
        for rule in Rules::built_in().all() {
            for example in &rule.examples {
                let mut reader = Reader::new();
                reader.push(example.log.as_bytes());
                let found = reader.finish().found;
                for text in [&found[0].title, &found[0].meaning, &found[0].fix] {
                    assert!(!text.contains(['{', '}']), "{}: {text}", rule.id);
                }
            }
        }
    }

    #[track_caller]
    fn check_refused(rule: &str, want: &str) {
        let text = format!("schema: 1\nrules:\n{rule}");
        let file = yaml::parse_schema_1::<RawFile>("x.yaml", &text).unwrap();
        assert_eq!(Rules::new(vec![file]).unwrap_err(), want);
    }

    fn rule(id: &str, line: &str, title: &str, outranks: &str) -> String {
        format!(
            "  - id: {id}\n    kind: cause\n    places: [run]\n    lines: ['{line}']\n    outranks: [{outranks}]\n    \
             title: '{title}'\n    meaning: m\n    fix: f\n    sources: [s]\n    examples: []\n"
        )
    }

    #[test]
    fn rules_that_cannot_be_right_are_refused() {
        check_refused(&rule("a", "x", "{arch}", ""), "a: `{arch}` may stay empty");
        check_refused(
            &rule("a", "x", "t", "b"),
            "a: outranks `b`, which is no rule",
        );
        let both = rule("a", "x", "t", "b") + &rule("b", "y", "t", "a");
        check_refused(&both, "a: outranks itself");
        let twice = rule("a", "x", "t", "") + &rule("a", "y", "t", "");
        check_refused(&twice, "an id stands twice");
    }
}
