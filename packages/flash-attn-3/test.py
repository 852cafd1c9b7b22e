#!/usr/bin/env python3
"""Smoke test of the finished flash-attn-3 wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os

from wheelfarm_checks import NotChecked, check, device_code, errors, finish, need_gpu

VERSION = "3.0.0"


def attention(q, k, v, causal):
    """Attention in double precision on (batch, sequence, heads, head size), keys repeated for grouped heads."""
    import torch.nn.functional as F

    groups = q.size(2) // k.size(2)
    k, v = k.repeat_interleave(groups, 2), v.repeat_interleave(groups, 2)
    out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=causal)
    return out.transpose(1, 2)


def problem(dtype, head, groups, length=200):
    import torch

    g = torch.Generator().manual_seed(head + groups)
    shapes = ((2, length, 4, head), (2, length, 4 // groups, head), (2, length, 4 // groups, head))
    return [torch.randn(shape, generator=g).to(dtype) for shape in shapes]


def compiled_module():
    import flash_attn_3

    folder = os.path.dirname(flash_attn_3.__file__)
    (name,) = [f for f in os.listdir(folder) if f.startswith("_C") and f.endswith(".so")]
    return os.path.join(folder, name)


@check("import")
def _():
    import importlib.metadata

    import flash_attn_interface  # noqa: F401

    version = importlib.metadata.version("flash_attn_3").split("+")[0]
    assert version == VERSION, version
    path = compiled_module()
    device_code(path)
    assert ".abi3." in path, f"{os.path.basename(path)} is for one Python"
    return f"flash_attn_3 {version}; device code in {os.path.basename(path)}"


@check("built with everything but Ampere")
def _():
    from flash_attn_config import CONFIG

    left_out = sorted(name for name, off in CONFIG["build_flags"].items() if off)
    assert left_out == ["FLASHATTENTION_DISABLE_SM8x"], left_out
    return "the build left out the kernels of 8.0 and nothing else"


@check("operators registered")
def _():
    import flash_attn_interface  # noqa: F401
    import torch

    names = ("fwd", "bwd", "fwd_combine", "get_scheduler_metadata")
    for name in names:
        op = f"flash_attn_3::{name}"
        assert torch._C._dispatch_has_kernel_for_dispatch_key(op, "CUDA"), f"{op} has no CUDA kernel"
    return "CUDA kernels registered: " + ", ".join(names)


@check("shapes without a GPU")
def _():
    import flash_attn_interface
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert [flash_attn_interface.round_up_headdim(n) for n in (40, 64, 80, 100, 136, 200)] == [64, 64, 96, 128, 192, 256]
    with FakeTensorMode():
        q, k = torch.empty(2, 7, 4, 64, dtype=torch.half), torch.empty(2, 9, 2, 64, dtype=torch.half)
        out, lse = flash_attn_interface._flash_attn_forward(q, k, k, causal=True)[:2]
    assert out.shape == (2, 7, 4, 64) and lse.shape == (2, 4, 7), (out.shape, lse.shape)
    return "head sizes are rounded up to 64, 96, 128, 192 and 256; shapes of tensors without memory"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch

    if torch.cuda.get_device_capability() != (9, 0):
        raise NotChecked("this wheel has kernels for 9.0 alone, and the GPU is another")
    if os.environ.get("CUDA_FORCE_PTX_JIT") == "1":
        raise NotChecked("this wheel has no PTX: wgmma is in 9.0a alone, whose PTX no later GPU takes")
    from flash_attn_interface import flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache

    worst = {}

    def hold(kind, got, want, limit):
        largest, relative = errors(got, want)
        assert relative < limit, f"{kind}: relative error {relative:.2e}, largest {largest:.2e}"
        before = worst.get(kind, (0.0, 0.0))
        worst[kind] = max(before[0], largest), max(before[1], relative)

    for dtype, limit in ((torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)):
        for head in (64, 96, 128, 192, 256):
            for groups in (1, 2):
                for causal in (False, True):
                    inputs = problem(dtype, head, groups)
                    a = [t.cuda().requires_grad_() for t in inputs]
                    b = [t.double().requires_grad_() for t in inputs]
                    got, want = flash_attn_func(*a, causal=causal), attention(*b, causal)
                    hold("values", got, want, limit)
                    mark = torch.linspace(-1, 1, want.numel()).view_as(want).to(dtype)
                    got.backward(mark.cuda())
                    want.backward(mark.double())
                    for x, y in zip(a, b):
                        hold("gradients", x.grad, y.grad, 3 * limit)
                    ends = torch.tensor([0, 200, 400], dtype=torch.int32).cuda()
                    flat = [t.reshape(400, -1, head).cuda() for t in inputs]
                    packed = flash_attn_varlen_func(*flat, ends, ends, 200, 200, causal=causal)
                    hold("packed", packed.view(want.shape), want, limit)
    for head in (64, 128):
        q, k, v = problem(torch.float16, head, 2)
        cache = [torch.cat([t, torch.full_like(t, 7.0)], 1).cuda() for t in (k, v)]
        length = torch.full((2,), 200, dtype=torch.int32).cuda()
        got = flash_attn_with_kvcache(q[:, -1:].contiguous().cuda(), *cache, cache_seqlens=length, causal=True)
        hold("decoding", got, attention(q.double(), k.double(), v.double(), True)[:, -1:], 2e-3)
    # FP8 has a forward pass alone; the reference gets the rounded inputs.
    inputs = [t.to(torch.float8_e4m3fn) for t in problem(torch.bfloat16, 128, 1, 256)]
    got = flash_attn_func(*(t.cuda() for t in inputs))
    hold("fp8", got, attention(*(t.double() for t in inputs), False), 8e-2)
    parts = ", ".join(f"{kind} {largest:.1e} / {relative:.1e}" for kind, (largest, relative) in worst.items())
    return f"head size 64-256, causal or not, grouped heads, packed sequences, a cache; errors, largest / relative: {parts}"


finish()
