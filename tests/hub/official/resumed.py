"""The test cuts the first download of the wheel in the middle; the client goes on with a range.

It keeps what it has in pieces of 10 MB, so the wheel has more.
"""

from support import api, contents, same

REPO = "farm/wheels"
WHEEL = "x-1.0-py3-none-any.whl"

api.create_repo(REPO, exist_ok=True)
wheel = contents("wheel", 14_000_000)
api.upload_file(path_or_fileobj=wheel, path_in_repo=WHEEL, repo_id=REPO)
same(open(api.hf_hub_download(REPO, WHEEL), "rb").read() == wheel, True, "bytes of the wheel")
