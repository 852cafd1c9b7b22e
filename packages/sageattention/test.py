#!/usr/bin/env python3
"""Smoke test of the finished sageattention wheel: one JSON line on stdout, exit status 0 if no check failed."""
import os
import sys

from wheelfarm_checks import NotChecked, check, device_code, errors, finish, forced_ptx, need_gpu

# The versions of this package that the farm builds; one file serves all lines.
VERSIONS = ("1.0.6", "2.0.1", "2.1.1", "2.2.0", "2.2.1.dev20260117")
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

    return importlib.metadata.version("sageattention").split("+")[0]


def line():
    """1: Triton alone; 20: one extension for all; 21: one for each kind of kernel; 22: behind torch's operators."""
    first, second = version().split(".")[:2]
    return 1 if first == "1" else int(first + second)


def kernels():
    """The package's Triton kernels with constants that its own launchers use."""
    import importlib

    package = "sageattention" if line() == 1 else "sageattention.triton"

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
    import glob

    import sageattention

    if line() == 1:
        files = glob.glob(os.path.join(os.path.dirname(sageattention.__file__), "**", "*.so"), recursive=True)
        assert not files, files
        return "none: this line of the package is Triton only"
    from sageattention import core

    folder = os.path.dirname(sageattention.__file__)
    built = sorted(os.path.basename(f).split(".")[0] for f in glob.glob(os.path.join(folder, "_*.so")))
    least = {"_fused", "_qattn"} if line() == 20 else {"_fused", "_qattn_sm80"}
    assert least <= set(built), built
    for f in glob.glob(os.path.join(folder, "_*.so")):
        device_code(f)
    if line() == 20:
        return ", ".join(built)
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


@check("every GPU has its kernels")
def _():
    if line() == 1:
        raise NotChecked("this line of the package has one set of kernels for all")
    from collections import defaultdict
    from unittest import mock

    import torch
    from sageattention import core

    hopper = "fp16_cuda" if line() == 20 else "fp8_cuda_sm90"
    want = {"sm80": "fp16_cuda", "sm86": "fp16_triton", "sm87": "fp16_cuda", "sm89": "fp8_cuda", "sm90": hopper,
            "sm100": "fp16_cuda", "sm103": "fp16_cuda", "sm120": "fp8_cuda", "sm121": "fp8_cuda"}
    q = torch.empty(1)
    for arch, kernels in want.items():
        with mock.patch.object(core, "get_cuda_arch_versions", lambda arch=arch: defaultdict(lambda: arch)):
            with mock.patch.object(core, "sageattn_qk_int8_pv_" + kernels, return_value="called") as chosen:
                assert core.sageattn(q, q, q) == "called" and chosen.call_count == 1, arch
    return "sageattn() chooses " + ", ".join(f"{kernels} on {arch}" for arch, kernels in want.items())


@check("Hopper's kernel is not its fake")
def _():
    if line() < 22:
        raise NotChecked("this line of the package has no fake kernels")
    import ast

    import sageattention

    # Read, not imported: without a driver _qattn_sm90 cannot be loaded.
    with open(os.path.join(os.path.dirname(sageattention.__file__), "sm90_compile.py")) as f:
        functions = [node for node in ast.parse(f.read()).body if isinstance(node, ast.FunctionDef)]
    last = {node.name: ast.unparse(node.decorator_list[0]) for node in functions}
    name = "qk_int8_sv_f8_accum_f32_fuse_v_scale_attn_inst_buf"
    assert "custom_op" in last[name], f"the last {name} is {last[name][:60]}"
    return f"{name} is the kernel"


@check("Triton kernels compile")
def _():
    sizes = [compile_kernel(*k, target) for k in kernels() for target in TARGETS]
    return f"{len(sizes)} GPU programs for compute capability {TARGETS} made without a GPU, {sum(sizes)} bytes"


@check("CPU tensor refused")
def _():
    import torch

    q = torch.randn(1, 2, 128, 64).half()
    try:
        if line() == 1:
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
    package = "sageattention" if line() == 1 else "sageattention.triton"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", INTERPRETED.format(package=package)],
                         env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=900)
    # Triton's interpreter of 3.6 makes Python numbers of arrays in a way that numpy 2.4 no longer takes.
    if "only 0-dimensional arrays can be converted to Python scalars" in run.stderr:
        raise NotChecked("this Triton's interpreter does not work with this numpy")
    assert run.returncode == 0, run.stderr[-400:]
    return ("the int8 Triton kernels, interpreted on the CPU (not the GPU code), against attention in double "
            f"precision: mean relative difference {float(run.stdout):.4f} (8-bit keys and queries)")


