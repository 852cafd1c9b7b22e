import os
import subprocess
import sys
import time

from setuptools import setup

# As SageAttention does with a list whose separator it does not know: the first arch is all that it sees.
number = os.environ["TORCH_CUDA_ARCH_LIST"].split(";")[0].replace(".", "")
if "bdist_wheel" in sys.argv:
    flag = f"-gencode=arch=compute_{number},code=sm_{number}"
    nvcc = os.environ["CUDA_HOME"] + "/bin/nvcc"
    subprocess.run([nvcc, flag, "-c", "scale.cu", "-o", "/build/tmp/scale.o"], check=True)
    # Hours of other files: the fault must be told before they are over.
    time.sleep(3600)

setup(name="demo", version="1.0", py_modules=["demo"])
