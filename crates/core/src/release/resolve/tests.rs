use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::manifest::ModuleArchs;
use crate::matrix::Matrix;
use crate::release::catalog::tests::sample;
use crate::release::catalog::{Catalog, CatalogWheel, OnGpu, Track};
use crate::release::links::Links;

/// A wheel of `demo`, as a test describes it.
#[derive(Debug, Clone)]
struct Made {
    version: &'static str,
    build: &'static str,
    cuda: &'static str,
    torch: &'static str,
    tags: String,
    is_tied: bool,
    requires: Vec<&'static str>,
    runs_on: Vec<(&'static str, &'static str, Option<&'static str>)>,
    images: [&'static str; 2],
    yanked: Option<&'static str>,
    track: Track,
}

impl Made {
    fn new(cuda: &'static str, torch: &'static str, python: &str) -> Self {
        Self {
            version: "1.0",
            build: "",
            cuda,
            torch,
            tags: format!("{python}-{python}-manylinux_2_28_x86_64"),
            is_tied: true,
            requires: Vec::new(),
            runs_on: vec![
                ("8.9", "native", Some("525.60.13")),
                ("9.0", "jit", Some("570.26")),
                ("12.0", "fails", None),
            ],
            images: ["sm_89", "sm_90"],
            yanked: None,
            track: Track::Stable,
        }
    }

    fn tags(self, tags: &str) -> Self {
        let tags = tags.to_owned();
        Self { tags, ..self }
    }

    fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// On torch's stable ABI, or without any: it says itself which torch will do.
    fn requires(self, requires: &[&'static str]) -> Self {
        Self {
            requires: requires.to_vec(),
            is_tied: false,
            ..self
        }
    }

    fn wheel(&self) -> CatalogWheel {
        let Self {
            version,
            build,
            cuda,
            torch,
            tags,
            ..
        } = self;
        let local = format!("{cuda}torch{torch}").replace('-', ".");
        let file_name = format!("demo-{version}+{local}-{build}{tags}.whl");
        let minor = torch.split('-').next().unwrap();
        let digits = &cuda[2..];
        let runs_on = self.runs_on.iter().map(|(gpu, verdict, driver)| {
            let answer = OnGpu {
                verdict: (*verdict).to_owned(),
                least_driver: driver.map(str::to_owned),
            };
            ((*gpu).to_owned(), answer)
        });
        let images = self.images.map(|label| (label.to_owned(), 3));
        let module = ModuleArchs {
            containers: 3,
            images: BTreeMap::from(images),
        };
        let mut wheel = CatalogWheel {
            file_name: file_name.parse().unwrap(),
            sha256: crate::digest::Sha256Digest::of(file_name.as_bytes()),
            package: "demo".parse().unwrap(),
            requires_python: None,
            requires_dist: self.requires.iter().map(|&text| text.to_owned()).collect(),
            channel: format!("{cuda}/torch{torch}").parse().unwrap(),
            tracks: BTreeSet::from([self.track]),
            archs: Some("8.9+PTX".to_owned()),
            uses_torch_cxx_abi: self.is_tied,
            module_archs: BTreeMap::from([("demo/_C.abi3.so".to_owned(), module)]),
            runs_on: runs_on.collect(),
            yanked: self.yanked.map(str::to_owned),
            ..sample()
        };
        if self.is_tied {
            let bound = wheel.channel.torch().specifier();
            wheel.requires_dist.push(format!("torch{bound}"));
        }
        let (major, minor_cuda) = digits.split_at(digits.len() - 1);
        wheel.built_against.cuda = format!("{major}.{minor_cuda}");
        wheel.built_against.torch = match minor.split_once(".dev") {
            Some((minor, day)) => format!("{minor}.0.dev{day}"),
            None => format!("{minor}.0"),
        };
        wheel.built_against.python = "3.12".to_owned();
        wheel
    }
}

fn catalog(made: &[Made]) -> Catalog {
    let wheels = made.iter().map(Made::wheel);
    let mut catalog = Catalog::empty();
    for wheel in wheels {
        catalog.wheels.insert(wheel.file_name.clone(), wheel);
    }
    catalog
}

/// `demo==1.0 python=3.12 torch=2.8`: what is asked.
fn question(text: &str) -> Question {
    let mut words = text.split_whitespace();
    let mut question = Question::about(words.next().unwrap().parse().unwrap());
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "python" => question.python = Some(value.parse().unwrap()),
            "torch" => {
                let torch: TorchGiven = value.parse().unwrap();
                question.cuda = question.cuda.or_else(|| torch.cuda());
                question.torch = Some(torch);
            }
            "cuda" => question.cuda = Some(value.parse().unwrap()),
            "gpu" => {
                question.gpus.insert(value.parse().unwrap());
            }
            "driver" => question.driver = Some(value.parse().unwrap()),
            "glibc" => question.libc = Some(value.parse().unwrap()),
            "machine" => question.machine = Some(value.to_owned()),
            "variant" => question.variant = Some(value.parse().unwrap()),
            "track" => question.track = Track::Nightly,
            other => panic!("{other}"),
        }
    }
    question
}

const LINKS: Links = Links::Relative;

/// What comes of a question, in a line or a few.
fn told(made: &[Made], asked: &str) -> String {
    let catalog = catalog(made);
    let answer = resolve(&catalog, &question(asked), &LINKS);
    let name = |wheel: &CatalogWheel| wheel.file_name.to_string();
    let flags = |asked: &BTreeSet<Asked>| {
        let flags: Vec<&str> = asked.iter().map(|one| one.flag()).collect();
        flags.join(" ")
    };
    match &answer.outcome {
        Outcome::One(one) => {
            let assumed = match flags(&answer.assumed) {
                flags if flags.is_empty() => flags,
                flags => format!(" (without {flags})"),
            };
            format!("one: {}{assumed}", name(one.wheel))
        }
        Outcome::Several { candidates, give } => {
            let lines = candidates.iter().map(|one| {
                let unknown: Vec<_> = one.unknown.iter().map(|miss| &*miss.reason).collect();
                format!("\n  {} {}", name(one.wheel), unknown.join("; "))
            });
            let lines: String = lines.map(|line| line.trim_end().to_owned()).collect();
            format!("several: {}{lines}", flags(give)).replace(": \n", "\n")
        }
        Outcome::None { near_misses, job } => {
            let lines = near_misses.iter().map(|miss| {
                let more: Vec<_> = miss.more.iter().map(|miss| miss.rule.as_str()).collect();
                let more = match more.as_slice() {
                    [] => String::new(),
                    more => format!(" (and {})", more.join(", ")),
                };
                format!("\n  {}: {}{more}", name(miss.wheel), miss.reason.reason)
            });
            let job = match job {
                Job::Add(snippet) => format!("\n  job {}", snippet.id),
                Job::None(why) => format!("\n  no job: {why}"),
            };
            format!("none{}{job}", lines.collect::<String>())
        }
    }
}

fn tells(made: &[Made], asked: &[&str]) -> String {
    let told = asked
        .iter()
        .map(|asked| format!("{asked}\n  {}", told(made, asked)));
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_wheel_for_the_environment_is_the_answer() {
    let all = [
        Made::new("cu128", "2.8", "cp311"),
        Made::new("cu128", "2.8", "cp312"),
        Made::new("cu130", "2.9", "cp312"),
        Made::new("cu128", "2.9", "cp312"),
        Made::new("cu126", "2.9", "cp312"),
    ];
    insta::assert_snapshot!(tells(
        &all,
        &[
            "demo python=3.12 torch=2.8.0+cu128 glibc=2.35 machine=x86_64",
            "demo python=3.12 torch=2.9 cuda=13.0 glibc=2.35 machine=x86_64",
            "demo python=3.12 torch=2.9 cuda=12.6",
            "demo python=3.12 torch=2.9 cuda=12.9",
            "demo python=3.12 torch=2.9 cuda=13.2",
            "demo python=3.12 torch=2.9",
            "demo torch=2.8",
            "demo python=3.11",
            "demo",
        ]
    ));
}

#[test]
fn every_near_miss_has_its_reason_and_the_nearest_comes_first() {
    let plain = || Made::new("cu128", "2.8", "cp312");
    let mut yanked = plain().version("1.1");
    yanked.yanked = Some("wrong results on sm_89");
    let mut nightly = plain().version("1.2");
    nightly.track = Track::Nightly;
    let all = [
        plain(),
        Made::new("cu130", "2.9", "cp312"),
        Made::new("cu128", "2.8", "cp311").tags("cp311-cp311-manylinux_2_34_x86_64"),
        Made::new("cu128", "2.8-avx512", "cp312"),
        yanked,
        nightly,
    ];
    insta::assert_snapshot!(tells(
        &all,
        &[
            "demo python=3.14 torch=2.9.1 cuda=13.0",
            "demo python=3.14 torch=2.8.0 cuda=12.8",
            "demo python=3.12 torch=2.10.0 cuda=12.8",
            "demo python=3.12 torch=2.8.0 cuda=13.0",
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=12.0",
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=9.0 driver=560",
            "demo python=3.12 torch=2.8.0 cuda=12.8 glibc=2.27",
            "demo python=3.12 torch=2.8.0 cuda=12.8 glibc=musl",
            "demo python=3.12 torch=2.8.0 cuda=12.8 machine=aarch64",
            "demo>=1.1 python=3.12 torch=2.8.0 cuda=12.8",
            "demo==1.2 python=3.12 torch=2.8.0 cuda=12.8",
            "demo==3 python=3.12 torch=2.8.0 cuda=12.8",
            "demo python=3.12 torch=2.8.0 cuda=12.8 variant=avx2",
            "demo python=3.12 torch=2.8.0+cpu",
            "other python=3.12 torch=2.8.0 cuda=12.8",
            "other==1.0 python=3.12 torch=2.8.0 cuda=12.8",
        ]
    ));
}

#[test]
fn withdrawn_wheels_variants_and_nightlies_are_for_who_asks() {
    let plain = || Made::new("cu128", "2.8", "cp312");
    let mut yanked = plain().version("1.1");
    yanked.yanked = Some("wrong results");
    let mut nightly = plain().version("1.2");
    nightly.track = Track::Nightly;
    let all = [
        plain(),
        yanked,
        nightly,
        Made::new("cu128", "2.8-avx512", "cp312"),
        Made::new("cu130", "2.16.dev20261120", "cp312"),
        plain().version("2.0rc1"),
    ];
    insta::assert_snapshot!(tells(
        &all,
        &[
            "demo python=3.12 torch=2.8.0 cuda=12.8",
            "demo==1.1 python=3.12 torch=2.8.0 cuda=12.8",
            "demo==1.1.* python=3.12 torch=2.8.0 cuda=12.8",
            "demo>=2.0rc1 python=3.12 torch=2.8.0 cuda=12.8",
            "demo python=3.12 torch=2.8.0 cuda=12.8 track=nightly",
            "demo python=3.12 torch=2.8.0 cuda=12.8 variant=avx512",
            "demo python=3.12 torch=2.16.0.dev20261120+cu130",
            "demo python=3.12 torch=2.16.0.dev20261121+cu130",
            "demo python=3.12 torch=2.16 cuda=13.0",
        ]
    ));
}

#[test]
fn what_is_not_tied_to_a_torch_serves_others() {
    let all = [
        Made::new("cu130", "2.10", "cp312")
            .requires(&["torch>=2.10"])
            .tags("cp39-abi3-manylinux_2_28_x86_64"),
        Made::new("cu130", "2.11", "cp312")
            .requires(&["torch>=2.10"])
            .tags("py39-none-manylinux_2_28_x86_64"),
        Made::new("cu128", "2.8", "cp312")
            .version("0.9")
            .requires(&["triton"])
            .tags("py3-none-any"),
    ];
    insta::assert_snapshot!(tells(
        &all,
        &[
            "demo python=3.12 torch=2.10 cuda=13.0",
            "demo python=3.12 torch=2.11.1 cuda=13.0",
            "demo python=3.14 torch=2.12 cuda=13.0",
            "demo python=3.13t torch=2.12 cuda=13.0",
            "demo python=3.12 torch=2.9 cuda=13.0",
            "demo python=3.12 torch=2.9 cuda=12.8 glibc=musl machine=aarch64",
            "demo python=3.12",
            "demo==0.9",
        ]
    ));
}

#[test]
fn build_numbers_put_an_earlier_file_right() {
    let mut second = Made::new("cu128", "2.8", "cp312");
    second.build = "2-";
    let mut tenth = second.clone();
    tenth.build = "10-";
    let all = [Made::new("cu128", "2.8", "cp312"), second, tenth];
    insta::assert_snapshot!(
        told(&all, "demo python=3.12 torch=2.8.0 cuda=12.8 glibc=2.28 machine=x86_64"),
        @"one: demo-1.0+cu128torch2.8-10-cp312-cp312-manylinux_2_28_x86_64.whl"
    );
}

#[test]
fn what_the_catalog_does_not_tell_is_not_promised() {
    let mut unseen = Made::new("cu128", "2.8", "cp312");
    unseen.runs_on = vec![("8.9", "unknown", None), ("9.0", "native", None)];
    unseen.images = ["sm_89", "compute_89"];
    let mut no_code = Made::new("cu128", "2.8", "cp311");
    no_code.runs_on = vec![("8.9", "no-device-code", None)];
    let conditional =
        Made::new("cu128", "2.8", "cp313").requires(&["torch<2; python_version > '3'"]);
    let all = [unseen, no_code, conditional];
    insta::assert_snapshot!(tells(
        &all,
        &[
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=8.9",
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=9.0 driver=580",
            // Not in the gate's list: by the images that it counted.
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=12.1",
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=8.6",
            "demo python=3.11 torch=2.8.0 cuda=12.8 gpu=12.1 driver=1",
            "demo python=3.13 torch=2.8.0 cuda=12.8",
        ]
    ));
}

#[test]
fn lines_pin_the_file_by_its_digest_and_torch_by_its_version() {
    let catalog = catalog(&[Made::new("cu128", "2.8", "cp312")]);
    let links = Links::Absolute {
        base: "https://x.org/$(rm)`\"ab".to_owned(),
    };
    let lines = |asked: &str| {
        let answer = resolve(&catalog, &question(asked), &links);
        let Outcome::One(one) = answer.outcome else {
            panic!("{answer:?}");
        };
        one.lines
    };
    let all = lines("demo python=3.12 torch=2.8.0+cu128");
    insta::assert_snapshot!(
        [all.dockerfile, all.pip, all.pip_hashed, all.uv].join("\n\n"),
        @r#"
        RUN pip install --no-cache-dir "torch==2.8.0+cu128" "demo @ https://x.org/%24(rm)%60%22ab/files/ed/eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a/demo-1.0%2Bcu128torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl#sha256=eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a"

        demo @ https://x.org/%24(rm)%60%22ab/files/ed/eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a/demo-1.0%2Bcu128torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl#sha256=eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a

        demo @ https://x.org/%24(rm)%60%22ab/files/ed/eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a/demo-1.0%2Bcu128torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl \
            --hash=sha256:eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a

        [project]
        dependencies = [
            "torch==2.8.0+cu128",
            "demo==1.0+cu128torch2.8",
        ]

        # uv.lock has to say sha256:eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a
        [tool.uv.sources]
        demo = { url = "https://x.org/%24(rm)%60%22ab/files/ed/eddf3688c705aed4cf204e51bbdc12cd3e41f00fb63df480d61f21add029a33a/demo-1.0%2Bcu128torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl" }
        "#
    );
    for (asked, torch) in [("demo torch=2.8", "torch==2.8.*"), ("demo", "torch==2.8.*")] {
        assert_eq!(lines(asked).torch.as_deref(), Some(torch));
    }
}

#[test]
fn the_proposed_job_is_a_matrix_that_is_read() {
    let all = [Made::new("cu128", "2.8", "cp312")];
    let catalog = catalog(&all);
    for (asked, want) in [
        (
            "demo python=3.13t torch=2.9 cuda=13.0",
            "demo-1.0-cu130-torch2.9-cp313t",
        ),
        (
            "demo python=3.12 torch=2.8.0 cuda=12.8 gpu=12.0",
            "demo-1.0-cu128-torch2.8-cp312",
        ),
        (
            "demo torch=2.16.0.dev20261120 cuda=13.2",
            "demo-1.0-cu132-torch2.16.dev20261120-cp312",
        ),
    ] {
        let answer = resolve(&catalog, &question(asked), &LINKS);
        let Outcome::None {
            job: Job::Add(job), ..
        } = answer.outcome
        else {
            panic!("{answer:?}");
        };
        assert_eq!(job.id, want);
        let text = format!("schema: 1\nfarm: test\narchs: [\"9.0\"]\n{}", job.yaml);
        let matrix = Matrix::parse("matrix.yaml", &text);
        assert!(matrix.is_ok(), "{text}\n{matrix:?}");
        let has_archs = job.yaml.contains("archs: [\"8.9+PTX\", \"12.0\"]");
        assert_eq!(has_archs, asked.contains("gpu"), "{}", job.yaml);
    }
}

/// The axes that random wheels and questions are made of.
const VERSIONS: [&str; 3] = ["1.0", "1.1", "2.0rc1"];
const CUDAS: [(&str, &str); 3] = [("cu126", "12.6"), ("cu128", "12.8"), ("cu130", "13.0")];
const TORCHES: [&str; 3] = ["2.8", "2.9", "2.10"];
const PYTHONS: [(&str, &str); 3] = [("cp311", "3.11"), ("cp312", "3.12"), ("cp313t", "3.13t")];
const GLIBCS: [u32; 3] = [17, 28, 34];
const GPUS: [&str; 3] = ["8.9", "9.0", "12.0"];

/// A random wheel, with what a reader of its description can tell without the rules.
#[derive(Debug, Clone)]
struct Drawn {
    made: Made,
    cuda: usize,
    torch: usize,
    is_tied: bool,
    python: usize,
    glibc: u32,
    is_yanked: bool,
    version: usize,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let places = (0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize);
    (places, any::<bool>(), proptest::bool::weighted(0.2)).prop_map(
        |((version, cuda, torch, python, glibc), is_tied, is_yanked)| {
            let glibc = GLIBCS[glibc];
            let abi = PYTHONS[python].0;
            let tag = abi.trim_end_matches('t');
            let tags = format!("{tag}-{abi}-manylinux_2_{glibc}_x86_64");
            let made = Made::new(CUDAS[cuda].0, TORCHES[torch], "cp312").tags(&tags);
            let mut made = made.version(VERSIONS[version]);
            if !is_tied {
                made = made.requires(&["torch>=2.9"]);
            }
            made.yanked = is_yanked.then_some("broken");
            Drawn {
                made,
                cuda,
                torch,
                is_tied,
                python,
                glibc,
                is_yanked,
                version,
            }
        },
    )
}

/// The places of what is asked on each axis; `None` is not told.
type Asking = (
    Option<usize>,
    Option<usize>,
    Option<usize>,
    Option<usize>,
    Option<usize>,
    Option<usize>,
);

fn asking() -> impl Strategy<Value = Asking> {
    let one = || proptest::option::weighted(0.8, 0..3_usize);
    let gpu = proptest::option::weighted(0.3, 0..3_usize);
    let pin = proptest::option::weighted(0.2, 0..3_usize);
    (one(), one(), one(), one(), gpu, pin)
}

fn asked((cuda, torch, python, glibc, gpu, pin): Asking) -> Question {
    let mut text = match pin {
        None => "demo".to_owned(),
        Some(pin) => format!("demo=={}", VERSIONS[pin]),
    };
    let mut add = |key: &str, value: Option<String>| {
        text += &value.map_or_else(String::new, |value| format!(" {key}={value}"));
    };
    add("cuda", cuda.map(|place| CUDAS[place].1.to_owned()));
    add("torch", torch.map(|place| format!("{}.0", TORCHES[place])));
    add("python", python.map(|place| PYTHONS[place].1.to_owned()));
    add("glibc", glibc.map(|place| format!("2.{}", GLIBCS[place])));
    add("gpu", gpu.map(|place| GPUS[place].to_owned()));
    question(&text)
}

/// Whether the wheel may be given to who asks so, told from its description.
fn is_allowed(one: &Drawn, (cuda, torch, python, glibc, gpu, pin): Asking) -> bool {
    let cuda = cuda.is_none_or(|asked| CUDAS[asked].1[..2] == CUDAS[one.cuda].1[..2]);
    let torch = torch.is_none_or(|asked| {
        if one.is_tied {
            asked == one.torch
        } else {
            asked >= 1
        }
    });
    let python = python.is_none_or(|asked| asked == one.python);
    let glibc = glibc.is_none_or(|asked| GLIBCS[asked] >= one.glibc);
    let gpu = gpu.is_none_or(|asked| GPUS[asked] != "12.0");
    let version = pin.is_none_or(|asked| asked == one.version);
    cuda && torch && python && glibc && gpu && version && (!one.is_yanked || pin.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_answer_breaks_a_rule_and_none_that_keeps_all_is_left_out(
        wheels in proptest::collection::vec(drawn(), 0..12),
        asking in asking(),
    ) {
        // Two that have one name are one wheel; the last is in the catalog.
        let mut by_name = BTreeMap::new();
        for one in &wheels {
            by_name.insert(one.made.wheel().file_name, one);
        }
        let made: Vec<Made> = by_name.values().map(|one| one.made.clone()).collect();
        let catalog = catalog(&made);
        let answer = resolve(&catalog, &asked(asking), &LINKS);
        let given: Vec<&CatalogWheel> = match &answer.outcome {
            Outcome::One(one) => vec![one.wheel],
            Outcome::Several { candidates, .. } => candidates.iter().map(|one| one.wheel).collect(),
            Outcome::None { near_misses, .. } => {
                prop_assert_eq!(near_misses.len(), catalog.wheels.len());
                Vec::new()
            }
        };
        for wheel in &given {
            prop_assert!(is_allowed(by_name[&wheel.file_name], asking), "{}", wheel.file_name);
        }
        let allowed = by_name.values().filter(|one| is_allowed(one, asking)).count();
        prop_assert_eq!(given.is_empty(), allowed == 0);
    }

    #[test]
    fn the_order_of_wheels_does_not_matter(
        wheels in proptest::collection::vec(drawn(), 1..8),
        asking in asking(),
    ) {
        use super::choice::{Fitting, choose};
        let question = asked(asking);
        let made: Vec<Made> = wheels.iter().map(|one| one.made.clone()).collect();
        let all: Vec<CatalogWheel> = catalog(&made).wheels.into_values().collect();
        let fitting = |wheels: &mut dyn Iterator<Item = &CatalogWheel>| {
            let fitting: Vec<Fitting<'_>> = wheels
                .map(|wheel| Fitting { wheel, judgement: rules::Judgement::default() })
                .collect();
            let (chosen, give) = choose(fitting, &question);
            let names = chosen.iter().map(|one| one.wheel.file_name.to_string());
            (names.collect::<Vec<_>>(), give)
        };
        prop_assert_eq!(fitting(&mut all.iter()), fitting(&mut all.iter().rev()));
    }
}

proptest! {
    // Each case asks up to 81 questions.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_the_open_parts_are_the_answer_has_the_wheel_for_them(
        wheels in proptest::collection::vec(drawn(), 1..8),
        asking in asking(),
    ) {
        let mut by_name = BTreeMap::new();
        for one in &wheels {
            by_name.insert(one.made.wheel().file_name, one);
        }
        let made: Vec<Made> = by_name.values().map(|one| one.made.clone()).collect();
        let catalog = catalog(&made);
        let answer = resolve(&catalog, &asked(asking), &LINKS);
        let possible: Vec<&CatalogWheel> = match &answer.outcome {
            Outcome::One(one) => vec![one.wheel],
            Outcome::Several { candidates, .. } => candidates.iter().map(|one| one.wheel).collect(),
            Outcome::None { .. } => Vec::new(),
        };
        let places = |known: Option<usize>| match known {
            Some(place) => place..place + 1,
            None => 0..3,
        };
        let (cuda, torch, python, glibc, gpu, pin) = asking;
        for cuda in places(cuda) {
            for torch in places(torch) {
                for python in places(python) {
                    for glibc in places(glibc) {
                        let told = (Some(cuda), Some(torch), Some(python), Some(glibc), gpu, pin);
                        let full = resolve(&catalog, &asked(told), &LINKS);
                        match &full.outcome {
                            Outcome::One(one) => {
                                let version = one.wheel.file_name.public_version();
                                let serves = |wheel: &&CatalogWheel| {
                                    wheel.file_name.public_version() == version
                                        && is_allowed(by_name[&wheel.file_name], told)
                                };
                                let served = possible.iter().any(serves);
                                prop_assert!(served, "{} for {told:?}", one.wheel.file_name);
                            }
                            Outcome::Several { .. } => prop_assert!(false, "{full:?}"),
                            Outcome::None { .. } => {}
                        }
                    }
                }
            }
        }
    }
}
