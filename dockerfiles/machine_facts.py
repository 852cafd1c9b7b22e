"""Tells what a Python, its torch and the machine are: one JSON line. `wheelfarm prove` runs it before and after it
installs a wheel. The argument is JSON: the wheel's `tags`, and what it `requires` as METADATA writes it.
"""
import json
import os
import platform
import sys

REAL_STDOUT = os.dup(1)
os.dup2(2, 1)  # whatever a library prints goes to stderr: stdout carries one line


def fits(tags):
    """Whether pip would take a wheel of one of these tags; null when this pip does not tell."""
    try:
        from pip._vendor.packaging.tags import sys_tags
    except ImportError:
        return None
    mine = {str(tag) for tag in sys_tags()}
    return any(tag in mine for tag in tags)


def unmet(requires):
    """The requirements that this environment does not meet, each with what is there."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return []  # the test will tell
    found = []
    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # the gate has its own rule for these
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            found.append(f"{text} (it is not installed)")
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            found.append(f"{text} (there is {there})")
    return found


def pip_version():
    try:
        import pip
    except ImportError:
        return None
    return pip.__version__


def torch_facts():
    import torch

    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            it = torch.cuda.get_device_properties(index)
            devices.append({"name": it.name, "capability": f"{it.major}.{it.minor}", "memory_bytes": it.total_memory})
    return {"version": torch.__version__, "cuda": torch.version.cuda, "devices": devices}, os.path.realpath(torch.__file__)


def host_facts():
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME")
    except (AttributeError, OSError):
        system = None  # Python 3.9, or no such file
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    except (AttributeError, IndexError, OSError, ValueError):
        glibc = None
    return {"os": system, "kernel": platform.release(), "glibc": glibc, "machine": platform.machine()}


asked = json.loads(sys.argv[1])
facts = {
    "schema": 1,
    "python": f"{platform.python_implementation()} {platform.python_version()}",
    "pip": pip_version(),
    "fits": fits(asked["tags"]),
    "unmet": unmet(asked["requires"]),
    "host": host_facts(),
    "torch": None,
    "torch_file": None,
    "torch_error": None,
}
try:
    facts["torch"], facts["torch_file"] = torch_facts()
except BaseException as error:  # noqa: B902  (a broken torch may raise anything)
    facts["torch_error"] = f"{type(error).__name__}: {error}"[:600]
os.write(REAL_STDOUT, (json.dumps(facts) + "\n").encode())
