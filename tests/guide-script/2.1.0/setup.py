# 2.1.0: an extension for each kind of GPU. HAS_SM89 stands between the lines that the first expression
# wants one below the other; the second finds the block for 9.0 and clones it.
import os

import torch
from setuptools import find_packages, setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

HAS_SM80 = False
HAS_SM86 = False
HAS_SM89 = False
HAS_SM90 = False

SUPPORTED = {"8.0", "8.6", "8.9", "9.0"}
CXX_FLAGS = ["-O3"]
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
    num = capability[0] + capability[2]
    if num == "80":
        HAS_SM80 = True
    elif num == "86":
        HAS_SM86 = True
    elif num == "89":
        HAS_SM89 = True
    elif num == "90":
        HAS_SM90 = True
        num += "a"
    NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=sm_{num}"]
    if capability.endswith("+PTX"):
        NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=compute_{num}"]

ext_modules = []

if HAS_SM80 or HAS_SM86 or HAS_SM89 or HAS_SM90:
    qattn_extension = CUDAExtension(
        name="sageattention._qattn_sm80",
        sources=[
            "csrc/qattn/pybind_sm80.cpp",
            "csrc/qattn/qk_int_sv_f16_cuda_sm80.cu",
        ],
        extra_compile_args={
            "cxx": CXX_FLAGS,
            "nvcc": NVCC_FLAGS,
        },
    )
    ext_modules.append(qattn_extension)

if HAS_SM89:
    qattn_extension = CUDAExtension(
        name="sageattention._qattn_sm89",
        sources=[
            "csrc/qattn/pybind_sm89.cpp",
            "csrc/qattn/qk_int_sv_f8_cuda_sm89.cu",
        ],
        extra_compile_args={
            "cxx": CXX_FLAGS,
            "nvcc": NVCC_FLAGS,
        },
    )
    ext_modules.append(qattn_extension)

if HAS_SM90:
    qattn_extension = CUDAExtension(
        name="sageattention._qattn_sm90",
        sources=[
            "csrc/qattn/pybind_sm90.cpp",
            "csrc/qattn/qk_int_sv_f8_cuda_sm90.cu",
        ],
        extra_compile_args={
            "cxx": CXX_FLAGS,
            "nvcc": NVCC_FLAGS,
        },
        extra_link_args=['-lcuda'],
    )
    ext_modules.append(qattn_extension)

ext_modules.append(
    CUDAExtension(name="sageattention._fused", sources=["csrc/fused.cu"], extra_compile_args={"nvcc": NVCC_FLAGS})
)

setup(
    name="sageattention",
    version="2.1.0",
    packages=find_packages(),
    ext_modules=ext_modules,
    cmdclass={"build_ext": BuildExtension},
)
