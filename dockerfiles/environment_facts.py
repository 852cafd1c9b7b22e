"""Tells what a Python, its torch and its system are: one JSON line. `wheelfarm resolve` runs it with a Python of this
machine or of an image. It imports nothing but the standard library, torch least of all, and runs on any Python.
"""
import sys

sys.path[:] = [entry for entry in sys.path if entry]  # the folder it is run in may hold a `json.py`
import glob
import json
import os
import platform
import re


def torch_version():
    """By its metadata; None when it has none."""
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # before Python 3.8
        for entry in sys.path:
            for folder in glob.glob(os.path.join(entry, "torch-*.dist-info")):
                return os.path.basename(folder)[len("torch-") : -len(".dist-info")]
        return None
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def torch_words():
    """What `torch/version.py` sets, by name; read and not run."""
    for entry in sys.path:
        path = os.path.join(entry, "torch", "version.py")
        if os.path.isfile(path):
            with open(path) as file:
                text = file.read()
            found = re.findall(r"^(\w+)\s*(?::[^=\n]+)?=\s*['\"]?([^'\"\n]+)['\"]?\s*$", text, re.M)
            return dict(found)
    return {}


def torch_facts():
    words = torch_words()
    version = torch_version() or words.get("__version__")
    said = [words.get(name, "None") for name in ("cuda", "hip")]
    if said[0] != "None":
        cuda = said[0]
    elif said[1] != "None":
        cuda = "rocm" + said[1]
    else:
        cuda = "cpu" if "cuda" in words else None
    return version, cuda if version else None


def glibc():
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
    except (AttributeError, OSError, TypeError, ValueError):
        return None
    return version if name == "glibc" else None


def is_musl():
    return glibc() is None and bool(glob.glob("/lib/ld-musl-*"))


def is_free_threaded():
    try:
        import sysconfig
    except ImportError:
        return False
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


torch, torch_cuda = torch_facts()
facts = {
    "schema": 1,
    "implementation": platform.python_implementation(),
    "python": list(sys.version_info[:3]),
    "free_threaded": is_free_threaded(),
    "torch": torch,
    "torch_cuda": torch_cuda,
    "glibc": glibc(),
    "musl": is_musl(),
    "machine": platform.machine(),
}
print("wheelfarm-facts: " + json.dumps(facts))
