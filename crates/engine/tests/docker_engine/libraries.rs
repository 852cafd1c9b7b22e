//! The symbol tables of an image's libraries, by the script that reads them in a container of it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::gate::libraries::{Libraries, Library};
use wheelfarm_core::read_at::SeekBytes;
use wheelfarm_core::wheel::elf;
use wheelfarm_engine::libraries::{LibrariesError, environment_libraries};
use wheelfarm_engine::run::StopSignal;

use crate::lab::{Lab, with_lab};

const SITE: &str = "/opt/venv/lib/python3/site-packages";

/// What this machine's Python is made of.
#[derive(Debug)]
struct Python {
    program: Utf8PathBuf,
    /// `3.11`.
    version: String,
    standard_library: Utf8PathBuf,
    /// What the program loads, the loader among them.
    libraries: BTreeSet<Utf8PathBuf>,
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Python {
    fn of_this_machine() -> Self {
        let script = "import os, sys, sysconfig\n\
                      print(os.path.realpath(sys.executable), sysconfig.get_python_version(), \
                      sysconfig.get_path('stdlib'))";
        let told = output_of("python3", &["-I", "-c", script]);
        let words: Vec<_> = told.split_whitespace().collect();
        let [program, version, standard_library] = words[..] else {
            panic!("{told}");
        };
        let loaded = output_of("ldd", &[program]);
        let libraries = loaded
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        Self {
            program: program.into(),
            version: version.to_owned(),
            standard_library: standard_library.into(),
            libraries: libraries.map(Utf8PathBuf::from).collect(),
        }
    }
}

/// The root of an image.
struct Root {
    archive: tar::Builder<Vec<u8>>,
}

impl Root {
    /// This machine's Python as an environment, with a copy of `libm` and a text in torch's folder.
    fn of(python: &Python) -> Bytes {
        let mut root = Self {
            archive: tar::Builder::new(Vec::new()),
        };
        root.folder("tmp/", 0o1777);
        for path in [&python.program, Utf8Path::new("/usr/sbin/ldconfig")] {
            root.file(path, path);
        }
        for path in &python.libraries {
            root.file(path, path);
        }
        let cache = Utf8Path::new("/etc/ld.so.cache");
        root.file(cache, cache);
        root.modules(&python.standard_library);
        root.link("/opt/venv/bin/python", &python.program);
        let home = python.program.parent().unwrap();
        root.text("/opt/venv/pyvenv.cfg", &format!("home = {home}\n"));
        let site = SITE.replace("python3", &format!("python{}", python.version));
        let libm = python
            .libraries
            .iter()
            .find(|path| path.file_name() == Some("libm.so.6"));
        let libm = libm.expect("Python loads libm");
        root.file(libm, Utf8Path::new(&format!("{site}/torch/lib/libm.so.6")));
        root.text(
            &format!("{site}/torch/lib/libtext.so"),
            "INPUT(libm.so.6)\n",
        );
        Bytes::from(root.archive.into_inner().unwrap())
    }

    fn folder(&mut self, path: &str, mode: u32) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        self.archive
            .append_data(&mut header, path, &b""[..])
            .unwrap();
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len()).unwrap());
        let path = path.trim_start_matches('/');
        self.archive
            .append_data(&mut header, path, content)
            .unwrap();
    }

    fn text(&mut self, path: &str, text: &str) {
        self.add(path, 0o644, text.as_bytes());
    }

    fn file(&mut self, from: &Utf8Path, to: &Utf8Path) {
        let mode = fs_err::metadata(from).unwrap().permissions().mode();
        self.add(to.as_str(), mode, &fs_err::read(from).unwrap());
    }

    fn link(&mut self, path: &str, target: &Utf8Path) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let path = path.trim_start_matches('/');
        self.archive.append_link(&mut header, path, target).unwrap();
    }

    /// The modules of Python, but not its tests and what it compiles.
    fn modules(&mut self, folder: &Utf8Path) {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let name = path.file_name().unwrap();
            let is_needless = ["test", "site-packages", "dist-packages", "__pycache__"];
            if is_needless.contains(&name) || name.starts_with("config-") {
                continue;
            }
            if path.is_dir() {
                self.modules(&path);
            } else if matches!(path.extension(), Some("py" | "so")) {
                self.file(&path, &path);
            }
        }
    }
}

/// The file on this machine, read as a whole.
fn whole(path: &Utf8Path) -> Library {
    let file = fs_err::File::open(path).unwrap();
    let mut bytes = SeekBytes::new(file).unwrap();
    let module = elf::inspect(path.as_str(), &mut bytes).unwrap();
    Library::of_module(path.as_str(), &module)
}

#[track_caller]
fn check_same(found: &Library, path: &Utf8Path) {
    let whole = whole(path);
    assert!(!whole.symbols.is_empty(), "{path}");
    assert_eq!(found.symbols, whole.symbols, "{path}");
    assert_eq!(found.needed, whole.needed, "{path}");
}

async fn read(lab: &Lab, root: Bytes, cache: &Utf8Path) -> Result<Libraries, LibrariesError> {
    let image = lab.import("python", root).await;
    let stop = StopSignal::default();
    let labels = lab.labels();
    environment_libraries(&lab.engine, &image, cache, &labels, &stop).await
}

#[tokio::test]
async fn docker_an_image_tells_the_symbols_of_its_libraries() {
    with_lab("libraries", async |lab| {
        let python = Python::of_this_machine();
        let cache = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(cache.path()).unwrap();
        let found = read(lab, Root::of(&python), cache).await.unwrap();
        let interpreter = found.interpreter.as_ref().unwrap();
        assert_eq!(interpreter.path, python.program);
        check_same(interpreter, &python.program);
        for path in &python.libraries {
            let name = path.file_name().unwrap();
            check_same(&found.libraries[name], path);
        }
        let libm = &found.libraries["libm.so.6"].path;
        assert!(
            libm.ends_with("/site-packages/torch/lib/libm.so.6"),
            "{libm}"
        );
        assert!(!found.libraries.contains_key("libtext.so"));
        assert!(found.closure([]).unknown.is_empty());
        // Kept, and nothing else with it but the lock.
        assert_eq!(cache.join("libraries").read_dir_utf8().unwrap().count(), 2);
    })
    .await;
}

#[tokio::test]
async fn docker_an_image_without_python_is_an_error_and_leaves_nothing() {
    with_lab("no-python", async |lab| {
        let cache = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(cache.path()).unwrap();
        let stop = StopSignal::default();
        let res = environment_libraries(&lab.engine, &lab.image, cache, &lab.labels(), &stop).await;
        let error = res.unwrap_err();
        assert!(matches!(error, LibrariesError::Script { .. }), "{error:?}");
        assert!(
            error.to_string().contains("/opt/venv/bin/python"),
            "{error}"
        );
    })
    .await;
}
