# 2.0.x: one extension for all archs, and no HAS_SM… at all.
import os

import torch
from setuptools import find_packages, setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

SUPPORTED = {"8.0", "8.6", "8.7", "8.9", "9.0"}
NVCC_FLAGS = ["-O3"]


def listed():
    """The archs of TORCH_CUDA_ARCH_LIST that are known; the others are dropped."""
    wanted = os.environ.get("TORCH_CUDA_ARCH_LIST")
    if wanted is None:
        return set()
    wanted = set(wanted.replace(" ", ";").split(";"))
    return wanted & (SUPPORTED | {f"{arch}+PTX" for arch in SUPPORTED})


# A set: the third expression looks for a list.
compute_capabilities = listed()
if not compute_capabilities:
    for gpu in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(gpu)
        compute_capabilities.add(f"{major}.{minor}")
if not compute_capabilities:
    raise RuntimeError("no GPU here and no list")

for capability in compute_capabilities:
    # Wrong for two digits before the point: "12.0" gives "1.".
    num = capability[0] + capability[2]
    NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=sm_{num}"]
    if capability.endswith("+PTX"):
        NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=compute_{num}"]

ext_modules = [
    CUDAExtension(name="sageattention._qattn", sources=["csrc/qattn.cu"], extra_compile_args={"nvcc": NVCC_FLAGS}),
    CUDAExtension(name="sageattention._fused", sources=["csrc/fused.cu"], extra_compile_args={"nvcc": NVCC_FLAGS}),
]

setup(
    name="sageattention",
    version="2.0.1",
    packages=find_packages(),
    ext_modules=ext_modules,
    cmdclass={"build_ext": BuildExtension},
)
