//! Reads what git writes about submodules.

use wheelfarm_core::ident::GitCommit;

/// The submodules of a tree: `160000 commit <id>\t<path>`, ended by zero bytes.
pub(super) fn gitlinks(listing: &[u8]) -> Vec<(String, GitCommit)> {
    let entries = listing.split(|byte| *byte == 0);
    entries
        .filter_map(|entry| {
            let (head, path) = str::from_utf8(entry).ok()?.split_once('\t')?;
            let commit = head.strip_prefix("160000 commit ")?.parse().ok()?;
            Some((path.to_owned(), commit))
        })
        .collect()
}

/// A submodule as `.gitmodules` has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Module {
    name: String,
    pub(super) path: String,
    pub(super) url: String,
    pub(super) update: String,
}

/// Reads `submodule.<name>.<key>\n<value>`, ended by zero bytes.
pub(super) fn modules(settings: &[u8]) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let text = String::from_utf8_lossy(settings);
    for setting in text.split('\0') {
        let Some((key, value)) = setting.split_once('\n') else {
            continue;
        };
        let key = key
            .strip_prefix("submodule.")
            .and_then(|key| key.rsplit_once('.'));
        let Some((name, key)) = key else {
            continue;
        };
        if modules.last().is_none_or(|module| module.name != name) {
            modules.push(Module {
                name: name.to_owned(),
                ..Module::default()
            });
        }
        let Some(module) = modules.last_mut() else {
            continue;
        };
        match key {
            "path" => value.clone_into(&mut module.path),
            "url" => value.clone_into(&mut module.url),
            "update" => value.clone_into(&mut module.update),
            _ => {}
        }
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodules_are_read_from_what_git_writes() {
        let id = "d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5";
        let listing = format!("100644 blob {id}\tx.py\x00160000 commit {id}\tcsrc/a b\x00");
        let links = gitlinks(listing.as_bytes());
        assert_eq!(links, [("csrc/a b".to_owned(), id.parse().unwrap())]);
        let settings = "submodule.csrc/cut.lass.path\ncsrc/cutlass\0\
                        submodule.csrc/cut.lass.url\n../cutlass.git\0\
                        submodule.b.path\nb\0submodule.b.update\nnone\0core.x\n1\0";
        let modules = modules(settings.as_bytes());
        assert_eq!(modules.len(), 2);
        assert_eq!(modules[0].path, "csrc/cutlass");
        assert_eq!(modules[0].url, "../cutlass.git");
        assert_eq!(modules[1].update, "none");
    }
}
