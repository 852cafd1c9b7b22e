# Tag v2.2.0: reads the list. Extensions are made inside `append(`, below an `if`: the second expression ends
# at the first `)`, in the middle of a call, and its clone starts at the left margin.
import os
import sys

from setuptools import find_packages, setup

SKIP_CUDA_BUILD = os.getenv("SAGEATTN_SKIP_CUDA_BUILD", "0") == "1" or "sdist" in sys.argv

ext_modules = []
cmdclass = {}

if not SKIP_CUDA_BUILD:
    import torch
    from torch.utils.cpp_extension import BuildExtension, CUDAExtension

    HAS_SM80 = False
    HAS_SM86 = False
    HAS_SM89 = False
    HAS_SM90 = False
    HAS_SM120 = False

    CXX_FLAGS = ["-O3"]
    NVCC_FLAGS = ["-O3"]

    # Split at `;` and `,` alone: of a list with blanks the first arch is seen.
    compute_capabilities = set()
    for item in os.getenv("TORCH_CUDA_ARCH_LIST", "").replace(",", ";").split(";"):
        if item.strip():
            compute_capabilities.add(item.strip().replace("+ptx", "+PTX"))
    if not compute_capabilities:
        for gpu in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(gpu)
            compute_capabilities.add(f"{major}.{minor}")
    if not compute_capabilities:
        raise RuntimeError("no GPU here and no list")

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
        else:
            continue
        NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=sm_{num}"]
        if capability.endswith("+PTX"):
            NVCC_FLAGS += ["-gencode", f"arch=compute_{num},code=compute_{num}"]

    if HAS_SM80 or HAS_SM86 or HAS_SM89 or HAS_SM90 or HAS_SM120:
        ext_modules.append(
            CUDAExtension(
                name="sageattention._qattn_sm80",
                sources=[
                    "csrc/qattn/pybind_sm80.cpp",
                    "csrc/qattn/qk_int_sv_f16_cuda_sm80.cu",
                ],
                extra_compile_args={"cxx": CXX_FLAGS, "nvcc": NVCC_FLAGS},
            )
        )

    if HAS_SM89 or HAS_SM90 or HAS_SM120:
        ext_modules.append(
            CUDAExtension(
                name="sageattention._qattn_sm89",
                sources=[
                    "csrc/qattn/pybind_sm89.cpp",
                    "csrc/qattn/sm89_accum_f32.cu",
                    "csrc/qattn/sm89_accum_f16.cu",
                ],
                extra_compile_args={"cxx": CXX_FLAGS, "nvcc": NVCC_FLAGS},
            )
        )

    if HAS_SM90:
        ext_modules.append(
            CUDAExtension(
                name="sageattention._qattn_sm90",
                sources=[
                    "csrc/qattn/pybind_sm90.cpp",
                    "csrc/qattn/qk_int_sv_f8_cuda_sm90.cu",
                ],
                extra_compile_args={"cxx": CXX_FLAGS, "nvcc": NVCC_FLAGS},
                extra_link_args=['-lcuda'],
            )
        )

    ext_modules.append(
        CUDAExtension(name="sageattention._fused", sources=["csrc/fused.cu"], extra_compile_args={"nvcc": NVCC_FLAGS})
    )
    cmdclass = {"build_ext": BuildExtension}

setup(
    name="sageattention",
    version="2.2.0",
    packages=find_packages(),
    ext_modules=ext_modules,
    cmdclass=cmdclass,
)
