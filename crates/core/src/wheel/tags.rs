//! Which Python and which system a wheel's tags let it be installed on: what `packaging.tags`, and so
//! pip and uv, list for them
//! (<https://packaging.python.org/specifications/platform-compatibility-tags/>).

use crate::version::PythonVersion;
use crate::wheel::name::WheelName;
use crate::wheel::platform::{glibc_of, machine_of};

/// How closely a wheel is made for a Python; what installers like better comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PythonRank {
    /// For this very Python: `cp311-cp311`.
    Own,
    /// On the stable ABI: `cp39-abi3`.
    Stable,
    /// With no ABI of Python at all: `py3-none`.
    Any,
}

/// How `python` takes a wheel of that name; `None` where it does not.
pub fn python_rank(python: PythonVersion, name: &WheelName) -> Option<PythonRank> {
    let own = python.tag();
    let tags = name.python_tags().iter();
    let pairs = tags.flat_map(|python| name.abi_tags().iter().map(move |abi| (python, abi)));
    pairs
        .filter_map(|(python, abi)| rank(&own, python, abi))
        .min()
}

/// How the Python whose ABI is `wanted` takes a wheel of these tags.
fn rank(wanted: &str, python: &str, abi: &str) -> Option<PythonRank> {
    // The free-threaded build has an ABI of its own, and no stable one: `cp313-cp313t`.
    let own = wanted.trim_end_matches('t');
    let is_no_newer = |prefix: &str| {
        let minor = |tag: &str, prefix| tag.strip_prefix(prefix)?.parse::<u32>().ok();
        let least = minor(python, prefix).zip(minor(own, "cp3"));
        least.is_some_and(|(least, minor)| least <= minor)
    };
    let (rank, is_taken) = match abi {
        "abi3" => (PythonRank::Stable, wanted == own && is_no_newer("cp3")),
        "none" => (
            PythonRank::Any,
            python == own || python == "py3" || is_no_newer("py3"),
        ),
        abi => (PythonRank::Own, python == own && abi == wanted),
    };
    is_taken.then_some(rank)
}

/// What a wheel asks of the C library of a Linux machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LibcNeed {
    /// Nothing: it holds no compiled code, or promises nothing (`linux_x86_64`).
    Nothing,
    /// At least this glibc.
    Glibc(u32, u32),
}

/// The least that a wheel of that name asks of the C library of `machine`; `None` where it is not for
/// that machine. Without a machine, the least on any.
pub fn libc_need(machine: Option<&str>, name: &WheelName) -> Option<LibcNeed> {
    let needs = name.platform_tags().iter().filter_map(|tag| {
        if tag == "any" {
            return Some(LibcNeed::Nothing);
        }
        let is_for = |wanted: &str| machine_of(tag) == Some(wanted);
        machine_of(tag).filter(|_| machine.is_none_or(is_for))?;
        Some(match glibc_of(tag) {
            None => LibcNeed::Nothing,
            Some((major, minor)) => LibcNeed::Glibc(major, minor),
        })
    });
    needs.min()
}

/// Whether a wheel of that name holds no compiled code, by its own word: `any`.
pub fn is_pure(name: &WheelName) -> bool {
    name.platform_tags().iter().any(|tag| tag == "any")
}

/// The machines that the tags name, in order and each once; empty for a wheel that is for `any`, and
/// for tags of systems that this farm knows nothing of.
pub fn machines(name: &WheelName) -> Vec<&str> {
    let mut machines: Vec<&str> = Vec::new();
    for machine in name
        .platform_tags()
        .iter()
        .filter_map(|tag| machine_of(tag))
    {
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_that_the_python_takes() {
        use PythonRank::{Any, Own, Stable};
        for (wanted, python, abi, want) in [
            ("cp311", "cp311", "cp311", Some(Own)),
            ("cp311", "cp38", "abi3", Some(Stable)),
            ("cp311", "cp312", "abi3", None),
            ("cp311", "cp310", "none", None),
            ("cp311", "cp311", "none", Some(Any)),
            ("cp311", "py310", "none", Some(Any)),
            ("cp311", "py39", "none", Some(Any)),
            ("cp311", "py312", "none", None),
            ("cp311", "py2", "none", None),
            ("cp313t", "cp313", "cp313t", Some(Own)),
            ("cp313t", "cp313", "cp313", None),
            ("cp313t", "cp39", "abi3", None),
            ("cp313t", "py3", "none", Some(Any)),
            ("cp313", "cp313", "cp313t", None),
        ] {
            let res = rank(wanted, python, abi);
            assert_eq!(res, want, "{python}-{abi} on {wanted}");
        }
    }

    #[test]
    fn the_best_of_a_set_of_tags_counts() {
        let name = |tags: &str| format!("x-1-{tags}-any.whl").parse::<WheelName>().unwrap();
        let python = "3.11".parse().unwrap();
        assert_eq!(
            python_rank(python, &name("py2.py3-none")),
            Some(PythonRank::Any)
        );
        assert_eq!(
            python_rank(python, &name("cp310.cp311-cp310.cp311")),
            Some(PythonRank::Own)
        );
        assert_eq!(python_rank(python, &name("cp310-cp310")), None);
    }

    #[test]
    fn the_least_glibc_of_a_machine_counts() {
        let name = |tags: &str| {
            let text = format!("x-1-py3-none-{tags}.whl");
            text.parse::<WheelName>().unwrap()
        };
        for (tags, machine, want) in [
            ("any", Some("x86_64"), Some(LibcNeed::Nothing)),
            ("manylinux_2_28_x86_64", None, Some(LibcNeed::Glibc(2, 28))),
            (
                "manylinux_2_17_x86_64.manylinux2014_x86_64",
                Some("x86_64"),
                Some(LibcNeed::Glibc(2, 17)),
            ),
            (
                "manylinux_2_28_x86_64.manylinux_2_34_aarch64",
                Some("aarch64"),
                Some(LibcNeed::Glibc(2, 34)),
            ),
            ("linux_x86_64", Some("x86_64"), Some(LibcNeed::Nothing)),
            ("manylinux_2_28_x86_64", Some("aarch64"), None),
            ("musllinux_1_2_x86_64", Some("x86_64"), None),
            ("win_amd64", None, None),
        ] {
            assert_eq!(libc_need(machine, &name(tags)), want, "{tags}");
        }
        assert_eq!(
            machines(&name("manylinux1_x86_64.linux_x86_64.linux_aarch64")),
            ["x86_64", "aarch64"]
        );
        assert!(is_pure(&name("any")) && !is_pure(&name("linux_x86_64")));
    }
}
