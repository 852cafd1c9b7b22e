#!/opt/venv/bin/python -IS
"""Shows a setup.py the GPUs that a job asks for, on a builder that has others or none.

Imported by a .pth file of the compile container's Python, it answers torch.cuda's questions about the
machine; run as `nvidia-smi`, it answers those. WHEELFARM_SHOWN_GPUS names one compute capability for each
GPU: `9.0;12.0`. Nothing else changes: torch's files are not touched, and whoever really uses a GPU through
torch gets torch's own error. It is no part of any wheel, and no other container has it: a program that
takes a GPU for another one asks the driver for code that the GPU cannot run.
"""

import importlib.abc
import importlib.util
import os
import sys

MEMORY_MIB = 81920


def shown():
    texts = os.environ.get("WHEELFARM_SHOWN_GPUS", "").split(";")
    return [tuple(int(number) for number in text.split(".")) for text in texts if text]


def name_of(capability):
    return "NVIDIA GPU with compute capability {}.{} (shown by wheelfarm)".format(*capability)


class Properties:
    """What torch.cuda.get_device_properties returns, as far as a setup.py may ask."""

    def __init__(self, capability):
        self.major, self.minor = capability
        self.name = name_of(capability)
        self.total_memory = MEMORY_MIB << 20
        self.multi_processor_count = 132
        self.warp_size = 32


def index_of(device, gpus):
    """The number of a device as torch names it: 1, "cuda:1", torch.device("cuda", 1), None."""
    if isinstance(device, str):
        device = device.partition(":")[2] or None
    elif device is not None and not isinstance(device, int):
        device = device.index
    index = 0 if device is None else int(device)
    if not 0 <= index < len(gpus):
        raise AssertionError(f"invalid device id {index}: {len(gpus)} GPUs are shown by wheelfarm")
    return index


def answer(cuda):
    """Replaces the questions of the module torch.cuda."""
    gpus = shown()
    cuda.is_available = lambda: bool(gpus)
    cuda.device_count = lambda: len(gpus)
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda device=None: gpus[index_of(device, gpus)]
    cuda.get_device_name = lambda device=None: name_of(gpus[index_of(device, gpus)])
    cuda.get_device_properties = lambda device=None: Properties(gpus[index_of(device, gpus)])


class Finder(importlib.abc.MetaPathFinder):
    """Lets torch.cuda be loaded as it is, then replaces its answers."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch.cuda":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_answer(module):
            execute(module)
            answer(module)

        spec.loader.exec_module = execute_and_answer
        return spec


def smi(arguments):
    """Answers as nvidia-smi does: `-L`, `--query-gpu=… --format=csv[,noheader][,nounits]`, or a list."""
    gpus = shown()
    query = next((a.partition("=")[2] for a in arguments if a.startswith("--query-gpu=")), None)
    if query is None:
        for index, gpu in enumerate(gpus):
            print(f"GPU {index}: {name_of(gpu)}")
        return
    style = next((a.partition("=")[2] for a in arguments if a.startswith("--format=")), "csv").split(",")
    unit = "" if "nounits" in style else " MiB"
    fields = query.split(",")
    if "noheader" not in style:
        print(", ".join(fields))
    for index, gpu in enumerate(gpus):
        known = {
            "index": str(index),
            "count": str(len(gpus)),
            "name": name_of(gpu),
            "compute_cap": "{}.{}".format(*gpu),
            "memory.total": f"{MEMORY_MIB}{unit}",
        }
        print(", ".join(known.get(field.strip(), "[N/A]") for field in fields))


if __name__ == "__main__":
    smi(sys.argv[1:])
elif "WHEELFARM_SHOWN_GPUS" in os.environ:
    sys.meta_path.insert(0, Finder())
