#!/opt/venv/bin/python -IS
"""Stands in the compilers' place inside a compile container: in nvcc's, and on PATH in the host compilers'.

nvcc's command lines are written down: one JSON object a line goes to the file that WHEELFARM_COMMANDS names,
    {"cwd": FOLDER, "argv": [ARGUMENT, ...]}
argv is what nvcc was given: with the flags of NVCC_PREPEND_FLAGS and NVCC_APPEND_FLAGS, and with every
--options-file replaced by what it holds, for such a file is gone when the build has ended.

A command that makes an object is run so that the object's bytes follow from the sources alone:
    /opt/site         stands for the environment's site-packages, whose path has Python's version in it
    absolute sources  for nvcc: `__FILE__` must not depend on who starts the compiler
    no file symbol    nvcc names the object after a temporary file, with its process's number
and, where WHEELFARM_CACHE_TOOL names a compiler cache, through that. Objects are the same with it and without it.
When the cache fails, the compiler itself is run. Each object is a line of the file that WHEELFARM_OBJECTS names:
    {"object": PATH, "language": "cuda" | "host", "way": "cache" | "compiler" | "compiled", "fault": WHY THE CACHE FAILED}
"compiled": by the cache's program, without the cache.

In a rehearsal (WHEELFARM_REHEARSAL is set) nothing of the package is compiled: the outputs are left
empty, also those of the host compilers. What a build only tries out (cmake's probes, `nvcc --version`)
is run for real, for its answer decides on what the build does.
"""

import json
import os
import shlex
import subprocess
import sys

SOURCE_SUFFIXES = (".cu", ".c", ".cc", ".cpp", ".cxx", ".C")
# Folders in which cmake and autoconf try compilers out.
PROBES = ("CMakeScratch", "CMakeTmp", "CompilerId", "_CMakeLTOTest", "meson-private", "conftest")
# With these a compiler answers, and makes no part of anything.
QUESTIONS = ("-E", "-M", "-MM", "--preprocess", "--version", "-V", "-dryrun", "--dryrun", "-")
# With these a compiler makes an object of each source.
OBJECT_FLAGS = ("-c", "--compile", "-dc", "--device-c", "-dw", "--device-w")
# What follows these is no source, whatever its suffix.
VALUED = ("-o", "--output-file", "-include", "--pre-include", "-imacros", "-MF", "-MT", "-MQ", "--dependency-output",
          "-I", "-isystem", "-iquote", "-D", "-U", "-x", "-Xcompiler", "--compiler-options", "-ccbin")

# What stands in files is the compiler's own to read: such a command is run as it is. So is one whose outcome rests
# on what no cache looks at: other programs, specs, plugins, profiles, the processor of this machine.
UNREAD = ("--options-file", "-optf", "@", "-B", "-specs", "--specs", "-fplugin", "-fprofile-use", "-fauto-profile",
          "-wrapper", "-Wa,@", "-ccbin", "--compiler-bindir")

# The environment's site-packages under a name without Python's version.
SITE = "/opt/site"
# The folder on PATH in which this program has the host compilers' names.
STANDINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "compilers")
# A cache that failed this often is left alone for the rest of the build.
MAX_FAULTS = 3


def main():
    name = os.path.basename(sys.argv[0])
    arguments = sys.argv[1:]
    # What a compiler starts is what it would start without this program.
    path = os.environ.get("PATH", "/usr/bin:/bin").split(":")
    os.environ["PATH"] = ":".join(folder for folder in path if os.path.abspath(folder) != STANDINS)
    if name == "nvcc":
        real = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "nvcc.real")
        if not is_probe("."):
            record(effective(arguments))
    else:
        real = next_on_path(name)
    if "WHEELFARM_REHEARSAL" in os.environ:
        if is_work(arguments):
            leave_outputs(arguments)
            return
    elif is_work(arguments) and not any(a.startswith(UNREAD) or "=native" in a for a in arguments):
        if name == "nvcc":
            arguments = with_variables(arguments)
            os.environ.pop("NVCC_PREPEND_FLAGS", None)
            os.environ.pop("NVCC_APPEND_FLAGS", None)
        source = source_of(arguments)
        if source is not None:
            sys.exit(make_object(name, real, arguments, source))
    os.execv(real, [real, *arguments])


