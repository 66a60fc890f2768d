"""Training on a small data set of ten patterns in noise, from idx files."""

import json
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

import spikewright
from spikewright.app import cli
from spikewright.errors import SpikewrightError
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models import nets
from spikewright.sw.models.reading import load_saved
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise
from spikewright.sw.training import batches, epoch, judging, train
from spikewright.sw.training.data import load
from spikewright.sw.training.settings import METHODS, Settings

torch.set_num_threads(1)
QUICK = Settings(net="mlp", width=0.25, epochs=3, batch=32, levels=4, steps=4, validation=100)
PATTERNS = np.kron(np.random.default_rng(9).integers(160, size=(10, 4, 4)), np.ones((7, 7)))


def write_split(folder, split, number, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(10, size=number, dtype=np.uint8)
    x = (PATTERNS[y] + rng.integers(0, 96, size=(number, 28, 28))).astype(np.uint8)
    for kind, array in (("images-idx3", x), ("labels-idx1", y)):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        (folder / f"{split}-{kind}-ubyte").write_bytes(header + array.tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patterns")
    write_split(folder, "train", 600, seed=1)
    write_split(folder, "t10k", 200, seed=2)
    return folder


def interrupt_in(epoch):
    def report(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return report


def weights(path):
    return safetensors.torch.load_file(path)


def assert_same(path, other):
    """Equal weights and equal records, but for how long it took and when."""
    assert equal(weights(path), weights(other))
    records = []
    for each in (path, other):
        with safetensors.safe_open(each, "pt") as file:
            records.append(json.loads(file.metadata()["spikewright"])["training"])
        assert len(records[-1].pop("seconds")) == records[-1]["settings"]["epochs"]
        del records[-1]["date"], records[-1]["resumed"]
    assert records[0] == records[1]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("method", "net"),
    [*((method, "mlp") for method in METHODS), *((m, "lenet5") for m in ("qcfs", "relu"))],
)
def test_patterns_are_learned_and_recorded(folder, tmp_path, method, net):
    steps = 0 if method == "qffs" else 16
    settings = Settings(
        method, net, epochs=8, batch=16, lr=0.05, steps=steps, validation=100, seed=1
    )
    path = tmp_path / "net.safetensors"
    record = train.train(path, settings, data_dir=folder)
    assert record["accuracy"]["ann_test"] > 0.95
    assert record["accuracy"]["snn_test"] > 0.9
    assert record["accuracy"]["snn_validation"] == max(record["scores"])
    assert record["scores"].index(max(record["scores"])) + 1 == record["epoch"]
    assert list(tmp_path.iterdir()) == [path]

    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["spikewright"])
    assert metadata["training"] == record
    assert str(tmp_path) not in json.dumps(metadata)
    module = nets.build(metadata)
    module.load_state_dict(weights(path))
    x, y = load("fashion-mnist", folder, "test")
    got = module.eval()(torch.tensor(x) / 255).argmax(1).numpy()
    assert (got == y).mean() == record["accuracy"]["ann_test"]


@pytest.mark.parametrize(
    ("method", "levels", "steps", "neuron"),
    [
        ("qcfs", 8, 8, "if"),
        ("nq", 8, 8, "if"),
        ("hpc", 16, 8, "hpc"),
        ("qffs", 3, 3, "qffs"),
        ("calif", 255, 16, "ca-lif"),
        ("relu", 8, 32, "if"),
    ],
)
def test_a_method_has_its_papers_settings(method, levels, steps, neuron):
    settings = Settings(method)
    assert (settings.levels, settings.steps) == (levels, steps)
    assert settings.conversion.neuron.value == neuron
    kwargs = settings.metadata()["kwargs"]
    assert kwargs["activation"] == method
    assert kwargs.get("levels") == (None if method == "relu" else levels)
    assert f" --levels {levels} --steps {steps} " in settings.command


def test_what_follows_from_other_settings():
    assert Settings("hpc", steps=4).levels == 8
    assert Settings("hpc", steps=4).metadata()["kwargs"]["smax"] == 2
    assert Settings("hpc", levels=8).steps == 8  # judged at other T than trained for
    assert Settings("qffs", levels=7).steps == 7
    assert Settings("qffs", steps=5).levels == 3
    assert Settings("qcfs", steps=2).levels == 8
    assert Settings("qffs", counts=True).metadata()["kwargs"]["counts"] is True
    assert Settings("qffs", counts=True).conversion.readout.value == "counts"
    assert " --counts " in Settings(counts=True).command
    assert cli._METHODS == METHODS


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


def test_noise_is_set_after_each_epoch_from_the_validation_split(folder, tmp_path, monkeypatch):
    seen = []

    def induce(module, frames):
        seen.append((module.act1.noise.item(), len(frames)))
        module.act1.noise.fill_(0.5)

    monkeypatch.setattr(train, "induce", induce)
    settings = Settings(**{**vars(QUICK), "method": "nq"})
    train.train(tmp_path / "a.safetensors", settings, data_dir=folder)
    assert seen == [(0.0, 100), (0.5, 100), (0.5, 100)]
    one = Settings(**{**vars(settings), "epochs": 1})
    same = Settings(**{**vars(one), "method": "qcfs"})
    train.train(tmp_path / "nq.safetensors", one, data_dir=folder)
    train.train(tmp_path / "qcfs.safetensors", same, data_dir=folder)
    quiet = {
        k: v for k, v in weights(tmp_path / "nq.safetensors").items() if not k.endswith("noise")
    }
    assert equal(quiet, weights(tmp_path / "qcfs.safetensors"))  # none in the first epoch


def test_every_batch_has_noise_of_its_own(folder, tmp_path, monkeypatch):
    seeds = []
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda value: seeds.append(value) or seed(value))
    train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder)
    assert len(seeds) == 1 + 3 * 16  # the first is for the weights
    assert len(set(seeds)) == len(seeds)


