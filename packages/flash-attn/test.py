#!/usr/bin/env python3
"""Smoke test of the finished flash-attn wheel: one JSON line on stdout, exit status 0 if no check failed."""

from wheelfarm_checks import check, close, device_code, finish, need_gpu

VERSION = "2.8.3.post2"


def attention(q, k, v, causal):
    """Attention in double precision on (batch, sequence, heads, head size), keys repeated for grouped heads."""
    import torch.nn.functional as F

    groups = q.size(2) // k.size(2)
    k, v = k.repeat_interleave(groups, 2), v.repeat_interleave(groups, 2)
    out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=causal)
    return out.transpose(1, 2)


@check("import")
def _():
    import flash_attn
    import flash_attn_2_cuda  # the compiled module

    assert flash_attn.__version__ == VERSION, flash_attn.__version__
    names = ("fwd", "varlen_fwd", "bwd", "varlen_bwd", "fwd_kvcache")
    assert all(callable(getattr(flash_attn_2_cuda, n)) for n in names)
    device_code(flash_attn_2_cuda.__file__)
    return f"flash_attn {VERSION}; {', '.join(names)}; device code present"


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


@check("numbers on the GPU")
def _():
    need_gpu()
    import torch
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    worst = 0.0
    for dtype, atol in ((torch.float16, 4e-3), (torch.bfloat16, 3e-2)):
        for head in (32, 64, 96, 128, 192, 256):
            for causal in (False, True):
                torch.manual_seed(head + causal)
                q = torch.randn(2, 200, 4, head, device="cuda", dtype=dtype)
                k, v = (torch.randn(2, 200, 2, head, device="cuda", dtype=dtype) for _ in range(2))
                a = [t.clone().requires_grad_() for t in (q, k, v)]
                b = [t.double().requires_grad_() for t in (q, k, v)]
                got, want = flash_attn_func(*a, causal=causal), attention(*b, causal)
                worst = max(worst, close(got.double(), want, 0, atol))
                mark = torch.linspace(-1, 1, want.numel(), device="cuda").view_as(want).to(dtype)
                got.backward(mark)
                want.backward(mark.double())
                for x, y in zip(a, b):
                    scale = y.grad.abs().max()
                    close(x.grad.double() / scale, y.grad / scale, 0, 2 * atol)
                ends = torch.tensor([0, 200, 400], device="cuda", dtype=torch.int32)
                flat = [t.reshape(400, -1, head) for t in (q, k, v)]
                packed = flash_attn_varlen_func(*flat, ends, ends, 200, 200, causal=causal).view_as(want)
                close(packed.double(), want.detach(), 0, atol)
    return f"values and gradients, head size 32-256, grouped heads, packed sequences; largest difference {worst:.1e}"


finish()
