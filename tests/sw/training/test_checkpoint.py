"""Trainings that are interrupted, and their checkpoints."""

import os
import pathlib
import signal
import warnings
from dataclasses import replace

import pytest
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.models.reading import load_saved
from spikewright.sw.training import train
from spikewright.sw.training.settings import Settings
from tests.support.training import QUICK, assert_same, equal, interrupt_in


@pytest.mark.parametrize("method", ["nq", "qffs", "calif"])
def test_what_a_method_remembers_outlives_an_interruption(folder, tmp_path, method):
    """NQ's noise, LSQ's start and the ranges of fake quantisation; and the random numbers."""
    given = {"levels": 0, "steps": 4 if method == "calif" else 0, "method": method}
    settings = Settings(**{**vars(QUICK), **given})
    train.train(tmp_path / "whole.safetensors", settings, data_dir=folder)

    with pytest.raises(KeyboardInterrupt):
        train.train(
            tmp_path / "halted.safetensors", settings, data_dir=folder, progress=interrupt_in(2)
        )
    torch.rand(3)
    train.train(tmp_path / "halted.safetensors", settings, data_dir=folder)
    assert_same(tmp_path / "halted.safetensors", tmp_path / "whole.safetensors")


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(folder, tmp_path, monkeypatch):
    settings = Settings(**{**vars(QUICK), "flip": True, "shift": 2})
    train.train(tmp_path / "whole.safetensors", settings, data_dir=folder)

    earlier = train.provenance(settings.command) | {"date": "2001-02-03T04:05:06Z"}
    with monkeypatch.context() as then:
        then.setattr(train, "provenance", lambda command: earlier)
        with pytest.raises(KeyboardInterrupt):
            train.train(
                tmp_path / "halted.safetensors", settings, data_dir=folder, progress=interrupt_in(3)
            )
    assert [path.name for path in tmp_path.glob("halted*")] == ["halted.safetensors.checkpoint"]
    epochs = set()
    train.train(
        tmp_path / "halted.safetensors",
        settings,
        data_dir=folder,
        progress=lambda p: epochs.add(p.epoch),
    )
    assert epochs == {3}
    record = load_saved(tmp_path / "halted.safetensors")[1]["training"]
    began, again = record, record["resumed"][0]
    assert len(record["resumed"]) == 1
    assert began["date"] == "2001-02-03T04:05:06Z"
    assert again["date"] > "2020"
    assert_same(tmp_path / "halted.safetensors", tmp_path / "whole.safetensors")
    assert not (tmp_path / "halted.safetensors.checkpoint").exists()


@pytest.fixture
def halted(folder, tmp_path):
    """An output whose training stopped after two epochs."""

    with pytest.raises(KeyboardInterrupt):
        train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder, progress=interrupt_in(3))
    return tmp_path / "net.safetensors"


def test_a_checkpoint_of_other_settings_is_refused(folder, halted):
    other = Settings(**{**vars(QUICK), "lr": 0.01})
    with pytest.raises(
        SpikewrightError, match=r"net.safetensors.checkpoint: belongs to a training with other"
    ):
        train.train(halted, other, data_dir=folder)


