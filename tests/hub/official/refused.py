"""What a publisher meets when others publish too: the test plants the answers in this order."""

from support import api, http_fails, same

REPO = "farm/wheels"
api.create_repo(REPO, exist_ok=True)


def upload(name: str):
    return api.upload_file(path_or_fileobj=name.encode(), path_in_repo=name, repo_id=REPO)


error = http_fails("another commit is being made", 409, lambda: upload("conflict"))
assert "Another commit operation is in progress" in str(error), error
error = http_fails("too many commits", 429, lambda: upload("limited"))
assert "128 per hour" in str(error), error
error = http_fails("applied and answered 500", 500, lambda: upload("landed"))
same(api.file_exists(REPO, "landed"), True, "the commit that was answered with 500")
same(api.file_exists(REPO, "conflict"), False, "the commit that met another one")
# The client waits as long as the headers say, and asks again.
same(len(list(api.list_repo_tree(REPO))), 2, "rows after a limit of the API")
