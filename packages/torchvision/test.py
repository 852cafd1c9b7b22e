#!/usr/bin/env python3
"""Smoke test of the finished torchvision wheel: one JSON line on stdout, exit status 0 if no check failed."""
import importlib.metadata
import os

from wheelfarm_checks import check, close, device_code, finish, need_gpu

# Each release is built on the C++ ABI of one torch.
PAIRS = {"0.23.0": "2.8", "0.24.1": "2.9", "0.25.0": "2.10", "0.26.0": "2.11"}


def boxes_and_scores(count, device="cpu"):
    """Boxes that overlap a good deal, and scores no two of which are equal."""
    import torch

    g = torch.Generator().manual_seed(7)
    corner = torch.rand(count, 2, generator=g, dtype=torch.double) * 60
    size = torch.rand(count, 2, generator=g, dtype=torch.double) * 40 + 5
    boxes = torch.cat([corner, corner + size], 1).float()
    scores = torch.randperm(count, generator=g).float() / count
    return boxes.to(device), scores.to(device)


def nms_reference(boxes, scores, threshold):
    """Greedy suppression as the paper has it, in double precision."""
    import torch

    boxes, order = boxes.cpu().double(), scores.cpu().argsort(descending=True).tolist()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    for i in order:
        low = torch.maximum(boxes[kept, :2], boxes[i, :2])
        high = torch.minimum(boxes[kept, 2:], boxes[i, 2:])
        inter = (high - low).clamp(min=0).prod(1)
        if not bool((inter / (area[kept] + area[i] - inter) > threshold).any()):
            kept.append(i)
    return kept


def roi_align_reference(x, rois, size, scale, ratio):
    """RoIAlign with aligned=True: bilinear samples on a regular grid, averaged for each bin, in double precision."""
    import torch

    x, rois = x.detach().cpu().double(), rois.cpu().double()
    height, width = x.shape[-2:]

    def samples(begin, length, limit):
        at = begin + (torch.arange(size * ratio, dtype=torch.double) + 0.5) * length / (size * ratio)
        inside = (at >= -1) & (at <= limit)
        at = at.clamp(0, limit - 1)
        low = at.floor().long().clamp(max=limit - 1)
        high = (low + 1).clamp(max=limit - 1)
        weight = torch.zeros(size * ratio, limit, dtype=torch.double)
        rows = torch.arange(size * ratio)
        weight.index_put_((rows, low), 1 - (at - low), accumulate=True)
        weight.index_put_((rows, high), at - low, accumulate=True)
        return weight * inside[:, None]

    out = []
    for roi in rois:
        x1, y1, x2, y2 = (roi[1:] * scale - 0.5).tolist()
        by_row, by_column = samples(y1, y2 - y1, height), samples(x1, x2 - x1, width)
        grid = torch.einsum("ih,chw,jw->cij", by_row, x[int(roi[0])], by_column)
        out.append(grid.view(-1, size, ratio, size, ratio).mean((2, 4)))
    return torch.stack(out)


def roi_problem(device="cpu"):
    import torch

    g = torch.Generator().manual_seed(11)
    x = torch.randn(2, 3, 20, 24, generator=g)
    rois = torch.tensor([[0, 3.0, 2.0, 37.0, 30.0], [1, 10.0, 5.0, 44.0, 38.5], [1, 0.0, 0.0, 12.0, 9.0]])
    return x.to(device), rois.to(device)


@check("import")
def _():
    import torch
    import torchvision
    import torchvision.models  # noqa: F401

    installed = importlib.metadata.version("torchvision")
    public = installed.partition("+")[0]
    assert torchvision.__version__.partition("+")[0] == public, (torchvision.__version__, installed)
    minor = ".".join(torch.__version__.split(".")[:2])
    assert PAIRS.get(public, minor) == minor, f"torchvision {public} is for torch {PAIRS[public]}, this is {torch.__version__}"
    return f"torchvision {installed}, torch {torch.__version__}"


