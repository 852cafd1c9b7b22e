#!/usr/bin/env python3
"""Smoke test of the finished triton wheel: one JSON line on stdout, exit status 0 if no check failed."""
import importlib.metadata
import os
import shutil
import sysconfig

from wheelfarm_checks import NotChecked, check, close, finish, need_gpu

VERSION = "3.6.0"

try:
    import triton
    import triton.language as tl

    @triton.jit
    def softmax_rows(out_ptr, in_ptr, width, BLOCK: tl.constexpr):
        row = tl.program_id(0)
        columns = tl.arange(0, BLOCK)
        inside = columns < width
        x = tl.load(in_ptr + row * width + columns, mask=inside, other=-float("inf"))
        x = tl.exp(x - tl.max(x, axis=0))
        tl.store(out_ptr + row * width + columns, x / tl.sum(x, axis=0), mask=inside)

    @triton.jit
    def product(out_ptr, a_ptr, b_ptr, K, BLOCK: tl.constexpr):
        rows, columns = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
        total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
        for k in range(0, K, BLOCK):
            a = tl.load(a_ptr + rows * K + k + columns)
            b = tl.load(b_ptr + (k + rows) * BLOCK + columns)
            total = tl.dot(a, b, total)
        tl.store(out_ptr + rows * BLOCK + columns, total)

    FAILED = None
except Exception as error:  # told by the first check
    FAILED = error


@check("import")
def _():
    if FAILED is not None:
        raise FAILED
    installed = importlib.metadata.version("triton")
    assert triton.__version__ == VERSION == installed.partition("+")[0], (triton.__version__, installed)
    from triton._C import libtriton

    return f"triton {installed}, {os.path.basename(libtriton.__file__)}"


@check("fits its torch")
def _():
    required = [r for r in importlib.metadata.requires("torch") or [] if r.replace(" ", "").startswith("triton==")]
    if not required:
        raise NotChecked("this torch requires no triton")
    wanted = required[0].split(";")[0].replace(" ", "").partition("==")[2]
    assert wanted == VERSION, f"torch requires triton {wanted}"
    return f"torch {importlib.metadata.version('torch')} requires triton=={wanted}"


@check("compiles without a GPU")
def _():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {"out_ptr": "*fp32", "a_ptr": "*fp16", "b_ptr": "*fp16", "K": "i32", "BLOCK": "constexpr"}
    seen = []
    for capability in (80, 89, 90, 100, 120):
        source = ASTSource(fn=product, signature=signature, constexprs={"BLOCK": 64})
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        ptx, cubin = made.asm["ptx"], made.asm["cubin"]
        assert f".target sm_{capability}" in ptx, f"PTX for sm_{capability} has another target"
        assert cubin[:4] == b"\x7fELF", f"ptxas made no cubin for sm_{capability}"
        instruction = next((name for name in ("tcgen05.mma", "wgmma.mma_async", "mma.sync") if name in ptx), "none")
        assert instruction != "none", f"no matrix instruction for sm_{capability}"
        seen.append(f"sm_{capability} {instruction}")
    return "a matrix product down to machine code: " + ", ".join(seen)


@check("numbers on the GPU")
def _():
    need_gpu()
    # Triton compiles what starts a kernel with the user's C compiler.
    compilers = [name for name in (os.environ.get("CC"), "gcc", "clang", "cc") if name and shutil.which(name)]
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not compilers or not os.path.exists(header):
        raise NotChecked(f"starting a kernel takes a C compiler ({compilers or 'none here'}) and {header}")
    import torch

    g = torch.Generator().manual_seed(23)
    x = torch.randn(37, 300, generator=g).cuda()
    out = torch.empty_like(x)
    softmax_rows[(37,)](out, x, 300, BLOCK=512)
    rows = close(out.cpu().double(), x.cpu().double().softmax(1), 1e-5, 1e-6)
    a, b = (torch.randn(64, 256, generator=g).half().cuda(), torch.randn(256, 64, generator=g).half().cuda())
    out = torch.empty(64, 64, device="cuda")
    product[(1,)](out, a, b, 256, BLOCK=64)
    dot = close(out.cpu().double(), a.cpu().double() @ b.cpu().double(), 1e-3, 1e-3)
    compiled = torch.compile(lambda t: torch.sin(t) * t + 1)(x)
    inductor = close(compiled.cpu().double(), (x.sin() * x + 1).cpu().double(), 1e-5, 1e-5)
    return f"softmax {rows:.1e}, product in half precision {dot:.1e}, torch.compile {inductor:.1e} from double precision"


finish()
