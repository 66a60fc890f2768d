"""Models by name and from files, and one clear line for each thing that can be wrong."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikewright import SpikewrightError
from spikewright.network import FloatNetwork
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models import nets
from spikewright.sw.models.reading import load_model

MODEL = """
import torch
from helper_of_model import FEATURES

def make():
    return torch.nn.Sequential(torch.nn.Linear(4, FEATURES), torch.nn.ReLU())

made = make()
number = 3

def broken():
    raise ValueError("no weights\\nat all")

def wrong():
    return 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a model in a file and in a package."""
    (tmp_path / "helper_of_model.py").write_text("FEATURES = 3\n")
    (tmp_path / "own_model.py").write_text(MODEL)
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(MODEL)
    (tmp_path / "missing_import.py").write_text("import spikewright_has_no_such_module\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(2)\n")
    monkeypatch.chdir(tmp_path)
    for name in ("helper_of_model", "own_model", "own_package", "own_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def refusal(spec: str, **kwargs: Any) -> str:
    with pytest.raises(SpikewrightError) as error:
        load_model(spec, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "spec", ["own_model.py:make", "own_model.py:made", "own_package.inner:make", "own_model:make"]
)
def test_module_by_name(folder: Path, spec: str) -> None:
    before = list(sys.path)
    module = load_model(spec)
    assert isinstance(module, nn.Sequential)
    assert module[0].weight.shape == (3, 4)
    assert sys.path == before


def test_file_elsewhere_finds_its_neighbours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder / "own_package"
    monkeypatch.chdir(elsewhere)
    assert isinstance(load_model(f"{folder}/own_model.py:make"), nn.Sequential)


FORMS = (
    "give package.module:callable or file.py:callable, a network saved by spikewright "
    "(.safetensors), or a float network (.npz)"
)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lenet", f"lenet: is not a model; {FORMS}"),
        (":make", f":make: is not a model; {FORMS}"),
        ("own_model:", f"own_model:: is not a model; {FORMS}"),
        ("net.nir", f"net.nir: NIR graphs are not supported yet; {FORMS}"),
        ("nothing.npz", "nothing.npz: no such file; check the path"),
        ("nothing.py:make", "nothing.py: no such file; check the path"),
        (
            "nothing.inner:make",
            "nothing.inner: no such module; run from the folder that holds it, or install it",
        ),
        (
            "own_package.nothing:make",
            "own_package.nothing: no such module; run from the folder that holds it, or install it",
        ),
        (
            "missing_import:make",
            "missing_import: importing it raises ModuleNotFoundError: No module named "
            "'spikewright_has_no_such_module'; repair that first",
        ),
        (
            "missing_import.py:make",
            "missing_import.py: importing it raises ModuleNotFoundError: No module named "
            "'spikewright_has_no_such_module'; repair that first",
        ),
        ("exits:make", "exits: importing it raises SystemExit: 2; repair that first"),
        (
            "own_model:nothing",
            "own_model:nothing: own_model has no 'nothing'; name a function or class that is in it",
        ),
        (
            "own_model:number",
            "own_model:number: gives something of type int; name a function that returns a "
            "torch.nn.Module",
        ),
        (
            "own_model:broken",
            "own_model:broken: raises ValueError: no weights; it is called without arguments",
        ),
        (
            "own_model:wrong",
            "own_model:wrong: gives something of type int; name a function that returns a "
            "torch.nn.Module",
        ),
    ],
)
def test_refused_names(folder: Path, spec: str, message: str) -> None:
    assert refusal(spec) == message


# ----------------------------------------------------------------------------------------- weights


def weights(path: Path, **changed: torch.Tensor | None) -> Path:
    """Weights for the model above, with some changed or left out."""
    tensors = {"0.weight": torch.full((3, 4), 2.0), "0.bias": torch.arange(3.0)}
    for name, value in changed.items():
        key = name.replace("_", ".")
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    save_file(tensors, path)
    return path


def test_weights_are_read(folder: Path) -> None:
    module = load_model("own_model:make", weights=weights(folder / "w.safetensors"))
    assert isinstance(module, nn.Sequential)
    assert module[0].bias.tolist() == [0.0, 1.0, 2.0]
    assert (module[0].weight == 2.0).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"0_bias": None}, "lacks 0.bias"),
        ({"2_bias": torch.ones(1)}, "has 2.bias besides"),
        ({"0_bias": None, "2_bias": torch.ones(1)}, "lacks 0.bias and has 2.bias besides"),
        (
            {"0_weight": torch.ones(4, 3)},
            "0.weight has the shape (4, 3), the module expects (3, 4)",
        ),
    ],
)
def test_weights_that_do_not_fit(
    folder: Path, changed: dict[str, torch.Tensor | None], message: str
) -> None:
    path = weights(folder / "w.safetensors", **changed)
    got = refusal("own_model:make", weights=path)
    assert got == f"{path}: {message}; give the weights of Sequential"


def test_weight_files_that_are_none(folder: Path) -> None:
    path = folder / "w.safetensors"
    assert refusal("own_model:make", weights=path) == (f"{path}: no such file; check the path")
    path.write_bytes(b"0123456789")
    message = refusal("own_model:make", weights=path)
    assert message.startswith(f"{path}: is not a readable .safetensors file (SafetensorError: ")
    assert message.endswith("; save it again with safetensors.torch.save_file")
    assert refusal("own_model:make", weights=folder / "w.pt") == (
        f"{folder}/w.pt: weights are read from .safetensors files only; save them with "
        "safetensors.torch.save_file(module.state_dict(), ...)"
    )


# ------------------------------------------------------------------------------------------- files


def saved(path: Path, **metadata: Any) -> Path:
    description = {"schema": 1, "net": "mlp", "activation": "qcfs", "levels": 4, "kwargs": {}}
    nets.save(nets.build(description), {**description, **metadata}, path)
    return path


def test_saved_network(folder: Path) -> None:
    path = saved(folder / "net.safetensors")
    module, again = load_model(str(path)), load_model(str(path))
    assert isinstance(module, nn.Module)
    assert isinstance(again, nn.Module)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    assert refusal(str(path), weights=path) == (
        f"{path}: {path} holds its own weights; leave --weights out, or give module:callable"
    )


def test_saved_networks_that_are_none(folder: Path) -> None:
    newer = saved(folder / "newer.safetensors", schema=99)
    assert refusal(str(newer)).startswith(f"{newer}: network file: schema version 99 is newer")
    plain = weights(folder / "plain.safetensors")
    assert refusal(str(plain)) == (
        f"{plain}: holds weights alone; give module:callable as the model and this as --weights"
    )
    odd = folder / "odd.safetensors"
    for text in (
        "{",
        json.dumps([1]),
        "[" * 100_000,
        '{"schema": NaN}',
        '{"a":' * 60 + "1" + "}" * 60,
    ):
        save_file({"x": torch.ones(1)}, odd, {"spikewright": text})
        message = refusal(str(odd))
        assert message.startswith(f"{odd}: ")
        assert message.endswith("; save the network again")
    foreign = folder / "foreign.safetensors"
    description = json.dumps({"schema": 1, "net": "mlp"})
    save_file({"x": torch.ones(1)}, foreign, {"spikewright": description})
    assert refusal(str(foreign)).startswith(f"{foreign}: lacks act1.lam, layer1.bias, ")


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": "1"},
        {"schema": True},
        {"schema": None},
        {"net": ["mlp"]},
        {"kwargs": None},
        {"kwargs": []},
        *({"kwargs": {name: value}} for name, value in [("depth", 3), ("width", "1"), ("norm", 1)]),
        *({"kwargs": {"width": value}} for value in (-1.0, 1e300, 1e18)),
        *({"kwargs": {"shape": value}} for value in (3, [1, 28], [1, 0, 28], ["1", 28, 28])),
        {"kwargs": {"shape": [65536, 65536, 65537]}},
        {"net": "vgg8", "kwargs": {"shape": [3, 2, 2]}},
        {"kwargs": {"activation": "hpc", "smax": 0}},
        {"kwargs": {"levels": -1}},
        {"kwargs": {"levels": 10**30}},
        {"kwargs": {"weight_bits": 99}},
        {"kwargs": {"weight_bits": "8"}},
    ],
)
def test_hostile_metadata_end_in_one_line(folder: Path, changed: dict[str, Any]) -> None:
    path = folder / "net.safetensors"
    description = {"schema": 1, "net": "mlp", "kwargs": {}} | changed
    save_file({"x": torch.ones(1)}, path, {"spikewright": json.dumps(description)})
    message = refusal(str(path))
    assert message.startswith((f"{path}: net ", f"{path}: network file: "))
    assert "lacks" not in message


def test_no_memory_is_taken_for_what_a_file_does_not_hold(folder: Path) -> None:
    path = folder / "net.safetensors"
    description = {"schema": 1, "net": "mlp", "kwargs": {"shape": [60000, 1000, 1000]}}
    save_file({"x": torch.ones(1)}, path, {"spikewright": json.dumps(description)})
    assert refusal(str(path)).startswith(f"{path}: lacks act1.lam, ")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_of_another_width_is_read(folder: Path, dtype: torch.dtype) -> None:
    path = weights(folder / "w.safetensors", **{"0_bias": torch.arange(3.0).to(dtype)})
    module = load_model("own_model:make", weights=path)
    assert isinstance(module, nn.Sequential)
    assert module[0].bias.dtype is torch.float32
    assert module[0].bias.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (torch.arange(3), "0.bias holds torch.int64, the module expects torch.float32"),
        (torch.ones(3) + 1j, "0.bias holds torch.complex64, the module expects torch.float32"),
        (torch.ones(3).bool(), "0.bias holds torch.bool, the module expects torch.float32"),
        (torch.tensor([1.0, torch.nan, 0.0]), "0.bias holds numbers that are not finite"),
        (torch.tensor([1.0, 0.0, -torch.inf]), "0.bias holds numbers that are not finite"),
        (torch.full((3,), 1e300, dtype=torch.float64), "0.bias holds numbers that are not finite"),
    ],
)
def test_weights_that_are_no_finite_real_numbers(
    folder: Path, bias: torch.Tensor, message: str
) -> None:
    path = weights(folder / "w.safetensors", **{"0_bias": bias})
    got = refusal("own_model:make", weights=path)
    assert got == f"{path}: {message}; give the weights of Sequential"


def test_a_saved_network_is_checked_like_any_weights(folder: Path) -> None:
    path = saved(folder / "net.safetensors")
    tensors = load_model(str(path)).state_dict()
    description = json.dumps({"schema": 1, "net": "mlp", "kwargs": {}})
    save_file(tensors | {"layer2.bias": torch.ones(10) * 1j}, path, {"spikewright": description})
    assert "layer2.bias holds torch.complex64" in refusal(str(path))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "nul", "overlong", "cut"])
def test_what_is_no_sound_file_is_refused(folder: Path, kind: str, suffix: str) -> None:
    path = folder / f"bad{suffix}"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "cut":
        path.write_bytes(saved(folder / "whole.safetensors").read_bytes()[:-9])
    spec = {"nul": f"a\0{suffix}", "overlong": "x" * 5000 + suffix}.get(kind, str(path))
    assert len(refusal(spec, trust=True)) < 600
    if suffix == ".safetensors":
        refusal("own_model:make", weights=Path(spec))
    assert refusal(f"{spec}.py:make")


def test_float_network(folder: Path) -> None:
    network = trace(nn.Linear(4, 2), torch.rand(4))
    network.save(folder / "float.npz")
    loaded = load_model("float.npz")
    assert isinstance(loaded, FloatNetwork)
    assert loaded.layers[0].bias.tolist() == network.layers[0].bias.tolist()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pt2"])
def test_files_that_run_code_need_trust(folder: Path, suffix: str) -> None:
    path = folder / f"model{suffix}"
    path.write_bytes(b"nothing")
    assert refusal(str(path)) == (
        f"{path}: {suffix} files run code when they are read; save the weights as .safetensors and "
        "give module:callable, or pass --trust if you know who wrote it"
    )
    message = refusal(str(path), trust=True)
    kind = "is not a readable torch.export file" if suffix == ".pt2" else "cannot be unpickled"
    assert message.startswith(f"{path}: {kind} (")


def test_trusted_pickle(folder: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 2))
    torch.save(module, folder / "model.pt")
    loaded = load_model("model.pt", trust=True)
    assert isinstance(loaded, nn.Sequential)
    torch.testing.assert_close(loaded[0].weight, module[0].weight)
    torch.save(module.state_dict(), folder / "state.pt")
    assert refusal("state.pt", trust=True) == (
        "state.pt: holds something of type OrderedDict and not a module; save the weights as "
        ".safetensors and give module:callable"
    )


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_trusted_export_can_be_traced(folder: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU6(),
        nn.AvgPool2d(2),
        nn.Dropout(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 3),
    ).eval()
    x = torch.rand(1, 1, 8, 8)
    torch.export.save(torch.export.export(module, (x,)), folder / "model.pt2")
    loaded = load_model("model.pt2", trust=True)
    assert isinstance(loaded, nn.Module)
    network, expected = trace(loaded, x), trace(module, x)
    assert [layer.name for layer in network.layers] == ["0", "7"]
    for got, layer in zip(network.layers, expected.layers, strict=True):
        assert got.activation.kind is layer.activation.kind
        assert got.bias.tolist() == layer.bias.tolist()
        assert got.synapses[0].weight.tolist() == layer.synapses[0].weight.tolist()
