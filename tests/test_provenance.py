"""The commit of a checkout, and none elsewhere."""

import subprocess

from spikewright import provenance


def test_commit_of_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    commit = provenance.commit.__wrapped__
    assert commit() is None

    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ("git", *identity, *words), cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    assert commit() is None
    (package / "file").write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    git("tag", "-a", "-m", "first", "v1")
    assert commit() == git("rev-parse", "HEAD")
    (package / "file").write_text("two")
    assert commit() == git("rev-parse", "HEAD") + "-dirty"


def test_results_name_it():
    about = provenance.provenance("a command")
    assert (about["command"], about["commit"]) == ("a command", provenance.commit())
