import torch
from setuptools import setup

# As torch-scatter does without FORCE_CUDA: no GPU, so no CUDA, without a word.
if torch.cuda.is_available():
    raise SystemExit("this builder has a GPU, or a package that did not ask for one was shown one")

setup(name="demo", version="1.0", py_modules=["demo"])
