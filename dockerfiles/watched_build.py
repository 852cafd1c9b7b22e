#!/opt/venv/bin/python -IS
"""Runs a build inside its container: with the compiler cache, where there is one, and with figures of both.

    watched_build.py COMMAND [ARGUMENT...]

Ends as the command ends. WHEELFARM_CACHE names the cache's folder, WHEELFARM_CACHE_BYTES its limit. A cache
that does not start or breaks costs time, and never the build: the stand-ins of the compilers go on without it.

Leaves /build/usage.json, what the container's control group counted:
    {"cpu_ms": N, "peak_memory_bytes": N, "build_bytes": N, "schema": 1}
peak_memory_bytes is the highest of what was looked at twice a second, without the pages of files that the kernel
could have dropped; a figure that cannot be had is left out. And /build/cache.json:
    {"schema": 1, "state": "used" | "off" | "broken", "tool": "sccache 0.16.0", "fault": WHY IT BROKE,
     "objects": {"cuda": {"needed": N, "compiled": N}, "host": {…}},
     "steps": {"cicc": {"hits": N, "misses": N}, …},
     "without_cache": N, "read_faults": N, "write_faults": N, "cache_bytes": N}
An object was compiled when the last step of its compilation was run: host compiler, after all device code. The
steps say how much of the device code was compiled: nvcc's are cached one by one, for each arch.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading

BUILD = "/build"
TOOL = "/opt/wheelfarm/cache-tool/bin/sccache"
CGROUP = "/sys/fs/cgroup"
LOOK_EVERY_S = 0.5


def main():
    memory = PeakMemory()
    memory.start()
    cache = Cache.start()
    code = subprocess.run(sys.argv[1:], check=False).returncode
    for name, figures in (("cache.json", cache.figures), ("usage.json", lambda: usage(memory))):
        try:
            remove(f"{BUILD}/{name}")
            write(name, figures())
        except Exception as error:  # No figure is worth a wheel, and the build could have written anything.
            print(f"wheelfarm: no figures in {name}: {error!r}", file=sys.stderr)
    sys.exit(code if code >= 0 else 128 - code)


class Cache:
    """The compiler cache of one build: its server, and what it counts."""

    def __init__(self, state, fault=None):
        self.state, self.fault = state, fault

    @classmethod
    def start(cls):
        os.environ["WHEELFARM_OBJECTS"] = f"{BUILD}/objects.jsonl"
        remove(os.environ["WHEELFARM_OBJECTS"])
        folder = os.environ.get("WHEELFARM_CACHE")
        if not folder:
            return cls("off")
        try:
            return cls.begin(folder)
        except Exception as error:  # Without the cache the build takes longer, and that is all.
            told = getattr(error, "stderr", None) or str(error)
            told = told.decode(errors="replace") if isinstance(told, bytes) else told
            fault = " ".join(told.split())
            print(f"wheelfarm: compiling without the cache: {fault}", file=sys.stderr)
            os.environ.pop("WHEELFARM_CACHE_TOOL", None)
            return cls("broken", fault)

    @classmethod
    def begin(cls, folder):
        embeds = embedding_source()
        if embeds:
            fault = f"{embeds} takes in files that the preprocessor does not see"
            print(f"wheelfarm: compiling without the cache: {fault}", file=sys.stderr)
            return cls("off", fault)
        settings = {
            "SCCACHE_DIR": folder,
            "SCCACHE_CACHE_SIZE": os.environ.get("WHEELFARM_CACHE_BYTES", str(10 << 30)),
            "SCCACHE_SERVER_UDS": "/tmp/wheelfarm-cache.sock",
            "SCCACHE_IDLE_TIMEOUT": "0",
            # What it is given is what makes an object, down to the assembler: it looks at fewer programs itself.
            "SCCACHE_C_CUSTOM_CACHE_BUSTER": compilers_digest(),
            "SCCACHE_CONF": "/dev/null",
            # Its short cut past the preprocessor fails for good on an entry that is corrupt.
            "SCCACHE_DIRECT": "false",
            "SCCACHE_LOG": "off",
        }
        os.environ.update(settings)
        probe = os.path.join(folder, f".probe-{os.getpid()}-{os.uname().nodename}")
        with open(probe, "wb"):
            os.remove(probe)
        ask("--start-server")
        os.environ["WHEELFARM_CACHE_TOOL"] = TOOL
        return cls("used")

    def figures(self):
        objects = {language: {"needed": 0, "compiled": 0} for language in ("cuda", "host")}
        without = 0
        for entry in lines(os.environ["WHEELFARM_OBJECTS"]):
            counts = objects[entry["language"]]
            counts["needed"] += 1
            if entry["way"] in ("compiler", "compiled"):
                counts["compiled"] += 1
                without += 1
            self.fault = self.fault or entry.get("fault")
        figures = {"schema": 1, "state": self.state, "objects": objects, "without_cache": without}
        if self.state == "used":
            figures.update(self.counted(objects))
        if self.fault:
            figures["fault"] = self.fault
        return figures

    def counted(self, objects):
        try:
            told = json.loads(ask("--show-stats", "--stats-format", "json"))
            ask("--stop-server")
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.fault = self.fault or f"the cache's figures cannot be had: {error}"
            return {"state": "broken"}
        stats = told["stats"]
        hits, misses = stats["cache_hits"]["adv_counts"], stats["cache_misses"]["adv_counts"]
        steps = {}
        for name in sorted({*hits, *misses}):
            # `ptx [cicc]`, `c/c++ [gcc]`
            program = name.partition("[")[2].rstrip("]") or name
            step = steps.setdefault(program, {"hits": 0, "misses": 0})
            step["hits"] += hits.get(name, 0)
            step["misses"] += misses.get(name, 0)
            if program == "nvcc":
                objects["cuda"]["compiled"] += misses.get(name, 0)
            elif program not in ("cicc", "ptxas", "cudafe++"):
                objects["host"]["compiled"] += misses.get(name, 0)
        return {
            "tool": f"sccache {told['version']}",
            "steps": steps,
            "read_faults": sum(stats["cache_errors"]["counts"].values()) + stats["cache_read_errors"],
            "write_faults": stats["cache_write_errors"],
            "cache_bytes": told["cache_size"] or 0,
        }


def ask(*arguments):
    told = subprocess.run([TOOL, *arguments], check=True, capture_output=True, text=True, timeout=60)
    return told.stdout


def embedding_source():
    """A source whose object rests on files that the assembler or the compiler reads, which no cache looks at."""
    suffixes = (".c", ".cc", ".cpp", ".cxx", ".C", ".cu", ".cuh", ".h", ".hh", ".hpp", ".inl", ".s", ".S", ".asm")
    for folder, _, names in os.walk(f"{BUILD}/source"):
        for name in names:
            if name.endswith(suffixes):
                path = os.path.join(folder, name)
                try:
                    with open(path, "rb") as file:
                        text = file.read()
                except OSError:
                    continue
                if any(sign in text for sign in (b".incbin", b'.include "', b".include \\\"", b"#embed")):
                    return os.path.relpath(path, f"{BUILD}/source")
    return None


def compilers_digest():
    """Of every program that has a part in an object."""
    top = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    paths = [f"{top}/bin/{name}" for name in ("nvcc.real", "cudafe++", "ptxas", "fatbinary", "bin2c", "nvcc.profile")]
    paths += [f"{top}/nvvm/bin/cicc", f"{top}/nvvm/libdevice/libdevice.10.bc", TOOL]
    # The programs themselves, and not what stands in their place.
    path = os.environ["PATH"].split(":", 1)[1] if "/opt/wheelfarm/" in os.environ["PATH"] else None
    paths += [shutil.which(driver, path=path) or driver for driver in ("gcc", "g++", "cc", "c++")]
    for part in ("cc1", "cc1plus", "as", "collect2"):
        try:
            told = subprocess.run(["gcc", f"-print-prog-name={part}"], check=True, capture_output=True, text=True)
            paths.append(shutil.which(told.stdout.strip()) or part)
        except (OSError, subprocess.SubprocessError):
            paths.append(part)
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                own = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashed(file)
            digest.update(own.digest())
        except OSError:
            digest.update(b"absent")
    return digest.hexdigest()


def hashed(file):
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest


class PeakMemory(threading.Thread):
    """Looks at what the container uses, for as long as the build runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes = None

    def run(self):
        while True:
            self.look()
            threading.Event().wait(LOOK_EVERY_S)

    def look(self):
        for used, stat, prefix in (
            (f"{CGROUP}/memory.current", f"{CGROUP}/memory.stat", ""),
            (f"{CGROUP}/memory/memory.usage_in_bytes", f"{CGROUP}/memory/memory.stat", "total_"),
        ):
            try:
                with open(used, encoding="ascii") as file:
                    now = int(file.read())
                with open(stat, encoding="ascii") as file:
                    pages = dict(line.split() for line in file)
            except (OSError, ValueError):
                continue
            # The kernel drops the active ones too before it kills: a build that reads back what it wrote would
            # look several times as large as it is.
            cached = sum(int(pages.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
            self.bytes = max(self.bytes or 0, now - cached)
            return


def usage(memory):
    memory.look()
    found = {"schema": 1, "peak_memory_bytes": memory.bytes, "cpu_ms": cpu_ms(), "build_bytes": size_of(BUILD)}
    return {name: value for name, value in found.items() if value is not None}


def cpu_ms():
    try:
        with open(f"{CGROUP}/cpu.stat", encoding="ascii") as file:
            return int(dict(line.split() for line in file)["usage_usec"]) // 1000
    except (OSError, ValueError, KeyError):
        pass
    for folder in ("cpuacct", "cpu,cpuacct"):
        try:
            with open(f"{CGROUP}/{folder}/cpuacct.usage", encoding="ascii") as file:
                return int(file.read()) // 1_000_000
        except (OSError, ValueError):
            continue
    return None


def size_of(folder):
    """What a folder takes on the disk."""
    blocks = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                blocks += os.lstat(os.path.join(place, name)).st_blocks
            except OSError:
                continue
    return blocks * 512


def lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError):
        return []


def write(name, figures):
    with open(f"{BUILD}/{name}", "w", encoding="utf-8") as file:
        file.write(json.dumps(figures, sort_keys=True) + "\n")


def remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


if __name__ == "__main__":
    main()