def test_epochs_are_judged_by_settled_neurons(folder, tmp_path, monkeypatch):
    judged = []
    golden = judging.Golden
    monkeypatch.setattr(
        judging, "Golden", lambda network: judged.append(network) or golden(network)
    )
    settings = Settings(**{**vars(QUICK), "method": "qffs", "levels": 3, "steps": 3, "epochs": 1})
    train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    counts = Settings(**{**vars(settings), "counts": True})
    train.train(tmp_path / "counts.safetensors", counts, data_dir=folder)
    assert [network.input_steps for network in judged] == [3] * 4
    assert [network.steps for network in judged] == [3, 3, 10, 10]  # even input; and 7 to settle


def test_counts_can_be_trained_for(folder, tmp_path):
    settings = Settings("qffs", "mlp", epochs=8, batch=16, lr=0.05, validation=100, counts=True)
    record = train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    accuracy = record["accuracy"]
    assert accuracy["ann_test"] > 0.8
    assert abs(accuracy["ann_test"] - accuracy["snn_test"]) < 0.05


def test_a_seed_decides_everything(folder, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        torch.rand(7)  # the caller's own random numbers have no influence
        state = torch.random.get_rng_state()
        settings = Settings(**{**vars(QUICK), "seed": seed, "flip": True, "shift": 1})
        train.train(tmp_path / f"{name}.safetensors", settings, data_dir=folder)
        assert torch.equal(state, torch.random.get_rng_state())  # and are left alone
    assert equal(weights(tmp_path / "a.safetensors"), weights(tmp_path / "b.safetensors"))
    assert not equal(weights(tmp_path / "a.safetensors"), weights(tmp_path / "c.safetensors"))


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


def test_every_epoch_has_its_own_order(folder, tmp_path):
    losses = {1: [], 2: [], 3: []}
    settings = Settings(**{**vars(QUICK), "lr": 1e-20})
    train.train(
        tmp_path / "net.safetensors",
        settings,
        data_dir=folder,
        progress=lambda p: losses[p.epoch].append(p.loss),
    )
    assert losses[1] != losses[2]


def test_the_weights_of_the_best_epoch_are_kept(folder, tmp_path, monkeypatch):
    scores = iter([0.2, 0.7, 0.7])
    states = []

    def score(module, *_):
        states.append({name: value.clone() for name, value in module.state_dict().items()})
        return next(scores, 0.0)

    monkeypatch.setattr(train, "spiking_accuracy", score)
    record = train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder)
    assert record["epoch"] == 2
    assert equal(weights(tmp_path / "net.safetensors"), states[1])
    assert not equal(states[1], states[2])


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


