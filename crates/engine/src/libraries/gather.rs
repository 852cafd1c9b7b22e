//! Puts modules together to the libraries of an environment.

use std::collections::BTreeMap;

use wheelfarm_core::gate::libraries::{Libraries, Library, SCHEMA};
use wheelfarm_core::wheel::elf::{ElfError, Machine, Module};

/// The interpreter is not one that runs on a machine that wheels are for.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the symbols of the interpreter `{path}`")]
pub struct InterpreterError {
    /// The file.
    path: String,
    /// What is wrong; absent when it is no program of x86-64 or Arm.
    source: Option<ElfError>,
}

/// The libraries of an environment as far as they were found. They come in the order in which the
/// loader would have them: of two of one name, the first stays.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    interpreter: Option<Library>,
    /// What the libraries are for: the first module decides.
    machine: Option<Machine>,
    libraries: BTreeMap<String, Library>,
}

impl Gathering {
    /// Takes the interpreter, which comes first.
    pub(super) fn interpreter(
        &mut self,
        path: &str,
        module: Result<Module, ElfError>,
    ) -> Result<(), InterpreterError> {
        let fail = |source| InterpreterError {
            path: path.to_owned(),
            source,
        };
        let module = module.map_err(|error| fail(Some(error)))?;
        if !is_host(module.facts.machine) {
            return Err(fail(None));
        }
        self.machine = Some(module.facts.machine);
        self.interpreter = Some(Library::of_module(path, &module));
        Ok(())
    }

    /// Takes a library. One that the loader could not load either is left out.
    pub(super) fn library(&mut self, path: &str, module: Result<Module, ElfError>) {
        let module = match module {
            Ok(module) if is_host(module.facts.machine) => module,
            Ok(_) => {
                tracing::warn!(path, "left out: no library of x86-64 or Arm");
                return;
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(path, error, "left out: it cannot be read");
                return;
            }
        };
        let machine = *self.machine.get_or_insert(module.facts.machine);
        if module.facts.machine != machine {
            tracing::warn!(path, "left out: it is for another machine");
            return;
        }
        let file_name = path.rsplit('/').next().unwrap_or(path);
        let name = module.facts.soname.as_deref().unwrap_or(file_name);
        if !self.libraries.contains_key(name) {
            let library = Library::of_module(path, &module);
            self.libraries.insert(name.to_owned(), library);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.libraries.len()
    }

    /// The libraries of `environment`.
    pub(super) fn finish(self, environment: String) -> Libraries {
        Libraries {
            schema: SCHEMA,
            environment,
            interpreter: self.interpreter,
            libraries: self.libraries,
        }
    }
}

fn is_host(machine: Machine) -> bool {
    match machine {
        Machine::X86_64 | Machine::Aarch64 => true,
        Machine::Cuda | Machine::Other => false,
    }
}
