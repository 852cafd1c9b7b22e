"""A folder of more than a page: 1,100 files in two folders, listed to the end."""

from huggingface_hub import CommitOperationAdd

from support import WORK, api, same

REPO = "farm/many"
api.create_repo(REPO)
names = [f"{folder}/{number:04}.txt" for folder in ("a", "b") for number in range(550)]
operations = [CommitOperationAdd(name, name.encode()) for name in names]
api.create_commit(REPO, operations, commit_message="Many")
same(sorted(api.list_repo_files(REPO)), sorted([*names, ".gitattributes"]), "all files")
rows = list(api.list_repo_tree(REPO, recursive=True))
same(len(rows), len(names) + 3, "rows with the folders")
same(len(list(api.list_repo_tree(REPO, "b"))), 550, "rows of a folder")
same(len(list(api.list_repo_tree(REPO, "b", expand=True))), 550, "rows of a folder, in pages of 50")
same(len(api.get_paths_info(REPO, names)), len(names), "all paths at once")
folder = api.snapshot_download(REPO, local_dir=WORK / "many")
same(open(f"{folder}/b/0549.txt").read(), "b/0549.txt", "the last file")

for number in range(60):
    api.upload_file(path_or_fileobj=f"{number}".encode(), path_in_repo="n.txt", repo_id=REPO)
same(len(api.list_repo_commits(REPO)), 62, "commits, in pages")
api.super_squash_history(REPO)
same([commit.title for commit in api.list_repo_commits(REPO)][0].startswith("Super-squash"), True, "a squashed branch")
same(len(api.list_repo_files(REPO)), len(names) + 2, "files after the squash")
