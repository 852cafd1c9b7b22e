import os
import subprocess
import sys

import torch
from setuptools import Distribution, setup

if "bdist_wheel" in sys.argv:
    # Every way in which packages ask, and one answer.
    gpus = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    assert torch.cuda.is_available() and torch.cuda.get_device_capability() == gpus[0]
    for index, (major, minor) in enumerate(gpus):
        properties = torch.cuda.get_device_properties(f"cuda:{index}")
        assert (properties.major, properties.minor) == (major, minor)
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    told = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    assert told.split() == [f"{major}.{minor}" for major, minor in gpus], told
    # What really uses a GPU gets torch's own error.
    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError):
        pass
    else:
        raise SystemExit("a GPU that is only shown was used")
    flags = [f"-gencode=arch=compute_{a}{i},code=sm_{a}{i}" for a, i in gpus]
    nvcc = os.environ["CUDA_HOME"] + "/bin/nvcc"
    compile_only = [nvcc, *flags, "-Xcompiler=-fPIC", "-c", "demo/scale.cu", "-o", "/build/tmp/scale.o"]
    subprocess.run(compile_only, check=True)
    subprocess.run([nvcc, "-shared", "/build/tmp/scale.o", "-o", "demo/scale.so"], check=True)


class WithLibrary(Distribution):
    def has_ext_modules(self):
        return True


setup(
    name="demo",
    version="1.0",
    packages=["demo"],
    package_data={"demo": ["scale.so"]},
    distclass=WithLibrary,
)