@pytest.mark.parametrize(
    "content", ["", "half", "text", "pickle", "list", "none", "deep", "folder", "pipe"]
)
def test_a_damaged_checkpoint_is_refused(folder, halted, content):
    path = halted.with_name(f"{halted.name}.checkpoint")
    whole = path.read_bytes()
    if content == "pickle":  # arbitrary objects are never loaded
        torch.save({"settings": Settings()}, path)
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "deep":
        settings = "[" * 100_000
        torch.save(torch.load(path, weights_only=True) | {"settings": settings}, path)
    elif content in ("folder", "pipe"):
        path.unlink()
        path.mkdir() if content == "folder" else os.mkfifo(path)
    elif content == "none":
        torch.save(torch.load(path, weights_only=True) | {"scores": None}, path)
    else:
        path.write_bytes({"": b"", "half": whole[: len(whole) // 2], "text": b"hello"}[content])
    with pytest.raises(
        SpikewrightError,
        match=r"net.safetensors.checkpoint: is (not a checkpoint of this|a folder|a pipe)",
    ):
        train.train(halted, QUICK, data_dir=folder)
    assert not halted.exists()


def test_a_fine_tuning_goes_on_from_the_same_network_only(folder, tmp_path, monkeypatch):
    """Its checkpoint holds the weights; the record of where they come from must be theirs."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    train.train(first, replace(QUICK, epochs=1), data_dir=folder)

    settings = Settings.continued(first, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train.train(second, settings, data_dir=folder, progress=interrupt_in(2))
    monkeypatch.chdir(tmp_path)
    kept = first.read_bytes()
    train.train(first, QUICK, data_dir=folder)
    with pytest.raises(SpikewrightError, match=r"second.*checkpoint: went on from another .*first"):
        train.train(second, settings, data_dir=folder)
    first.write_bytes(kept)
    relative = Settings.continued("first.safetensors", epochs=2)  # the same file
    assert len(train.train(second, relative, data_dir=folder)["resumed"]) == 1


RECIPE = replace(
    QUICK,
    net="lenet5",
    width=0.5,
    norm=True,
    schedule="one-cycle",
    smoothing=0.1,
    bfloat16=True,
    flip=True,
    shift=2,
    cutout=5,
    judge="ann",
)


def killed(moment, path, folder):
    """Train in a process of its own that dies at a moment, as by ``kill -9``: the first bytes of
    the second checkpoint's temporary file, its renaming, or a batch."""
    with warnings.catch_warnings():  # torch's threads, of which the child uses none
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            writes, calls = iter(range(100)), iter(range(100))
            replacing = os.replace

            def die(*_):
                os.kill(os.getpid(), signal.SIGKILL)

            def rename(*names):
                if moment == "before a renaming" and next(writes) == 1:
                    die()
                replacing(*names)
                if moment == "after a renaming" and next(writes) == 1:
                    die()

            def each(progress):
                if next(calls) == moment:
                    die()

            os.replace = rename
            train.train(path, RECIPE, data_dir=folder, progress=each)
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("moment", [0, 15, 16, 37, "before a renaming", "after a renaming"])
def test_a_training_killed_at_any_moment_comes_to_the_same(folder, tmp_path, moment):
    whole, again = tmp_path / "whole.safetensors", tmp_path / "again.safetensors"
    train.train(whole, RECIPE, data_dir=folder)
    assert killed(moment, again, folder)
    assert not again.exists()
    train.train(again, RECIPE, data_dir=folder)
    assert_same(whole, again)


def test_a_training_killed_before_its_checkpoint_goes_comes_to_the_same(folder, tmp_path):
    whole, again = tmp_path / "whole.safetensors", tmp_path / "again.safetensors"
    train.train(whole, RECIPE, data_dir=folder)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pathlib.Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(again, RECIPE, data_dir=folder)
    train.train(again, RECIPE, data_dir=folder)
    assert_same(whole, again)
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, again.name}


def test_a_checkpoint_holds_the_best_and_the_last_state(folder, tmp_path, monkeypatch):
    scores = iter([0.2, 0.7, 0.5, 0.1])
    states = []

    def score(module, *_):
        states.append({name: value.clone() for name, value in module.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(train, "accuracy", score)
    settings = replace(RECIPE, epochs=5)
    with pytest.raises(KeyboardInterrupt):
        train.train(
            tmp_path / "net.safetensors", settings, data_dir=folder, progress=interrupt_in(4)
        )
    stored = torch.load(tmp_path / "net.safetensors.checkpoint", weights_only=True)
    assert stored["best_epoch"] == 2
    assert equal(stored["best"], states[1])
    assert equal(stored["module"], states[2])
