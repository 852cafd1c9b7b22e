//! What the libraries of an environment provide: the symbol tables that a wheel's modules are
//! resolved against.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::wheel::elf::{Binding, Module, NeededSymbol, is_cpython};

/// The schema that this program writes, and the only one that it reads.
pub const SCHEMA: u32 = 1;

/// One shared library: what it has for others, and what it loads itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// Where it lies in the environment.
    pub path: String,
    /// The libraries it loads.
    pub needed: Vec<String>,
    /// Its symbols, each with the versions that it has; empty for one without versions.
    pub symbols: BTreeMap<String, BTreeSet<String>>,
}

/// The libraries of one environment, by the names that modules ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Libraries {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Which environment it is: an image's id, or a folder.
    pub environment: String,
    /// What is in the process before any module: the interpreter. `None`: not known, so that
    /// nobody can say whether Python's symbols are there.
    pub interpreter: Option<Library>,
    /// By soname.
    pub libraries: BTreeMap<String, Library>,
}

impl Library {
    /// The library at `path`, as its ELF file has it.
    pub fn of_module(path: &str, module: &Module) -> Self {
        let mut symbols: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for symbol in &module.symbols.provided {
            let versions = symbols.entry(symbol.name.clone()).or_default();
            versions.extend(symbol.version.clone());
        }
        Self {
            path: path.to_owned(),
            needed: module.facts.needed.clone(),
            symbols,
        }
    }

    /// A library that has no version for a symbol serves every version, as the loader has it.
    fn has(&self, symbol: &NeededSymbol) -> bool {
        match (self.symbols.get(&symbol.name), &symbol.version) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(versions), Some(version)) => versions.is_empty() || versions.contains(version),
        }
    }
}

impl Libraries {
    /// The libraries, by soname, that loading `names` brings into the process.
    pub fn closure<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Closure<'a> {
        let mut closure = Closure {
            interpreter: self.interpreter.as_ref(),
            libraries: Vec::new(),
            unknown: BTreeSet::new(),
        };
        let mut seen = BTreeSet::new();
        let own = closure.interpreter.iter().flat_map(|own| &own.needed);
        let mut next: Vec<&str> = names.into_iter().chain(own.map(String::as_str)).collect();
        while let Some(name) = next.pop() {
            if !seen.insert(name) {
                continue;
            }
            match self.libraries.get(name) {
                Some(library) => {
                    closure.libraries.push(library);
                    next.extend(library.needed.iter().map(String::as_str));
                }
                None => {
                    closure.unknown.insert(name.to_owned());
                }
            }
        }
        closure
    }
}

/// The libraries in a process.
#[derive(Debug)]
pub struct Closure<'a> {
    /// The interpreter; `None`: Python's symbols cannot be checked.
    pub interpreter: Option<&'a Library>,
    /// Those that are known.
    pub libraries: Vec<&'a Library>,
    /// The names of those that are not.
    pub unknown: BTreeSet<String>,
}

impl Closure<'_> {
    /// Adds what the wheel itself brings, looks up every strong symbol of `needed`, and gives
    /// those that nobody has. Without an interpreter, Python's are not among them.
    pub fn resolve<'s>(
        &self,
        needed: &'s [NeededSymbol],
        wheel: &[&Library],
    ) -> Vec<&'s NeededSymbol> {
        let has = |symbol: &NeededSymbol| {
            let libraries = self.libraries.iter().chain(wheel);
            let mut all = self.interpreter.iter().chain(libraries);
            let is_unchecked = self.interpreter.is_none() && is_cpython(symbol.name.as_bytes());
            is_unchecked || all.any(|library| library.has(symbol))
        };
        needed
            .iter()
            .filter(|symbol| symbol.binding == Binding::Strong && !has(symbol))
            .collect()
    }
}

/// The tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibrariesError {
    /// The text holds no such tables.
    #[error("failed to read the symbol tables")]
    Malformed(#[source] serde_json::Error),
    /// Another version of this program wrote them.
    #[error("the symbol tables have schema {found}, and this program reads {SCHEMA}")]
    OtherSchema {
        /// What they say.
        found: u32,
    },
}

