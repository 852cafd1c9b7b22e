#!/usr/bin/env python3
"""Smoke test of the finished flash-attn wheel: one JSON line on stdout, exit status 0 if no check failed."""
from wheelfarm_checks import NotChecked, check, device_code, errors, finish, forced_ptx, need_gpu

# The versions of this package that the farm builds.
VERSIONS = ("2.7.4.post1", "2.8.0.post2", "2.8.1", "2.8.2", "2.8.3", "2.8.3.post1", "2.8.3.post2")


def attention(q, k, v, causal):
    """Attention in double precision on (batch, sequence, heads, head size), keys repeated for grouped heads."""
    import torch.nn.functional as F

    groups = q.size(2) // k.size(2)
    k, v = k.repeat_interleave(groups, 2), v.repeat_interleave(groups, 2)
    out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=causal)
    return out.transpose(1, 2)


def problem(dtype, head, groups, length=200):
    """Inputs made on the CPU: under CUDA_FORCE_PTX_JIT=1 nothing but copies of torch runs on the GPU."""
    import torch

    g = torch.Generator().manual_seed(head + groups)
    shapes = ((2, length, 4, head), (2, length, 4 // groups, head), (2, length, 4 // groups, head))
    return [torch.randn(shape, generator=g).to(dtype) for shape in shapes]


class Worst:
    """The largest error of each kind, each held against its limit."""

    def __init__(self):
        self.seen = {}

    def hold(self, kind, got, want, limit):
        largest, relative = errors(got, want)
        assert relative < limit, f"{kind}: relative error {relative:.2e}, largest {largest:.2e}"
        before = self.seen.get(kind, (0.0, 0.0))
        self.seen[kind] = max(before[0], largest), max(before[1], relative)

    def __str__(self):
        parts = (f"{kind} {largest:.1e} / {relative:.1e}" for kind, (largest, relative) in self.seen.items())
        return "errors, largest / relative: " + ", ".join(parts)


@check("import")
def _():
    import flash_attn
    import flash_attn_2_cuda  # the compiled module

    assert flash_attn.__version__ in VERSIONS, flash_attn.__version__
    names = ("fwd", "varlen_fwd", "bwd", "varlen_bwd", "fwd_kvcache")
    assert all(callable(getattr(flash_attn_2_cuda, n)) for n in names)
    device_code(flash_attn_2_cuda.__file__)
    return f"flash_attn {flash_attn.__version__}; {', '.join(names)}; device code present"


@check("compiled module answers")
def _():
    import flash_attn_2_cuda
    import torch

    q = torch.randn(1, 16, 2, 64).half()
    try:
        flash_attn_2_cuda.fwd(q, q, q, None, None, 0.0, 0.125, False, -1, -1, 0.0, False, None)
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        assert "CUDA" in text or "NVIDIA" in text, text
        return "a CPU tensor is refused by the compiled code: " + text[:160]
    raise AssertionError("a CPU tensor was accepted")


@check("padding helpers on the CPU")
def _():
    import torch
    from flash_attn.bert_padding import pad_input, unpad_input

    x = torch.arange(2 * 5 * 3, dtype=torch.float).view(2, 5, 3)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    flat, indices, lengths, longest = unpad_input(x, mask)[:4]
    assert lengths.tolist() == [0, 3, 8] and longest == 5
    assert torch.equal(pad_input(flat, indices, 2, 5), x * mask[..., None])
    return "unpad_input and pad_input (Python, not the kernels)"


@check("shapes without a GPU")
def _():
    # The operators' fake kernels, which torch.compile asks for shapes.
    import torch

    if not hasattr(torch.library, "custom_op"):
        raise NotChecked("torch before 2.4 has no such operators")
    from flash_attn.flash_attn_interface import _wrapped_flash_attn_forward
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        q, k = torch.empty(2, 7, 4, 64, dtype=torch.half), torch.empty(2, 9, 2, 64, dtype=torch.half)
        out, lse = _wrapped_flash_attn_forward(q, k, k, 0.0, 0.125, True, -1, -1, 0.0, None, False)[:2]
    assert out.shape == (2, 7, 4, 64) and lse.shape == (2, 4, 7), (out.shape, lse.shape)
    return "the output's shape and the log-sum-exp's, of tensors without memory"


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    from flash_attn import flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache

    worst = Worst()
    for dtype, limit in ((torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)):
        for head in (32, 64, 96, 128, 160, 192, 256):
            for groups in (1, 2):
                for causal in (False, True):
                    inputs = problem(dtype, head, groups)
                    a = [t.cuda().requires_grad_() for t in inputs]
                    b = [t.double().requires_grad_() for t in inputs]
                    got, want = flash_attn_func(*a, causal=causal), attention(*b, causal)
                    worst.hold("values", got, want, limit)
                    # The gradients of grouped keys are summed by torch itself.
                    if groups == 1 or not forced_ptx():
                        mark = torch.linspace(-1, 1, want.numel()).view_as(want).to(dtype)
                        got.backward(mark.cuda())
                        want.backward(mark.double())
                        for x, y in zip(a, b):
                            worst.hold("gradients", x.grad, y.grad, 3 * limit)
                    ends = torch.tensor([0, 200, 400], dtype=torch.int32).cuda()
                    flat = [t.reshape(400, -1, head).cuda() for t in inputs]
                    packed = flash_attn_varlen_func(*flat, ends, ends, 200, 200, causal=causal)
                    worst.hold("packed", packed.view(want.shape), want, limit)
    # One step of decoding: the last query against a cache that is longer than what is in it.
    for head in (64, 128):
        q, k, v = problem(torch.float16, head, 2)
        cache = [torch.cat([t, torch.full_like(t, 7.0)], 1).cuda() for t in (k, v)]
        length = torch.full((2,), 200, dtype=torch.int32).cuda()
        got = flash_attn_with_kvcache(q[:, -1:].contiguous().cuda(), *cache, cache_seqlens=length, causal=True)
        worst.hold("decoding", got, attention(q.double(), k.double(), v.double(), True)[:, -1:], 2e-3)
    note = "; the driver compiled the PTX, gradients of grouped keys left out" if forced_ptx() else ""
    return f"head size 32-256, causal or not, grouped heads, packed sequences, a cache; {worst}{note}"


finish()
