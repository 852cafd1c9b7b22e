"""Packs a module into the wheel, with fixed times: python3 pack.py _C.so"""

import base64
import hashlib
import sys
import zipfile

TAG = "py3-none-manylinux_2_17_x86_64"
INFO = "demo_gpu-1.0.dist-info"

with open(sys.argv[1], "rb") as module:
    files = {"demo_gpu/__init__.py": b"", "demo_gpu/_C.so": module.read()}
files[f"{INFO}/METADATA"] = b"Metadata-Version: 2.1\nName: demo-gpu\nVersion: 1.0\nRequires-Python: >=3.9\n"
files[f"{INFO}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: false\nTag: {TAG}\n".encode()
record = ""
for path, content in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record += f"{path},sha256={digest},{len(content)}\n"
files[f"{INFO}/RECORD"] = f"{record}{INFO}/RECORD,,\n".encode()

with zipfile.ZipFile(f"demo_gpu-1.0-{TAG}.whl", "w") as wheel:
    for path, content in files.items():
        member = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
        member.external_attr = 0o100644 << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        wheel.writestr(member, content)
