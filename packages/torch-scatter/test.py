#!/usr/bin/env python3
"""Smoke test of the finished torch-scatter wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os

from wheelfarm_checks import check, close, device_code, finish, need_gpu

VERSION = "2.1.2"


def reference(src, index, size, reduce):
    """The reduction over dimension 0 of a matrix, row by row in Python."""
    import torch

    rows = []
    for i in range(size):
        part = src[index == i]
        if part.size(0) == 0:
            rows.append(torch.full_like(src[0], 1.0 if reduce == "mul" else 0.0))
        else:
            rows.append({"sum": lambda: part.sum(0), "mean": lambda: part.mean(0), "mul": lambda: part.prod(0),
                         "min": lambda: part.amin(0), "max": lambda: part.amax(0)}[reduce]())
    return torch.stack(rows)


def problem(device, dtype):
    import torch

    g = torch.Generator().manual_seed(11)
    src = torch.randn(50, 6, generator=g, dtype=torch.double).to(dtype)
    index = torch.randint(12, (50,), generator=g)
    index[index == 5] = 4  # one empty group
    return src.to(device), index.sort().values.to(device), 12


def compare(device):
    import torch
    import torch_scatter

    worst = 0.0
    for dtype in (torch.float, torch.double):
        tolerance = (1e-5, 1e-5) if dtype == torch.float else (1e-10, 1e-10)
        for reduce in ("sum", "mean", "mul", "min", "max"):
            src, index, size = problem(device, dtype)
            a, b = src.clone().requires_grad_(), src.cpu().clone().requires_grad_()
            got = torch_scatter.scatter(a, index, dim=0, dim_size=size, reduce=reduce)
            want = reference(b, index.cpu(), size, reduce)
            worst = max(worst, close(got.cpu(), want, *tolerance))
            if reduce != "mul":
                mark = torch.linspace(-1, 1, want.numel(), dtype=dtype).view_as(want)
                got.backward(mark.to(device))
                want.backward(mark)
                worst = max(worst, close(a.grad.cpu(), b.grad, *tolerance))
            if reduce != "mul":
                seg = torch_scatter.segment_coo(src, index, dim_size=size, reduce=reduce)
                worst = max(worst, close(seg.cpu(), want.detach(), *tolerance))
                counts = torch.bincount(index.cpu(), minlength=size)
                ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(device)
                seg = torch_scatter.segment_csr(src, ptr, reduce=reduce)
                worst = max(worst, close(seg.cpu(), want.detach(), *tolerance))
    return ("scatter with its gradients, segment_coo and segment_csr; sum mean min max (scatter also mul); "
            f"float and double, one empty group; largest difference {worst:.1e}")


@check("import")
def _():
    import torch_scatter

    assert torch_scatter.__version__ == VERSION, torch_scatter.__version__
    return f"torch_scatter {torch_scatter.__version__}"


@check("built with CUDA")
def _():
    import torch
    import torch_scatter

    built = torch.ops.torch_scatter.cuda_version()
    assert built != -1, "a CPU-only build"
    assert built // 1000 == int(torch.version.cuda.split(".")[0]), (built, torch.version.cuda)
    folder = os.path.dirname(torch_scatter.__file__)
    names = ("_scatter_cuda.so", "_segment_coo_cuda.so", "_segment_csr_cuda.so")
    for name in names:
        device_code(os.path.join(folder, name))
    return f"CUDA_VERSION {built}; device code in {', '.join(names)}"


@check("numbers on the CPU")
def _():
    return compare("cpu")


@check("numbers on the GPU")
def _():
    need_gpu()
    return compare("cuda")


finish()
