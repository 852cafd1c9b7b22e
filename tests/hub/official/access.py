"""Private repos and tokens, and which exception each refusal becomes."""

from huggingface_hub import CommitOperationAdd, HfApi, _commit_api
from huggingface_hub.errors import (
    BadRequestError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from support import READ, STRANGER, WORK, api, contents, fails, http_fails, same

REPO = "farm/hidden"
reader, stranger = HfApi(token=READ), HfApi(token=STRANGER)
nobody, wrong = HfApi(token=False), HfApi(token="hf_wrong")
cache = str(WORK / "cache")


def read(client):
    return client.hf_hub_download(REPO, "x.whl", cache_dir=cache, force_download=True)


api.create_repo(REPO, private=True)
wheel = contents("wheel", 300_000)
api.upload_file(path_or_fileobj=wheel, path_in_repo="x.whl", repo_id=REPO)
same(open(read(reader), "rb").read() == wheel, True, "bytes of a private file")
fails("a stranger", RepositoryNotFoundError, 404, lambda: stranger.repo_info(REPO))
fails("no token", RepositoryNotFoundError, 401, lambda: nobody.repo_info(REPO))
http_fails("a wrong token", 401, lambda: wrong.repo_info(REPO))
http_fails("a wrong token, who am I", 401, wrong.whoami)
same(nobody.repo_exists(REPO), False, "a private repo, for nobody")

upload = {"path_or_fileobj": b"a", "path_in_repo": "a", "repo_id": REPO}
http_fails("a reader writes", 403, lambda: reader.upload_file(**upload))
http_fails("a reader makes a repo", 403, lambda: reader.create_repo("farm/readers"))
fails("nobody writes", RepositoryNotFoundError, 401, lambda: nobody.upload_file(**upload))
http_fails("nobody makes a repo", 401, lambda: nobody.create_repo("farm/nobodys"))

# Now it is there for all to read, and still not for all to write.
api.update_repo_settings(REPO, private=False)
same(open(read(nobody), "rb").read() == wheel, True, "bytes of a public file")
http_fails("a stranger writes", 403, lambda: stranger.upload_file(**upload))

fails("no repo", RepositoryNotFoundError, 404, lambda: api.repo_info("farm/none"))
fails("no repo to upload to", RepositoryNotFoundError, 404, lambda: api.upload_file(**{**upload, "repo_id": "farm/none"}))
fails("no revision", RevisionNotFoundError, 404, lambda: api.repo_info(REPO, revision="none"))
fails("no revision of a file", RevisionNotFoundError, 404, lambda: api.hf_hub_download(REPO, "x.whl", revision="none"))
fails("no file", RemoteEntryNotFoundError, 404, lambda: api.hf_hub_download(REPO, "none.whl"))
fails("no folder", RemoteEntryNotFoundError, 404, lambda: list(api.list_repo_tree(REPO, "none")))

# A pointer to what was never uploaded, which the client sends only when it is told that it was.
ghost = CommitOperationAdd("ghost.whl", contents("ghost", 100))
ghost._upload_mode, ghost._is_uploaded = "lfs", True
fails(
    "a pointer to nothing",
    BadRequestError,
    400,
    lambda: _commit_api._send_commit(
        operations=[ghost],
        files_to_copy={},
        commit_message="ghost",
        commit_description="",
        repo_type="model",
        repo_id=REPO,
        headers=api._build_hf_headers(),
        revision="main",
    ),
)
