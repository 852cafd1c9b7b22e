//! Reads a log in pieces, and says what fits.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use regex::bytes::Regex;
use serde::Serialize;

use super::clean;
use super::extract::Extract;
use super::fill::{self, Captures};
use super::rules::{Kind, Place, Rule, Rules, Use, Weight};
use crate::outcome::Stage;

/// Of a line, so much is looked at; the rest is passed over.
const LINE_BYTES: usize = 16 * 1024;

/// So many letters of a line are shown.
const EXCERPT_LETTERS: usize = 240;

/// A rule that fits a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// The rule's id.
    pub rule: String,
    /// What it says of the log.
    pub kind: Kind,
    /// The first line that it fits, from 1.
    pub line: u64,
    /// How many lines it fits.
    pub count: u64,
    /// That line, without what tools put before it.
    pub excerpt: String,
    /// What happened, in one line.
    pub title: String,
    /// Why, in a few sentences.
    pub meaning: String,
    /// What to type or to change; the first paragraph is the short answer.
    pub fix: String,
    /// Where it is met.
    pub places: Vec<Place>,
    /// Where that is known from.
    pub sources: Vec<String>,
    /// The farm's own kind of failure that says the same.
    #[serde(skip)]
    pub same_as: Option<String>,
}

impl Rule {
    /// What it says of its first example, its slots filled: for lists and documentation.
    pub fn shown(&self) -> Option<Diagnosis> {
        let mut reader = Reader::new();
        reader.push(self.examples.first()?.log.as_bytes());
        let mut found = reader.finish().found.into_iter();
        found.find(|found| found.rule == self.id)
    }
}

