//! The compiler cache on a real engine, with a package of three `.cu` files and one `.cpp`: what is compiled
//! again and what is not, and that no byte of a wheel depends on it.
//!
//! A second Python on one base is measured by hand (docs/cache.md): no image that CI can reach has two.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A copy of the farm, with a name of its own, so that its cache is its own; both go with it.
struct Farm {
    folder: tempfile::TempDir,
    name: String,
}

/// What a build came to.
struct Built {
    wheel: Vec<u8>,
    cache: Value,
}

impl Farm {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let like = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/compiler-cache");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(like.join("."))
            .arg(folder.path())
            .status();
        assert!(copied.unwrap().success());
        let name = format!("compiler-cache-{}", std::process::id());
        let farm = Self { folder, name };
        farm.edit(
            "matrix.yaml",
            "farm: compiler-cache",
            &format!("farm: {}", farm.name),
        );
        farm
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs_err::write(path, text.replace(from, to)).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn build(&self) -> Built {
        let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .args(["build", "--force", "--format", "json", "--out"])
            .arg(self.out())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}\n{text}",
            String::from_utf8_lossy(&output.stdout)
        );
        let jobs = fs_err::read_dir(self.out().join("jobs")).unwrap();
        let job = jobs.map(|entry| entry.unwrap().path()).next().unwrap();
        let files = fs_err::read_dir(&job)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let wheel = files
            .into_iter()
            .find(|path| path.extension().is_some_and(|end| end == "whl"));
        let manifest = fs_err::read(job.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        Built {
            wheel: fs_err::read(wheel.unwrap()).unwrap(),
            cache: manifest["cost"]["cache"].clone(),
        }
    }

    fn volume(&self) -> String {
        let listed = docker(&["volume", "ls", "--quiet", "--filter", &self.label()]);
        let names: Vec<_> = listed.lines().collect();
        assert_eq!(names.len(), 1, "one cache for one package: {listed}");
        names[0].to_owned()
    }

    /// The volumes of farms in other folders carry other labels.
    fn label(&self) -> String {
        let all = docker(&[
            "volume",
            "ls",
            "--filter",
            "label=dev.wheelfarm.cache",
            "--format",
            "{{.Label \"dev.wheelfarm.cache\"}}",
        ]);
        let own = all.lines().find(|label| label.contains(&self.name));
        format!(
            "label=dev.wheelfarm.cache={}",
            own.unwrap_or_else(|| panic!("{all}"))
        )
    }

    /// Runs a script as the user that compiles, with the cache at `/cache`.
    fn in_cache(&self, script: &str) {
        let images = docker(&["images", "--quiet", "wheelfarm/toolkit"]);
        let image = images.lines().next().unwrap();
        let mount = format!("{}:/cache", self.volume());
        docker(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--user",
            "10001:10001",
            "--volume",
            &mount,
            image,
            "python",
            "-c",
            script,
        ]);
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let listed = docker(&["volume", "ls", "--quiet", "--filter", &self.label()]);
        for volume in listed.lines() {
            docker(&["volume", "rm", volume]);
        }
    }
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Objects needed and compiled: nvcc's, the host compiler's.
fn objects(cache: &Value) -> [u64; 4] {
    [
        "/objects/cuda/needed",
        "/objects/cuda/compiled",
        "/objects/host/needed",
        "/objects/host/compiled",
    ]
    .map(|place| {
        cache
            .pointer(place)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{cache:#}"))
    })
}

/// Steps of device code taken from the cache, and run.
fn device_steps(cache: &Value) -> [u64; 4] {
    [
        "/steps/cicc/hits",
        "/steps/cicc/misses",
        "/steps/ptxas/hits",
        "/steps/ptxas/misses",
    ]
    .map(|place| {
        cache
            .pointer(place)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{cache:#}"))
    })
}

const CORRUPT: &str = r"
import pathlib
entries = [path for path in pathlib.Path('/cache').rglob('*') if path.is_file() and len(path.name) == 64]
assert len(entries) >= 10, entries
for number, path in enumerate(entries):
    content = bytearray(path.read_bytes())
    if number % 3 == 0:
        content = content[: len(content) // 2]
    elif number % 3 == 1:
        content[len(content) // 2] ^= 0x10
    else:
        content = bytearray(b'no entry at all')
    path.write_bytes(content)
";

#[test]
fn docker_an_object_is_compiled_once_and_no_byte_depends_on_the_cache() {
    let farm = Farm::new();
    let first = farm.build();
    assert_eq!(first.cache["state"], "used", "{:#}", first.cache);
    assert_eq!(objects(&first.cache), [3, 3, 1, 1]);
    assert_eq!(device_steps(&first.cache), [0, 3, 0, 3]);

    let again = farm.build();
    assert_eq!(objects(&again.cache), [3, 0, 1, 0], "{:#}", again.cache);
    assert_eq!(device_steps(&again.cache), [3, 0, 3, 0]);
    assert!(
        again.wheel == first.wheel,
        "the wheel out of the cache is the same"
    );

    // The arch that is new is compiled, and the one that was there is not.
    farm.edit("matrix.yaml", "\"9.0\"", "\"9.0\", \"12.0\"");
    let wider = farm.build();
    assert_eq!(
        device_steps(&wider.cache),
        [3, 3, 3, 3],
        "{:#}",
        wider.cache
    );
    farm.edit("matrix.yaml", "\"9.0\", \"12.0\"", "\"9.0\"");

    // Entries cut short, with a bit turned, and of something else are none.
    farm.in_cache(CORRUPT);
    let mended = farm.build();
    assert_eq!(objects(&mended.cache), [3, 3, 1, 1], "{:#}", mended.cache);
    assert!(
        mended.cache["read_faults"].as_u64() > Some(0),
        "{:#}",
        mended.cache
    );
    assert!(
        mended.wheel == first.wheel,
        "the wheel past a corrupt cache is the same"
    );
    let again = farm.build();
    assert_eq!(
        objects(&again.cache),
        [3, 0, 1, 0],
        "what was corrupt is there again"
    );

    // A cache that nobody can write to is none.
    farm.in_cache("import os; os.chmod('/cache', 0o500)");
    let closed = farm.build();
    assert_eq!(closed.cache["state"], "broken", "{:#}", closed.cache);
    assert_eq!(objects(&closed.cache), [3, 3, 1, 1]);
    assert!(
        closed.wheel == first.wheel,
        "the wheel of a broken cache is the same"
    );
    farm.in_cache("import os; os.chmod('/cache', 0o700)");

    // Nor does one that is full fail a build.
    farm.edit("matrix.yaml", "build:\n", "build:\n  cache: 1MiB\n");
    farm.edit("packages/demo/source/csrc/scale.cu", "*= by", "+= by * by");
    farm.build();

    farm.edit("packages/demo/source/csrc/scale.cu", "+= by * by", "*= by");
    farm.edit("matrix.yaml", "cache: 1MiB", "cache: off");
    let without = farm.build();
    assert_eq!(without.cache["state"], "off", "{:#}", without.cache);
    assert_eq!(objects(&without.cache), [3, 3, 1, 1]);
    assert!(
        without.wheel == first.wheel,
        "the wheel without a cache is the same"
    );
}
