//! Lists the packages of this repository, so that `wheelfarm init` has them where there is no checkout.
#![expect(
    clippy::disallowed_methods,
    reason = "what is built in is read while the program is built, and never later"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder");
    let top = Path::new(&here).join("../..");
    let mut table = String::from("&[\n");
    for folder in ["packages", "patches"] {
        println!("cargo::rerun-if-changed={}", top.join(folder).display());
        for path in files(&top.join(folder))? {
            let name = path.strip_prefix(&top).expect("it lies below the top");
            let (name, path) = (name.display().to_string(), path.display().to_string());
            writeln!(table, "({name:?}, include_str!({path:?})),")
                .expect("a String takes all that is written");
        }
    }
    table.push(']');
    let out = env::var_os("OUT_DIR").expect("cargo names the folder of what a build script makes");
    fs::write(Path::new(&out).join("shipped_files.rs"), table)
}

/// The files below `folder`, sorted; without what an editor or Python leaves there.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_shipped =
            ["yaml", "py", "patch"].map(|suffix| path.extension() == Some(suffix.as_ref()));
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if is_shipped.contains(&true) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
