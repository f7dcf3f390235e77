"""What is sent away and when, and what a person is told when it stays local."""

import shutil
import signal
import subprocess
import sys

import pytest

from ftzard.errors import VersioningError
from ftzard.versioning import dvc_hash, history, last_push, push, unpushed

pytestmark = pytest.mark.slow

PATH = "data/cleaned.parquet"


def local(ws, done) -> str:
    """Assert that a version stayed local and that the record says so; return the reason."""
    assert done.pushed == "not pushed"
    assert last_push(ws.root)["reason"] == done.reason
    assert unpushed(ws.root)[0].sha == ws.git("rev-parse", "HEAD")
    return done.reason


def test_switched_off_nothing_is_sent(ws):
    done = ws.version(ws.write("rows"), push=False)
    assert (done.pushed, done.reason, ws.stored()) == ("off", None, set())


def test_git_remote_gone_stays_local_and_the_next_push_sends_every_version(ws):
    away = ws.origin.rename(ws.home / "away.git")
    hashes = set()
    for text in ("1", "2"):
        reason = local(ws, ws.version(ws.write(text)))
        assert reason.startswith("The git remote 'origin' (../origin.git) was not found.")
        hashes.add(dvc_hash(ws.root, PATH))
    assert [(c.subject, c.ours) for c in unpushed(ws.root)] == [("Clean the data", True)] * 2
    away.rename(ws.origin)
    assert push(ws.root) == ("pushed", None)
    assert unpushed(ws.root) == []
    assert ws.stored() == hashes
    assert last_push(ws.root)["state"] == "pushed"


def test_dvc_remote_gone_keeps_git_local_too_and_the_next_version_sends_all_data(ws):
    away = ws.store.rename(ws.home / "away")
    begun = ws.git("rev-parse", "main", at=ws.origin)
    hashes = set()
    for text in ("1", "2"):
        reason = local(ws, ws.version(ws.write(text)))
        assert reason.startswith("The DVC remote 'store' does not exist: there is no folder")
        hashes.add(dvc_hash(ws.root, PATH))
    assert ws.git("rev-parse", "main", at=ws.origin) == begun
    assert not ws.store.exists()
    away.rename(ws.store)
    done = ws.version(ws.write("3"))
    assert done.pushed == "pushed"
    assert ws.stored() == hashes | {dvc_hash(ws.root, PATH)}


def test_data_goes_out_even_if_somebody_pushed_git_by_hand_before_it(ws):
    away = ws.store.rename(ws.home / "away")
    ws.version(ws.write("1"))
    ws.git("push", "-q")
    away.rename(ws.store)
    assert push(ws.root) == ("pushed", None)
    assert ws.stored() == {dvc_hash(ws.root, PATH)}


def test_dvc_remote_on_a_server_that_is_down(ws):
    config = ws.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("../../store", "http://127.0.0.1:9/store"))
    reason = local(ws, ws.version(ws.write("1")))
    assert reason.startswith("The DVC remote 'store' (http://127.0.0.1:9/store) cannot be reached")


def test_no_dvc_remote(ws):
    config = ws.root / ".dvc" / "config"
    config.write_text("[core]\n    analytics = false\n    autostage = false\n")
    reason = local(ws, ws.version(ws.write("1")))
    assert reason == "kept on this disk: no DVC remote. Add one: dvc remote add -d store URL"


def test_data_lost_from_the_cache_is_not_passed_off_as_pushed(ws):
    ws.version(ws.write("1"), push=False)
    shutil.rmtree(ws.root / ".dvc" / "cache")
    state, reason = push(ws.root)
    assert state == "not pushed"
    assert "the data is absent for data/cleaned.parquet" in reason
    assert unpushed(ws.root)


def test_an_older_version_lost_from_the_cache_is_not_passed_off_as_pushed(ws):
    ws.version(ws.write("1"), push=False)
    shutil.rmtree(ws.root / ".dvc" / "cache")
    done = ws.version(ws.write("2"))
    assert done.pushed == "not pushed"
    assert "did not get all data" in done.reason
    assert "absent for an older version of data/cleaned.parquet:" in done.reason
    ws.git("push", "-q")
    (ws.root / ".ftzard" / "push.json").unlink()
    assert ws.version(ws.write("3")).pushed == "pushed"
    assert ws.git("status", "--porcelain") == ""


def test_required_a_failing_push_raises_but_the_version_stays(ws):
    ws.origin.rename(ws.home / "away.git")
    with pytest.raises(VersioningError, match="committed but could not be pushed.*ftzard push"):
        ws.version(ws.write("1"), require_push=True)
    assert len(unpushed(ws.root)) == 1


def test_no_remote_at_all(ws):
    ws.git("remote", "remove", "origin")
    done = ws.version(ws.write("1"))
    assert (done.pushed, done.reason.split(".")[0]) == ("not pushed", "no git remote")


def test_without_upstream_origin_becomes_it(ws):
    ws.git("branch", "--unset-upstream")
    done = ws.version(ws.write("1"))
    assert done.pushed == "pushed"
    assert ws.git("rev-parse", "@{upstream}") == done.commit


def test_without_upstream_and_origin_the_command_to_set_one_is_named(ws):
    ws.git("remote", "rename", "origin", "elsewhere")
    ws.git("branch", "--unset-upstream")
    reason = local(ws, ws.version(ws.write("1")))
    assert reason.endswith("no upstream on a remote. Set one: git push -u elsewhere main")


def test_detached_head_is_committed_but_stays_local(ws):
    ws.git("checkout", "-q", "--detach")
    reason = local(ws, ws.version(ws.write("1")))
    assert reason.startswith("HEAD is detached")


