"""What every package's test.py shares: checks that are told apart as pass, fail and not checked.

A proof's container has this file on its path. To run a test elsewhere:
`PYTHONPATH=dockerfiles python packages/NAME/test.py`.
"""
import json
import os
import sys

CHECKS = []
asked_for_gpu = False  # whether the check that runs now is of the part that needs a GPU
REAL_STDOUT = os.dup(1)
os.dup2(2, 1)  # whatever a library prints goes to stderr: stdout carries one line


class NotChecked(Exception):
    """Raised by a check that this machine cannot make."""


def check(name):
    def run(function):
        global asked_for_gpu
        asked_for_gpu = False
        try:
            result, detail = "pass", function()
        except NotChecked as reason:
            result, detail = "not checked", str(reason)
        except BaseException as error:  # noqa: B902  (also SystemExit of a library)
            result, detail = "fail", f"{type(error).__name__}: {error}"[:600]
        CHECKS.append({"name": name, "result": result, "detail": detail or "", "gpu": asked_for_gpu})

    return run


def finish():
    line = json.dumps({"schema": 1, "checks": CHECKS})
    os.write(REAL_STDOUT, (line + "\n").encode())
    sys.exit(1 if any(c["result"] == "fail" for c in CHECKS) else 0)


def need_gpu():
    """Marks the check as one for a GPU, and ends it as not checked where torch sees none. Call it first."""
    global asked_for_gpu
    asked_for_gpu = True
    import torch

    if not torch.cuda.is_available():
        raise NotChecked("torch sees no GPU here")


def close(got, want, rtol=1e-5, atol=1e-6):
    import torch

    torch.testing.assert_close(got, want, rtol=rtol, atol=atol)
    return (got - want).abs().max().item()


def errors(got, want):
    """The largest absolute difference and the relative one in the Frobenius norm; a value that is none fails."""
    got, want = got.detach().cpu().double(), want.detach().cpu().double()
    assert got.shape == want.shape, (got.shape, want.shape)
    assert got.isfinite().all(), "a value is infinite or not a number"
    return (got - want).abs().max().item(), ((got - want).norm() / want.norm()).item()


def forced_ptx():
    """The driver ignores all machine code: torch's own kernels and Triton's, which have no PTX, do not run."""
    return os.environ.get("CUDA_FORCE_PTX_JIT") == "1"


def device_code(path):
    """The shared object has a section with GPU code (cuobjdump tells which)."""
    with open(path, "rb") as f:
        assert b".nv_fatbin" in f.read(), f"{os.path.basename(path)} has no device code"
