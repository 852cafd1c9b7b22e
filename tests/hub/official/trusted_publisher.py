"""A job of GitHub without a token of its own: the client mints one for the one repo."""

import os

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from support import contents, fails, same

os.environ["HF_OIDC_RESOURCE"] = "farm/wheels"
os.environ["GITHUB_ACTIONS"] = "true"
os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = os.environ["TEST_HUB_OIDC_URL"]
os.environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = os.environ["TEST_HUB_OIDC_TOKEN"]

job = HfApi()
job.upload_file(path_or_fileobj=contents("wheel", 100_000), path_in_repo="x.whl", repo_id="farm/wheels")
same(job.file_exists("farm/wheels", "x.whl"), True, "the job's file")
upload = {"path_or_fileobj": b"a", "path_in_repo": "a", "repo_id": "farm/other"}
fails("another repo", HfHubHTTPError, 403, lambda: job.upload_file(**upload))
