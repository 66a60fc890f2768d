"""The command line: help, interruption, and that whatever is wrong costs one line."""

import signal
import subprocess
import sys

import pytest

from tests.app.commands import refused, run


@pytest.mark.parametrize("command", ["verify", "eval", "synth", "report"])
def test_no_build(command, work, capsys):
    words = [command, "nowhere", *(["--data", "x.npz"] if command == "eval" else [])]
    refused(words, capsys, "nowhere/network.json: no such file", "spikewright compile")


@pytest.mark.parametrize("command", ["verify", "report"])
def test_truncated_image(command, out, work, capsys):
    image = out / "weight_0.mem"
    image.write_text(image.read_text()[:-40])
    refused([command, str(out)], capsys, "weight_0.mem", "truncated", "compile again")


@pytest.mark.parametrize(
    "command",
    ["demo", "train", "compile", "verify", "eval", "compare", "synth", "report", "boards"],
)
def test_help_has_an_example(command, capsys):
    status, output, _ = run([command, "--help"], capsys)
    assert status == 0
    assert f"example: spikewright {command}" in output


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from spikewright.app.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'amaranth', 'cocotb'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_build_needs_no_torch(out):
    """What works without torch, works: the golden model, verification, the report."""
    code = (
        "import sys; sys.modules['torch'] = None; from spikewright.app.cli import main\n"
        "words = ['verify', sys.argv[1], '--images', '1', '--sim', 'pysim']\n"
        "sys.exit(main(['report', sys.argv[1]]) or main(words))"
    )
    command = [sys.executable, "-c", code, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "equal: outputs of 1 images" in done.stdout


def test_interrupt():
    code = (
        "import signal, spikewright.app.cli as cli, time\n"
        # A shell's background job starts with SIGINT ignored, and this process may be in one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait(**options):\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "import spikewright.app.boards\n"
        "spikewright.app.boards.boards = wait\n"
        "raise SystemExit(cli.main(['boards']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == "spikewright: interrupted\n"
