#!/opt/venv/bin/python -IS
"""Stands in nvcc's place inside a compile container: writes the command line down, then runs nvcc.

One JSON object a line goes to the file that WHEELFARM_COMMANDS names:
    {"cwd": FOLDER, "argv": [ARGUMENT, ...]}
argv is what nvcc acts on: with the flags of NVCC_PREPEND_FLAGS and NVCC_APPEND_FLAGS, and with every
--options-file replaced by what it holds, for such a file is gone when the build has ended.

In a rehearsal (WHEELFARM_REHEARSAL is set) nothing of the package is compiled: the outputs are left
empty, also those of the host compilers, as which this program is called then. What a build only tries
out (cmake's probes, `nvcc --version`) is run for real, for its answer decides on what the build does.
"""

import json
import os
import shlex
import sys

SOURCE_SUFFIXES = (".cu", ".c", ".cc", ".cpp", ".cxx", ".C")
# Folders in which cmake and autoconf try compilers out.
PROBES = ("CMakeScratch", "CMakeTmp", "CompilerId", "_CMakeLTOTest", "meson-private", "conftest")
# With these a compiler answers, and makes no part of anything.
QUESTIONS = ("-E", "-M", "-MM", "--preprocess", "--version", "-V", "-dryrun", "--dryrun", "-")


def main():
    name = os.path.basename(sys.argv[0])
    arguments = sys.argv[1:]
    if name == "nvcc":
        real = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "nvcc.real")
        if not is_probe("."):
            record(effective(arguments))
    else:
        real = next_on_path(name)
    if "WHEELFARM_REHEARSAL" in os.environ and is_work(arguments):
        leave_outputs(arguments)
        return
    os.execv(real, [real, *arguments])


def record(arguments):
    path = os.environ.get("WHEELFARM_COMMANDS")
    if not path:
        return
    # A name that is no text is shown with question marks: JSON has no place for it.
    plain = [argument.encode("utf-8", "replace").decode() for argument in arguments]
    line = json.dumps({"cwd": os.getcwd(), "argv": plain}) + "\n"
    # One write to a file opened for appending: lines of compilers side by side do not mix.
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, line.encode())
    os.close(log)


def effective(arguments):
    before = shlex.split(os.environ.get("NVCC_PREPEND_FLAGS", ""))
    after = shlex.split(os.environ.get("NVCC_APPEND_FLAGS", ""))
    return list(expanded(before + arguments + after))


def expanded(arguments):
    rest = iter(arguments)
    for argument in rest:
        option, _, value = argument.partition("=")
        if option in ("--options-file", "-optf"):
            for path in (value or next(rest, "")).split(","):
                yield from read_options(path)
        elif argument.startswith("@"):
            yield from read_options(argument[1:])
        else:
            yield argument


def read_options(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return list(expanded(shlex.split(file.read())))
    except (OSError, ValueError):
        return ["--options-file", path]


def is_work(arguments):
    """Whether a command makes a part of the package, and does not ask the compiler something."""
    output = output_of(arguments)
    if output is None or is_probe(output) or any(question in arguments for question in QUESTIONS):
        return False
    inputs = [a for a in arguments if not a.startswith("-") and a != output]
    sources = [path for path in inputs if path.endswith(SOURCE_SUFFIXES)]
    if not sources:
        return any(path.endswith((".o", ".a", ".rsp")) for path in inputs)
    # What lies in a temporary folder is what a build tries compilers out on.
    return all(os.path.abspath(path).startswith("/build/source/") and not is_probe(path) for path in sources)


def is_probe(path):
    return any(probe in os.path.abspath(path) for probe in PROBES)


def output_of(arguments):
    for position, argument in enumerate(arguments):
        if argument in ("-o", "--output-file"):
            return arguments[position + 1] if position + 1 < len(arguments) else None
        if argument.startswith("--output-file="):
            return argument.partition("=")[2]
    return None


def leave_outputs(arguments):
    paths = [output_of(arguments)]
    for position, argument in enumerate(arguments[:-1]):
        if argument in ("-MF", "--dependency-output"):
            paths.append(arguments[position + 1])
    for path in paths:
        with open(path, "wb") as file:
            # A depfile says what its target depends on; an object may be empty.
            file.write(f"{paths[0]}:\n".encode() if path != paths[0] else b"")


def next_on_path(name):
    own = os.path.dirname(os.path.abspath(sys.argv[0]))
    for folder in os.environ.get("PATH", "/usr/bin:/bin").split(":"):
        path = os.path.join(folder, name)
        if os.path.abspath(folder) != own and os.access(path, os.X_OK):
            return path
    sys.exit(f"wheelfarm: no {name} on PATH besides the recorder")


if __name__ == "__main__":
    main()
