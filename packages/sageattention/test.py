#!/usr/bin/env python3
"""Smoke test of the finished sageattention wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os
import sys

from wheelfarm_checks import NotChecked, check, device_code, finish, need_gpu

# The versions of this package that the farm builds; one file serves both lines.
VERSIONS = ("1.0.6", "2.2.0")
TARGETS = (90, 120)  # compute capabilities that the Triton kernels are compiled for below

INTERPRETED = """
import torch, torch.nn.functional as F, importlib
package = importlib.import_module({package!r})
quant = importlib.import_module({package!r} + ".quant_per_block").per_block_int8
worst = 0.0
g = torch.Generator().manual_seed(5)
for causal in (False, True):
    name = ".attn_qk_int8_per_block" + ("_causal" if causal else "")
    forward = importlib.import_module({package!r} + name).forward
    q, k, v = (torch.randn(1, 2, 192, 64, generator=g).half() for _ in range(3))
    q8, qs, k8, ks = quant(q, k, sm_scale=64 ** -0.5, tensor_layout="HND")
    got = forward(q8, k8, v, qs, ks, tensor_layout="HND", output_dtype=torch.float16)
    got = got[0] if isinstance(got, tuple) else got
    want = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal)
    worst = max(worst, ((got.double() - want).abs().mean() / want.abs().mean()).item())
    assert F.cosine_similarity(got.double().flatten(), want.flatten(), dim=0) > 0.999
assert worst < 0.03, worst
print(worst)
"""


def version():
    import importlib.metadata

    return importlib.metadata.version("sageattention")


def kernels():
    """The package's Triton kernels with constants that its own launchers use."""
    import importlib

    package = "sageattention" if version().startswith("1.") else "sageattention.triton"

    def module(name):
        return importlib.import_module(f"{package}.{name}")

    found = []
    for head in (64, 128):
        attention = {"H": 2, "num_kv_groups": 1, "HEAD_DIM": head, "BLOCK_M": 128, "BLOCK_N": 64, "mask": None,
                     "RETURN_LSE": False}
        options = {"num_warps": 4 if head == 64 else 8, "num_stages": 3 if head == 64 else 4}
        found.append((module("quant_per_block").quant_per_block_int8_kernel, {"C": head, "BLK": 128}, {}))
        found.append((module("attn_qk_int8_per_block")._attn_fwd, {**attention, "STAGE": 1}, options))
        found.append((module("attn_qk_int8_per_block_causal")._attn_fwd, {**attention, "STAGE": 3}, options))
    return found


def compile_kernel(kernel, constants, options, target):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    pointers = {"Q": "*i8", "K": "*i8", "V": "*fp16", "Q_scale": "*fp32", "K_scale": "*fp32", "Out": "*fp16",
                "Lse": "*fp32", "Input": "*fp16", "Output": "*i8", "Scale": "*fp32", "sm_scale": "fp32"}
    constants = {k: v for k, v in constants.items() if k in kernel.arg_names}
    signature = {n: "constexpr" if n in constants else pointers.get(n, "i32") for n in kernel.arg_names}
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    return len(triton.compile(source, target=GPUTarget("cuda", target, 32), options=options).asm["cubin"])


@check("import")
def _():
    import sageattention

    assert version() in VERSIONS, version()
    assert callable(sageattention.sageattn)
    return f"sageattention {version()}"


@check("compiled extensions")
def _():
    if version().startswith("1."):
        return "none: this line of the package is Triton only"
    import glob

    import sageattention
    from sageattention import core

    folder = os.path.dirname(sageattention.__file__)
    built = sorted(os.path.basename(f).split(".")[0] for f in glob.glob(os.path.join(folder, "_*.so")))
    assert "_fused" in built and "_qattn_sm80" in built, built
    for f in glob.glob(os.path.join(folder, "_*.so")):
        device_code(f)
    # core.py swallows every import error of these modules: look at its flags
    missing = []
    for name, loaded in (("_qattn_sm80", core.SM80_ENABLED), ("_qattn_sm89", core.SM89_ENABLED)):
        if name in built and not loaded:
            missing.append(name)
    assert not missing, f"built, but not importable: {missing}"
    note = ""
    if "_qattn_sm90" in built and not core.SM90_ENABLED:
        try:
            from sageattention import _qattn_sm90  # noqa: F401
        except ImportError as error:
            assert "libcuda.so.1" in str(error), error
            note = "; _qattn_sm90 needs the driver's libcuda.so.1, which is not here"
    return ", ".join(built) + note


@check("Triton kernels compile")
def _():
    sizes = [compile_kernel(*k, target) for k in kernels() for target in TARGETS]
    return f"{len(sizes)} GPU programs for compute capability {TARGETS} made without a GPU, {sum(sizes)} bytes"


@check("CPU tensor refused")
def _():
    import torch

    q = torch.randn(1, 2, 128, 64).half()
    try:
        if version().startswith("1."):
            from sageattention import sageattn

            sageattn(q, q, q)
        else:
            from sageattention import _fused

            _fused.sub_mean_cuda(q, q.mean(2), q.clone(), 1)
    except (AssertionError, RuntimeError) as error:
        assert "cuda" in str(error).lower(), error
        return f"{type(error).__name__}: {error}".splitlines()[0][:160]
    raise AssertionError("a CPU tensor was accepted")


@check("numbers in Triton's interpreter")
def _():
    import importlib.util
    import subprocess

    if importlib.util.find_spec("numpy") is None:
        raise NotChecked("Triton's interpreter needs numpy, which is not installed")
    package = "sageattention" if version().startswith("1.") else "sageattention.triton"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", INTERPRETED.format(package=package)],
                         env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr[-400:]
    return ("the int8 Triton kernels, interpreted on the CPU (not the GPU code), against attention in double "
            f"precision: mean relative difference {float(run.stdout):.4f} (8-bit keys and queries)")


@check("numbers on the GPU")
def _():
    need_gpu()
    import shutil

    import torch
    import torch.nn.functional as F

    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
        raise NotChecked("Triton needs a C compiler to start a kernel, and this image has none")
    from sageattention import sageattn

    worst = 1.0
    for head in (64, 128):
        for causal in (False, True):
            for layout in ("HND", "NHD"):
                torch.manual_seed(head + causal)
                q, k, v = (torch.randn(2, 4, 1024, head, device="cuda", dtype=torch.float16) for _ in range(3))
                want = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal)
                if layout == "NHD":
                    q, k, v = (t.transpose(1, 2).contiguous() for t in (q, k, v))
                got = sageattn(q.clone(), k.clone(), v.clone(), tensor_layout=layout, is_causal=causal)
                got = got.transpose(1, 2) if layout == "NHD" else got
                assert got.isfinite().all()
                likeness = F.cosine_similarity(got.double().flatten(), want.flatten(), dim=0).item()
                error = ((got.double() - want).abs().mean() / want.abs().mean()).item()
                assert likeness > 0.998 and error < 0.08, (head, causal, layout, likeness, error)
                worst = min(worst, likeness)
    return f"8-bit attention against attention in double precision: cosine similarity at least {worst:.5f}"


finish()
