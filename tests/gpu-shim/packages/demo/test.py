"""The wheel holds no trace of the shim, and nobody is shown a GPU where it is used."""

import pathlib
import sys

import demo
import torch
from wheelfarm_checks import check, finish


@check("no trace of the shim")
def no_trace():
    files = list(pathlib.Path(demo.__file__).parent.rglob("*"))
    traces = [file.name for file in files if file.is_file() and b"gpu_shim" in file.read_bytes()]
    assert not traces, traces
    assert "wheelfarm_gpu_shim" not in sys.modules
    return f"{len(files)} files"


@check("no GPU is shown")
def no_gpu():
    assert torch.cuda.is_available.__module__ == "torch.cuda"


finish()
