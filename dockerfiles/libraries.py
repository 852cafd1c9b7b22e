"""Runs inside a container of the image of torch, without a network: python -I -c SCRIPT OUTPUT

Writes what the farm needs to read the symbol tables of the interpreter and of every library that the
dynamic loader can find. A library of 500 MB has tables of 1 MB, and only those are written: a line of
JSON about the file, then the bytes of its parts, one after the other. The farm reads the ELF file from
these parts and takes nothing else of this script's word, so a part that is left out is an error there.
"""

import glob
import json
import os
import struct
import subprocess
import sys
import sysconfig

HEADER_BYTES = 64
SECTION = struct.Struct("<IIQQQQIIQQ")
STRTAB, DYNAMIC, DYNSYM = 3, 6, 11
VERSIONS = (0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)


def candidates():
    """Of two libraries of one name, the loader of a process with torch in it has the first."""
    folders = []
    for site in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        folders.append(os.path.join(site, "torch", "lib"))
        folders.extend(path for path, _, _ in sorted(os.walk(os.path.join(site, "nvidia"))) if path.endswith("/lib"))
        folders.extend(sorted(glob.glob(os.path.join(glob.escape(site), "*.libs"))))
    for folder in folders:
        for path in libraries_in(folder):
            yield path
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" in shared:
        yield os.path.join(sysconfig.get_config_var("LIBDIR"), shared)
    for path in known_to_ldconfig():
        yield path
    machine = os.uname().machine + "-linux-gnu"
    for top in ("/lib", "/usr/lib", "/lib64", "/usr/lib64"):
        for folder in (os.path.join(top, machine), top):
            for path in libraries_in(folder):
                yield path


def libraries_in(folder):
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name.endswith(".so") or ".so." in name]


def known_to_ldconfig():
    environment = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C"}
    listing = subprocess.run(["ldconfig", "-p"], env=environment, stdout=subprocess.PIPE, check=True).stdout
    lines = os.fsdecode(listing).splitlines()
    return [line.split(" => ", 1)[1] for line in lines if " => " in line]


def ranges(file, size):
    """What the dynamic loader reads: the headers, and the sections of its tables with their names."""
    yield 0, min(size, HEADER_BYTES)
    start = file.read(HEADER_BYTES)
    # ELF, 64 bit, little endian: the farm says of anything else what is wrong with it.
    if len(start) < HEADER_BYTES or start[:6] != b"\x7fELF\x02\x01":
        return
    program_headers, section_headers = struct.unpack_from("<QQ", start, 32)
    _, program_size, program_count, section_size, count, names = struct.unpack_from("<6H", start, 52)
    yield program_headers, program_size * program_count
    if section_headers == 0 or section_size != SECTION.size:
        return
    file.seek(section_headers)
    first = SECTION.unpack(file.read(SECTION.size))
    # More sections than the fields can say: the first section has the numbers.
    count = count or first[5]
    names = first[6] if names == 0xFFFF else names
    yield section_headers, count * SECTION.size
    file.seek(section_headers)
    sections = list(SECTION.iter_unpack(file.read(count * SECTION.size)))
    wanted = {names}
    for index, section in enumerate(sections):
        if section[1] in (DYNAMIC, DYNSYM) + VERSIONS:
            wanted.update((index, section[6]))
    for index in wanted:
        if index < len(sections) and sections[index][1] in (STRTAB, DYNAMIC, DYNSYM) + VERSIONS:
            yield sections[index][4:6]


def merged(parts, size):
    """Parts that touch or overlap as one, cut to the file."""
    found = []
    for start, length in sorted(parts):
        end = min(start + length, size)
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return found


def write_tables(output, kind, path):
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            parts = merged(ranges(file, size), size)
        except struct.error:
            parts = [[0, min(size, HEADER_BYTES)]]
        about = {"path": path, "size_bytes": size, "parts": parts}
        output.write(json.dumps({kind: about}).encode() + b"\n")
        for start, end in parts:
            file.seek(start)
            while start < end:
                chunk = file.read(min(end - start, 1 << 20))
                if not chunk:
                    raise OSError("`%s` became shorter" % path)
                output.write(chunk)
                start += len(chunk)


def main():
    interpreter = os.path.realpath(sys.executable)
    seen = {interpreter}
    with open(sys.argv[1], "wb") as output:
        write_tables(output, "interpreter", interpreter)
        for path in candidates():
            real = os.path.realpath(path)
            if real in seen or not os.path.isfile(real):
                continue
            seen.add(real)
            write_tables(output, "library", real)
        output.write(json.dumps({"end": len(seen)}).encode() + b"\n")


main()
