# Why: the answer is wrong
# Upstream: none
# Drop-when: never
import pathlib

path = pathlib.Path("demo.py")
path.write_text(path.read_text().replace("40", "42"))
