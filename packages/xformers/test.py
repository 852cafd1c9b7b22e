#!/usr/bin/env python3
"""Smoke test of the finished xformers wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os

from wheelfarm_checks import NotChecked, check, device_code, errors, finish, forced_ptx, need_gpu

VERSION = "0.0.35"


@check("import")
def _():
    import xformers
    import xformers.ops  # noqa: F401

    assert xformers.__version__ == VERSION, xformers.__version__
    return f"xformers {VERSION}"


@check("compiled library loads")
def _():
    import torch
    import xformers
    from xformers import _cpp_lib

    # xformers only warns when its library does not load
    assert xformers._has_cpp_library, _cpp_lib._cpp_library_load_exception
    built = tuple(torch.ops.xformers._nvcc_build_version())
    assert built[0] == int(torch.version.cuda.split(".")[0]), (built, torch.version.cuda)
    device_code(os.path.join(os.path.dirname(xformers.__file__), "_C.so"))
    info = _cpp_lib._build_metadata
    return f"nvcc {'.'.join(map(str, built))}, built with torch {info.torch_version}, environment {info.build_env}"


@check("operators registered")
def _():
    import torch
    import xformers.ops  # noqa: F401

    names = ("sparse24_sparsify_both_ways", "sparse24_apply", "_sparse24_gemm", "_sparse24_sm90_cutlass_compress", "sparseNM_dense")
    for name in names:
        op = f"xformers::{name}"
        assert torch._C._dispatch_has_kernel_for_dispatch_key(op, "CUDA"), f"{op} has no CUDA kernel"
    return "CUDA kernels registered: " + ", ".join(names)


@check("compiled code answers")
def _():
    # Even for tensors without data it asks the driver for a stream.
    need_gpu()
    import torch
    import xformers.ops  # noqa: F401

    op = torch.ops.xformers.sparseNM_dense
    out = op(torch.empty(128, 64, device="meta", dtype=torch.bfloat16), "largest", 2, 4)
    assert out.shape == (128, 64) and out.dtype == torch.bfloat16
    try:
        op(torch.empty(100, 64, device="meta", dtype=torch.bfloat16), "largest", 2, 4)
    except RuntimeError:
        return "sparseNM_dense on the meta device: shape right, a wrong size is refused (no kernel runs)"
    raise AssertionError("a size that is no multiple of 64 was accepted")


@check("attention masks on the CPU")
def _():
    import torch
    from xformers.ops import fmha

    bias = fmha.attn_bias.LowerTriangularMask().materialize((1, 4, 4))
    assert torch.equal(bias.isinf(), torch.ones(1, 4, 4).triu(1).bool())
    packed = fmha.attn_bias.BlockDiagonalMask.from_seqlens([2, 3]).materialize((5, 5))
    assert (packed == 0).sum().item() == 2 * 2 + 3 * 3
    return "LowerTriangularMask and BlockDiagonalMask (Python, not the kernels)"


@check("this package's kernels on the GPU")
def _():
    need_gpu()
    import torch
    import xformers.ops  # noqa: F401

    # 2:4 sparsity keeps the two largest of four. Made on the CPU: torch's own kernels may have no PTX.
    groups = torch.rand(128 * 64, 4, generator=torch.Generator().manual_seed(1)).argsort(1).add(1).to(torch.bfloat16)
    got = torch.ops.xformers.sparseNM_dense(groups.view(128, 256).cuda(), "largest", 2, 4).cpu().view(-1, 4)
    assert torch.equal(got, torch.where(groups > 2, groups, torch.zeros_like(groups)))
    return "sparseNM_dense keeps the two largest of four" + ("; the driver compiled the PTX" if forced_ptx() else "")


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    import torch.nn.functional as F
    from xformers import ops

    if forced_ptx():
        raise NotChecked("memory_efficient_attention runs torch's kernels, which have no PTX")
    worst = {}
    for dtype, limit in ((torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)):
        for head in (32, 64, 128):
            for causal in (False, True):
                g = torch.Generator().manual_seed(head + causal)
                q, k, v = (torch.randn(2, 160, 4, head, generator=g).to(dtype) for _ in range(3))
                a = [t.cuda().requires_grad_() for t in (q, k, v)]
                b = [t.double().requires_grad_() for t in (q, k, v)]
                bias = ops.LowerTriangularMask() if causal else None
                got = ops.memory_efficient_attention(*a, attn_bias=bias)
                want = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in b), is_causal=causal).transpose(1, 2)
                mark = torch.linspace(-1, 1, want.numel()).view_as(want).to(dtype)
                got.backward(mark.cuda())
                want.backward(mark.double())
                pairs = [("values", got, want, limit)]
                pairs += [("gradients", x.grad, y.grad, 3 * limit) for x, y in zip(a, b)]
                for kind, seen, expected, least in pairs:
                    largest, relative = errors(seen, expected)
                    assert relative < least, (kind, dtype, head, causal, relative)
                    before = worst.get(kind, (0.0, 0.0))
                    worst[kind] = max(before[0], largest), max(before[1], relative)
    parts = ", ".join(f"{kind} {largest:.1e} / {relative:.1e}" for kind, (largest, relative) in worst.items())
    return f"memory_efficient_attention, head size 32 to 128, causal or not; errors, largest / relative: {parts}"


finish()
