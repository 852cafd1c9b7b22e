//! What a command line of nvcc compiles, and for which targets (CUDA Compiler Driver NVCC, "NVCC
//! Command Options").

use crate::arch::Arch;
use crate::gate::contract::Targets;

use super::Recorded;

/// A command line, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The CUDA sources that it compiles, as absolute paths without `.` and `..`.
    pub sources: Vec<String>,
    /// What it compiles them for.
    pub targets: Result<Targets, FlagError>,
}

/// The targets of a command line are not those of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum FlagError {
    /// `native`, `all` and `all-major` depend on the machine or on the toolkit.
    #[error("`{flag}` leaves the archs to nvcc")]
    LeftToNvcc {
        /// The flag.
        flag: String,
    },
    /// No flag names an arch: nvcc takes its default, the oldest that it knows.
    #[error("no flag names an arch, so nvcc takes its default")]
    NoArch,
    /// Code is compiled as for one arch and named for another: what the source holds for that one
    /// alone is left out, and nothing in the result shows it.
    #[error("`{flag}` compiles `{code}` from the code of `{arch}`")]
    OtherArch {
        /// The flag.
        flag: String,
        /// What it is named for.
        code: String,
        /// What it is compiled as.
        arch: String,
    },
    /// A flag that cannot be read.
    #[error("`{flag}` names no arch that is known")]
    Unknown {
        /// The flag.
        flag: String,
    },
}

/// Options whose value is the next argument; such a value is no source.
const WITH_VALUE: [&str; 30] = [
    "-o",
    "--output-file",
    "-I",
    "--include-path",
    "-isystem",
    "--system-include",
    "-include",
    "--pre-include",
    "-D",
    "--define-macro",
    "-U",
    "--undefine-macro",
    "-L",
    "--library-path",
    "-l",
    "--library",
    "-MF",
    "--dependency-output",
    "-MT",
    "--dependency-target-name",
    "-ccbin",
    "--compiler-bindir",
    "-Xcompiler",
    "--compiler-options",
    "-Xptxas",
    "--ptxas-options",
    "-Xcudafe",
    "--cudafe-options",
    "-t",
    "--threads",
];

/// Options with which nvcc compiles nothing. With any other, and with none, it compiles its sources,
/// whether it links them then or not.
const NOT_COMPILING: [&str; 12] = [
    "-E",
    "--preprocess",
    "-M",
    "--generate-dependencies",
    "-MM",
    "--generate-nonsystem-dependencies",
    "-dryrun",
    "--dryrun",
    "-V",
    "--version",
    "-h",
    "--help",
];

/// The ends of the names that nvcc takes for source with `-x cu`; without it, only the first.
const SOURCE_ENDS: [&str; 6] = ["cu", "c", "cc", "cpp", "cxx", "C"];

impl Invocation {
    /// Reads a command line; `None` when it compiles no CUDA source: a version, a link, host code.
    pub fn read(command: &Recorded) -> Option<Self> {
        let mut reader = Reader::default();
        let mut arguments = command.argv.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            reader.argument(argument, &mut arguments);
        }
        let sources: Vec<_> = reader
            .inputs
            .iter()
            .filter(|input| is_source(input, reader.language_is_cuda))
            .map(|input| absolute(&command.cwd, input))
            .collect();
        let compiles = !reader.only_asks && !sources.is_empty();
        compiles.then(|| Self {
            sources,
            targets: reader.targets(),
        })
    }
}

#[derive(Debug, Default)]
struct Reader<'a> {
    only_asks: bool,
    language_is_cuda: bool,
    inputs: Vec<&'a str>,
    gencode: Vec<&'a str>,
    architecture: Option<&'a str>,
    code: Option<&'a str>,
}

impl<'a> Reader<'a> {
    fn argument(&mut self, argument: &'a str, rest: &mut impl Iterator<Item = &'a str>) {
        if !argument.starts_with('-') {
            self.inputs.push(argument);
            return;
        }
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (argument, None),
        };
        let mut value = || value.or_else(|| rest.next()).unwrap_or_default();
        match option {
            "-gencode" | "--generate-code" => self.gencode.push(value()),
            "-arch" | "--gpu-architecture" => self.architecture = Some(value()),
            "-code" | "--gpu-code" => self.code = Some(value()),
            "-x" | "--x" => self.language_is_cuda |= value() == "cu",
            _ if NOT_COMPILING.contains(&argument) => self.only_asks = true,
            _ if WITH_VALUE.contains(&argument) => drop(rest.next()),
            _ => {}
        }
    }

    fn targets(&self) -> Result<Targets, FlagError> {
        let mut targets = Targets::default();
        for gencode in &self.gencode {
            let (virtual_arch, codes) = parts(gencode);
            for code in codes.unwrap_or_else(|| virtual_arch.into_iter().collect()) {
                add(&mut targets, code, gencode)?;
                compiled_as_named(virtual_arch, code, gencode)?;
            }
        }
        match (self.architecture, self.code) {
            (Some(flag @ ("native" | "all" | "all-major")), _) => {
                let flag = format!("-arch={flag}");
                return Err(FlagError::LeftToNvcc { flag });
            }
            (arch, Some(codes)) => {
                for code in list(codes) {
                    add(&mut targets, code, codes)?;
                    compiled_as_named(arch, code, codes)?;
                }
            }
            // `-arch=sm_90` is short for machine code and PTX of that arch.
            (Some(arch), None) => {
                add(&mut targets, arch, arch)?;
                if let Some(number) = arch.strip_prefix("sm_") {
                    add(&mut targets, &format!("compute_{number}"), arch)?;
                }
            }
            (None, None) if self.gencode.is_empty() => return Err(FlagError::NoArch),
            (None, None) => {}
        }
        Ok(targets)
    }
}