def test_a_commit_of_the_users_own_in_between_is_not_published(ws):
    ws.version(ws.write("1"))
    begun = ws.git("rev-parse", "main", at=ws.origin)
    ws.git("commit", "-q", "--allow-empty", "-m", "half an idea")
    reason = local(ws, ws.version(ws.write("2")))
    assert reason.startswith("1 commit of your own not pushed yet")
    assert "half an idea" in reason and "git push origin HEAD:main" in reason
    assert ws.git("rev-parse", "main", at=ws.origin) == begun
    assert [c.ours for c in unpushed(ws.root)] == [True, False]
    assert dvc_hash(ws.root, PATH) in ws.stored()
    ws.git("push", "-q", "origin", "HEAD:main")
    assert push(ws.root) == ("pushed", None)


def test_the_users_tags_and_branches_are_not_published(ws):
    ws.git("config", "push.followTags", "true")
    ws.git("branch", "private")
    ws.git("tag", "-am", "mine", "mine")
    assert ws.version(ws.write("1")).pushed == "pushed"
    assert ws.git("for-each-ref", "--format=%(refname)", at=ws.origin) == "refs/heads/main"


def test_a_rule_of_the_remote_is_told_as_such_and_not_merged_against(ws):
    hook = ws.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no pushes on Fridays; exit 1\n")
    hook.chmod(0o755)
    reason = local(ws, ws.version(ws.write("1")))
    assert "has a rule that refuses this push" in reason and "no pushes on Fridays" in reason


def test_a_rejected_push_is_merged_not_rebased_and_keeps_the_users_edits(ws):
    other = ws.clone()
    theirs = other.version(other.write("theirs", "data/raw/theirs.csv"))
    (ws.root / "notes.txt").write_text("one\nedited\n")
    ws.git("add", "notes.txt")
    (ws.root / "notes.txt").write_text("one\nedited\nagain\n")
    before = [ws.git("diff", "--cached"), ws.git("diff")]
    done = ws.version(ws.write("ours"))
    assert done.pushed == "pushed"
    assert ws.git("rev-parse", "main", at=ws.origin) == done.commit
    assert [ws.git("diff", "--cached"), ws.git("diff")] == before
    assert ws.git("rev-parse", "HEAD^1", "HEAD^2").split() == [
        done.handles[0].commit, theirs.commit,
    ]  # fmt: skip
    assert (ws.root / "data/raw/theirs.csv.dvc").is_file()
    assert "dvc pull data/raw/theirs.csv.dvc" in ws.said[-1]
    assert done.handles[0].commit == history(ws.root, PATH)[0].commit


def test_a_merge_that_would_touch_the_users_edits_stays_local(ws):
    other = ws.clone()
    (other.root / "notes.txt").write_text("one\ntheirs\n")
    other.git("commit", "-qam", "Note", at=other.root)
    other.git("push", "-q", at=other.root)
    (ws.root / "notes.txt").write_text("one\nmine\n")
    reason = local(ws, ws.version(ws.write("ours")))
    assert "cannot be merged over your changes" in reason and "notes.txt" in reason
    assert (ws.root / "notes.txt").read_text() == "one\nmine\n"
    ws.git("checkout", "-q", "notes.txt")
    assert push(ws.root) == ("pushed", None)
    assert (ws.root / "notes.txt").read_text() == "one\ntheirs\n"


def test_two_versions_of_one_artifact_are_not_merged_by_machine(ws):
    other = ws.clone()
    other.version(other.write("theirs"))
    before = ws.git("rev-parse", "HEAD")
    reason = local(ws, ws.version(ws.write("ours")))
    assert reason.startswith("origin/main has other versions of data/cleaned.parquet.dvc.")
    assert ws.git("rev-parse", "HEAD^") == before
    assert "<<<" not in (ws.root / f"{PATH}.dvc").read_text()


def test_it_merges_no_more_often_than_allowed(ws):
    """A remote that grows by a commit at each push never lets us in; that has to end."""
    hook = ws.origin / "hooks" / "update"
    hook.write_text(
        "#!/bin/sh\n"
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
        "export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x\n"
        "new=$(git commit-tree -p main -m busy main^{tree})\n"
        "git update-ref refs/heads/main $new\n"
    )
    hook.chmod(0o755)
    reason = local(ws, ws.version(ws.write("1")))
    assert reason.startswith("Others pushed to origin/main first each time, after 3 merges.")
    hook.unlink()
    assert push(ws.root) == ("pushed", None)


@pytest.mark.parametrize("moment", [
    "publish._versions_since", "publish.pointers", "publish.Dvc.push", "publish._why_not_git",
    "publish.write_json", "publish.attempt"])
def test_killed_at_any_moment_the_next_push_sends_it_all(ws, moment):
    """Before each of its steps; what was sent is whole, and is not sent as something else."""
    first = ws.version(ws.write("one"), push=False).commit
    ws.version(ws.write("three"), push=False)
    code = f"""
import os
from pathlib import Path
from ftzard.versioning import publish
push = publish.push
{moment} = lambda *args, **more: os.kill(os.getpid(), 9)
push(Path({str(ws.root)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    at = ws.git("rev-parse", "main", at=ws.origin)
    assert at == ws.git("rev-parse", "HEAD") or at != first
    assert push(ws.root) == ("pushed", None)
    assert ws.git("rev-parse", "main", at=ws.origin) == ws.git("rev-parse", "HEAD")
    assert len(ws.stored()) == 2 and not list((ws.root / "data").glob(".ftzard-push*"))