def problem(head, layout, groups=1, length=1024, dtype=None):
    """Inputs and the result in double precision, on the CPU; the inputs have the layout, the result is HND."""
    import torch
    import torch.nn.functional as F

    g = torch.Generator().manual_seed(head + length + groups)
    shapes = ((2, 4, length, head), (2, 4 // groups, length, head), (2, 4 // groups, length, head))
    q, k, v = (torch.randn(shape, generator=g).to(dtype or torch.float16) for shape in shapes)

    def want(causal):
        keys, values = (t.double().repeat_interleave(groups, 1) for t in (k, v))
        return F.scaled_dot_product_attention(q.double(), keys, values, is_causal=causal)

    inputs = [t.transpose(1, 2).contiguous() if layout == "NHD" else t for t in (q, k, v)]
    return inputs, want


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


# Relative errors: 8-bit queries and keys, and for FP8 8-bit values and weights too.
LIMIT, LIMIT_FP8 = 0.04, 0.09


@check("compiled kernels on the GPU")
def _():
    if line() == 1:
        raise NotChecked("this line of the package has none")
    need_gpu()
    import torch
    from sageattention import core

    capability = torch.cuda.get_device_capability()
    runs = [("fp16_cuda", sums, LIMIT) for sums in ("fp32", "fp16", "fp16+fp32")]
    if capability >= (8, 9):
        runs += [("fp8_cuda", sums, LIMIT_FP8) for sums in ("fp32", "fp32+fp32")]
        if line() >= 22 and tuple(map(int, torch.version.cuda.split("."))) >= (12, 8):
            runs.append(("fp8_cuda", "fp32+fp16", LIMIT_FP8))
    # Nothing but 9.0a has this one, so a driver that ignores machine code finds nothing.
    if line() >= 21 and capability == (9, 0) and not forced_ptx():
        runs.append(("fp8_cuda_sm90", "fp32+fp32", LIMIT_FP8))
    worst = Worst()
    for kernels, sums, limit in runs:
        function = getattr(core, "sageattn_qk_int8_pv_" + kernels)
        for head in (64, 128):
            for layout in ("HND", "NHD"):
                for groups in (1, 2):
                    inputs, want = problem(head, layout, groups)
                    for causal in (False, True):
                        # Without means and with scales for a warp, no kernel of torch or Triton takes part.
                        got = function(*(t.cuda() for t in inputs), tensor_layout=layout, is_causal=causal,
                                       qk_quant_gran="per_warp", pv_accum_dtype=sums, smooth_k=False)
                        got = got.cpu()
                        got = got.transpose(1, 2) if layout == "NHD" else got
                        worst.hold(f"{kernels} ({sums})", got, want(causal), limit)
    note = "; the driver compiled the PTX" if forced_ptx() else ""
    return f"head size 64 and 128, both layouts, grouped heads, causal or not; {worst}{note}"


@check("numbers on the GPU")
def _():
    need_gpu()
    import shutil

    import torch

    if forced_ptx():
        raise NotChecked("sageattn() takes kernels of torch and Triton too, which have no PTX")
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
        raise NotChecked("Triton needs a C compiler to start a kernel, and this image has none")
    from sageattention import sageattn, sageattn_varlen

    worst = Worst()
    for dtype in (torch.float16, torch.bfloat16):
        for head in (64, 96, 128):
            for layout in ("HND", "NHD"):
                for groups in (1, 2):
                    inputs, want = problem(head, layout, groups, 1000, dtype)
                    for causal in (False, True):
                        got = sageattn(*(t.cuda() for t in inputs), tensor_layout=layout, is_causal=causal).cpu()
                        got = got.transpose(1, 2) if layout == "NHD" else got
                        worst.hold("values", got, want(causal), LIMIT_FP8)
    # Grouped heads with a log-sum-exp: from 2.2 on.
    for layout in ("HND", "NHD") if line() > 1 else ():
        for groups in (1, 2) if line() >= 22 else (1,):
            inputs, want = problem(128, layout, groups, 1024)
            _, lse = sageattn(*(t.cuda() for t in inputs), tensor_layout=layout, return_lse=True)
            q, k = (t.transpose(1, 2) if layout == "NHD" else t for t in inputs[:2])
            scores = q.double() @ k.double().repeat_interleave(groups, 1).transpose(2, 3) * 128 ** -0.5
            worst.hold("log-sum-exp", lse, scores.logsumexp(-1), 0.01)
    # Sequences of different lengths in one tensor.
    parts = [problem(128, "NHD", 1, length) for length in (200, 317)]
    flat = [torch.cat([inputs[i].flatten(0, 1) for inputs, _ in parts]).cuda() for i in range(3)]
    ends = torch.tensor([0, 200, 400, 717, 1034], dtype=torch.int32).cuda()
    got = sageattn_varlen(*flat, ends, ends, 317, 317, is_causal=False).cpu()
    want = torch.cat([want(False).transpose(1, 2).flatten(0, 1) for _, want in parts])
    worst.hold("packed", got, want, LIMIT)
    return f"sageattn() with head size 64, 96 and 128, both layouts, grouped heads, causal or not; {worst}"


finish()
