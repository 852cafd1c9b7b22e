# Branch parallel_compile: a block has one line more, for it generates sources first.
from pathlib import Path

import torch
from setuptools import find_packages, setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

HAS_SM80 = False
HAS_SM86 = False
HAS_SM89 = False
HAS_SM90 = False
HAS_SM120 = False


def generate(folder):
    for script in Path(folder).rglob("*.py"):
        print(f"running {script}")


def generated(folder):
    return [str(path) for path in Path(folder).rglob("*.cu")]


CXX_FLAGS = ["-O3"]
NVCC_FLAGS = ["-O3"]

# Whatever TORCH_CUDA_ARCH_LIST says: the GPUs that are here.
compute_capabilities = set()
for gpu in range(torch.cuda.device_count()):
    major, minor = torch.cuda.get_device_capability(gpu)
    compute_capabilities.add(f"{major}.{minor}")
if not compute_capabilities:
    raise RuntimeError("no GPU here")

for capability in compute_capabilities:
    if capability.startswith("8.0"):
        HAS_SM80 = True
        num = "80"
    elif capability.startswith("8.6"):
        HAS_SM86 = True
        num = "86"
    elif capability.startswith("8.9"):
        HAS_SM89 = True
        num = "89"
    elif capability.startswith("9.0"):
        HAS_SM90 = True
        num = "90a"
    elif capability.startswith("12.0"):
        HAS_SM120 = True
        num = "120"
    NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=sm_{num}"]
    if capability.endswith("+PTX"):
        NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=compute_{num}"]

ext_modules = []

if HAS_SM80 or HAS_SM86 or HAS_SM89 or HAS_SM90 or HAS_SM120:
    generate("csrc/qattn/instances_sm80")
    qattn_extension = CUDAExtension(
        name="sageattention._qattn_sm80",
        sources=[
            "csrc/qattn/pybind_sm80.cpp",
            "csrc/qattn/qk_int_sv_f16_cuda_sm80.cu",
        ] + generated("csrc/qattn/instances_sm80"),
        extra_compile_args={
            "cxx": CXX_FLAGS,
            "nvcc": NVCC_FLAGS,
        },
    )
    ext_modules.append(qattn_extension)

if HAS_SM89 or HAS_SM120:
    generate("csrc/qattn/instances_sm89")
    qattn_extension = CUDAExtension(
        name="sageattention._qattn_sm89",
        sources=[
            "csrc/qattn/pybind_sm89.cpp",
            "csrc/qattn/qk_int_sv_f8_cuda_sm89.cu",
        ] + generated("csrc/qattn/instances_sm89"),
        extra_compile_args={
            "cxx": CXX_FLAGS,
            "nvcc": NVCC_FLAGS,
        },
    )
    ext_modules.append(qattn_extension)

if HAS_SM90:
    generate("csrc/qattn/instances_sm90")
    qattn_extension = CUDAExtension(
        name="sageattention._qattn_sm90",
        sources=[
            "csrc/qattn/pybind_sm90.cpp",
            "csrc/qattn/qk_int_sv_f8_cuda_sm90.cu",
        ] + generated("csrc/qattn/instances_sm90"),
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
    version="2.1.1",
    packages=find_packages(),
    ext_modules=ext_modules,
    cmdclass={"build_ext": BuildExtension},
)
