//! A small farm against made-up answers.

use std::collections::BTreeMap;

use super::propose::{Fate, Proposal, TextFile, Texts, propose};
use super::*;
use crate::digest::Sha256Digest;
use crate::package;
use crate::plan::PlanInput;

const MATRIX: &str = r#"# the farm
schema: 1
farm: test
archs: ["8.0", "9.0"]  # no more than these

packages:
  - name: demo
    versions: ["1.0"]
  # from git
  - name: other
    versions:
      - "2.0"

environments:
  - name: cu128
    base:
      image:
        reference: pytorch/manylinux2_28-builder:cuda12.8
        interpreter: manylinux
    toolkit: image
    cuda: "12.8"
    torch-index: https://x.org/whl/cu128
    # one patch release behind
    torch: ["2.8.0", "2.9.0"]
    python:
      - '3.11'  # the oldest
      - '3.12'
"#;

const DEMO: &str = r#"schema: 1
name: demo
summary: s
licence: MIT
upstream: https://x.org/demo
releases:
  # the only one
  - version: "1.0"
    source:
      sdist:
        sha256: 69b3aa435f2424ac6a1bfb6ff702da6eb73b33ca0db38fb26989c74159258e47
    kernels:
      compiled:
        archs: ["8.0", "8.7", "9.0", "9.0a", "12.0"]
        source: "its setup.py"
    needs:
      python: ">=3.9"  # by setup.py
      torch: "<2.12"
      source: "its setup.py"
    build:
      requirements: []
"#;

const OTHER: &str = r#"schema: 1
name: other
summary: s
licence: MIT
upstream: https://x.org/other
releases:
  - version: "2.0"
    source:
      git:
        url: https://x.org/other.git
        commit: 1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
    kernels:
      compiled:
        archs: ["8.0", "9.0", "12.1"]
        source: "its setup.py"
    build:
      requirements: []
"#;

struct Farm {
    matrix: Matrix,
    packages: Packages,
    texts: Texts,
    answers: Answers,
}

impl Farm {
    fn new() -> Self {
        Self::of(MATRIX, DEMO, OTHER)
    }

    fn of(matrix: &str, demo: &str, other: &str) -> Self {
        let file = |path: &str, text: &str| TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let names = ["demo", "other"].map(|name| name.parse::<PackageName>().unwrap());
        let [of_demo, of_other] = [("demo", demo), ("other", other)]
            .map(|(name, text)| file(&format!("packages/{name}/package.yaml"), text));
        let parsed =
            [&of_demo, &of_other].map(|file| package::parse(&file.path, &file.text).unwrap());
        let mut farm = Self {
            matrix: Matrix::parse("matrix.yaml", matrix).unwrap(),
            packages: names.clone().into_iter().zip(parsed).collect(),
            texts: Texts {
                matrix: file("matrix.yaml", matrix),
                packages: names.into_iter().zip([of_demo, of_other]).collect(),
            },
            answers: Answers::new(),
        };
        farm.index(
            "https://x.org/whl/cu128",
            "torch",
            &[
                wheel("torch-2.8.0+cu128-cp311-cp311-manylinux_2_28_x86_64.whl"),
                wheel("torch-2.8.0+cu128-cp312-cp312-manylinux_2_28_x86_64.whl"),
                wheel("torch-2.9.0+cu128-cp311-cp311-manylinux_2_28_x86_64.whl"),
                wheel("torch-2.9.0+cu128-cp312-cp312-manylinux_2_28_x86_64.whl"),
            ],
        );
        let sdist = IndexFile {
            sha256: Some(
                "69b3aa435f2424ac6a1bfb6ff702da6eb73b33ca0db38fb26989c74159258e47"
                    .parse()
                    .unwrap(),
            ),
            ..wheel("demo-1.0.tar.gz")
        };
        farm.index("https://pypi.org/simple", "demo", &[sdist]);
        farm.refs(&format!("{}\tHEAD\n", "1a".repeat(20)));
        farm
    }

    fn question(index: &str, project: &str) -> Question {
        Question::Project {
            index: index.parse().unwrap(),
            project: project.parse().unwrap(),
        }
    }