impl Libraries {
    /// Reads tables that were kept.
    pub fn parse(text: &[u8]) -> Result<Self, LibrariesError> {
        let libraries: Self = serde_json::from_slice(text).map_err(LibrariesError::Malformed)?;
        if libraries.schema != SCHEMA {
            return Err(LibrariesError::OtherSchema {
                found: libraries.schema,
            });
        }
        Ok(libraries)
    }

    /// The tables as they are kept.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("texts and maps of them serialise");
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(needed: &[&str], symbols: &[(&str, &[&str])]) -> Library {
        let versions = |versions: &[&str]| versions.iter().map(|v| (*v).to_owned()).collect();
        Library {
            path: String::new(),
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            symbols: symbols
                .iter()
                .map(|(name, of)| ((*name).to_owned(), versions(of)))
                .collect(),
        }
    }

    fn environment() -> Libraries {
        let libraries = [
            ("libtorch.so", library(&["libc10.so"], &[])),
            ("libc10.so", library(&["libc.so.6"], &[("c10_error", &[])])),
            (
                "libc.so.6",
                library(&[], &[("open", &["GLIBC_2.2.5", "GLIBC_2.34"])]),
            ),
            ("libother.so", library(&[], &[("other", &[])])),
        ];
        Libraries {
            schema: SCHEMA,
            environment: "test".to_owned(),
            interpreter: Some(library(&["libc.so.6"], &[("PyLong_FromLong", &[])])),
            libraries: libraries
                .map(|(name, library)| (name.to_owned(), library))
                .into(),
        }
    }

    #[track_caller]
    fn check(loads: &[&str], symbol: &str, version: Option<&str>, is_found: bool) {
        let environment = environment();
        let closure = environment.closure(loads.iter().copied());
        let needed = [NeededSymbol {
            name: symbol.to_owned(),
            version: version.map(str::to_owned),
            binding: Binding::Strong,
        }];
        let missing = closure.resolve(&needed, &[]);
        assert_eq!(missing.is_empty(), is_found, "{symbol} {version:?}");
    }

    #[test]
    fn a_symbol_is_looked_for_in_what_is_loaded_and_nowhere_else() {
        check(&["libtorch.so"], "c10_error", None, true);
        check(&["libc10.so"], "c10_error", None, true);
        check(&[], "c10_error", None, false);
        check(&["libtorch.so"], "other", None, false);
        check(&[], "PyLong_FromLong", None, true);
        check(&[], "open", Some("GLIBC_2.34"), true);
        check(&[], "open", Some("GLIBC_2.99"), false);
        check(&["libtorch.so"], "c10_error", Some("ANY_1.0"), true);
    }

    #[test]
    fn weak_symbols_may_be_missing_and_unknown_libraries_are_named() {
        let environment = environment();
        let closure = environment.closure(["libtorch.so", "libmystery.so"]);
        assert_eq!(
            closure.unknown,
            BTreeSet::from(["libmystery.so".to_owned()])
        );
        let needed = [NeededSymbol {
            name: "__gmon_start__".to_owned(),
            version: None,
            binding: Binding::Weak,
        }];
        assert!(closure.resolve(&needed, &[]).is_empty());
    }

    #[test]
    fn symbols_of_cpython_are_missing_only_where_an_interpreter_is_known() {
        let needed = ["PyNothing_New", "nothing"].map(|name| NeededSymbol {
            name: name.to_owned(),
            version: None,
            binding: Binding::Strong,
        });
        let mut environment = environment();
        assert_eq!(environment.closure([]).resolve(&needed, &[]).len(), 2);
        environment.interpreter = None;
        let missing = environment.closure([]).resolve(&needed, &[]);
        assert_eq!(missing, [&needed[1]]);
    }

    #[test]
    fn tables_come_back_as_they_were_kept() {
        let environment = environment();
        assert_eq!(
            Libraries::parse(&environment.to_text()).unwrap(),
            environment
        );
        assert!(Libraries::parse(b"{}").is_err());
    }
}
