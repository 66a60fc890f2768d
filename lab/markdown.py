"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int | None = None) -> str:
    """A table without a final newline; columns behind the `left` first ones lean to the right."""
    aligned = len(header) if left is None else left
    marks = ["---"] * aligned + ["---:"] * (len(header) - aligned)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, marks, *rows))
