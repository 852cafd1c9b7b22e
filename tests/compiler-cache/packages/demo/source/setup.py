"""Compiles as torch.utils.cpp_extension has ninja do it: depfiles, absolute and relative sources, site-packages."""

import os
import shlex
import subprocess
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NVCC = os.environ["CUDA_HOME"] + "/bin/nvcc"
# torch's headers lie there, on every command line of a package that is built on torch.
SITE = sysconfig.get_paths()["purelib"]
PYTHON = sysconfig.get_paths()["include"]


class Build(build_ext):
    def build_extension(self, ext):
        objects = []
        os.makedirs(self.build_temp, exist_ok=True)
        for name in ("scale", "shift", "named"):
            target = os.path.abspath(f"{self.build_temp}/{name}.o")
            source = f"csrc/{name}.cu" if name == "shift" else os.path.abspath(f"csrc/{name}.cu")
            command = [NVCC, "--generate-dependencies-with-compile", "--dependency-output", target + ".d"]
            command += [f"-I{SITE}/torch/include", f"-I{PYTHON}", "-c", source, "-o", target, "-O3"]
            command += ["--compiler-options", "-fPIC", *shlex.split(os.environ["DEMO_FLAGS"])]
            subprocess.run(command, check=True)
            with open(target + ".d") as file:
                assert source.rpartition("/")[2] in file.read()
            objects.append(target)
        module = os.path.abspath(f"{self.build_temp}/module.o")
        command = ["g++", f"-I{PYTHON}", "-fPIC", "-O2", "-c", "csrc/module.cpp", "-o", module]
        subprocess.run(command, check=True)
        path = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run([NVCC, "-shared", *objects, module, "-o", path], check=True)


setup(
    name="demo",
    version="1.0",
    packages=["demo"],
    ext_modules=[Extension("demo._C", ["csrc/module.cpp"])],
    cmdclass={"build_ext": Build},
)
