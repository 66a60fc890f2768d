"""cocotb's part of a simulation: start `bench.v`, wait for its end.

The bench drives and records every clock by itself; Python runs twice in a simulation.
"""

from typing import Any

import cocotb
from cocotb.triggers import Timer, ValueChange


@cocotb.test()
async def bench(dut: Any) -> None:
    """The script is executed to its end."""
    await Timer(10, unit="ns")
    dut.go.value = 1
    await ValueChange(dut.done)
    clocks, stuck = int(dut.clocks.value), int(dut.stuck.value)
    dut._log.info("%d clocks%s", clocks, ", stuck" if stuck else "")
