"""What a widely copied script of regular expressions does to SageAttention's setup.py.

The script is given out under the name `patch_setup.py` in a guide to building SageAttention for an
RTX 5090 (a Dockerfile of RunPod's base image with TORCH_CUDA_ARCH_LIST="8.0 8.6 9.0 12.0+PTX"; copies
of it stand in several public repositories). `patched` below does the same in words of our own: the
two texts that it looks for before it begins, its three expressions with their replacements, and the
sentence it ends with, whatever happened.

Usage: guide_script.py SETUP_PY...      one JSON object on standard output
Nothing is compiled and nothing of torch is needed: setup.py runs with stand-ins for the modules that
it imports, which note the extensions and their flags.
"""

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import types

SENTENCE = "Successfully patched setup.py to add RTX 5090 (sm_120) support."

# What the guide sets for the build, on a machine without a GPU; a 5090 and an H100 without a list.
GUIDE_LIST = "8.0 8.6 9.0 12.0+PTX"
MACHINES = {
    "guide": {"gpu": None, "list": GUIDE_LIST},
    "rtx-5090": {"gpu": (12, 0), "list": None},
    "h100": {"gpu": (9, 0), "list": None},
}


def patched(text):
    """The text after the script, and what the script says."""
    if "sm_120" in text or "compute_120" in text:
        return text, "setup.py already has sm_120 support. No changes needed."

    # 1. The flags HAS_SM80, HAS_SM86 and HAS_SM90, one below the other, get a fourth.
    flag = 'HAS_SM{} = compute_capabilities is not None and any(cc.startswith("{}") for cc in compute_capabilities)\n'
    known = [("80", "8.0"), ("86", "8.6"), ("90", "9.0"), ("120", "12.0")]
    flags = "".join(flag.format(*names) for names in known)
    text = re.sub(r"HAS_SM80 = .+?\n\s*HAS_SM86 = .+?\n\s*HAS_SM90 = .+?\n", lambda _: flags, text)

    # 2. The block of the extension for 9.0 is written a second time, for 12.0.
    block = re.search(r"(if HAS_SM90:.*?ext_modules\.append\(.*?\))", text, re.DOTALL)
    if block:
        block = block.group(1)
        second = block.replace("HAS_SM90", "HAS_SM120")
        for name in ["_qattn_sm{}", "pybind_sm{}.cpp", "qk_int_sv_f8_cuda_sm{}.cu"]:
            second = second.replace(name.format(90), name.format(120))
        text = text.replace(block, f"{block}\n\n# RTX 5090 (Blackwell) extension\n{second}")

    # 3. A list of compute capabilities gets "12.0".
    capabilities = re.search(r"compute_capabilities = \[(.*?)\]", text)
    if capabilities:
        inside = capabilities.group(1)
        if '"12.0"' not in inside and "'12.0'" not in inside:
            inside = f'{inside}, "12.0"' if inside.strip() else '"8.0", "8.6", "9.0", "12.0"'
            text = text.replace(capabilities.group(0), f"compute_capabilities = [{inside}]")
    return text, SENTENCE


class Version:
    """As much of packaging's as setup.py uses."""

    def __init__(self, text):
        self.parts = tuple(int(part) for part in text.split("."))

    def __lt__(self, other):
        return self.parts < other.parts


def stand_ins(gpu, extensions):
    """The modules that setup.py imports."""

    def module(name, **names):
        made = types.ModuleType(name)
        vars(made).update(names)
        return made

    def extension(name, sources, extra_compile_args=None, **_):
        return {"name": name, "sources": sources, "args": extra_compile_args or {}}

    def setup(ext_modules=(), **_):
        extensions.extend(ext_modules)

    cuda = module(
        "torch.cuda",
        is_available=lambda: gpu is not None,
        device_count=lambda: 0 if gpu is None else 1,
        get_device_capability=lambda _=0: gpu,
    )
    cpp_extension = module(
        "torch.utils.cpp_extension",
        BuildExtension=type("BuildExtension", (), {}),
        CUDAExtension=extension,
        CUDA_HOME="/cuda",
    )
    utils = module("torch.utils", cpp_extension=cpp_extension)
    abi = types.SimpleNamespace(_GLIBCXX_USE_CXX11_ABI=True)
    version = module("packaging.version", Version=Version, parse=Version)
    modules = [
        module("torch", cuda=cuda, utils=utils, _C=abi, __version__="2.8.0"),
        cuda,
        utils,
        cpp_extension,
        module("packaging", version=version),
        version,
        module("setuptools", setup=setup, find_packages=lambda *_: ["sageattention"]),
    ]
    return {made.__name__: made for made in modules}


@contextlib.contextmanager
def swapped(table, values):
    """A dictionary with other values for a while; None takes a key out."""
    before = {key: table.get(key) for key in values}

    def put(wanted):
        for key, value in wanted.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value

    put(values)
    try:
        yield
    finally:
        put(before)


def run(text, machine):
    """What `setup.py` with this text hands to setuptools on a machine, or how it fails."""
    extensions = []
    modules = stand_ins(machine["gpu"], extensions)
    environment = {"TORCH_CUDA_ARCH_LIST": machine["list"], "SAGEATTN_SKIP_CUDA_BUILD": None}
    compiler = subprocess.check_output
    subprocess.check_output = lambda *_, **__: "Cuda compilation tools, release 12.8, V12.8.93"
    start = os.getcwd()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            swapped(sys.modules, modules),
            swapped(os.environ, environment),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            os.chdir(folder)
            with open("README.md", "w", encoding="utf-8"):
                pass
            try:
                exec(compile(text, "setup.py", "exec"), {"__name__": "__main__", "__file__": "setup.py"})
            finally:
                os.chdir(start)
    except Exception as error:  # whatever a setup.py raises is what its user sees
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        return {"error": f"{type(error).__name__}: {message}"}
    finally:
        subprocess.check_output = compiler
    flags = [flag for made in extensions for flag in made["args"].get("nvcc", [])]
    codes = {flag.split("code=")[1] for flag in flags if "code=" in flag}
    return {
        "extensions": [made["name"].removeprefix("sageattention.") for made in extensions],
        "sources": sorted({source for made in extensions for source in made["sources"]}),
        "codes": sorted(codes, key=lambda code: (code.startswith("compute"), len(code), code)),
    }


def is_python(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def report(text):
    """What the script does to one setup.py, and what comes of that on each machine."""
    after, said = patched(text)
    added = [line for line in after.splitlines() if line.strip()]
    before = [line for line in text.splitlines() if line.strip()]
    # Every source that upstream names on any GPU is one that upstream has.
    gpus = [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (12, 1)]
    there = [run(text, {"gpu": gpu, "list": None}) for gpu in gpus]
    there = {source for outcome in there for source in outcome.get("sources", [])}

    def outcome(text, machine):
        ran = run(text, machine)
        sources = ran.pop("sources", [])
        missing = [source for source in sources if source not in there]
        return {**ran, "missing": missing} if missing else ran

    return {
        "said": said,
        "lines_added": len(added) - len(before),
        "is_python": is_python(after),
        "before": {name: outcome(text, machine) for name, machine in MACHINES.items()},
        "after": {name: outcome(after, machine) for name, machine in MACHINES.items()},
    }


def main(paths):
    reports = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            reports[path] = report(file.read())
    json.dump(reports, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
