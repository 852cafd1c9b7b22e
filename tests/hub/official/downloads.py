"""What the test committed is read back, byte for byte, in every way that the client has."""

import os

from huggingface_hub import get_hf_file_metadata, hf_hub_url

from support import WORK, api, contents, same

REPO = "farm/wheels"
FILES = {
    "whl/x-1.0+cu128-py3-none-any.whl": contents("wheel", 3_000_000),
    "whl/y-1.0-py3-none-any.whl": contents("other", 100_000),
    "README.md": b"# wheels\n",
    "whl/index.html": b"<!DOCTYPE html>\n",
}

head = api.create_repo(REPO, exist_ok=True) and api.repo_info(REPO).sha
for path, data in FILES.items():
    head = api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=REPO).oid

for path, data in FILES.items():
    first = api.hf_hub_download(REPO, path)
    same(open(first, "rb").read() == data, True, f"bytes of {path}")
    same(api.hf_hub_download(REPO, path, revision=head), first, f"{path} from the cache")
    facts = get_hf_file_metadata(hf_hub_url(REPO, path), token=False)
    same(facts.commit_hash, head, f"commit of {path}")
    same(facts.size, len(data), f"size of {path}")

folder = api.snapshot_download(REPO, local_dir=WORK / "snapshot")
for path, data in FILES.items():
    same(open(os.path.join(folder, path), "rb").read() == data, True, f"bytes of {path} in the snapshot")
cached = api.snapshot_download(REPO, revision=head, allow_patterns="whl/*.whl", cache_dir=WORK / "cache")
same(
    sorted(os.listdir(os.path.join(cached, "whl"))),
    sorted(path.removeprefix("whl/") for path in FILES if path.endswith(".whl")),
    "the files of a snapshot with a pattern",
)
