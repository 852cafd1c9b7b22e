#!/usr/bin/env python3
"""Smoke test of the finished torch-spline-conv wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os

from wheelfarm_checks import check, close, device_code, finish, need_gpu

VERSION = "1.2.2"


def bspline(degree, x):
    """Cardinal B-spline of the degree on [0, degree + 1], by the recursion of Cox and de Boor."""
    import torch

    if degree == 0:
        return ((x >= 0) & (x < 1)).to(x.dtype)
    left, right = bspline(degree - 1, x), bspline(degree - 1, x - 1)
    return (x * left + (degree + 1 - x) * right) / degree


def reference_basis(pseudo, kernel_size, is_open, degree):
    import itertools

    import torch

    values, indices = [], []
    for digits in itertools.product(range(degree + 1), repeat=pseudo.size(1)):
        value, index, offset = 1.0, 0, 1
        for d, k in enumerate(reversed(digits)):  # the first dimension varies fastest
            size = int(kernel_size[d])
            v = pseudo[:, d] * (size - degree * int(is_open[d]))
            whole = v.detach().floor()
            value = value * bspline(degree, v - whole + degree - k)
            index = index + ((whole.long() + k) % size) * offset
            offset *= size
        values.append(value)
        indices.append(index)
    return torch.stack(values, 1), torch.stack(indices, 1)


def reference_conv(x, edge_index, pseudo, weight, kernel_size, is_open, degree, root, bias):
    import torch

    basis, index = reference_basis(pseudo, kernel_size, is_open, degree)
    row, col = edge_index
    out = x.new_zeros(x.size(0), weight.size(2))
    message = torch.einsum("es,ei,esio->eo", basis, x[col], weight[index])
    out = out.index_add(0, row, message)
    degree_of_node = x.new_zeros(x.size(0)).index_add(0, row, x.new_ones(row.numel()))
    return out / degree_of_node.clamp(min=1)[:, None] + x @ root + bias


def problem(degree, is_open, device="cpu"):
    import torch

    g = torch.Generator().manual_seed(7)
    nodes, edges, c_in, c_out = 20, 60, 3, 4
    kernel_size = torch.tensor([5, 4])
    arguments = {
        "x": torch.randn(nodes, c_in, generator=g, dtype=torch.double),
        "edge_index": torch.randint(nodes, (2, edges), generator=g),
        "pseudo": torch.rand(edges, 2, generator=g, dtype=torch.double) * 0.98 + 0.01,
        "weight": torch.randn(20, c_in, c_out, generator=g, dtype=torch.double),
        "kernel_size": kernel_size,
        "is_open": torch.tensor(is_open, dtype=torch.uint8),
        "degree": degree,
        "root": torch.randn(c_in, c_out, generator=g, dtype=torch.double),
        "bias": torch.randn(c_out, generator=g, dtype=torch.double),
    }
    return {k: v.to(device) if hasattr(v, "to") else v for k, v in arguments.items()}


def compare(device):
    """Values and gradients of spline_conv on the device against plain torch on the CPU."""
    import torch
    from torch_spline_conv import spline_conv

    worst = 0.0
    for degree in (1, 2, 3):
        for is_open in ([1, 1], [1, 0], [0, 0]):
            want_in, got_in = problem(degree, is_open), problem(degree, is_open, device)
            leaves = ("x", "pseudo", "weight", "root", "bias")
            for k in leaves:
                want_in[k].requires_grad_()
                got_in[k].requires_grad_()
            want = reference_conv(**want_in)
            a = got_in
            got = spline_conv(a["x"], a["edge_index"], a["pseudo"], a["weight"], a["kernel_size"], a["is_open"],
                              degree, True, a["root"], a["bias"])
            worst = max(worst, close(got.cpu(), want, 1e-9, 1e-9))
            mark = torch.linspace(-1, 1, want.numel(), dtype=torch.double).view_as(want)
            want.backward(mark)
            got.backward(mark.to(device))
            for k in leaves:
                worst = max(worst, close(got_in[k].grad.cpu(), want_in[k].grad, 1e-8, 1e-8))
    return f"9 problems (degree 1-3, open and closed), values and 5 gradients each; largest difference {worst:.1e}"


@check("import")
def _():
    import torch_spline_conv

    assert torch_spline_conv.__version__ == VERSION, torch_spline_conv.__version__
    return f"torch_spline_conv {torch_spline_conv.__version__}"


@check("built with CUDA")
def _():
    import torch
    import torch_spline_conv

    # The operators answer for CUDA tensors in a CPU-only build too, so ask the build itself.
    built = torch.ops.torch_spline_conv.cuda_version()
    assert built != -1, "a CPU-only build"
    assert built // 1000 == int(torch.version.cuda.split(".")[0]), (built, torch.version.cuda)
    folder = os.path.dirname(torch_spline_conv.__file__)
    for name in ("_basis_cuda.so", "_weighting_cuda.so"):
        device_code(os.path.join(folder, name))
    return f"CUDA_VERSION {built}; device code in _basis_cuda.so and _weighting_cuda.so"


@check("numbers on the CPU")
def _():
    return compare("cpu")


@check("numbers on the GPU")
def _():
    need_gpu()
    return compare("cuda")


finish()