/// `arch=compute_90,code=[sm_90,compute_90]` as the virtual arch and the codes.
fn parts(gencode: &str) -> (Option<&str>, Option<Vec<&str>>) {
    let gencode = gencode.trim_matches(['"', '\'']);
    let (head, codes) = match gencode.split_once("code=") {
        Some((head, codes)) => (head, Some(list(codes))),
        None => (gencode, None),
    };
    let arch = head.trim_matches(',').strip_prefix("arch=");
    (arch, codes)
}

/// Refuses `code` when `arch` is the virtual arch of another number: `__CUDA_ARCH__` is that one's.
fn compiled_as_named(arch: Option<&str>, code: &str, flag: &str) -> Result<(), FlagError> {
    let number = |text: &'_ str| {
        let digits = text.rsplit('_').next().unwrap_or_default();
        digits.trim_end_matches(['a', 'f']).to_owned()
    };
    match arch {
        Some(arch) if number(arch) != number(code) => Err(FlagError::OtherArch {
            flag: flag.to_owned(),
            code: code.to_owned(),
            arch: arch.to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn list(codes: &str) -> Vec<&str> {
    let bare = codes.trim_matches(['"', '\'', '[', ']', '\\']);
    bare.split(',').map(str::trim).collect()
}

fn add(targets: &mut Targets, code: &str, flag: &str) -> Result<(), FlagError> {
    let unknown = || FlagError::Unknown {
        flag: flag.to_owned(),
    };
    let (into, number) = if let Some(number) = code.strip_prefix("sm_") {
        (&mut targets.native, number)
    } else if let Some(number) = code.strip_prefix("compute_") {
        (&mut targets.ptx, number)
    } else {
        return Err(unknown());
    };
    into.insert(Arch::from_code(number).ok_or_else(unknown)?);
    Ok(())
}

/// nvcc goes by the end of the name, and knows this spelling only.
fn is_source(path: &str, language_is_cuda: bool) -> bool {
    let end = path.rsplit_once('.').map(|(_, end)| end);
    end == Some("cu") || (language_is_cuda && end.is_some_and(|end| SOURCE_ENDS.contains(&end)))
}

/// `path` from `cwd`, without `.` and `..`.
fn absolute(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{cwd}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Invocation> {
        Invocation::read(&Recorded {
            cwd: "/build/source/build".to_owned(),
            argv: line.split(' ').map(str::to_owned).collect(),
        })
    }

    #[track_caller]
    fn check(line: &str, want: &str) {
        let invocation = read(line).expect("it compiles");
        let text = match invocation.targets {
            Ok(targets) => targets.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, want, "{line}");
    }

    #[test]
    fn every_way_to_name_an_arch_is_read() {
        let torch = "-c ../csrc/a.cu -o a.o -gencode=arch=compute_90,code=sm_90 \
                     -gencode=arch=compute_120,code=compute_120 -gencode=arch=compute_120,code=sm_120";
        check(torch, "9.0 12.0+PTX");
        check("-c a.cu -gencode arch=compute_90a,code=sm_90a", "9.0a");
        check(
            "-dc a.cu --generate-code=arch=compute_120f,code=[compute_120f,sm_120f]",
            "12.0f+PTX",
        );
        check(
            "-x cu -c a.cpp --diag-suppress 550 --generate-code arch=compute_80,code=\"sm_80,compute_80\"",
            "8.0+PTX",
        );
        check("-c a.cu -gencode arch=compute_80", "PTX 8.0");
        check("-c a.cu -arch=sm_90", "9.0+PTX");
        check("-c a.cu -arch sm_90 -code=sm_90", "9.0");
        check("-c a.cu -arch=compute_75", "PTX 7.5");
        check(
            "-shared -o a.so a.cu -arch=compute_80 -code=sm_80,compute_80",
            "8.0+PTX",
        );
    }

    #[test]
    fn archs_that_nobody_chose_are_faults() {
        check(
            "-c a.cu",
            "no flag names an arch, so nvcc takes its default",
        );
        check(
            "-c a.cu -arch=native",
            "`-arch=native` leaves the archs to nvcc",
        );
        check(
            "-c a.cu -gencode arch=compute_80,code=sm_90",
            "`arch=compute_80,code=sm_90` compiles `sm_90` from the code of `compute_80`",
        );
        check(
            "-c a.cu -arch=compute_90 -code=sm_90,sm_120",
            "`sm_90,sm_120` compiles `sm_120` from the code of `compute_90`",
        );
        check(
            "-c a.cu -gencode arch=compute_1.,code=sm_1.",
            "`arch=compute_1.,code=sm_1.` names no arch that is known",
        );
    }

    #[test]
    fn sources_are_told_from_the_values_of_options() {
        let line = "-I /x.cu -include y.cu -MF z.cu -DNAME=w.cu -c ./k/../a.cu /build/source/b.cu \
                    -o a.cu.o -arch=sm_80";
        let invocation = read(line).unwrap();
        assert_eq!(
            invocation.sources,
            ["/build/source/build/a.cu", "/build/source/b.cu"]
        );
    }

    #[test]
    fn what_compiles_no_cuda_is_no_invocation() {
        for line in [
            "--version",
            "-V",
            "-c a.cpp",
            "-dlink a.o -o b.o",
            "-E a.cu",
            "-v --dryrun a.cu",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