impl Diagnosis {
    /// The short answer: the first paragraph of the fix, as one line.
    pub fn short_fix(&self) -> String {
        let first = self.fix.split("\n\n").next().unwrap_or_default();
        first.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What a log says.
#[derive(Debug, Clone)]
pub struct Diagnoses {
    /// The rules that fit: the cause first, then what follows from it.
    pub found: Vec<Diagnosis>,
    /// What the log tells of its environment, by names as `torch`.
    pub facts: BTreeMap<String, String>,
    /// Lines for someone who has to find out.
    pub extract: Extract,
}

impl Diagnoses {
    /// What explains the log: a cause; or a notice, where nothing says that the build ended badly. Nothing
    /// when something failed and no rule knows why.
    pub fn best(&self) -> Option<&Diagnosis> {
        let has_ended = self.found.iter().any(|found| found.kind == Kind::End);
        let first = self.found.first()?;
        match first.kind {
            Kind::Cause => Some(first),
            Kind::Notice => (!has_ended).then_some(first),
            Kind::End => None,
        }
    }
}

/// The first line that a rule fits.
#[derive(Debug)]
struct Hit {
    line: u64,
    count: u64,
    excerpt: String,
    captures: Captures,
    weight: Weight,
}

/// The first half of a pair that was seen last.
#[derive(Debug, Clone)]
struct Half {
    line: u64,
    captures: Captures,
}

/// Takes a log in pieces. What it keeps is bounded, however long the log or a line of it is.
#[derive(Debug)]
pub struct Reader {
    rules: &'static Rules,
    /// The line that is not at its end yet.
    open: Vec<u8>,
    lines: u64,
    hits: BTreeMap<usize, Hit>,
    /// Rules that a line has taken back.
    revoked: BTreeSet<usize>,
    halves: Vec<Option<Half>>,
    facts: BTreeMap<String, String>,
    extract: Extract,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Begins a log, with the built-in rules.
    pub fn new() -> Self {
        let rules = Rules::built_in();
        Self {
            rules,
            open: Vec::new(),
            lines: 0,
            hits: BTreeMap::new(),
            revoked: BTreeSet::new(),
            halves: vec![None; rules.pairs.len()],
            facts: BTreeMap::new(),
            extract: Extract::default(),
        }
    }

    /// Reads a whole log.
    ///
    /// # Errors
    /// Those of `log`.
    pub fn read(mut log: impl Read) -> io::Result<Diagnoses> {
        let mut reader = Self::new();
        let mut chunk = vec![0; 256 * 1024];
        loop {
            match log.read(&mut chunk) {
                Ok(0) => return Ok(reader.finish()),
                Ok(length) => reader.push(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the next piece, which may end anywhere.
    pub fn push(&mut self, mut piece: &[u8]) {
        // A carriage return draws a line again: what stood there before is a line of its own.
        while let Some(end) = piece
            .iter()
            .position(|byte| *byte == b'\n' || *byte == b'\r')
        {
            let is_line = piece[end] == b'\n';
            self.take(&piece[..end]);
            let line = std::mem::take(&mut self.open);
            if is_line {
                self.lines += 1;
                self.line(&line, self.lines);
            } else if !line.is_empty() {
                // `\r\n` ends one line: what the return ended is judged with the number that the
                // line will have.
                self.line(&line, self.lines + 1);
            }
            self.open = line;
            self.open.clear();
            piece = &piece[end + 1..];
        }
        self.take(piece);
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.open.len());
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, bytes: &[u8], number: u64) {
        let plain = clean::plain(bytes);
        if is_stage(&plain) {
            self.begin_stage();
        }
        let bare = clean::bare(&plain);
        if bare.is_empty() {
            return;
        }
        self.extract.push(&plain, number);
        let matched = self.rules.set.matches(bare.as_bytes());
        if !matched.matched_any() {
            return;
        }
        for index in matched {
            self.matched(index, bare, number);
        }
    }

    /// A stage of the farm begins: the ones before it ended well, so nothing in them ended the job.
    fn begin_stage(&mut self) {
        let rules = self.rules;
        self.hits
            .retain(|rule, _| rules.all()[*rule].kind == Kind::Notice);
        self.halves.fill(None);
        self.extract.forget_errors();
    }

    fn matched(&mut self, index: usize, line: &str, number: u64) {
        let rules = self.rules;
        let (regex, role) = &rules.patterns[index];
        match *role {
            Use::Line { rule } => {
                if !self.is_hit_again(rule, line) {
                    let captures = captures(regex, line);
                    self.hit(rule, line, number, captures);
                }
            }
            Use::First { pair } => {
                let captures = captures(regex, line);
                self.halves[pair] = Some(Half {
                    line: number,
                    captures,
                });
            }
            Use::Then { pair } => {
                let Some(half) = self.halves[pair].clone() else {
                    return;
                };
                let wanted = &rules.pairs[pair];
                if number - half.line > wanted.within {
                    return;
                }
                if !self.is_hit_again(wanted.rule, line) {
                    let mut captures = captures(regex, line);
                    for (name, text) in half.captures {
                        captures.entry(name).or_insert(text);
                    }
                    self.hit(wanted.rule, line, number, captures);
                }
            }
            Use::Unless { rule } => {
                self.revoked.insert(rule);
            }
            Use::Fact { fact } => self.fact(fact, regex, line),
        }
    }

    /// Counts a line of a rule that has fitted before. One that weighs more than those takes their place.
    fn is_hit_again(&mut self, rule: usize, line: &str) -> bool {
        let weight = self.weight(rule, line);
        let Some(hit) = self.hits.get_mut(&rule) else {
            return false;
        };
        hit.count += 1;
        hit.weight <= weight
    }

    /// What a warning says was gone on without.
    fn weight(&self, rule: usize, line: &str) -> Weight {
        if is_warning(line) {
            return Weight::Probe;
        }
        self.rules.all()[rule].weight
    }

    fn fact(&mut self, fact: usize, regex: &Regex, line: &str) {
        let name = &self.rules.facts[fact];
        if self.facts.contains_key(name) {
            return;
        }
        let mut captures = captures(regex, line);
        if let Some(mut value) = captures.remove("value") {
            if let Some(rest) = captures.remove("rest") {
                value = format!("{value}.{rest}");
            }
            self.facts.insert(name.clone(), value);
        }
    }

    fn hit(&mut self, rule: usize, line: &str, number: u64, captures: Captures) {
        let before = self.hits.get(&rule);
        let hit = Hit {
            line: number,
            count: before.map_or(1, |hit| hit.count),
            excerpt: excerpt(line),
            captures,
            weight: self.weight(rule, line),
        };
        self.hits.insert(rule, hit);
    }

    /// Says what fits the log.
    pub fn finish(mut self) -> Diagnoses {
        if !self.open.is_empty() {
            let line = std::mem::take(&mut self.open);
            self.lines += 1;
            self.line(&line, self.lines);
        }
        let rules = self.rules;
        let mut rest: Vec<_> = self
            .hits
            .into_iter()
            .filter(|(rule, _)| !self.revoked.contains(rule))
            .map(|(rule, hit)| (&rules.all()[rule], hit))
            .collect();
        rest.sort_by_key(|(rule, hit)| (rule.kind, hit.weight, hit.line));
        let mut found = Vec::new();
        while !rest.is_empty() {
            // No rule outranks itself over others, so one of them is outranked by none.
            let next = rest.iter().position(|(rule, _)| {
                let outranks = |(other, _): &(&Rule, Hit)| other.outranks.contains(&rule.id);
                !rest.iter().any(outranks)
            });
            let (rule, hit) = rest.remove(next.unwrap_or(0));
            found.push(diagnosis(rule, hit));
        }
        Diagnoses {
            found,
            facts: self.facts,
            extract: self.extract,
        }
    }
}

fn diagnosis(rule: &Rule, hit: Hit) -> Diagnosis {
    let fill = |text: &str| fill::fill(text.trim_end(), &hit.captures);
    Diagnosis {
        rule: rule.id.clone(),
        kind: rule.kind,
        line: hit.line,
        count: hit.count,
        title: fill(&rule.title),
        meaning: fill(&rule.meaning),
        fix: fill(&rule.fix),
        excerpt: hit.excerpt,
        places: rule.places.clone(),
        sources: rule.sources.clone(),
        same_as: rule.same_as.clone(),
    }
}

/// Whether the farm says that a stage begins.
fn is_stage(line: &str) -> bool {
    let name = line.strip_prefix("== ");
    name.is_some_and(|name| Stage::ALL.iter().any(|stage| stage.as_str() == name))
}

/// Whether the line is a warning's: pip's `WARNING:`, Python's `UserWarning:`, a compiler's `warning:`.
fn is_warning(line: &str) -> bool {
    ["WARNING:", "Warning:", "warning:"]
        .iter()
        .any(|sign| line.contains(sign))
}

fn captures(regex: &Regex, line: &str) -> Captures {
    let Some(found) = regex.captures(line.as_bytes()) else {
        return Captures::new();
    };
    let names = regex.capture_names().flatten();
    names
        .filter_map(|name| {
            let text = String::from_utf8_lossy(found.name(name)?.as_bytes());
            (!text.is_empty()).then(|| (name.to_owned(), text.into_owned()))
        })
        .collect()
}

fn excerpt(line: &str) -> String {
    match line.char_indices().nth(EXCERPT_LETTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &str) -> Diagnoses {
        Reader::read(log.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(log: &str, want: &[(&str, u64)]) {
        let found = read(log).found;
        let found: Vec<_> = found.iter().map(|it| (it.rule.as_str(), it.line)).collect();
        assert_eq!(found, want, "{log}");
    }

    const NO_HOME: &str = "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.";

    #[test]
    fn the_cause_comes_before_the_end_of_the_build() {
        check(
            "ninja: build stopped: subcommand failed.\nx\ng++: fatal error: Killed signal terminated program cc1plus\n",
            &[("killed", 3), ("build-step-failed", 1)],
        );
    }

    #[test]
    fn a_generic_end_explains_nothing() {
        let read = read("ninja: build stopped: subcommand failed.");
        assert_eq!(read.found.len(), 1);
        assert!(read.best().is_none());
    }

    #[test]
    fn a_notice_explains_what_did_not_fail_alone() {
        let notice = "Building WITHOUT libnatten. `NATTEN_CUDA_ARCH` is not set\n";
        assert_eq!(
            read(notice).best().unwrap().rule,
            "natten-without-libnatten"
        );
        let failed = format!("{notice}ninja: build stopped: subcommand failed.\n");
        assert!(read(&failed).best().is_none());
    }

    #[test]
    fn lines_are_found_whatever_stands_before_them() {
        for line in [
            format!("\u{1b}[31m{NO_HOME}\u{1b}[0m"),
            format!("2026-11-22T05:00:00.1234567Z ##[error]{NO_HOME}"),
            format!("build\tRun x\t2026-11-22T05:00:00.1234567Z {NO_HOME}"),
            format!("builder-1  | {NO_HOME}"),
            format!("#17 515.6       {NO_HOME}"),
            format!("      {NO_HOME}"),
        ] {
            check(&format!("first\n{line}\n"), &[("cuda-home-missing", 2)]);
        }
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let log = format!("first\r\n10 %\r20 %\r\n{NO_HOME}");
        let whole = read(&log).found;
        for size in [1, 2, 3, 7] {
            let mut reader = Reader::new();
            log.as_bytes()
                .chunks(size)
                .for_each(|piece| reader.push(piece));
            assert_eq!(reader.finish().found, whole);
        }
        assert_eq!(whole[0].line, 3);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_no_obstacle() {
        let mut log = b"\xff\xfe\x00 bad\n".to_vec();
        log.extend_from_slice(NO_HOME.as_bytes());
        let found = Reader::read(&log[..]).unwrap().found;
        assert_eq!(found[0].rule, "cuda-home-missing");
    }

    #[test]
    fn a_line_without_an_end_is_held_in_little_room() {
        let mut reader = Reader::new();
        for _ in 0..1000 {
            reader.push(&[b'x'; 4096]);
        }
        assert!(reader.open.len() <= LINE_BYTES);
        reader.push(b"\n");
        reader.push(NO_HOME.as_bytes());
        let found = reader.finish().found;
        assert_eq!(
            (found[0].rule.as_str(), found[0].line),
            ("cuda-home-missing", 2)
        );
    }

    #[test]
    fn what_stages_printed_that_ended_well_is_no_cause() {
        check(
            &format!(
                "== image\n{NO_HOME}\n== compile\nx\ng++: fatal error: Killed signal terminated program cc1plus\n"
            ),
            &[("killed", 5)],
        );
    }

    #[test]
    fn a_notice_outlasts_its_stage_and_comes_behind_a_cause() {
        let notice = "Building WITHOUT libnatten. `NATTEN_CUDA_ARCH` is not set, and did not detect CUDA driver with PyTorch.";
        check(
            &format!("== compile\n{notice}\n== collect\n{NO_HOME}\n"),
            &[("cuda-home-missing", 4), ("natten-without-libnatten", 2)],
        );
    }

    #[test]
    fn what_was_gone_on_without_comes_behind_what_ended_the_build() {
        let killed = "g++: fatal error: Killed signal terminated program cc1plus\n";
        let no_git = "/bin/sh: 1: git: not found\n";
        let no_smi = "sh: 1: nvidia-smi: not found\n";
        let no_name = "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError: \
                       Temporary failure in name resolution': /simple/x/\n";
        let no_driver = "/x/torch/cuda/__init__.py:1: UserWarning: CUDA initialization: Found no NVIDIA driver on \
                         your system.\n";
        for (tolerated, rule) in [
            (no_git, "git-missing"),
            (no_smi, "nvidia-smi-missing"),
            (no_name, "network-refused"),
            (no_driver, "no-driver"),
        ] {
            check(&format!("{tolerated}{killed}"), &[("killed", 2), (rule, 1)]);
            check(tolerated, &[(rule, 1)]);
        }
        // It still comes before what it is the reason of.
        let none = "ERROR: No matching distribution found for x\n";
        check(
            &format!("{no_name}{none}"),
            &[("network-refused", 1), ("no-matching-distribution", 2)],
        );
        // A warning is taken for no more than that until the same ends the build.
        let ended = "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>\n";
        let log = format!("{no_name}{no_name}{ended}{ended}{killed}");
        check(&log, &[("network-refused", 3), ("killed", 5)]);
        assert_eq!(read(&log).found[0].count, 4);
        assert!(read(&log).found[0].excerpt.starts_with("urllib"));
    }

    #[test]
    fn a_cause_told_in_a_warning_comes_before_what_follows_from_it() {
        let no_gpu = "RuntimeError: 0 active drivers ([]). There should only be one.\n";
        for (why, rule) in [
            ("Found no NVIDIA driver on your system.", "no-driver"),
            (
                "The NVIDIA driver on your system is too old (found version 11040).",
                "driver-too-old-for-torch",
            ),
            (
                "Error 804: forward compatibility was attempted on non supported HW",
                "forward-compatibility-refused",
            ),
            (
                "Error 802: system not yet initialized",
                "fabric-manager-missing",
            ),
        ] {
            check(
                &format!(
                    "/x/torch/cuda/__init__.py:1: UserWarning: CUDA initialization: {why}\n{no_gpu}"
                ),
                &[(rule, 1), ("triton-without-driver", 2)],
            );
        }
        check(
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError: \
             Temporary failure in name resolution': /simple/torch/\n\
             ERROR: No matching distribution found for torch==2.11.0+cu130\n",
            &[
                ("network-refused", 1),
                ("torch-build-not-on-this-index", 2),
                ("no-matching-distribution", 2),
            ],
        );
        check(
            "/bin/sh: 1: git: not found\nLookupError: setuptools-scm was unable to detect version for /src.\n",
            &[("git-missing", 1), ("version-from-git-missing", 2)],
        );
    }

    #[test]
    fn halves_of_a_pair_belong_together_only_when_near() {
        let first = "  File \"torch/utils/cpp_extension.py\", line 2600, in _get_cuda_arch_flags\n";
        let then = "IndexError: list index out of range\n";
        check(
            &format!("{first}    arch_list[-1] += '+PTX'\n{then}"),
            &[("arch-list-empty", 3)],
        );
        check(&format!("{first}{}{then}", "x\n".repeat(40)), &[]);
        check(then, &[]);
    }

    #[test]
    fn what_repeats_is_counted() {
        let log = "ptxas k.ptx, line 4; error   : Instruction 'wgmma.fence' not supported on .target 'sm_120'\n";
        let found = read(&log.repeat(3000)).found;
        assert_eq!(found[0].count, 3000);
    }

    #[test]
    fn captures_stand_in_the_texts() {
        let found = read("nvcc fatal   : Unsupported gpu architecture 'compute_120'").found;
        assert!(found[0].title.contains("12.0"), "{}", found[0].title);
        assert!(found[0].fix.contains("CUDA 12.8"), "{}", found[0].fix);
    }

    /// What a line is told to be, and what its fix has and has not.
    #[track_caller]
    fn check_fix(line: &str, rule: &str, has: &[&str], has_not: &[&str]) {
        let read = read(line);
        let best = read.best().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(best.rule, rule, "{line}");
        let text = format!("{} {}", best.title, best.fix);
        for word in has {
            assert!(text.contains(word), "{word}: {text}");
        }
        for word in has_not {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn a_gpu_that_torch_does_not_know_is_told_by_its_age() {
        let line = |gpu: &str, arch: u32| {
            format!(
                "{gpu} with CUDA capability sm_{arch} is not compatible with the current PyTorch installation."
            )
        };
        let new = ["torch>=2.8", "No nightly"];
        for (gpu, arch) in [("RTX 5090", 120), ("NVIDIA B200", 100)] {
            check_fix(&line(gpu, arch), "sm-120-not-compatible", &new, &[]);
        }
        for (gpu, arch, capability) in [
            ("GTX 980", 52, "5.2"),
            ("GTX 1080", 61, "6.1"),
            ("V100", 70, "7.0"),
        ] {
            let has = ["/whl/cu126", capability];
            check_fix(&line(gpu, arch), "gpu-too-old-for-torch", &has, &new);
        }
        for (gpu, arch, capability) in [("GTX 770", 30, "3.0"), ("Tesla K80", 37, "3.7")] {
            let has_not = ["/whl/cu126", "--gpu 3", "--gpu \"3"];
            check_fix(
                &line(gpu, arch),
                "gpu-before-maxwell",
                &[gpu, capability, "/whl/cu118"],
                &has_not,
            );
        }
        for (gpu, arch, capability) in [("T4", 75, "7.5"), ("A100", 80, "8.0"), ("H100", 90, "9.0")]
        {
            let has = [&*format!("resolve --gpu \"{capability}\"")];
            check_fix(&line(gpu, arch), "gpu-not-in-this-torch", &has, &new);
        }
    }

    #[test]
    fn an_instruction_that_an_arch_lacks_is_told_by_what_has_it() {
        let wgmma = ["9.0a alone"];
        check_fix(
            "ptxas k.ptx, line 4; error   : Instruction 'wgmma.fence' cannot be compiled for architecture 'sm_120'",
            "wgmma-not-on-arch",
            &wgmma,
            &[],
        );
        check_fix(
            "ptxas k.ptx, line 4; error   : Instruction 'cvt with .e2m1x2' not supported on .target 'sm_120'",
            "instruction-not-on-arch",
            &["12.0a"],
            &wgmma,
        );
        check_fix(
            "ptxas k.ptx, line 21; error   : Feature 'cp.async.commit_group' requires .target sm_80 or higher",
            "instruction-needs-later-arch",
            &["Take everything below 8.0 out"],
            &wgmma,
        );
    }

    #[test]
    fn a_fix_does_not_name_what_is_the_fault() {
        let sqrt = |name: &str| {
            format!(
                "mathcalls.h(206): error: exception specification is incompatible with that of previous function \
                 \"{name}\" (declared at line 653 of math_functions.h)"
            )
        };
        let later = ["CUDA 13.2 or later"];
        let cospi = ["CUDA 13.0 or later"];
        check_fix(&sqrt("rsqrtf"), "glibc-declares-rsqrt-too", &later, &cospi);
        check_fix(&sqrt("cospi"), "glibc-declares-cospi-too", &cospi, &later);
        let command =
            |name: &str| format!("error: command '{name}' failed: No such file or directory");
        let compiler = ["apt-get install g++"];
        let nvcc = command("/usr/local/cuda/bin/nvcc");
        check_fix(&nvcc, "nvcc-not-found", &["CUDA_HOME"], &compiler);
        let swig = command("swig");
        check_fix(&swig, "build-program-missing", &["`swig`"], &compiler);
        let gcc = command("/usr/bin/x86_64-linux-gnu-g++-12");
        check_fix(&gcc, "compiler-missing", &compiler, &[]);
        for name in [
            "x86_64-conda-linux-gnu-c++",
            "/opt/conda/bin/x86_64-conda-linux-gnu-cc",
        ] {
            let has = [name, "conda install -c conda-forge gxx_linux-64"];
            check_fix(&command(name), "compiler-missing", &has, &[]);
        }
    }

    #[test]
    fn the_spelling_of_an_arch_that_is_refused_is_not_proposed() {
        let unknown =
            |arch: &str| format!("ValueError: Unknown CUDA arch ({arch}) or GPU not supported");
        for arch in ["12.0f", "12.0f+PTX", "sm_120", "120"] {
            let refused = format!("LIST=\"{arch}\"");
            check_fix(
                &unknown(arch),
                "arch-spelling",
                &["LIST=\"12.0\""],
                &[&refused],
            );
        }
        let old = |arch: &str| {
            format!("  Unknown CUDA Architecture Name {arch} in CUDA_SELECT_NVCC_ARCH_FLAGS")
        };
        for arch in ["12.0", "10.0a", "12.1(2.0)"] {
            let spelling = ["It is the spelling", "Write a compute capability"];
            let has = ["torch\n2.6 or later"];
            check_fix(&old(arch), "cmake-arch-of-two-digits", &has, &spelling);
        }
        let has = ["Write a compute capability"];
        for arch in ["sm_90", "90", "120", "90a", "120a", "100f"] {
            check_fix(&old(arch), "cmake-unknown-arch-name", &has, &["2.6"]);
        }
        check_fix(&old("9.0a"), "cmake-arch-suffix-unknown", &[], &[]);
    }

    #[test]
    fn what_is_told_of_a_compiler_a_header_or_a_module_is_about_that_one() {
        let gcc = |how: &str, bound: &str| {
            format!(
                "RuntimeError: The current installed version of g++ (5.4.0) is {how} than the {bound} required \
                 version by CUDA 13.0 (6.0.0). Please make sure"
            )
        };
        let older = ["use an older gcc"];
        check_fix(
            &gcc("less", "minimum"),
            "gcc-older-than-torch-takes",
            &["newer gcc", "6.0.0 or later"],
            &older,
        );
        let greater = gcc("greater", "maximum");
        check_fix(&greater, "gcc-outside-torchs-table", &older, &[]);
        let header =
            |name: &str| format!("a.cpp:1:10: fatal error: {name}: No such file or directory");
        for name in [
            "cub/cub.cuh",
            "thrust/sort.h",
            "cuda/std/array",
            "cuda/atomic",
            "cuda_bf16.h",
            "cusparse.h",
            "curand_kernel.h",
        ] {
            check_fix(&header(name), "cuda-headers-missing", &["CUDA_HOME"], &[]);
        }
        for name in [
            "cubic_interp.h",
            "thrust_bench.h",
            "cuda_utils.h",
            "cuda/a.h",
        ] {
            let has = ["the header", "apt-file search"];
            check_fix(&header(name), "header-missing", &has, &["CUDA_HOME"]);
        }
        let module = |name: &str| format!("ModuleNotFoundError: No module named '{name}'");
        check_fix(
            &module("distutils.msvccompiler"),
            "distutils-compiler-gone",
            &["setuptools<74"],
            &["any setuptools"],
        );
        for name in ["distutils", "pkg_resources", "pkg_resources.extern"] {
            check_fix(&module(name), "pkg-resources-gone", &[], &[]);
        }
        for name in ["distutils.util", "distutils.core", "distutils.cmd"] {
            check_fix(
                &module(name),
                "pkg-resources-gone",
                &[name, "apt-get install python3-distutils"],
                &["pip install distutils"],
            );
        }
    }

    #[test]
    fn the_environment_is_told_from_the_log() {
        let facts = read(
            "Collecting torch==2.11.0\nCuda compilation tools, release 13.0, V13.0.88\n\
             | NVIDIA-SMI 550.54.14              Driver Version: 550.54.14      CUDA Version: 12.4     |\n\
             building temp.linux-x86_64-cpython-311/x\n",
        )
        .facts;
        let facts: Vec<_> = facts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        assert_eq!(
            facts,
            [
                "CUDA toolkit 13.0",
                "Python 3.11",
                "driver 550.54.14",
                "torch 2.11.0"
            ]
        );
    }

    #[test]
    fn a_rule_is_shown_by_its_first_example() {
        for rule in Rules::built_in().all() {
            let shown = rule.shown().unwrap();
            assert_eq!(shown.rule, rule.id);
            assert!(!shown.title.contains('{'), "{}", shown.title);
        }
    }

    #[test]
    fn an_empty_log_says_nothing() {
        let read = read("");
        assert!(read.found.is_empty() && read.extract.last().lines.is_empty());
    }
}
