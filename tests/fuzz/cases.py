"""A case: one sound input is damaged, a command reads it, and how that ends is named."""

import contextlib
import io
import json
import random
import shutil
import tempfile
import traceback
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import spikewright
from spikewright.app.cli import main
from spikewright.machine import builds
from spikewright.machine.images import make_images, sealed
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl.sources import Sources
from tests.fuzz.inputs import SHAPE, Inputs, Outcome
from tests.fuzz.mutations import (
    TEXTS,
    changed,
    damaged,
    damaged_json,
    damaged_npz,
    damaged_safetensors,
    special,
)
from tests.support.placements import check_equal

REFUSED, SAME = "refused", "accepted, same result"
GOOD = {REFUSED, SAME, "accepted"}
BY_SUFFIX = {
    ".json": damaged_json,
    ".npz": damaged_npz,
    ".safetensors": damaged_safetensors,
}


@dataclass(frozen=True)
class Ending:
    """How the case `number` ended; `what` it damaged, `how` it ended, and what was printed."""

    number: int
    what: str
    how: str
    text: str = ""

    @property
    def good(self) -> bool:
        return self.how in GOOD


def run_case(inputs: Inputs, seed: int, number: int) -> Ending:
    """The case `number` of a `seed`, in a folder of its own, which becomes the current one."""
    weights = {
        build_file: 30,
        fitted_word: 10,
        fitted_header: 14,
        result: 12,
        model: 14,
        data: 10,
        options: 10,
        cores_file: 8,
        cores_word: 8,
        cores_header: 12,
    }
    kinds = {k: weights[k] for k in weights if k.__name__.startswith(inputs.only)}
    rng = random.Random(f"{seed} {number}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        folder = Path(place) / "case"
        shutil.copytree(inputs.folder, folder)
        with contextlib.chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = rng.choices(list(kinds), list(kinds.values()))[0]
            what, action = kind(inputs, folder, rng)
            how, text = ending(action)
    return Ending(number, what, how, text)


def ending(action) -> tuple[str, str]:
    """Run `action`, which returns an exit status or a word, as the command line would."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = action()
    except spikewright.SpikewrightError as error:
        lines = str(error).splitlines()
        return (REFUSED if len(lines) == 1 and len(lines[0]) < 2000 else "long message"), str(error)
    except SystemExit as error:
        status = error.code
    except BaseException as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if "/fuzz/" not in f.filename
        ]
        ours = [
            f for f in frames if "site-packages" not in f.filename and "/lib/" not in f.filename
        ]
        at = (ours or frames or [None])[-1]
        where = f"{Path(at.filename).name}:{at.lineno} {at.name}" if at else "?"
        return f"{type(error).__name__} at {where}", str(error)[:300]
    text = err.getvalue()
    if isinstance(status, str):
        return status, ""
    if status == 0:
        return "accepted", ""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    fine = status in (1, 2) and last.startswith("spikewright") and len(last) < 2000
    return (REFUSED if fine else f"exit {status}, odd message"), text[-500:]


def damage(path: Path, rng: random.Random) -> str:
    """Damage a file, or put something else in its place; its path afterwards."""
    if rng.random() < 0.06:
        return special(path, rng)
    path.write_bytes(BY_SUFFIX.get(path.suffix, damaged)(path.read_bytes(), rng))
    return str(path)


# ------------------------------------------------------------------------------------------- kinds


def build_file(inputs, folder, rng):
    """A file of a build; in the end it is refused, or gives what it gave before."""
    name = rng.choice(sorted(inputs.outcomes))
    files = [p for p in sorted((folder / name).iterdir()) if p.suffix != ".html" and p.is_file()]
    path = rng.choice(files)
    before = path.read_bytes()
    damage(path, rng)
    reading = "report" if path.name in RESULTS else "read"
    action = (lambda: main(["report", name])) if reading == "report" else checked(inputs, name)
    if path.is_file() and path.stat().st_size < 2**20 and path.read_bytes() == before:
        return f"build: {path.name}", lambda: SAME
    return f"build: {path.name}", action


RESULTS = ("eval.json", "verify.json", "synth.json", "report.json", "expected.npz")


def checked(inputs, name):
    """Read a build, run it, look at the Verilog; named by what differs from the sound build."""

    def action():
        build = spikewright.read_build(name)
        if Outcome.of(build, inputs.frames) != inputs.outcomes[name]:
            return "another result, nothing said"
        sources = Sources.of(build)
        for traced in (False, True):
            sources.check_generated(build.mapping.shape, traced)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if status := main(["eval", name, "--data", "data.npz", "--json"]):
                return status
        wanted, got = inputs.evaluations[name], json.loads(out.getvalue())
        return SAME if wanted["over_time"] == got["over_time"] else "another evaluation"

    return action


def fitted_word(inputs, folder, rng):
    """A word of an image, with checksums that fit: refused unless it is a number of the network."""
    name = rng.choice(sorted(inputs.outcomes))
    return f"fitted: {other_word(folder / name, rng)}", consistent(inputs, name)


def other_word(folder, rng):
    """Flip a bit of a word of a build in `folder`, make the checksums fit; the file's name."""
    header = json.loads((folder / "network.json").read_text())
    path = rng.choice(sorted(folder.glob("*.mem")))
    words = path.read_text().split()
    at = rng.randrange(len(words))
    word = int(words[at], 16) ^ (1 << rng.randrange(4 * len(words[at])))
    words[at] = f"{word:0{len(words[at])}x}"
    path.write_text("".join(f"{word}\n" for word in words))
    header["crc32"][path.name] = f"{zlib.crc32(path.read_bytes()):08x}"
    (folder / "network.json").write_text(json.dumps(sealed(header)))
    return path.name


def fitted_header(inputs, folder, rng):
    """Other fields of ``network.json``, with a checksum that fits."""
    name = rng.choice(sorted(inputs.outcomes))
    other_header(folder / name, rng)
    return "fitted: network.json", consistent(inputs, name)


def other_header(folder, rng):
    """Change fields of the ``network.json`` in `folder`, and make its checksum fit."""
    path = folder / "network.json"
    header = changed(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(sealed(header) if isinstance(header, dict) else header))


def consistent(inputs, name):
    """Read a build and run it; its images must be what its network gives."""

    def action():
        build = spikewright.read_build(name)
        if make_images(build.network, build.mapping) != build.images:
            return "a word that the network does not give"
        if build.network.input.shape == inputs.frames.shape[1:]:
            Golden(build.network).run(inputs.frames)
        return "accepted"

    return action


def cores_file(inputs, folder, rng):
    """A file of a build of the second machine; refused, or gives what it gave before."""
    name = rng.choice(sorted(inputs.second))
    path = rng.choice(sorted((folder / name).iterdir()))
    damage(path, rng)

    def action():
        if not inputs.second[name].gives(builds.read_build(name)):
            return "another result, nothing said"
        return SAME

    reported = rng.random() < 0.2
    return f"cores: {path.name}", (lambda: main(["report", name])) if reported else action


def cores_word(inputs, folder, rng):
    """A word of an image of the second machine, with checksums that fit."""
    name = rng.choice(sorted(inputs.second))
    return f"cores: {other_word(folder / name, rng)}", executed(inputs, name)


def cores_header(inputs, folder, rng):
    """Other fields of the second machine's ``network.json``, with a checksum that fits."""
    name = rng.choice(sorted(inputs.second))
    other_header(folder / name, rng)
    return "cores: header", executed(inputs, name)


def executed(inputs, name):
    """Read a build of the second machine; what it holds must execute as its network says."""

    def action():
        build = builds.read_build(name)
        frames = inputs.second[name].frames
        if build.network.input.shape == frames.shape[1:]:
            check_equal(build.schedule, frames, build.images)
        return "accepted"

    return action


def result(inputs, folder, rng):
    """A result beside a build, shown by report or compare."""
    if rng.random() < 0.3:
        path = damage(folder / "eval.json", rng)
        return "result: compare", lambda: main(["compare", path, "hpc/eval.json", "-o", "p.html"])
    path = folder / "if" / rng.choice(RESULTS)
    damage(path, rng)
    return f"result: {path.name}", lambda: main(["report", "if"])


def model(inputs, folder, rng):
    """A saved network, weights, or a float network, compiled."""
    name = rng.choice(("saved.safetensors", "weights.safetensors", "if/float.npz"))
    source = folder / "model" / Path(name).name
    source.parent.mkdir()
    shutil.copy(folder / name, source)
    path = damage(source, rng)
    if name == "weights.safetensors":
        words = ["net:make", "--weights", path, *SHAPE]
    else:
        words = [path, *SHAPE[2:]]
    return f"model: {source.name}", lambda: main(["compile", *words, "-o", "new"])


def data(inputs, folder, rng):
    """Images to evaluate, to calibrate with, or to keep."""
    path = damage(folder / "data.npz", rng)
    compile = ["compile", "net:make", "--weights", "weights.safetensors", *SHAPE, "-o", "new"]
    words = rng.choice(
        (
            ["eval", "if", "--data", path],
            ["verify", "if", "--data", path],
            [*compile, "--data", path],
            [*compile, "--calib", path, "--calibrate"],
        )
    )
    return f"data: {words[0]}", lambda: main(words)


NUMERIC = {
    "compile": (
        *("--input-shape", "--input-bits", "--mean", "--std", "-T", "--bits", "--percentile"),
        *("--alpha", "--code-seed", "--smax", "--zmax", "--output-zmax", "--settle", "--initial"),
        *("--cores", "--lanes"),
    ),
    "verify": ("--images", "--trace-images", "--seed"),
    "eval": ("--images",),
    "synth": ("--clock", "--seed"),
    "train": (
        *("--epochs", "--batch", "--lr", "--weight-decay", "--levels", "-T", "--bits", "--width"),
        *("--shift", "--validation", "--seed"),
    ),
}
PLAUSIBLE = ("1", "2", "3", "4", "8", "16", "64", "100", "4096", "0.5", "1e-9", "99.99", "none")
NEURONS = ("if", "hpc", "qffs", "ca-lif", "tsc")
CODES = ("direct", "isi", "tsc", "bernoulli", "events")


def options(inputs, folder, rng):
    """Numbers of a command's options; training and simulation end where they would begin."""
    command = rng.choice(("compile", "compile", *NUMERIC))
    given = []
    for name in rng.sample(
        NUMERIC[command], rng.choice((1, 1, 2, 3)) % (len(NUMERIC[command]) + 1)
    ):
        given.append(f"{name}={rng.choice(TEXTS)}" if name.startswith("--") else name)
        given += [] if name.startswith("--") else [rng.choice(TEXTS)]
    words = {
        "compile": ["net:make", "--weights", "weights.safetensors", *SHAPE],
        "verify": ["if"],
        "eval": ["if", "--data", "data.npz"],
        "synth": ["if"],
        "train": ["--data-dir", "nowhere"],
    }[command]
    if command == "compile":
        given += ["--neuron", rng.choice(NEURONS), "--code", rng.choice(CODES), "-o", "new"]
    return f"options: {command}", lambda: main([command, *words, *given])