def make_object(name, real, arguments, source):
    """Compiles one source, through the cache if there is one. The exit code."""
    command = [real, *(canonical(argument) for argument in arguments)]
    if name == "nvcc":
        command[source + 1] = os.path.abspath(command[source + 1])
    output = output_of(arguments)
    code, way, fault = through_cache(command, output)
    if way == "compiler":
        code = exit_code(subprocess.run(command, check=False).returncode)
    if code == 0:
        if name == "nvcc":
            forget_temporary_name(output)
        entry = {"object": os.path.abspath(output), "language": "cuda" if name == "nvcc" else "host", "way": way}
        append("WHEELFARM_OBJECTS", {**entry, "fault": fault} if fault else entry)
    return code


def through_cache(command, output):
    """The exit code, who compiled, and what was wrong with the cache if it did not."""
    tool = os.environ.get("WHEELFARM_CACHE_TOOL")
    if not tool or faults_so_far() >= MAX_FAULTS:
        return 0, "compiler", None
    try:
        run = subprocess.run([tool, *command], check=False, stderr=subprocess.PIPE)
    except OSError as error:
        return 0, "compiler", str(error)
    said = run.stderr.decode(errors="replace")
    # What the cache itself has to say begins with its name; what compilers say is passed on as it is.
    own = [line for line in said.splitlines() if line.startswith("sccache:")]
    if run.returncode == 0 and os.path.exists(output):
        sys.stderr.write(said)
        # A server that went away in the middle: the tool has run the compiler itself.
        return 0, "compiled" if own else "cache", " ".join(own) or None
    killed = any("killed by signal 9" in line for line in own)
    if run.returncode != 0 and (not own or killed):
        sys.stderr.write(said)
        return exit_code(run.returncode), "cache", None
    fault = " ".join(own) or "the cache left no object"
    sys.stderr.write(f"wheelfarm: compiled without the cache: {fault}\n")
    return 0, "compiler", fault


def faults_so_far():
    try:
        with open(os.environ["WHEELFARM_OBJECTS"], encoding="utf-8") as file:
            return sum('"fault"' in line for line in file)
    except (KeyError, OSError):
        return 0


def exit_code(returncode):
    return returncode if returncode >= 0 else 128 - returncode


def canonical(argument):
    """An argument with SITE for the folder that it stands for."""
    site = os.path.realpath(SITE)
    if site == SITE:
        return argument
    for place in (site, site.replace("/lib/", "/lib64/", 1)):
        argument = argument.replace(place, SITE)
    return argument


def source_of(arguments):
    """The place of the one source of a command that makes an object."""
    if not any(flag in arguments for flag in OBJECT_FLAGS):
        return None
    sources = [
        place
        for place, argument in enumerate(arguments)
        if argument.endswith(SOURCE_SUFFIXES)
        and not argument.startswith("-")
        and (place == 0 or arguments[place - 1] not in VALUED)
    ]
    return sources[0] if len(sources) == 1 else None


def forget_temporary_name(path):
    """Removes the symbol that names the temporary file of which nvcc's host compiler made the object."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return
    # Where it cannot be removed the object is as good, but not the same each time.
    subprocess.run(["objcopy", "--wildcard", "--strip-symbol=*.cudafe1.cpp", path], check=False)


def record(arguments):
    # A name that is no text is shown with question marks: JSON has no place for it.
    plain = [argument.encode("utf-8", "replace").decode() for argument in arguments]
    append("WHEELFARM_COMMANDS", {"cwd": os.getcwd(), "argv": plain})


def append(variable, entry):
    path = os.environ.get(variable)
    if not path:
        return
    line = json.dumps(entry) + "\n"
    # One write to a file opened for appending: lines of compilers side by side do not mix.
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, line.encode())
    os.close(log)


def effective(arguments):
    return list(expanded(with_variables(arguments)))


def with_variables(arguments):
    before = shlex.split(os.environ.get("NVCC_PREPEND_FLAGS", ""))
    after = shlex.split(os.environ.get("NVCC_APPEND_FLAGS", ""))
    return before + arguments + after


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
