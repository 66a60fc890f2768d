"""Hardware shapes of single parts, whose other dimensions do not matter."""

from typing import Any

from spikewright.machine.hardware import HardwareShape

SMALL: dict[str, Any] = {
    "cores": 1,
    "lanes": 1,
    "steps": 4,
    "input_steps": 4,
    "pixel_bits": 8,
    "weight_bits": 4,
    "membrane_bits": 16,
    "compare_bits": 16,
    "current_bits": 16,
    "shift_max": 1,
    "taps": 3,
    "outputs": 2,
    **dict.fromkeys(
        (
            *("frame_words", "program_words", "axis_words", "weight_words", "parameter_words"),
            *("membrane_words", "current_words", "spike_words"),
        ),
        1,
    ),
}


def small_shape(**dimensions: Any) -> HardwareShape:
    """A small shape with these dimensions; what is not named has the smallest that makes sense."""
    return HardwareShape(**SMALL | dimensions)
