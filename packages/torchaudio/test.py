#!/usr/bin/env python3
"""Smoke test of the finished torchaudio wheel: one JSON line on stdout, exit status 0 if no check failed."""
import glob
import importlib.metadata
import os

from wheelfarm_checks import check, close, device_code, finish, need_gpu

# Up to 2.10 a release is for one torch; 2.11 is on torch's stable ABI.
PAIRS = {"2.8.0": "2.8", "2.9.1": "2.9", "2.10.0": "2.10"}

# The operator behind rnnt_loss, where it is not `rnnt_loss_forward`.
RNNT = {"2.8.0": "rnnt_loss"}


def emission(frames, classes, device="cpu", dtype=None):
    import torch

    g = torch.Generator().manual_seed(13)
    scores = torch.randn(1, frames, classes, generator=g, dtype=torch.double)
    return scores.log_softmax(-1).to(device, dtype or torch.double)


def align_reference(log_probs, targets):
    """The best CTC path by trying the Viterbi recursion over extended labels, in double precision: its score."""
    labels = [0]
    for target in targets:
        labels += [target, 0]
    minus = float("-inf")
    rows = log_probs[0].double().tolist()
    best = [rows[0][labels[0]], rows[0][labels[1]]] + [minus] * (len(labels) - 2)
    for row in rows[1:]:
        step = []
        for i, label in enumerate(labels):
            ways = [best[i], best[i - 1] if i else minus]
            if i > 1 and label != 0 and label != labels[i - 2]:
                ways.append(best[i - 2])
            step.append(max(ways) + row[label])
        best = step
    return max(best[-1], best[-2])


def path_of(aligned):
    """What a path says: repetitions and blanks taken out."""
    path = aligned.flatten().tolist()
    return [label for i, label in enumerate(path) if label != 0 and (i == 0 or path[i - 1] != label)]


def lfilter_reference(wave, a, b):
    """The difference equation, one sample after the other, in double precision."""
    import torch

    x, a, b = wave.detach().cpu().double(), a.cpu().double(), b.cpu().double()
    a, b = a / a[0], b / a[0]
    out = torch.zeros_like(x)
    for n in range(x.size(-1)):
        value = sum(b[k] * x[..., n - k] for k in range(len(b)) if n >= k)
        out[..., n] = value - sum(a[k] * out[..., n - k] for k in range(1, len(a)) if n >= k)
    return out


def filter_problem(device="cpu"):
    import torch

    g = torch.Generator().manual_seed(17)
    wave = torch.randn(3, 400, generator=g).to(device) * 0.1
    a = torch.tensor([1.0, -0.9, 0.4, -0.1], device=device)
    b = torch.tensor([0.3, 0.2, -0.1, 0.05], device=device)
    return wave, a, b


def rnnt_reference(log_probs, targets, blank):
    """The transducer's forward variable, in double precision."""
    import torch

    log_probs = log_probs.detach().cpu().double().log_softmax(-1)
    frames, labels = log_probs.size(0), log_probs.size(1)
    alpha = torch.full((frames, labels), float("-inf"), dtype=torch.double)
    alpha[0, 0] = 0
    for t in range(frames):
        for u in range(labels):
            ways = [alpha[t, u]]
            if t:
                ways.append(alpha[t - 1, u] + log_probs[t - 1, u, blank])
            if u:
                ways.append(alpha[t, u - 1] + log_probs[t, u - 1, targets[u - 1]])
            alpha[t, u] = torch.logsumexp(torch.stack(ways), 0)
    return -(alpha[-1, -1] + log_probs[-1, -1, blank]).item()


def rnnt_problem():
    import torch

    g = torch.Generator().manual_seed(19)
    logits = torch.randn(2, 7, 4, 6, generator=g)
    targets = torch.tensor([[1, 3, 2], [5, 1, 4]], dtype=torch.int32)
    return logits, targets, torch.tensor([7, 7], dtype=torch.int32), torch.tensor([3, 3], dtype=torch.int32)


def libraries():
    import torchaudio

    return sorted(glob.glob(os.path.join(os.path.dirname(torchaudio.__file__), "lib", "*.so")))