@pytest.mark.parametrize("content", ["", "half", "text", "pickle", "list", "none"])
def test_a_damaged_checkpoint_is_refused(folder, halted, content):
    path = halted.with_name(f"{halted.name}.checkpoint")
    whole = path.read_bytes()
    if content == "pickle":  # arbitrary objects are never loaded
        torch.save({"settings": Settings()}, path)
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "none":
        torch.save(torch.load(path, weights_only=True) | {"scores": None}, path)
    else:
        path.write_bytes({"": b"", "half": whole[: len(whole) // 2], "text": b"hello"}[content])
    with pytest.raises(
        SpikewrightError, match=r"net.safetensors.checkpoint: is not a checkpoint of this"
    ):
        train.train(halted, QUICK, data_dir=folder)
    assert not halted.exists()


def test_the_test_images_have_no_say_in_the_weights(folder, tmp_path):
    train.train(tmp_path / "a.safetensors", QUICK, data_dir=folder)
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.glob("train-*"):
        (other / path.name).write_bytes(path.read_bytes())
    write_split(other, "t10k", 50, seed=3)
    train.train(tmp_path / "b.safetensors", QUICK, data_dir=other)
    assert equal(weights(tmp_path / "a.safetensors"), weights(tmp_path / "b.safetensors"))


def test_progress_counts_up_to_the_end(folder, tmp_path):
    seen = []
    train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder, progress=seen.append)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert [p.epoch for p in seen] == [e for e in (1, 2, 3) for _ in range(16)]
    assert seen[0].score is None
    assert 0 <= seen[-1].score <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lif"}, "^method lif: is not known; choose one of qcfs, nq, hpc, qffs, calif"),
        ({"net": "vgg"}, "^net vgg: is not known; choose one of mlp, lenet5"),
        ({"data": "imagenet"}, "^data imagenet: is not known"),
        ({"epochs": 0}, "^epochs 0: must be at least 1"),
        ({"steps": -1}, "^steps -1: must be at least 1"),
        ({"seed": -1}, "^seed -1: must not be negative"),
        ({"seed": 2**32}, "^seed 4294967296: must be at most"),
        ({"norm": True, "batch": 1}, "^batch 1: gives norm no variance"),
        ({"lr": 0.0}, "^lr 0.0: must be positive"),
        ({"lr": float("nan")}, "^lr nan: must be positive"),
        ({"bits": 1}, "^bits 1: choose 2 to 8"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(SpikewrightError, match=message):
        Settings(**settings)


def test_an_impossible_output_is_said_before_any_work(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name, message in (
        ("none/net.safetensors", r"the folder .* does not exist; create it first"),
        ("folder.safetensors", r"folder.safetensors: is a folder; name a file"),
        ("net", r"net: must end in .safetensors"),
    ):
        with pytest.raises(SpikewrightError, match=message):
            train.train(tmp_path / name, QUICK, data_dir=tmp_path)


def test_no_batch_is_of_one_image(folder, tmp_path):
    """499 + 1 images, of which the last would have no variance of its own."""
    settings = replace(QUICK, norm=True, batch=499, epochs=1)
    record = train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    assert len(record["scores"]) == 1
    order = torch.arange(9)
    for size, sizes in ((4, [4, 5]), (5, [5, 4]), (8, [9]), (9, [9]), (20, [9]), (1, [1] * 9)):
        parts = batches.batches(order, size)
        assert [len(batch) for batch in parts] == sizes
        assert torch.equal(torch.cat(parts), order)


@pytest.mark.parametrize("net", ["vgg8", "vgg9", "resnet11", "mobilenet20"])
@pytest.mark.parametrize("method", ["hpc", "calif"])
def test_the_deep_nets_train_on_colour_images_and_go_on(tmp_path, method, net):
    rng = np.random.default_rng(3)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(256, size=(8, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    path = tmp_path / "net.safetensors"
    settings = Settings(method, net, "cifar10", epochs=2, batch=16, width=0.05, validation=8)
    settings = replace(settings, norm=True, steps=2, flip=True, shift=4)

    with pytest.raises(KeyboardInterrupt):
        train.train(path, settings, data_dir=tmp_path, progress=interrupt_in(2))
    record = train.train(path, settings, data_dir=tmp_path)
    assert (len(record["scores"]), len(record["resumed"])) == (2, 1)
    tuned = train.train(path, Settings.continued(path, bits=4, epochs=1), data_dir=tmp_path)
    assert tuned["start"] == record


def test_images_are_judged_in_parts(folder, tmp_path, monkeypatch):
    """All at once the spike counts of a deep network need tens of gigabytes."""
    whole = train.train(tmp_path / "a.safetensors", QUICK, data_dir=folder)
    parts = []
    run = judging.Golden.run
    monkeypatch.setattr(judging, "_JUDGED", 60)
    monkeypatch.setattr(judging.Golden, "run", lambda g, x: parts.append(len(x)) or run(g, x))
    record = train.train(tmp_path / "b.safetensors", QUICK, data_dir=folder)
    assert parts == [60, 40] * 3 + [60, 60, 60, 20]
    assert record["scores"] == whole["scores"]
    assert record["accuracy"] == whole["accuracy"]


def test_a_validation_split_of_everything_is_refused(folder, tmp_path):
    settings = Settings(**{**vars(QUICK), "validation": 600})
    with pytest.raises(SpikewrightError, match=r"validation 600: leaves nothing of 600"):
        train.train(tmp_path / "net.safetensors", settings, data_dir=folder)


def test_a_loss_that_explodes_is_said(folder, tmp_path):
    settings = Settings(**{**vars(QUICK), "method": "relu", "lr": 1e20})
    with pytest.raises(SpikewrightError, match=r"the loss became (nan|inf) in epoch 1; lower lr"):
        train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    assert not list(tmp_path.iterdir())


def test_steep_gradients_are_cut_and_others_left_alone(folder, tmp_path, monkeypatch):
    norms = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            gradients = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "SGD", Spy)
    paths = []
    for limit in (1e9, epoch._STEEPEST, 0.05):
        monkeypatch.setattr(epoch, "_STEEPEST", limit)
        paths.append(tmp_path / f"{limit}.safetensors")
        train.train(paths[-1], QUICK, data_dir=folder)
    free, usual, cut = np.split(np.array(norms), 3)
    assert_same(paths[0], paths[1])
    assert (free == usual).all()
    assert (free > 0.05).any()
    assert free.max() < 5
    assert cut.max() == pytest.approx(0.05, rel=1e-4)


def test_an_epoch_that_cannot_become_spiking_is_said(folder, tmp_path, monkeypatch):
    judge, judged = train.spiking_accuracy, []

    def fail(*arguments):
        judged.append(judge(*arguments))
        if len(judged) == 2:
            raise SpikewrightError("layer layer1: the threshold is too small")
        return judged[-1]

    monkeypatch.setattr(train, "spiking_accuracy", fail)
    with pytest.raises(SpikewrightError) as error:
        train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder)
    assert re.fullmatch(
        r"training: the network of epoch 2 cannot become spiking \(layer layer1: the threshold is "
        r"too small\); its last loss was \d\S*, if that is high lower lr",
        str(error.value),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors.checkpoint"]


def test_the_command_repeats_the_settings():
    command = Settings(lr=0.05, flip=True).command
    assert command.startswith("spikewright train --method qcfs --net lenet5 --data fashion-mnist ")
    assert " --lr 0.05 " in command
    assert " --flip " in command
    assert "--norm" not in command
    assert "--weight-decay 0.0001" in command


def test_images_are_moved_and_mirrored_and_nothing_else():
    image = torch.arange(1, 13, dtype=torch.uint8).reshape(1, 1, 3, 4)
    many = image.expand(400, 1, 3, 4)
    allowed = {}
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))[0, 0]
    for mirrored in (False, True):
        source = padded.flip(1) if mirrored else padded
        for dy in range(3):
            for dx in range(3):
                key = tuple(source[dy : dy + 3, dx : dx + 4].flatten().tolist())
                allowed[key] = (mirrored, dy, dx)
    generator = torch.Generator().manual_seed(0)
    got = batches.augmented(many, Settings(flip=True, shift=1), generator)
    seen = {tuple(x.flatten().tolist()) for x in got}
    assert seen == set(allowed)
    assert got.stride() == (12, 12, 4, 1)  # strides of NHWC make noise several times slower
    same = batches.augmented(many, Settings(), generator)
    assert torch.equal(same, many)


def test_fine_tuning_goes_on_from_the_folded_network(folder, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    before = train.train(first, replace(QUICK, norm=True, seed=5), data_dir=folder)
    settings = Settings.continued(first, bits=3, epochs=2)
    assert (settings.net, settings.width, settings.levels, settings.seed) == ("mlp", 0.25, 4, 5)
    assert (settings.norm, settings.qat, settings.lr) == (False, True, 0.01)
    after = train.train(second, settings, data_dir=folder)
    assert after["start"] == before
    assert "--start first.safetensors" in after["command"]
    assert after["settings"]["start"] == "first.safetensors"
    assert (before["resumed"], before["threads"]) == ([], 1)
    assert "--qat" in after["command"]
    # As good as the network that it started from, whose first epochs alone are far from it.
    assert min(after["scores"]) > 0.9


def test_a_start_must_be_a_trained_network_of_the_same_kind(folder, tmp_path):
    path, other = tmp_path / "net.safetensors", tmp_path / "other.safetensors"
    train.train(path, replace(QUICK, epochs=1), data_dir=folder)
    with pytest.raises(SpikewrightError, match=r"nowhere.safetensors: no such file"):
        Settings.continued(tmp_path / "nowhere.safetensors")
    for change in ({"net": "lenet5"}, {"width": 0.5}, {"levels": 8}):
        settings = Settings.continued(path, **change)
        with pytest.raises(SpikewrightError, match="is another net than the settings describe"):
            train.train(other, settings, data_dir=folder)
    for change in ({"seed": 9}, {"validation": 50}):
        settings = Settings.continued(path, **change)
        with pytest.raises(SpikewrightError, match="seed or validation would hold back"):
            train.train(other, settings, data_dir=folder)
    train.train(other, Settings.continued(path, data="mnist", seed=9), data_dir=folder)
    back = Settings.continued(other, data=QUICK.data)  # whose parent has seen what 9 holds back
    with pytest.raises(SpikewrightError, match="seed or validation would hold back"):
        train.train(tmp_path / "third.safetensors", back, data_dir=folder)
    with pytest.raises(SpikewrightError, match="norms are folded; leave norm out"):
        Settings.continued(path, norm=True)
    metadata = QUICK.metadata()
    nets.save(nets.build(metadata), metadata, other)
    with pytest.raises(SpikewrightError, match="holds no record of a training"):
        Settings.continued(other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_in_training_are_those_of_the_compiler(folder, tmp_path, method, bits):
    """Fine-tuned weights over their scale, and what quantise makes of them, to the last one."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    quick = replace(QUICK, net="lenet5", width=0.5, norm=True, epochs=1, validation=400)
    given = {"levels": 0, "steps": 0, "method": method}
    train.train(first, Settings(**{**vars(quick), **given}), data_dir=folder)
    settings = Settings.continued(first, bits=bits, epochs=1)
    train.train(second, settings, data_dir=folder)
    module, _ = load_saved(second)
    x, _ = load("fashion-mnist", folder, "train")
    traced = trace(module.eval(), torch.tensor(x[:1]) / 255)
    network = convert(traced, settings.conversion, steps=settings.steps, calibration=x[:50])
    made = quantise(network, steps=settings.steps, weight_bits=bits)
    layers = [m for m in module.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    limit = 2 ** (bits - 1) - 1
    for index, (layer, integer) in enumerate(zip(layers, made.layers, strict=True)):
        original = layer.parametrizations.weight.original.detach().double().flatten(1)
        axes = (0, 1) if index == len(layers) - 1 else 1
        expected = torch.round(original / original.abs().amax(axes, keepdim=True) * limit)
        got = torch.tensor(integer.synapses[0].weight)
        assert got.abs().max() == limit
        assert torch.equal(got.double().reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("method", "own", "given", "neuron", "steps", "bits"),
    [
        ("hpc", {"steps": 5}, [], "hpc", 5, 8),
        ("qffs", {}, [], "qffs", 3, 8),
        ("calif", {"bits": 4}, [], "ca-lif", 16, 4),
        ("hpc", {}, ["--neuron", "if", "-T", "6", "--bits", "3"], "if", 6, 3),
        ("hpc", {}, ["--smax", "4"], "hpc", 8, 8),
    ],
)
def test_compile_follows_the_training(folder, tmp_path, method, own, given, neuron, steps, bits):
    path = tmp_path / "net.safetensors"
    settings = Settings(method, "mlp", epochs=1, width=0.1, validation=100, **own)
    train.train(path, settings, data_dir=folder)
    assert cli.main(["compile", str(path), "-o", str(tmp_path / "out"), *given]) == 0
    build = spikewright.read_build(tmp_path / "out")
    spec = build.network.layers[0].neuron
    assert (spec.model.value, build.network.input_steps) == (neuron, steps)
    assert build.network.weight_bits == bits
    if neuron == "hpc":
        assert spec.smax == (4 if given else 2)


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
