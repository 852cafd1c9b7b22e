//! What is found out of an environment, to fill in what a question leaves open.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::question::{Cuda, Libc, PythonAsked, Question, TorchGiven};
use crate::gpu::Capability;
use crate::gpu::driver::Driver;

/// What is known of an environment. What is absent could not be told; `notes` say why, where there is
/// something to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its Python.
    pub python: Option<PythonAsked>,
    /// Its torch.
    pub torch: Option<TorchGiven>,
    /// The CUDA that its torch is built with.
    pub cuda: Option<Cuda>,
    /// Its C library.
    pub libc: Option<Libc>,
    /// Its machine: `x86_64`.
    pub machine: Option<String>,
    /// Its GPUs.
    pub gpus: BTreeSet<Capability>,
    /// Its driver.
    pub driver: Option<Driver>,
    /// What could not be told, and what was taken from elsewhere; each a line.
    pub notes: Vec<String>,
}

/// A Python said something that is not what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to read what the Python says of itself")]
pub struct FactsError(#[source] serde_json::Error);

/// What `dockerfiles/environment_facts.py` prints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(rename = "schema")]
    _schema: u32,
    implementation: String,
    python: (u8, u8, u8),
    free_threaded: bool,
    torch: Option<String>,
    torch_cuda: Option<String>,
    glibc: Option<String>,
    musl: bool,
    machine: String,
}

impl Facts {
    /// Reads what the script prints in an environment.
    pub fn parse(text: &str) -> Result<Self, FactsError> {
        let said: Said = serde_json::from_str(text).map_err(FactsError)?;
        let mut facts = Self {
            machine: Some(said.machine.clone()),
            libc: if said.musl {
                Some(Libc::Musl)
            } else {
                said.glibc.as_deref().and_then(|text| text.parse().ok())
            },
            ..Self::default()
        };
        facts.set_python(&said);
        facts.set_torch(said.torch.as_deref(), said.torch_cuda.as_deref());
        if facts.libc.is_none() {
            facts.note("its C library is neither glibc nor musl by its own word");
        }
        Ok(facts)
    }

    fn set_python(&mut self, said: &Said) {
        let (major, minor, patch) = said.python;
        let build = if said.free_threaded { "t" } else { "" };
        let text = format!("{major}.{minor}.{patch}{build}");
        if said.implementation != "CPython" {
            let name = &said.implementation;
            self.note(format!(
                "its Python is {name} {text}; wheels are for CPython"
            ));
            return;
        }
        self.python = text.parse().ok();
        if self.python.is_none() {
            self.note(format!("its Python is {text}; wheels are for Python 3"));
        }
    }

    fn set_torch(&mut self, version: Option<&str>, cuda: Option<&str>) {
        let Some(version) = version else {
            self.note("it has no torch");
            return;
        };
        self.torch_from(version);
        self.cuda = match cuda {
            Some(build) if build == "cpu" || build.starts_with("rocm") => {
                Some(Cuda::Without(build.to_owned()))
            }
            // `13.0`, and in some builds of torch with a patch level.
            Some(text) => {
                let mut parts = text.split('.');
                let minor = [parts.next(), parts.next()].map(Option::unwrap_or_default);
                minor.join(".").parse().ok()
            }
            None => self.torch.as_ref().and_then(TorchGiven::cuda),
        };
    }