    /// More files on an index.
    fn index(&mut self, index: &str, project: &str, files: &[IndexFile]) {
        let answer = self
            .answers
            .entry(Self::question(index, project))
            .or_insert_with(|| Answer::Files(Vec::new()));
        match answer {
            Answer::Files(all) => all.extend(files.iter().cloned()),
            Answer::Refs(_) | Answer::None(_) => panic!("not a project"),
        }
    }

    fn torch(&mut self, names: &[&str]) {
        let files: Vec<_> = names.iter().map(|name| wheel(name)).collect();
        self.index("https://x.org/whl/cu128", "torch", &files);
    }

    fn refs(&mut self, listing: &str) {
        let url = "https://x.org/other.git".parse().unwrap();
        let answer = Answer::Refs(GitRefs::parse(listing));
        self.answers.insert(Question::Repository(url), answer);
    }

    fn compare(&self) -> Comparison {
        compare(&self.matrix, &self.packages, &self.answers)
    }

    /// Only news of one kind, for archs are news in this farm from the start.
    fn news(&self, kinds: &[NewsKind]) -> Vec<News> {
        let news = self.compare().news.into_iter();
        news.filter(|news| kinds.contains(&news.kind)).collect()
    }

    fn propose(&self, news: &[News]) -> Proposal {
        let input = PlanInput {
            matrix: &self.matrix,
            packages: &self.packages,
            patches: &BTreeMap::new(),
            folders: &BTreeMap::new(),
        };
        propose(&input, &self.texts, news)
    }
}

fn wheel(name: &str) -> IndexFile {
    IndexFile {
        file_name: name.to_owned(),
        url: format!("https://x.org/{name}"),
        sha256: None,
        requires_python: None,
        yanked: None,
    }
}

fn shown(news: &[News]) -> String {
    let lines = news.iter().map(|news| {
        let kind = news.kind.as_str();
        let mut line = format!(
            "{kind}: {}: {} (has {})",
            news.subject, news.there, news.here
        );
        for note in &news.notes {
            line.push_str("\n  ");
            line.push_str(note);
        }
        line
    });
    lines.collect::<Vec<_>>().join("\n")
}

const TORCH: [NewsKind; 5] = [
    NewsKind::TorchMinor,
    NewsKind::TorchPatch,
    NewsKind::TorchYanked,
    NewsKind::TorchMissing,
    NewsKind::Python,
];

const PACKAGES: [NewsKind; 7] = [
    NewsKind::PackageRelease,
    NewsKind::PackageUnused,
    NewsKind::PackageYanked,
    NewsKind::PackageMissing,
    NewsKind::PackageDigest,
    NewsKind::GitTag,
    NewsKind::GitTip,
];

