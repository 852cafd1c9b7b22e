//! What of this process's environment is secret, and how it stays out of the programs that it starts.

use std::process::Command;

/// Variables that hold tokens: the Hub's, by their names of today and before, and what a job on GitHub
/// asks for an identity with.
pub const VARIABLES: [&str; 3] = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
];

/// A program that is started without this process's secrets. Every program of this crate is made here,
/// or with an environment that is put together name by name.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_started_without_tokens() {
        let command = command("true");
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        let mut wanted = VARIABLES.to_vec();
        wanted.sort_unstable();
        assert_eq!(removed, wanted);
    }

    /// `Command::new` outside this file is only for programs whose environment is cleared first, and for
    /// this program in its own place.
    #[test]
    fn no_program_is_started_in_another_way() {
        fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    files(&path, found);
                } else if path.extension().is_some_and(|ending| ending == "rs") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["core", "engine", "cli"] {
            files(&crates.join(name).join("src"), &mut found);
        }
        let mut sites = Vec::new();
        for path in found {
            let text = fs_err::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let is_test = path.components().any(|part| part.as_os_str() == "tests")
                || path.ends_with("tests.rs")
                || path.ends_with("store/crash.rs")
                || path.ends_with("secrets.rs");
            for (number, _) in product.match_indices("Command::new(") {
                let after = product[number..].chars().take(260).collect::<String>();
                let is_own = after.contains(".exec()");
                if !is_test
                    && !is_own
                    && !after.contains("env_clear()")
                    && !after.contains("= \"clap\"")
                {
                    sites.push(path.clone());
                }
            }
        }
        assert_eq!(sites, Vec::<std::path::PathBuf>::new());
    }
}