@check("built with CUDA")
def _():
    import torch
    import torchvision
    from torchvision import extension

    assert extension._has_ops(), "_C.so did not load"
    # -1: setup.py left the kernels out
    built = torch.ops.torchvision._cuda_version()
    assert built > 0, "no CUDA in _C.so"
    # 12080, and in old releases 11.8 as 11080
    assert built // 1000 == int(torch.version.cuda.split(".")[0]), (built, torch.version.cuda)
    for name in ("nms", "roi_align", "roi_pool", "ps_roi_align", "deform_conv2d"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"torchvision::{name}", "CUDA"), f"{name} has no CUDA kernel"
    device_code(os.path.join(os.path.dirname(torchvision.__file__), "_C.so"))
    return f"CUDA {built}, kernels registered"


@check("codecs")
def _():
    # The farm leaves them out on purpose; GIF needs no library.
    import torch
    from torchvision.io import decode_gif

    pixel = bytes.fromhex("47494638396101000100800000ff0000ffffff2c00000000010001000002024401003b")
    image = decode_gif(torch.frombuffer(bytearray(pixel), dtype=torch.uint8))
    assert image.shape[-3:] == (3, 1, 1) and image.flatten().tolist() == [255, 0, 0], image
    return "image.so loads and reads a GIF"


@check("numbers on the CPU")
def _():
    import torch
    from torchvision import ops

    boxes, scores = boxes_and_scores(200)
    got = ops.nms(boxes, scores, 0.4).tolist()
    assert got == nms_reference(boxes, scores, 0.4), "nms keeps other boxes than the reference"
    x, rois = roi_problem()
    worst = close(ops.roi_align(x, rois, 5, 0.5, 2, True).double(), roi_align_reference(x, rois, 5, 0.5, 2), 1e-4, 1e-5)
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(5))
    offset = torch.zeros(2, 18, 20, 24)
    want = torch.nn.functional.conv2d(x.double(), weight.double(), padding=1)
    worst = max(worst, close(ops.deform_conv2d(x, offset, weight, padding=1).double(), want, 1e-4, 1e-4))
    return f"nms ({len(got)} of 200 boxes), roi_align, deform_conv2d against double precision: largest difference {worst:.1e}"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    from torchvision import ops

    detail = []
    for count, threshold in ((200, 0.4), (1000, 0.5), (3000, 0.7)):
        boxes, scores = boxes_and_scores(count)
        want = ops.nms(boxes, scores, threshold)
        got = ops.nms(boxes.cuda(), scores.cuda(), threshold).cpu()
        assert torch.equal(got, want), f"nms of {count} boxes: {len(got)} kept, {len(want)} on the CPU"
        detail.append(f"nms {len(want)}/{count}")
    worst = {}
    for dtype, rtol, atol in ((torch.float, 1e-4, 1e-5), (torch.float16, 1e-2, 1e-2)):
        x, rois = (t.cuda().to(dtype) for t in roi_problem())
        x.requires_grad_()
        got = ops.roi_align(x, rois, 5, 0.5, 2, True)
        want = roi_align_reference(x, rois, 5, 0.5, 2)
        worst[f"roi_align {dtype}"] = close(got.detach().cpu().double(), want, rtol, atol)
        got.sum().backward()
        # every sample's weights add up to one, so the gradient's sum is the number of outputs
        total = x.grad.double().sum().item()
        assert abs(total - got.numel()) < 0.02 * got.numel(), (total, got.numel())
    x, _ = roi_problem()
    g = torch.Generator().manual_seed(5)
    weight = torch.randn(4, 3, 3, 3, generator=g)
    offset = torch.randn(2, 18, 20, 24, generator=g)
    mask = torch.rand(2, 9, 20, 24, generator=g)
    want = ops.deform_conv2d(x.double(), offset.double(), weight.double(), padding=1, mask=mask.double())
    got = ops.deform_conv2d(x.cuda(), offset.cuda(), weight.cuda(), padding=1, mask=mask.cuda())
    worst["deform_conv2d"] = close(got.cpu().double(), want, 1e-4, 1e-3)
    norms = ", ".join(f"{name} {difference:.1e}" for name, difference in worst.items())
    return f"{', '.join(detail)}; largest differences from double precision: {norms}"


finish()
