#!/usr/bin/env python3
"""Smoke test of the finished torch wheel: one JSON line on stdout, exit status 0 if no check failed."""
import importlib.metadata
import os
import platform

from wheelfarm_checks import NotChecked, check, close, device_code, finish, need_gpu

VERSION = "2.11.0"

# What the variant in the local version (cu130torch2.11.avx512) was compiled for, and a word of
# /proc/cpuinfo for each set of instructions that gcc takes for granted then.
VARIANTS = {
    "avx2": ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    "avx512": ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}

INSTALLED = importlib.metadata.version("torch")
VARIANT = next((part for part in INSTALLED.partition("+")[2].split(".") if part in VARIANTS), None)


def need_processor():
    """A wheel for instructions that this processor lacks would end the whole test."""
    if VARIANT is None:
        return
    with open("/proc/cpuinfo") as f:
        has = set(next((line for line in f if line.startswith("flags")), "").split())
    lacks = VARIANTS[VARIANT][1] - has
    if lacks:
        raise NotChecked(f"this processor has no {', '.join(sorted(lacks))}, which the variant {VARIANT} needs")


def attention_problem(dtype, device, heads=4, length=200, dim=64):
    import torch

    g = torch.Generator().manual_seed(37)
    return tuple(torch.randn(2, heads, length, dim, generator=g).to(device, dtype) for _ in range(3))


def attention_reference(q, k, v, causal):
    """softmax(q k^T / sqrt(dim)) v, written out in double precision."""
    import torch

    q, k, v = (t.detach().cpu().double() for t in (q, k, v))
    scores = q @ k.transpose(-1, -2) / q.size(-1) ** 0.5
    if causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool)
        scores = scores.masked_fill(ones.triu(1), float("-inf"))
    return scores.softmax(-1) @ v


@check("import")
def _():
    need_processor()
    import torch

    assert torch.__version__.partition("+")[0] == VERSION == INSTALLED.partition("+")[0], (torch.__version__, INSTALLED)
    return f"torch {INSTALLED}, git {torch.version.git_version}, on {platform.machine()}"


@check("built with CUDA")
def _():
    need_processor()
    import torch

    assert torch.backends.cuda.is_built(), "built without CUDA"
    archs = torch.cuda.get_arch_list() if torch.cuda.is_available() else torch._C._cuda_getArchFlags().split()
    assert archs, "no arch in the library"
    device_code(os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cuda.so"))
    assert torch.backends.cudnn.is_available() or not torch.cuda.is_available(), "no cuDNN"
    assert torch.distributed.is_nccl_available(), "no NCCL"
    return f"CUDA {torch.version.cuda}, {' '.join(archs)}"


@check("built as its variant says")
def _():
    need_processor()
    import torch

    flags = torch.__config__.show()
    if VARIANT is None:
        assert "-march=x86-64-v" not in flags, "a plain build with flags for one processor"
        return f"plain; kernels chosen at run time: {torch.backends.cpu.get_cpu_capability()}"
    wanted = f"-march={VARIANTS[VARIANT][0]}"
    assert wanted in flags, f"torch.__config__.show() has no {wanted}"
    return f"{wanted}; kernels chosen at run time: {torch.backends.cpu.get_cpu_capability()}"


@check("numbers on the CPU")
def _():
    need_processor()
    import torch
    import torch.nn.functional as F

    assert torch.backends.mkl.is_available(), "no MKL"
    assert torch._C.has_lapack, "no LAPACK"
    g = torch.Generator().manual_seed(41)
    a, b = torch.randn(150, 300, generator=g), torch.randn(300, 170, generator=g)
    product = close((a @ b).double(), a.double() @ b.double(), 1e-4, 1e-4)
    square = torch.randn(60, 60, generator=g, dtype=torch.double) + 10 * torch.eye(60, dtype=torch.double)
    inverse = close(torch.linalg.inv(square) @ square, torch.eye(60, dtype=torch.double), 0, 1e-10)
    x, weight = torch.randn(2, 8, 20, 20, generator=g), torch.randn(5, 8, 3, 3, generator=g)
    # a convolution as a product, in double precision
    columns = F.unfold(x.double(), 3)
    want = (weight.double().flatten(1) @ columns).unflatten(2, (18, 18))
    convolution = close(F.conv2d(x, weight).double(), want, 1e-4, 1e-4)
    worst = 0.0
    for causal in (False, True):
        q, k, v = attention_problem(torch.float, "cpu")
        got = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        worst = max(worst, close(got.double(), attention_reference(q, k, v, causal), 1e-4, 1e-5))
    return (f"product {product:.1e}, inverse {inverse:.1e}, convolution {convolution:.1e}, attention {worst:.1e} "
            "from double precision")


@check("numbers on the GPU")
def _():
    need_processor()
    need_gpu()
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    detail = []
    g = torch.Generator().manual_seed(43)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for dtype, atol in ((torch.float, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)):
        a, b = (torch.randn(512, 512, generator=g).to("cuda", dtype) for _ in range(2))
        want = a.cpu().double() @ b.cpu().double()
        scale = want.abs().max()
        detail.append(f"product {dtype} {close((a @ b).cpu().double() / scale, want / scale, 0, atol):.1e}")
    x, weight = torch.randn(2, 8, 20, 20, generator=g), torch.randn(5, 8, 3, 3, generator=g)
    got = F.conv2d(x.cuda(), weight.cuda()).cpu().double()
    detail.append(f"convolution (cuDNN) {close(got, F.conv2d(x.double(), weight.double()), 1e-4, 1e-4):.1e}")
    square = torch.randn(60, 60, generator=g, dtype=torch.double) + 10 * torch.eye(60, dtype=torch.double)
    got = torch.linalg.inv(square.cuda()).cpu() @ square
    detail.append(f"inverse (cuSOLVER) {close(got, torch.eye(60, dtype=torch.double), 0, 1e-10):.1e}")
    backends = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}
    if torch.cuda.get_device_capability() < (8, 0):
        del backends["flash"]
    for name, backend in backends.items():
        for dtype, atol in ((torch.float16, 4e-3), (torch.bfloat16, 3e-2)):
            worst = 0.0
            for causal in (False, True):
                q, k, v = attention_problem(dtype, "cuda")
                with sdpa_kernel(backend):
                    got = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                worst = max(worst, close(got.cpu().double(), attention_reference(q, k, v, causal), 0, atol))
            detail.append(f"attention {name} {dtype} {worst:.1e}")
    return f"{torch.cuda.get_device_name()}; differences from double precision: " + ", ".join(detail)


finish()
