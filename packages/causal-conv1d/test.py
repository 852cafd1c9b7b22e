#!/usr/bin/env python3
"""Smoke test of the finished causal-conv1d wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os

from wheelfarm_checks import check, close, device_code, finish, need_gpu

VERSION = "1.7.0"


def reference(x, weight, bias, silu):
    """Depthwise causal convolution with torch's own conv1d, in double precision on the CPU."""
    import torch.nn.functional as F

    x, weight, bias = x.cpu().double(), weight.cpu().double(), bias.cpu().double()
    out = F.conv1d(F.pad(x, (weight.size(1) - 1, 0)), weight[:, None], bias, groups=x.size(1))
    return F.silu(out) if silu else out


def problem(width, dtype, device):
    import torch

    g = torch.Generator().manual_seed(3)
    x = torch.randn(2, 64, 151, generator=g).to(dtype)
    weight = torch.randn(64, width, generator=g) * 0.5
    bias = torch.randn(64, generator=g)
    return x.to(device), weight.to(device), bias.to(device)


@check("import")
def _():
    import causal_conv1d
    import causal_conv1d_cuda  # the compiled module

    assert causal_conv1d.__version__ == VERSION, causal_conv1d.__version__
    device_code(causal_conv1d_cuda.__file__)
    return f"causal_conv1d {VERSION}; device code in {os.path.basename(causal_conv1d_cuda.__file__)}"


@check("compiled module answers")
def _():
    from causal_conv1d import causal_conv1d_fn

    x, weight, bias = problem(4, __import__("torch").float, "cpu")
    try:
        causal_conv1d_fn(x, weight, bias, activation="silu")
    except RuntimeError as error:
        assert "is_cuda" in str(error), error
        return "a CPU tensor is refused by the compiled code: " + str(error).splitlines()[0][:160]
    raise AssertionError("a CPU tensor was accepted")


@check("reference numbers on the CPU")
def _():
    # The package has no CPU kernel; this checks the package's Python reference only.
    import torch
    from causal_conv1d.causal_conv1d_interface import causal_conv1d_ref

    worst = 0.0
    for width in (2, 3, 4):
        for silu in (False, True):
            x, weight, bias = problem(width, torch.double, "cpu")
            got = causal_conv1d_ref(x, weight.double(), bias.double(), activation="silu" if silu else None)
            worst = max(worst, close(got, reference(x, weight, bias, silu), 1e-10, 1e-10))
    return f"causal_conv1d_ref (Python, not the kernels) against conv1d: largest difference {worst:.1e}"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update

    worst = {}
    for dtype, rtol, atol in ((torch.float, 1e-4, 1e-4), (torch.float16, 3e-3, 5e-3), (torch.bfloat16, 1e-2, 5e-2)):
        for width in (2, 3, 4):
            for silu in (False, True):
                for channel_last in (False, True):
                    x, weight, bias = problem(width, dtype, "cuda")
                    if channel_last:
                        # strides must be multiples of 8
                        x = x.transpose(1, 2).contiguous().transpose(1, 2)
                    act = "silu" if silu else None
                    a = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_()
                         for t in (x, weight, bias)]
                    b = [t.detach().cpu().double().requires_grad_() for t in (x, weight, bias)]
                    got = causal_conv1d_fn(*a, activation=act)
                    want = reference(*b, silu)
                    d = close(got.detach().cpu().double(), want.detach(), rtol, atol)
                    mark = torch.linspace(-1, 1, want.numel(), dtype=torch.double).view_as(want)
                    got.backward(mark.to("cuda", dtype))
                    want.backward(mark.to(dtype).double())
                    for p, q in zip(a, b):
                        scale = q.grad.abs().max().item()
                        close(p.grad.cpu().double() / scale, q.grad / scale, 0, 10 * atol)
                    worst[str(dtype)] = max(worst.get(str(dtype), 0.0), d)
    # one decoding step after the other gives the same as the whole sequence
    x, weight, bias = problem(4, torch.float, "cuda")
    state = torch.zeros(2, 64, 3, device="cuda")
    steps = torch.stack([causal_conv1d_update(x[:, :, i].contiguous(), state, weight, bias, "silu")
                         for i in range(40)], 2)
    close(steps.cpu().double(), reference(x, weight, bias, True)[:, :, :40], 1e-4, 1e-4)
    return f"values and gradients, width 2-4, both layouts; update step by step; largest differences {worst}"


finish()
