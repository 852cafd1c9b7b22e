#!/usr/bin/env python3
"""Smoke test of the finished sageattn3 wheel: one JSON line on stdout, exit status 0 if no check failed."""
import importlib.util
import os
import shutil

from wheelfarm_checks import NotChecked, check, device_code, errors, finish, forced_ptx, need_gpu

VERSION = "1.0.0"
MODULES = ("fp4attn_cuda", "fp4quant_cuda")


@check("installed")
def _():
    import importlib.metadata

    import torch  # noqa: F401

    version = importlib.metadata.version("sageattn3").split("+")[0]
    assert version == VERSION, version
    paths = [importlib.util.find_spec(name) for name in MODULES]
    assert all(paths), dict(zip(MODULES, paths))
    for found in paths:
        device_code(found.origin)
    assert importlib.util.find_spec("sageattn3")
    return f"sageattn3 {version}; device code in {', '.join(os.path.basename(found.origin) for found in paths)}"


@check("import")
def _():
    import sageattn3  # with both modules: neither needs a driver to be imported
    from sageattn3 import api

    assert callable(sageattn3.sageattn3_blackwell) and callable(api.fp4attn_cuda.fwd)
    names = ("scaled_fp4_quant", "scaled_fp4_quant_permute", "scaled_fp4_quant_trans")
    assert all(callable(getattr(api.fp4quant_cuda, name)) for name in names)
    return "fwd, " + ", ".join(names)


@check("CPU tensor refused")
def _():
    import torch
    from sageattn3.api import scale_and_quant_fp4

    x = torch.randn(1, 2, 128, 64).half()
    try:
        scale_and_quant_fp4(x)
    except RuntimeError as error:
        assert "cuda" in str(error).lower(), error
        return str(error).splitlines()[0][:160]
    raise AssertionError("a CPU tensor was accepted")


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    import torch.nn.functional as F

    if torch.cuda.get_device_capability() not in ((12, 0), (12, 1)):
        raise NotChecked("this wheel has kernels for 12.0 and 12.1 alone, and the GPU is another")
    if forced_ptx():
        raise NotChecked("this wheel has no PTX: its FP4 instructions are in targets with a suffix alone")
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
        raise NotChecked("Triton, which takes the means of the queries, needs a C compiler, and this image has none")
    from sageattn3 import sageattn3_blackwell

    worst, likeness = (0.0, 0.0), 1.0
    for dtype in (torch.float16, torch.bfloat16):
        for head in (64, 128):
            for length in (512, 1000):
                for causal in (False, True):
                    g = torch.Generator().manual_seed(head + length)
                    q, k, v = (torch.randn(2, 4, length, head, generator=g).to(dtype) for _ in range(3))
                    want = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal)
                    got = sageattn3_blackwell(q.cuda(), k.cuda(), v.cuda(), is_causal=causal)
                    largest, relative = errors(got, want)
                    same = F.cosine_similarity(got.cpu().double().flatten(), want.flatten(), dim=0).item()
                    # Four bits: of values with a mean of zero some fifth is lost.
                    assert same > 0.95 and relative < 0.3, (dtype, head, length, causal, same, relative)
                    worst, likeness = (max(worst[0], largest), max(worst[1], relative)), min(likeness, same)
    return (f"FP4 against double precision, head size 64 and 128, causal or not: largest error {worst[0]:.1e}, "
            f"relative {worst[1]:.1e}, cosine similarity at least {likeness:.4f}")


finish()
