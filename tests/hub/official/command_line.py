"""`hf upload` and `hf download`."""

import subprocess
import sys
from pathlib import Path

from support import WORK, api, contents, same

HF = str(Path(sys.executable).with_name("hf"))
REPO = "farm/wheels"


def hf(*words: str) -> str:
    run = subprocess.run([HF, *words], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"hf {' '.join(words)}: {run.stdout}{run.stderr}")
    return run.stdout


out = WORK / "out"
(out / "whl" / "cu128").mkdir(parents=True)
wheel = contents("wheel", 3_000_000)
(out / "whl" / "cu128" / "x-1.0+cu128-py3-none-any.whl").write_bytes(wheel)
(out / "README.md").write_text("---\nlicense: mit\n---\n# wheels\n")
(out / ".gitattributes").write_text("*.whl filter=lfs diff=lfs merge=lfs -text\n")

hf("upload", REPO, str(out), ".", "--commit-message", "Release 1", "--private")
same(api.repo_info(REPO).private, True, "hf upload --private")
head = api.repo_info(REPO).sha
hf("upload", REPO, str(out), ".", "--commit-message", "Release 1 again")
same(api.repo_info(REPO).sha, head, "nothing new to upload")
(out / "one.txt").write_text("one\n")
hf("upload", REPO, str(out / "one.txt"), "texts/one.txt")
same(api.file_exists(REPO, "texts/one.txt"), True, "one file")

back = WORK / "back"
hf("download", REPO, "--local-dir", str(back))
same((back / "whl/cu128/x-1.0+cu128-py3-none-any.whl").read_bytes() == wheel, True, "bytes of the wheel")
same((back / "texts/one.txt").read_text(), "one\n", "bytes of a text")
single = hf("download", REPO, "README.md", "--quiet").strip()
same(Path(single).read_text(), (out / "README.md").read_text(), "one file of the cache")
