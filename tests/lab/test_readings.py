"""The tables of `docs/neurons.md`: what must be exact is, the default reading is the best one."""

import json
from pathlib import Path

import pytest

from lab import readings

DOCS = Path(__file__).parents[2] / "docs" / "neurons.md"


@pytest.fixture(scope="module")
def made():
    return readings.tables()


def column(table, name):
    place = table.columns.index(name)
    return [row[place] for row in table.rows]


def test_hpc(made):
    """Ceil and '>=' is the best reading in every row, and exact where T steps suffice."""
    table = made["hpc_readings"]
    best = column(table, "ceil, '>='")
    for name in list(readings.HPC_READINGS)[:-1]:
        assert all(a < b for a, b in zip(column(table, name), best, strict=True)), name
    assert [row[:2] for row, share in zip(table.rows, best, strict=True) if share == 1] == [
        (1, 1),
        (2, 2),
    ]
    settled = column(table, "ceil, '>=', T steps more")
    assert all(share > 0.999 for share in settled)
    printed = column(table, "Eq. 14 as printed")
    assert all(a < b for a, b in zip(printed, column(table, "floor, '>='"), strict=True))
    literal = column(table, "floor, '>'")
    assert all(a < b for a, b in zip(literal, printed, strict=True))
    assert all(a < b for a, b in zip(column(table, "no negative"), literal, strict=True))
    ties = column(table, "floor, '>='")
    assert all(a < b for a, b in zip(literal, ties, strict=True))


def test_hpc_is_best_in_every_cell(made):
    cells = made["hpc_cells"].rows
    assert [row[-1] for row in cells] == [0, 0, 0, 0, 48]
    means = [row[2] for row in cells]
    assert means == sorted(means)


def test_hpc_eq_14_generalises_eq_13_only_with_ceil(made):
    floor, ceil = made["hpc_multibit"].rows
    assert ceil[1:] == (1, 1)
    assert floor[1] < floor[2] < 0.9


def test_qffs_settles_in_zmax_steps(made):
    table = made["qffs_settle"]
    assert set(column(table, "E = Zmax")) == {1}
    worst = {name: min(column(table, name)) for name in table.columns[2:]}
    assert worst["E = 0"] < worst["E = 1"] < 0.9
    assert all(share < 1 for share in column(table, "'>', E = Zmax"))
    assert worst["no negative, E = Zmax"] < 0.5


def test_qffs_chains_settle_layer_by_layer(made):
    table = made["qffs_depth"]
    assert set(column(table, "E = L Zmax")) == {1}
    assert column(table, "E = Zmax")[0] == 1
    assert column(table, "E = Zmax")[-1] < 1


def test_calcium(made):
    """Drain is exact whatever came before; one spike is not enough for neurons that lag behind."""
    table = made["calcium_rounding"]
    assert set(column(table, "drain")) == {1}
    none, one = column(table, "none"), column(table, "one")
    assert all(a < b for a, b in zip(none, one, strict=True))
    lagging = table.rows[3]
    assert lagging[:2] == (1, "4")
    assert lagging[3] < 0.8
    assert set(one[4:]) == {1}, "with several spikes a step, nothing is left to round but a half"


def test_calcium_second_layer(made):
    shares = {row[:2]: row[3:] for row in made["calcium_second_layer"].rows}
    assert shares[1, "drain"] == shares[8, "drain"] == (1, 1)
    assert shares[1, "one"][0] < shares[8, "one"][0] < 1


def test_reset_forms_of_nq(made):
    table = made["if_forms"]
    assert set(column(table, "Eq. 2 alone, U >= th on its v")) == {1}
    assert max(column(table, "Eq. 2 with Eq. 4")) < 0.5


def test_tsc(made):
    assert all(row[1:3] == (1, 1) for row in made["tsc_pairs"].rows)
    layer, overlapped, latched = made["tsc_windows"].rows
    assert layer[1] == 1
    assert layer[-1] == latched[-1] == 2 < overlapped[-1]
    assert latched[1] < overlapped[1] < 1


def test_isi_times(made):
    table = made["isi_times"]
    assert set(column(table, "pixels with N distinct times")) == {1}
    assert table.rows[-1][-1] == 34


def test_max_pool_alphabet(made):
    table = made["max_pool_alphabet"]
    assert column(table, "values of abs(m)") == ["-", "-", "3", "3, 5, 6, 7"]
    shares = column(table, "share of all m but 0")
    assert shares[:2] == [0, 0]
    assert 0 < shares[2] < shares[3]
    assert set(column(table, "sum of m is the maximum")) == {1}


def test_seed_alone_decides():
    names = ["hpc_readings", "calcium_second_layer"]
    assert readings.tables(names, 3) == readings.tables(reversed(names), 3)
    assert readings.tables(names, 3) != readings.tables(names, 4)


def test_documented_tables_are_what_the_script_prints(made):
    text = DOCS.read_text()
    for name, table in made.items():
        assert table.markdown() in text, f"docs/neurons.md: renew the table {name}"


def test_shares_are_never_rounded_to_all_or_none():
    table = readings.Table("", ("a", "b", "c", "d"), ((1.0, 0.99999, 0.0001, 0.0),))
    assert table.markdown().splitlines()[-1] == "| 1.000 | 0.999 | 0.001 | 0.000 |"


def test_script(tmp_path, capsys, monkeypatch):
    file = tmp_path / "tables.json"
    monkeypatch.setattr("sys.argv", ["readings", "tsc_pairs", "--json", str(file)])
    readings.main()
    assert readings.tables(["tsc_pairs"])["tsc_pairs"].markdown() in capsys.readouterr().out
    data = json.loads(file.read_text())
    assert set(data) == {"seed", "tsc_pairs"}
    monkeypatch.setattr("sys.argv", ["readings", "tsc"])
    with pytest.raises(SystemExit):
        readings.main()
    assert "no table 'tsc'" in capsys.readouterr().err
