#!/usr/bin/env python3
"""Smoke test of the finished NATTEN wheel: one JSON line on stdout, exit status 0 if no check failed."""
import importlib.metadata
import os

from wheelfarm_checks import check, close, device_code, finish, need_gpu

VERSION = "0.21.7"


def window(length, kernel, dilation, causal):
    """Which keys each query of one axis sees: the nearest `kernel` of its dilation group, as the paper has it."""
    import torch

    seen = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        group = list(range(i % dilation, length, dilation))
        at = group.index(i)
        if causal:
            keys = group[max(0, at - kernel + 1): at + 1]
        else:
            begin = min(max(at - kernel // 2, 0), len(group) - kernel)
            keys = group[begin: begin + kernel]
        seen[i, keys] = True
    return seen


def reference(q, k, v, kernel, dilation=(1, 1), causal=(False, False)):
    """Attention with that mask in double precision. q, k, v: batch, height, width, heads, dim."""
    import torch
    import torch.nn.functional as F

    height, width = q.shape[1:3]
    rows = window(height, kernel[0], dilation[0], causal[0])
    columns = window(width, kernel[1], dilation[1], causal[1])
    mask = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(height * width, height * width)
    q, k, v = (t.detach().cpu().double().flatten(1, 2).transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).unflatten(1, (height, width))


def problem(dtype, device, heads=2, dim=64, height=12, width=10):
    import torch

    g = torch.Generator().manual_seed(31)
    shape = (2, height, width, heads, dim)
    return tuple(torch.randn(shape, generator=g).to(device, dtype) for _ in range(3))


@check("import")
def _():
    import natten

    installed = importlib.metadata.version("natten")
    assert natten.__version__ == VERSION == installed.partition("+")[0], (natten.__version__, installed)
    return f"natten {installed}"


@check("built with libnatten")
def _():
    import natten

    # setup.py leaves it out without a word when it is told no arch and sees no GPU
    assert natten.HAS_LIBNATTEN, "libnatten is not there or does not load"
    from natten import libnatten

    device_code(libnatten.__file__)
    for name in ("na1d_forward", "na2d_forward", "na3d_forward", "fmha_forward", "reference_na2d_forward", "hopper_na2d_forward", "blackwell_na2d_forward"):
        assert hasattr(libnatten, name), f"libnatten has no {name}"
    return f"device code in {os.path.basename(libnatten.__file__)}"


@check("numbers on the CPU")
def _():
    # libnatten has no kernels for the CPU; this shows that the test's own mask is NATTEN's definition
    # where it is plain: a full window is attention, and a window of one is the value itself.
    import torch
    import torch.nn.functional as F

    q, k, v = problem(torch.double, "cpu")
    flat = [t.flatten(1, 2).transpose(1, 2) for t in (q, k, v)]
    want = F.scaled_dot_product_attention(*flat).transpose(1, 2).unflatten(1, (12, 10))
    full = close(reference(q, k, v, (12, 10)), want, 1e-12, 1e-12)
    one = close(reference(q, k, v, (1, 1)), v, 1e-12, 1e-12)
    return f"the test's reference, not the kernels: full window {full:.1e}, window of one {one:.1e} from attention"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    from natten.functional import na2d

    capability = torch.cuda.get_device_capability()
    backends = ["cutlass-fna"]
    backends += ["hopper-fna"] if capability == (9, 0) else []
    backends += ["blackwell-fna"] if capability in ((10, 0), (10, 3)) else []
    cases = (((12, 10), (1, 1), (False, False)), ((5, 3), (1, 1), (False, False)), ((3, 3), (2, 3), (False, False)),
             ((5, 3), (1, 1), (True, False)))
    worst = {}
    for dtype, atol in ((torch.float16, 5e-3), (torch.bfloat16, 4e-2)):
        for backend in backends:
            for kernel, dilation, causal in cases:
                q, k, v = (t.requires_grad_() for t in problem(dtype, "cuda"))
                got = na2d(q, k, v, kernel_size=kernel, dilation=dilation, is_causal=causal, backend=backend)
                want = reference(q, k, v, kernel, dilation, causal)
                name = f"{backend} {dtype}"
                worst[name] = max(worst.get(name, 0.0), close(got.detach().cpu().double(), want, 0, atol))
                got.sum().backward()
                # each row of weights adds up to one, so the gradient of v adds up to the number of outputs
                total = v.grad.double().sum().item()
                assert abs(total - got.numel()) < 0.02 * got.numel(), (backend, total, got.numel())
    return f"four windows, dilated and causal ones too; largest differences from double precision: {worst}"


finish()