    /// Takes a torch by its version, or notes that it is none that wheels are published for.
    pub(super) fn torch_from(&mut self, version: &str) {
        match version.parse() {
            Ok(torch) => self.torch = Some(torch),
            Err(_) => self.note(format!(
                "its torch is {version}, a build that no published wheel is made for"
            )),
        }
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Fills in what the question leaves open; what it says itself stays.
    pub fn fill(&self, question: &mut Question) {
        fill(&mut question.python, self.python.as_ref());
        fill(&mut question.torch, self.torch.as_ref());
        fill(&mut question.cuda, self.cuda.as_ref());
        fill(&mut question.libc, self.libc.as_ref());
        fill(&mut question.machine, self.machine.as_ref());
        fill(&mut question.driver, self.driver.as_ref());
        if question.gpus.is_empty() {
            question.gpus.clone_from(&self.gpus);
        }
    }
}

fn fill<T: Clone>(open: &mut Option<T>, known: Option<&T>) {
    if open.is_none() {
        *open = known.cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = r#"{"schema": 1, "implementation": "CPython", "python": [3, 11, 7],
        "free_threaded": false, "torch": "2.8.0+cu128", "torch_cuda": "12.8", "glibc": "2.36",
        "musl": false, "machine": "x86_64"}"#;

    fn read(changes: &[(&str, &str)]) -> Facts {
        let change = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        let text = changes.iter().fold(SAID.to_owned(), change);
        Facts::parse(&text).unwrap()
    }

    #[test]
    fn an_environment_says_what_it_is() {
        let facts = read(&[]);
        assert_eq!(facts.python.unwrap().to_string(), "3.11.7");
        assert_eq!(facts.torch.unwrap().to_string(), "2.8.0+cu128");
        assert_eq!(facts.cuda.unwrap().to_string(), "12.8");
        assert_eq!(facts.libc, Some(Libc::Glibc(2, 36)));
        assert_eq!(facts.machine.as_deref(), Some("x86_64"));
        assert!(facts.notes.is_empty(), "{:?}", facts.notes);
        let free = read(&[("\"free_threaded\": false", "\"free_threaded\": true")]);
        assert_eq!(free.python.unwrap().to_string(), "3.11.7t");
    }

    #[test]
    fn the_cuda_of_torch_is_its_own_word_before_its_version() {
        let cuda = |changes: &[(&str, &str)]| read(changes).cuda.map(|cuda| cuda.to_string());
        assert_eq!(cuda(&[("2.8.0+cu128", "2.8.0")]).as_deref(), Some("12.8"));
        assert_eq!(cuda(&[("\"12.8\"", "null")]).as_deref(), Some("12.8"));
        assert_eq!(cuda(&[("\"12.8\"", "\"cpu\"")]).as_deref(), Some("cpu"));
        assert_eq!(
            cuda(&[("\"12.8\"", "\"12.8.93\"")]).as_deref(),
            Some("12.8")
        );
        let rocm = cuda(&[("\"12.8\"", "\"rocm6.4.43\"")]);
        assert_eq!(rocm.as_deref(), Some("rocm6.4.43"));
        assert_eq!(cuda(&[("\"2.8.0+cu128\"", "null")]), None);
    }

    #[test]
    fn what_cannot_be_told_is_noted() {
        let notes = |changes: &[(&str, &str)]| read(changes).notes.join("; ");
        insta::assert_snapshot!([
            notes(&[("\"2.8.0+cu128\"", "null")]),
            notes(&[("2.8.0+cu128", "2.8.0a0+34c6371d24.nv25.08")]),
            notes(&[("CPython", "PyPy")]),
            notes(&[("[3, 11, 7]", "[2, 7, 18]")]),
            notes(&[("\"2.36\"", "null")]),
        ].join("\n"), @"
        it has no torch
        its torch is 2.8.0a0+34c6371d24.nv25.08, a build that no published wheel is made for
        its Python is PyPy 3.11.7; wheels are for CPython
        its Python is 2.7.18; wheels are for Python 3
        its C library is neither glibc nor musl by its own word
        ");
        let musl = read(&[("\"2.36\"", "null"), ("\"musl\": false", "\"musl\": true")]);
        assert_eq!((musl.libc, musl.notes.len()), (Some(Libc::Musl), 0));
        assert!(Facts::parse("{}").is_err());
    }

    #[test]
    fn what_the_question_says_itself_stays() {
        let mut question = Question::about("x".parse().unwrap());
        question.torch = "2.9".parse().ok();
        read(&[]).fill(&mut question);
        assert_eq!(question.torch.unwrap().to_string(), "2.9");
        assert_eq!(question.python.unwrap().to_string(), "3.11.7");
    }
}