def quietly(function, *arguments, **keywords):
    """Calls it without the warnings that 2.8 gives for everything."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **keywords)


@check("import")
def _():
    import torch
    import torchaudio

    installed = importlib.metadata.version("torchaudio")
    public = installed.partition("+")[0]
    assert torchaudio.__version__.partition("+")[0] == public, (torchaudio.__version__, installed)
    minor = ".".join(torch.__version__.split(".")[:2])
    assert PAIRS.get(public, minor) == minor, f"torchaudio {public} is for torch {PAIRS[public]}, this is {torch.__version__}"
    return f"torchaudio {installed}, torch {torch.__version__}"


@check("built with CUDA")
def _():
    import torch
    import torchaudio  # noqa: F401
    from torchaudio import _extension
    from torchaudio._extension import utils

    assert _extension._IS_TORCHAUDIO_EXT_AVAILABLE, "the extension did not load"
    assert _extension._IS_ALIGN_AVAILABLE, "built without forced alignment"
    built = utils._check_cuda_version()
    assert built is not None, "built without CUDA"
    # "13.0", and 13000 in 2.11
    major = int(str(built).split(".")[0])
    major = major // 1000 if major >= 1000 else major
    assert major == int(torch.version.cuda.split(".")[0]), (built, torch.version.cuda)
    with_kernels = [path for path in libraries() if "libtorchaudio." in path or "libctc" in path or "torchaudio_prefixctc" in path]
    assert len(with_kernels) == 2, f"not two libraries with kernels: {with_kernels}"
    for path in with_kernels:
        device_code(path)
    for name in ("forced_align", RNNT.get(importlib.metadata.version("torchaudio").partition("+")[0], "rnnt_loss_forward")):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"torchaudio::{name}", "CUDA"), f"{name} has no CUDA kernel"
    return f"CUDA {built}; device code in {', '.join(os.path.basename(path) for path in with_kernels)}"


@check("the CTC decoder's module loads")
def _():
    # Its kernels have no version for the CPU.
    from torchaudio.models.decoder import _cuda_ctc_decoder  # noqa: F401

    return "torchaudio.models.decoder.cuda_ctc_decoder"


@check("numbers on the CPU")
def _():
    import torch
    import torchaudio.functional as F

    log_probs, targets = emission(40, 9), torch.tensor([[3, 3, 5, 1, 8]], dtype=torch.int32)
    aligned, scores = quietly(F.forced_align, log_probs, targets)
    want = align_reference(log_probs, targets[0].tolist())
    assert path_of(aligned) == targets[0].tolist(), "the path says other labels"
    assert abs(scores.sum().item() - want) < 1e-9, (scores.sum().item(), want)
    wave, a, b = filter_problem()
    filtered = close(quietly(F.lfilter, wave, a, b, clamp=False).double(), lfilter_reference(wave, a, b), 1e-4, 1e-5)
    logits, labels, frames, lengths = rnnt_problem()
    got = quietly(F.rnnt_loss, logits, labels, frames, lengths, blank=0, reduction="none")
    want = torch.tensor([rnnt_reference(x, y.tolist(), 0) for x, y in zip(logits, labels)], dtype=torch.double)
    loss = close(got.double(), want, 1e-5, 1e-5)
    return f"forced_align, lfilter ({filtered:.1e}), rnnt_loss ({loss:.1e}) against double precision"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    import torchaudio.functional as F

    detail = []
    for frames, classes, count in ((40, 9, 5), (300, 30, 40)):
        log_probs = emission(frames, classes)
        g = torch.Generator().manual_seed(count)
        targets = torch.randint(1, classes, (1, count), generator=g, dtype=torch.int32)
        want = align_reference(log_probs, targets[0].tolist())
        on_cpu, _ = quietly(F.forced_align, log_probs, targets)
        for dtype, tolerance in ((torch.double, 1e-9), (torch.float, 1e-4)):
            aligned, scores = quietly(F.forced_align, log_probs.to("cuda", dtype), targets.cuda())
            assert path_of(aligned) == targets[0].tolist(), "the path says other labels"
            difference = abs(scores.double().sum().item() - want) / abs(want)
            assert difference < tolerance, (difference, dtype)
            if dtype == torch.double:
                assert torch.equal(aligned.cpu(), on_cpu), "another path than on the CPU"
            detail.append(f"forced_align {frames} {dtype} {difference:.1e}")
    wave, a, b = filter_problem("cuda")
    wave.requires_grad_()
    got = quietly(F.lfilter, wave, a, b, clamp=False)
    detail.append(f"lfilter {close(got.detach().cpu().double(), lfilter_reference(wave, a, b), 1e-4, 1e-5):.1e}")
    got.sum().backward()
    assert bool(wave.grad.isfinite().all())
    logits, labels, frames, lengths = rnnt_problem()
    on_gpu = logits.cuda().requires_grad_()
    on_cpu = logits.clone().requires_grad_()
    got = quietly(F.rnnt_loss, on_gpu, labels.cuda(), frames.cuda(), lengths.cuda(), blank=0, reduction="none")
    want = torch.tensor([rnnt_reference(x, y.tolist(), 0) for x, y in zip(logits, labels)], dtype=torch.double)
    detail.append(f"rnnt_loss {close(got.detach().cpu().double(), want, 1e-5, 1e-5):.1e}")
    got.sum().backward()
    quietly(F.rnnt_loss, on_cpu, labels, frames, lengths, blank=0, reduction="sum").backward()
    detail.append(f"its gradient {close(on_gpu.grad.cpu(), on_cpu.grad, 1e-4, 1e-5):.1e}")
    return "differences from double precision: " + ", ".join(detail)


finish()
