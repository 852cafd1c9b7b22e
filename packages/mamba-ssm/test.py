#!/usr/bin/env python3
"""Smoke test of the finished mamba-ssm wheel: one JSON line on stdout, exit status 0 if no check failed."""
import importlib.metadata
import os

from wheelfarm_checks import NotChecked, check, close, device_code, finish, need_gpu

VERSION = "2.3.2.post1"


def scan(u, delta, A, B, C, D, z, delta_bias, softplus):
    """The selective scan as the paper writes it, one step after the other, in double (or complex double) precision."""
    import torch
    import torch.nn.functional as F

    u, delta, D, z, delta_bias = (t.cpu().double() for t in (u, delta, D, z, delta_bias))
    wide = torch.complex128 if A.is_complex() else torch.double
    A, B, C = (t.cpu().to(wide) for t in (A, B, C))
    delta = delta + delta_bias[:, None]
    delta = F.softplus(delta) if softplus else delta
    state = torch.zeros(u.size(0), u.size(1), A.size(1), dtype=wide)
    out = []
    for i in range(u.size(2)):
        step = delta[:, :, i, None]
        state = torch.exp(step * A) * state + step * B[:, None, :, i] * u[:, :, i, None]
        # complex states stand for pairs of conjugates
        y = (state * C[:, None, :, i]).sum(-1)
        out.append(2 * y.real if A.is_complex() else y)
    y = torch.stack(out, 2) + D[:, None] * u
    return y * F.silu(z), state


def problem(length, dtype, device, is_complex=False):
    """Input-dependent B and C, as Mamba has them: batch 2, 4 channels, 8 states."""
    import torch

    g = torch.Generator().manual_seed(29)

    def random(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.double)

    u, delta, z = random(2, 4, length), 0.5 * random(2, 4, length), random(2, 4, length)
    A = -torch.rand(4, 8, generator=g, dtype=torch.double) - 0.1
    B, C = random(2, 8, length), random(2, 8, length)
    if is_complex:
        A = torch.complex(A, random(4, 8))
        B, C = torch.complex(B, random(2, 8, length)), torch.complex(C, random(2, 8, length))
    D, bias = random(4), 0.1 * random(4)
    u, delta, z = (t.to(device, dtype) for t in (u, delta, z))
    A = A.to(device, torch.complex64 if is_complex else torch.float)
    B, C = (t.to(device, torch.complex64 if is_complex else dtype) for t in (B, C))
    return u, delta, A, B, C, D.to(device, torch.float), z, bias.to(device, torch.float)


def real_pairs(t):
    """A complex (batch, state, length) as the kernel takes it: (batch, 1, state, 2 * length)."""
    import torch

    return torch.view_as_real(t.contiguous()).flatten(2).unsqueeze(1)


@check("import")
def _():
    import torch  # noqa: F401  (the module needs its libraries)
    import selective_scan_cuda

    installed = importlib.metadata.version("mamba-ssm")
    assert installed.partition("+")[0] == VERSION, installed
    device_code(selective_scan_cuda.__file__)
    return f"mamba-ssm {installed}; device code in {os.path.basename(selective_scan_cuda.__file__)}"


@check("compiled module answers")
def _():
    import torch
    import selective_scan_cuda

    u, delta, A, B, C, D, z, bias = problem(8, torch.float, "cpu")
    try:
        selective_scan_cuda.fwd(u, delta, A, B[:, None], C[:, None], D, z, bias, True)
    except RuntimeError as error:
        assert "is_cuda" in str(error), error
        return "a CPU tensor is refused by the compiled code: " + str(error).splitlines()[0][:160]
    raise AssertionError("a CPU tensor was accepted")


@check("package")
def _():
    import torch

    try:
        import mamba_ssm
        from mamba_ssm.ops.selective_scan_interface import selective_scan_ref
    except RuntimeError as error:
        # Its Triton and TileLang kernels may ask for a driver as soon as they are imported.
        if torch.cuda.is_available() or not any(word in str(error).lower() for word in ("driver", "libcuda")):
            raise
        raise NotChecked(f"does not import without a GPU: {type(error).__name__}: {error}"[:300])
    assert mamba_ssm.__version__ == VERSION, mamba_ssm.__version__
    u, delta, A, B, C, D, z, bias = problem(50, torch.float, "cpu")
    got = selective_scan_ref(u, delta, A, B, C, D, z, bias, True)
    worst = close(got.double(), scan(u, delta, A, B, C, D, z, bias, True)[0], 1e-4, 1e-4)
    return f"selective_scan_ref (Python, not the kernels) against the recursion in double precision: largest difference {worst:.1e}"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    import selective_scan_cuda

    worst = {}
    for dtype, rtol, atol in ((torch.float, 2e-3, 2e-3), (torch.float16, 5e-3, 1e-2), (torch.bfloat16, 2e-2, 8e-2)):
        # 2048 is one block of the kernel; beyond, states are carried from block to block
        for length in (17, 256, 2048, 3000):
            for is_complex in (False, True):
                u, delta, A, B, C, D, z, bias = problem(length, dtype, "cuda", is_complex)
                packed = [real_pairs(t).to(dtype) if is_complex else t[:, None] for t in (B, C)]
                # what the kernel was given, rounded to its type
                if is_complex:
                    B, C = (torch.view_as_complex(t.float().squeeze(1).unflatten(-1, (-1, 2))) for t in packed)
                want, last = scan(u, delta, A, B, C, D, z, bias, True)
                _, carried, got = selective_scan_cuda.fwd(u, delta, A, *packed, D, z, bias, True)
                name = f"{dtype}{' complex' if is_complex else ''}"
                scale = want.abs().max()
                worst[name] = max(worst.get(name, 0.0), close(got.cpu().double() / scale, want / scale, rtol, atol))
                if not is_complex:
                    close(carried[:, :, -1, 1::2].cpu().double() / last.abs().max(), last / last.abs().max(), rtol, atol)
    # gradients, by the package's own function, which may need its Triton kernels
    u, delta, A, B, C, D, z, bias = problem(200, torch.float, "cuda")
    leaves = [t.clone().requires_grad_() for t in (u, delta, A, B, C, D, z, bias)]
    exact = [t.detach().cpu().double().requires_grad_() for t in (u, delta, A, B, C, D, z, bias)]
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    selective_scan_fn(*leaves, True).sum().backward()
    scan(*exact, True)[0].sum().backward()
    gradient = 0.0
    for got, want in zip(leaves, exact):
        scale = want.grad.abs().max()
        gradient = max(gradient, close(got.grad.cpu().double() / scale, want.grad / scale, 5e-3, 5e-3))
    return f"largest differences from double precision, of the largest value: {worst}, gradients {gradient:.1e}"


finish()