#[test]
fn everything_is_asked_once() {
    let farm = Farm::new();
    let asked: Vec<_> = questions(&farm.matrix, &farm.packages)
        .into_iter()
        .collect();
    let want: Vec<_> = farm.answers.keys().cloned().collect();
    assert_eq!(asked, want);
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_farm_that_is_up_to_date_has_no_news_but_archs() {
    let farm = Farm::new();
    assert_eq!(shown(&farm.news(&TORCH)), "");
    assert_eq!(shown(&farm.news(&PACKAGES)), "");
    assert_eq!(farm.compare().not_checked, []);
}

#[test]
fn later_torches_are_news_if_they_are_for_this_cuda_and_platform() {
    let mut farm = Farm::new();
    farm.torch(&[
        "torch-2.9.1+cu128-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.9.1+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.10.0+cu128-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.10.0-3+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.10.1+cu128-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.10.1+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.11.0+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
        // Not for this farm.
        "torch-2.12.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.12.0+cpu-cp312-cp312-linux_x86_64.whl",
        "torch-2.12.0+cu128-cp312-cp312-manylinux_2_28_aarch64.whl",
        "torch-2.12.0+cu128-cp312-cp312-win_amd64.whl",
        "torch-2.12.0+cu128-cp312-cp312-musllinux_1_2_x86_64.whl",
        "torch-2.12.0rc3+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.12.0.dev20261120+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch_extra-2.12.0+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
    ]);
    let news = farm.news(&TORCH);
    insta::assert_snapshot!(shown(&news), @"
    torch-patch: cu128 torch 2.9: 2.9.1 (has 2.9.0)
    torch-minor: cu128 torch: 2.10.1 (has 2.8.0, 2.9.0)
    torch-minor: cu128 torch: 2.11.0 (has 2.8.0, 2.9.0)
      it has no wheel for Python 3.11
    ");
    let proposal = farm.propose(&news);
    assert_eq!(proposal.packages, []);
    assert_eq!(proposal.fates[0].matrix, Fate::Proposed { jobs: 0 });
    assert_eq!(proposal.fates[1].matrix, Fate::Proposed { jobs: 4 });
    assert_eq!(proposal.fates[2].matrix, Fate::None);
    insta::assert_snapshot!(proposal.matrix.unwrap().diff(), @r#"
    --- a/matrix.yaml
    +++ b/matrix.yaml
    @@ -21,7 +21,7 @@
         cuda: "12.8"
         torch-index: https://x.org/whl/cu128
         # one patch release behind
    -    torch: ["2.8.0", "2.9.0"]
    +    torch: ["2.8.0", "2.9.1", "2.10.1"]
         python:
           - '3.11'  # the oldest
           - '3.12'
    "#);
}

#[test]
fn a_python_is_news_when_every_torch_has_wheels_for_it() {
    let mut farm = Farm::new();
    farm.torch(&[
        "torch-2.8.0+cu128-cp310-cp310-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cu128-cp310-cp310-manylinux_2_28_x86_64.whl",
        "torch-2.8.0+cu128-cp313-cp313-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cu128-cp313-cp313-manylinux_2_28_x86_64.whl",
        "torch-2.8.0+cu128-cp313-cp313t-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cu128-cp313-cp313t-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cu128-cp314-cp314-manylinux_2_28_x86_64.whl",
    ]);
    let news = farm.news(&TORCH);
    insta::assert_snapshot!(shown(&news), @"
    python: cu128 python: 3.13 (has 3.11, 3.12)
      there are wheels for it of torch 2.8.0, 2.9.0
    ");
    insta::assert_snapshot!(farm.propose(&news).matrix.unwrap().diff(), @r#"
    --- a/matrix.yaml
    +++ b/matrix.yaml
    @@ -25,3 +25,4 @@
         python:
           - '3.11'  # the oldest
           - '3.12'
    +      - '3.13'
    "#);
}

#[test]
fn requires_python_and_withdrawal_are_heeded() {
    let mut farm = Farm::new();
    for torch in ["2.8.0", "2.9.0"] {
        let name = |python: &str| format!("torch-{torch}+cu128-{python}-{python}-linux_x86_64.whl");
        let not_for_it = IndexFile {
            requires_python: Some(">=3.9,<3.13".to_owned()),
            ..wheel(&name("cp313"))
        };
        let withdrawn = IndexFile {
            yanked: Some(String::new()),
            ..wheel(&name("cp314"))
        };
        let unreadable = IndexFile {
            requires_python: Some("three".to_owned()),
            ..wheel(&name("cp315"))
        };
        farm.index(
            "https://x.org/whl/cu128",
            "torch",
            &[not_for_it, withdrawn, unreadable],
        );
    }
    // A range that says nothing binds nobody; the plan, which knows torch 2.8, refuses the change.
    let news = farm.news(&TORCH);
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].there, "3.15");
    let proposal = farm.propose(&news);
    assert_eq!(
        proposal.fates[0].matrix,
        Fate::LeftOut(
            "torch 2.8.0 does not support Python 3.15 [torch-needs-python], and 1 more".to_owned()
        )
    );
    assert_eq!(proposal.matrix, None);
}

#[test]
fn a_wheel_on_the_stable_abi_is_for_later_pythons() {
    let mut farm = Farm::new();
    farm.torch(&[
        "torch-2.8.0+cu128-cp310-abi3-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cu128-cp310-abi3-manylinux_2_28_x86_64.whl",
        "torch-2.13.0+cu130-cp313-cp313t-manylinux_2_28_x86_64.whl",
    ]);
    let there: Vec<_> = farm
        .news(&TORCH)
        .into_iter()
        .map(|news| news.there)
        .collect();
    assert_eq!(there, ["3.13"], "3.13 is spoken of, 3.13t has another ABI");
}

#[test]
fn a_withdrawn_torch_is_replaced_and_one_that_is_gone_is_told() {
    let mut farm = Farm::new();
    let question = Farm::question("https://x.org/whl/cu128", "torch");
    let Some(Answer::Files(files)) = farm.answers.get_mut(&question) else {
        panic!("the fixture has torch");
    };
    files.retain(|file| !file.file_name.starts_with("torch-2.8.0"));
    for file in files.iter_mut() {
        file.yanked = Some("wrong\n  numbers".to_owned());
    }
    let news = farm.news(&TORCH);
    insta::assert_snapshot!(shown(&news), @"
    torch-missing: cu128 torch 2.8.0: not on the index (has 2.8.0)
      there is no wheel of it for CUDA 12.8 on linux x86_64
    torch-yanked: cu128 torch 2.9.0: withdrawn (has 2.9.0)
      its maintainers say: wrong numbers
      torch 2.9 has no later patch release: take it out by hand
    ");
    assert_eq!(farm.propose(&news).matrix, None);
}

#[test]
fn pypi_has_one_cuda_for_each_torch() {
    let matrix = MATRIX.replace("    torch-index: https://x.org/whl/cu128\n", "");
    let matrix = matrix.replace("[\"2.8.0\", \"2.9.0\"]", "[\"2.8.0\"]");
    let mut farm = Farm::of(&matrix, DEMO, OTHER);
    farm.index(
        "https://pypi.org/simple",
        "torch",
        &[
            wheel("torch-2.8.0-cp311-cp311-manylinux_2_28_x86_64.whl"),
            wheel("torch-2.8.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
            wheel("torch-2.9.1-cp311-cp311-manylinux_2_28_x86_64.whl"),
            wheel("torch-2.9.1-cp312-cp312-manylinux_2_28_x86_64.whl"),
            wheel("torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
            wheel("torch-2.99.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
        ],
    );
    insta::assert_snapshot!(shown(&farm.news(&TORCH)), @"
    torch-minor: cu128 torch: 2.9.1 (has 2.8.0)
    torch-minor: cu128 torch: 2.99.0 (has 2.8.0)
      nothing says which CUDA this torch of PyPI is built for
    ");
}

#[test]
fn a_release_needs_an_entry_in_its_package_first() {
    let mut farm = Farm::new();
    let sdist = IndexFile {
        sha256: Some(Sha256Digest::of(b"1.2")),
        requires_python: Some(">=3.10".to_owned()),
        ..wheel("demo-1.2.tar.gz")
    };
    farm.index(
        "https://pypi.org/simple",
        "demo",
        &[
            wheel("demo-0.9.tar.gz"),
            wheel("demo-1.1.tar.gz"),
            wheel("demo-1.2-py3-none-any.whl"),
            sdist,
            wheel("demo-1.3.dev1.tar.gz"),
            IndexFile {
                yanked: Some("broken".to_owned()),
                ..wheel("demo-1.4.tar.gz")
            },
        ],
    );
    let news = farm.news(&PACKAGES);
    insta::assert_snapshot!(shown(&news), @"
    package-release: demo: 1.2 (has 1.0)
      between them: 1.1
      its requires-python is `>=3.10`; 1.0 needs `>=3.9`
    ");
    assert_eq!(news[0].link, "https://pypi.org/project/demo/1.2/");
    let proposal = farm.propose(&news);
    assert_eq!(
        proposal.fates[0].matrix,
        Fate::LeftOut("needs release 1.2 in packages/demo/package.yaml first".to_owned())
    );
    assert_eq!(proposal.matrix, None);
    insta::assert_snapshot!(proposal.packages[0].diff(), @r#"
    --- a/packages/demo/package.yaml
    +++ b/packages/demo/package.yaml
    @@ -19,3 +19,19 @@
           source: "its setup.py"
         build:
           requirements: []
    +
    +  # review: copied from 1.0; wheelfarm patch check demo==1.2
    +  - version: "1.2"
    +    source:
    +      sdist:
    +        sha256: 77ac319bfe1979e2d799d9e6987e65feb54f61511c03552ebae990826c208590
    +    kernels:
    +      compiled:
    +        archs: ["8.0", "8.7", "9.0", "9.0a", "12.0"]
    +        source: "its setup.py"
    +    needs:
    +      python: ">=3.9"  # by setup.py
    +      torch: "<2.12"
    +      source: "its setup.py"
    +    build:
    +      requirements: []
    "#);
}

#[test]
fn a_prerelease_is_news_for_those_who_have_one() {
    let demo = DEMO.replace("\"1.0\"", "\"1.0rc1\"");
    let matrix = MATRIX.replace("\"1.0\"", "\"1.0rc1\"");
    let mut farm = Farm::of(&matrix, &demo, OTHER);
    farm.index(
        "https://pypi.org/simple",
        "demo",
        &[wheel("demo-1.0rc2.tar.gz")],
    );
    let there: Vec<_> = farm.news(&[NewsKind::PackageRelease]);
    insta::assert_snapshot!(shown(&there), @"
    package-release: demo: 1.0 (has 1.0rc1)
      between them: 1.0rc2
    ");
}

#[test]
fn what_the_matrix_uses_is_held_against_its_index() {
    let mut farm = Farm::new();
    let question = Farm::question("https://pypi.org/simple", "demo");
    let Some(Answer::Files(files)) = farm.answers.get_mut(&question) else {
        panic!("the fixture has demo");
    };
    files[0].yanked = Some("numbers are wrong on Hopper".to_owned());
    insta::assert_snapshot!(shown(&farm.news(&PACKAGES)), @"
    package-yanked: demo 1.0: withdrawn (has 1.0)
      its maintainers say: numbers are wrong on Hopper
    ");
    let Some(Answer::Files(files)) = farm.answers.get_mut(&question) else {
        panic!("the fixture has demo");
    };
    files[0].sha256 = Some(Sha256Digest::of(b"other"));
    insta::assert_snapshot!(shown(&farm.news(&PACKAGES)), @"
    package-digest: demo 1.0: d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa (has 1.0)
      package.yaml pins 69b3aa435f2424ac6a1bfb6ff702da6eb73b33ca0db38fb26989c74159258e47
      a published file never changes: find out which of the two is genuine
    ");
    farm.answers.insert(
        question,
        Answer::Files(vec![wheel("demo-1.0-py3-none-any.whl")]),
    );
    insta::assert_snapshot!(shown(&farm.news(&PACKAGES)), @"
    package-missing: demo 1.0: not on the index (has 1.0)
      it has no `.tar.gz` sdist there
    ");
}

#[test]
fn a_release_that_is_written_and_not_used_can_be_taken() {
    let demo = format!(
        "{DEMO}{}",
        DEMO.split_once("releases:\n")
            .unwrap()
            .1
            .replace("1.0", "1.5")
    );
    let farm = Farm::of(MATRIX, &demo, OTHER);
    let news = farm.news(&PACKAGES);
    insta::assert_snapshot!(shown(&news), @"package-unused: demo: 1.5 (has 1.0)");
    let proposal = farm.propose(&news);
    assert_eq!(proposal.fates[0].matrix, Fate::Proposed { jobs: 4 });
    let after = proposal.matrix.unwrap().after;
    assert!(
        after.contains("    versions: [\"1.0\", \"1.5\"]\n"),
        "{after}"
    );
}

#[test]
fn a_commit_follows_tags_if_it_is_one_and_else_its_branch() {
    let of = |digit: &str| format!("{digit}a").repeat(20);
    let mut farm = Farm::new();
    farm.refs(&format!("{}\tHEAD\n{}\trefs/tags/v1.9\n", of("2"), of("3")));
    let news = farm.news(&PACKAGES);
    insta::assert_snapshot!(shown(&news), @"
    git-tip: other 2.0: 2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a (has 1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a)
      the tip of the default branch; its version may be another one by now
    ");
    let proposal = farm.propose(&news);
    assert_eq!(proposal.fates[0].matrix, Fate::None);
    insta::assert_snapshot!(proposal.packages[0].diff(), @"
    --- a/packages/other/package.yaml
    +++ b/packages/other/package.yaml
    @@ -8,7 +8,7 @@
         source:
           git:
             url: https://x.org/other.git
    -        commit: 1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
    +        commit: 2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a
         kernels:
           compiled:
             archs: [\"8.0\", \"9.0\", \"12.1\"]
    ");

    farm.refs(&format!(
        "{}\tHEAD\n{}\trefs/tags/v2.0\n{}\trefs/tags/v2.1\n{}\trefs/tags/v2.1^{{}}\n{}\trefs/tags/v3.0a1\n",
        of("2"),
        of("1"),
        of("4"),
        of("5"),
        of("6"),
    ));
    let news = farm.news(&PACKAGES);
    insta::assert_snapshot!(shown(&news), @"git-tag: other: 2.1, tag v2.1, 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a (has 2.0)");
    let proposal = farm.propose(&news);
    let after = &proposal.packages[0].after;
    let parsed = package::parse("package.yaml", after).unwrap();
    assert_eq!(parsed.releases.len(), 2);
    assert_eq!(parsed.releases[1].version.value.to_string(), "2.1");
    let Source::Git { commit, .. } = &parsed.releases[1].source else {
        panic!("{after}");
    };
    assert_eq!(commit.as_str(), of("5"));
}

#[test]
fn archs_are_news_when_kernels_toolkit_and_torch_allow_them() {
    // 8.7 is a Jetson's, 9.0a is Hopper with another suffix, and 12.1 is not for nvcc 12.8.
    let farm = Farm::new();
    let news = farm.news(&[NewsKind::Arch]);
    insta::assert_snapshot!(shown(&news), @"
    arch: demo archs: 12.0 (has 8.0, 9.0)
      for RTX 5090
      possible in cu128
    ");
    let proposal = farm.propose(&news);
    assert_eq!(proposal.fates[0].matrix, Fate::Proposed { jobs: 0 });
    let after = proposal.matrix.unwrap().after;
    let want = "    versions: [\"1.0\"]\n    archs: [\"8.0\", \"9.0\", \"12.0\"]\n  # from git\n";
    assert!(after.contains(want), "{after}");

    let demo = DEMO.replace("12.0", "8.6");
    let farm = Farm::of(MATRIX, &demo, OTHER);
    let after = farm
        .propose(&farm.news(&[NewsKind::Arch]))
        .matrix
        .unwrap()
        .after;
    assert!(
        after.contains("    archs: [\"8.0\", \"8.6\", \"9.0\"]\n"),
        "{after}"
    );

    let other = OTHER.replace("12.1", "12.0");
    let farm = Farm::of(MATRIX, DEMO, &other);
    let news = farm.news(&[NewsKind::Arch]);
    insta::assert_snapshot!(shown(&news), @"
    arch: archs: 12.0 (has 8.0, 9.0)
      for RTX 5090
      there are kernels for it in demo, other
      possible in cu128
    ");
    let after = farm.propose(&news).matrix.unwrap().after;
    let want = "archs: [\"8.0\", \"9.0\", \"12.0\"]  # no more than these\n";
    assert!(after.contains(want), "{after}");
}

#[test]
fn what_could_not_be_asked_is_not_checked() {
    let mut farm = Farm::new();
    for answer in farm.answers.values_mut() {
        *answer = Answer::None("no way".to_owned());
    }
    let comparison = farm.compare();
    let not_checked: Vec<_> = comparison
        .not_checked
        .iter()
        .map(|item| format!("{}: {}", item.subject, item.reason))
        .collect();
    let want = [
        "releases of demo: no way",
        "tags of other, https://x.org/other.git: no way",
        "torch and Python of cu128: no way",
    ];
    assert_eq!(not_checked, want);
    assert!(
        comparison
            .news
            .iter()
            .all(|news| news.kind == NewsKind::Arch)
    );
}

#[test]
fn fingerprints_stand_for_kind_subject_and_what_is_there() {
    let farm = Farm::new();
    let mut news = farm.news(&[NewsKind::Arch]).remove(0);
    assert_eq!(news.fingerprint(), "5c75db7bb517");
    let first = news.fingerprint();
    news.here = "8.0".to_owned();
    news.notes.clear();
    assert_eq!(news.fingerprint(), first);
    news.there = "12.1".to_owned();
    assert_ne!(news.fingerprint(), first);
}
