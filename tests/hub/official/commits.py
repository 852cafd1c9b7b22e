"""Repos, files, commits, branches and tags, as a publisher uses them."""

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from support import WORK, api, contents, fails, http_fails, same

REPO = "farm/wheels"
WHEEL = "whl/cu128/x-1.0+cu128-cp312-cp312-linux_x86_64.whl"

url = api.create_repo(REPO)
same(url.repo_id, REPO, "the id of the new repo")
same(api.create_repo(REPO, exist_ok=True), url, "the repo that is there")
http_fails("create a repo that is there", 409, lambda: api.create_repo(REPO))
same(api.whoami()["name"], "farm", "whoami")

# `.gitattributes` decides: a small text with the name of a wheel is regular before, LFS after.
before = api.upload_file(path_or_fileobj=b"no wheel", path_in_repo="early.whl", repo_id=REPO)
attributes = b"*.whl filter=lfs diff=lfs merge=lfs -text\n"
api.upload_file(path_or_fileobj=attributes, path_in_repo=".gitattributes", repo_id=REPO)
api.upload_file(path_or_fileobj=b"no wheel", path_in_repo="late.whl", repo_id=REPO)
files = {file.path: file for file in api.list_repo_tree(REPO)}
same(files["early.whl"].lfs, None, "a wheel before .gitattributes")
same(files["late.whl"].lfs.size, 8, "a wheel after .gitattributes")

head = api.repo_info(REPO).sha
wheel = contents("wheel", 3_000_000)
commit = api.create_commit(
    REPO,
    [
        CommitOperationAdd(WHEEL, wheel),
        CommitOperationAdd("whl/index.html", b"<!DOCTYPE html>\n"),
        CommitOperationDelete("early.whl"),
    ],
    commit_message="Release 1",
    commit_description="One wheel.",
    parent_commit=head,
)
same(api.repo_info(REPO).sha, commit.oid, "the head after a commit")
error = http_fails(
    "a commit on an old parent",
    412,
    lambda: api.create_commit(REPO, [CommitOperationAdd("a", b"a")], commit_message="Late", parent_commit=head),
)
assert "A commit has happened since" in str(error), error
same(api.repo_info(REPO).sha, commit.oid, "the head after a refused commit")

info = api.get_paths_info(REPO, [WHEEL, "whl", "not/there"], expand=True)
same([entry.path for entry in info], [WHEEL, "whl"], "paths")
same(info[0].size, len(wheel), "the size of the wheel")
same(info[0].last_commit.oid, commit.oid, "the commit of the wheel")
same(info[1].last_commit.title, "Release 1", "the commit of the folder")
same(
    sorted(api.list_repo_files(REPO)),
    sorted([".gitattributes", "late.whl", WHEEL, "whl/index.html"]),
    "files",
)
same(api.file_exists(REPO, WHEEL), True, "the wheel exists")
same(api.file_exists(REPO, "no.whl"), False, "another one does not")

# The same content again: the client skips what preupload says is there.
same(api.upload_file(path_or_fileobj=wheel, path_in_repo=WHEEL, repo_id=REPO).oid, commit.oid, "nothing new")

folder = WORK / "folder"
(folder / "deep").mkdir(parents=True)
(folder / "a.txt").write_text("a\n")
(folder / "deep" / "b.whl").write_bytes(contents("b", 200_000))
(folder / "deep" / "copy.whl").write_bytes(contents("b", 200_000))
(folder / "left.out").write_text("x\n")
api.upload_folder(repo_id=REPO, folder_path=folder, path_in_repo="folder", ignore_patterns="*.out")
same(
    sorted(file for file in api.list_repo_files(REPO) if file.startswith("folder/")),
    ["folder/a.txt", "folder/deep/b.whl", "folder/deep/copy.whl"],
    "the uploaded folder",
)
api.create_commit(REPO, [CommitOperationCopy(WHEEL, "copied.whl")], commit_message="Copy")
same(api.get_paths_info(REPO, "copied.whl")[0].lfs.size, len(wheel), "a copied wheel")

api.delete_file("folder/a.txt", REPO)
api.delete_folder("folder/deep", REPO)
same([file for file in api.list_repo_files(REPO) if file.startswith("folder/")], [], "deleted files")
fails("delete what is not there", RemoteEntryNotFoundError, 404, lambda: api.delete_file("folder/a.txt", REPO))

api.create_branch(REPO, branch="stable/1", revision=commit.oid)
api.create_branch(REPO, branch="stable/1", exist_ok=True)
http_fails("create a branch that is there", 409, lambda: api.create_branch(REPO, branch="stable/1"))
api.create_tag(REPO, tag="v1", revision="stable/1", tag_message="one")
on_branch = api.upload_file(
    path_or_fileobj=b"branch\n", path_in_repo="branch.txt", repo_id=REPO, revision="stable/1"
)
refs = api.list_repo_refs(REPO)
same(
    {ref.name: ref.target_commit for ref in refs.branches},
    {"main": api.repo_info(REPO).sha, "stable/1": on_branch.oid},
    "branches",
)
same({ref.name: ref.target_commit for ref in refs.tags}, {"v1": commit.oid}, "tags")
same(api.file_exists(REPO, "branch.txt", revision="v1"), False, "a tag stays where it is")
api.delete_tag(REPO, tag="v1")
fails("delete a tag that is not there", RevisionNotFoundError, 404, lambda: api.delete_tag(REPO, tag="v1"))
titles = [entry.title for entry in api.list_repo_commits(REPO, revision="stable/1")]
same(titles[:2], ["Upload branch.txt with huggingface_hub", "Release 1"], "commits of a branch")
api.delete_branch(REPO, branch="stable/1")
fails("read a branch that is gone", RevisionNotFoundError, 404, lambda: api.repo_info(REPO, revision="stable/1"))

request = api.create_commit(REPO, [CommitOperationAdd("pr.txt", b"pr\n")], commit_message="PR", create_pr=True)
same(request.pr_revision, "refs/pr/1", "the branch of a pull request")
same(api.file_exists(REPO, "pr.txt"), False, "a pull request changes nothing")
same(api.file_exists(REPO, "pr.txt", revision="refs/pr/1"), True, "and has its file")

api.create_repo("farm/data", repo_type="dataset")
readme = b"---\nlicense: mit\n---\n"
api.upload_file(path_or_fileobj=readme, path_in_repo="README.md", repo_id="farm/data", repo_type="dataset")
same(api.dataset_info("farm/data").id, "farm/data", "a dataset")
api.create_repo("farm/gone")
api.delete_repo("farm/gone")
same(api.repo_exists("farm/gone"), False, "a deleted repo")
api.delete_repo("farm/gone", missing_ok=True)
