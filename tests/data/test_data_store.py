"""The store: random access, the cache, and that it is whole or absent whatever happens while it is written."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.data import store as store_module
from studio.data import store_writer
from studio.data.store import RowStore, first_rows, open_store
from studio.errors import InvalidInput, Refused
from studio.recipe import DataSource
from studio.settings import Settings

OpenFile = Callable[..., RowStore]
InAProcess = Callable[[str], subprocess.CompletedProcess[str]]


def write_rows(file: Path, rows: int, width: int = 10) -> Path:
    """A jsonl file with rows {"n": 0, "text": "..."}."""
    with open(file, "w") as handle:
        for n in range(rows):
            handle.write(json.dumps({"n": n, "text": "x" * width}) + "\n")
    return file


def source(file: Path, **values: Any) -> DataSource:
    return DataSource(dataset=str(file), **values)


def kept(settings: Settings) -> list[Path]:
    """The stores in the cache."""
    return sorted(path for path in (settings.data_cache / "rows").iterdir() if path.is_dir())


def numbers(store: RowStore) -> list[int]:
    return [row["n"] for _, batch in store.batches() for row in batch]


# -- access ---------------------------------------------------------------------------------------------------


def test_rows_come_in_the_order_that_was_asked_for(tmp_path: Path, settings: Settings) -> None:
    store = open_store(source(write_rows(tmp_path / "rows.jsonl", 5_000)), settings)

    assert [row["n"] for row in store.rows([4_999, 0, 2_500, 0, 1_001])] == [4_999, 0, 2_500, 0, 1_001]
    assert store.rows([]) == []
    assert len(store) == 5_000


def test_batches_are_all_rows_with_their_places(tmp_path: Path, settings: Settings) -> None:
    store = open_store(source(write_rows(tmp_path / "rows.jsonl", 2_345)), settings)

    batches = list(store.batches(1_000))

    assert [(place, len(rows)) for place, rows in batches] == [(0, 1_000), (1_000, 1_000), (2_000, 345)]
    assert numbers(store) == list(range(2_345))


@pytest.mark.parametrize("index", [-1, 10])
def test_a_row_that_is_not_there_is_an_error(index: int, tmp_path: Path, settings: Settings) -> None:
    store = open_store(source(write_rows(tmp_path / "rows.jsonl", 10)), settings)

    with pytest.raises(IndexError, match="there are rows 0 to 9"):
        store.rows([index])


def test_several_threads_may_read(tmp_path: Path, settings: Settings) -> None:
    store = open_store(source(write_rows(tmp_path / "rows.jsonl", 20_000)), settings)
    found: dict[int, list[int]] = {}

    def read(start: int) -> None:
        found[start] = [row["n"] for n in range(start, 20_000, 97) for row in store.rows([n])]

    threads = [threading.Thread(target=read, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {start: list(range(start, 20_000, 97)) for start in range(6)}


def test_the_facts_say_what_was_read(open_file: OpenFile) -> None:
    facts = open_file("rows.csv", "b;a\n1;2\n3\n").facts

    assert (facts.rows, facts.bad_rows, facts.columns) == (1, 1, ("b", "a"))
    assert (facts.kind, facts.encoding, facts.delimiter, facts.size_bytes) == ("csv", "utf-8", ";", 10)
    assert facts.bad[0].reason == "it has 1 cell instead of 2"


def test_only_the_first_hundred_bad_rows_are_kept_and_all_are_counted(open_file: OpenFile) -> None:
    facts = open_file("rows.jsonl", '{"a": 1}\n' + "broken\n" * 500).facts

    assert (facts.rows, facts.bad_rows, len(facts.bad)) == (1, 500, 100)


def test_the_held_out_part_of_a_starter_set_is_a_store_too(settings: Settings) -> None:
    for _ in range(2):  # read, then from the cache
        store = open_store(DataSource(dataset="starter:sentiment"), settings)
        assert store.held_out is not None
        assert (len(store), len(store.held_out)) == (340, 60)
        assert not {str(row) for row in store.rows(range(340))} & {str(row) for row in store.held_out.rows(range(60))}


# -- slices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"split": "train[:10]"}, range(10)),
        ({"split": "train[10:30]"}, range(10, 30)),
        ({"split": "train[2990:]"}, range(2_990, 3_000)),
        ({"split": "train[10%:20%]"}, range(300, 600)),
        ({"split": "train[-5:]"}, range(2_995, 3_000)),
        ({"max_rows": 7}, range(7)),
        ({"max_rows": 7, "split": "train[100:]"}, range(100, 107)),
        ({"max_rows": 7, "split": "train[50%:]"}, range(1_500, 1_507)),
        ({"max_rows": 9_999}, range(3_000)),
    ],
)
def test_a_slice_takes_its_rows(values: dict[str, Any], rows: range, tmp_path: Path, settings: Settings) -> None:
    part = source(write_rows(tmp_path / "rows.jsonl", 3_000), **values)

    for _ in range(2):  # read, then from the cache
        store = open_store(part, settings)
        assert (len(store), numbers(store)) == (len(rows), list(rows))
        assert [row["n"] for row in store.rows([len(rows) - 1, 0])] == [rows[-1], rows[0]]


@pytest.mark.parametrize("split", ["train[3000:]", "train[5:5]", "train[99%:1%]"])
def test_a_slice_without_rows_is_refused(split: str, tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 3_000)

    with pytest.raises(InvalidInput, match=r"takes none of the rows of rows\.jsonl") as caught:
        open_store(source(file, split=split), settings)
    assert caught.value.field == "data.split"
    assert kept(settings) == []


# -- the cache ------------------------------------------------------------------------------------------------


def test_a_source_is_read_once(tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 100)
    told: list[int] = []

    first = open_store(source(file), settings, lambda done, total: told.append(done))
    again = open_store(source(file), settings, lambda done, total: told.append(-1))

    assert told[-1] == file.stat().st_size
    assert again.facts == first.facts
    assert numbers(again) == numbers(first)


def test_a_file_that_changes_is_read_again_and_its_older_store_removed(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "rows.jsonl"
    before = open_store(source(write_rows(file, 100)), settings)
    after = open_store(source(write_rows(file, 50)), settings)

    assert (len(before), len(after)) == (100, 50)
    assert before.facts.fingerprint != after.facts.fingerprint
    assert len(kept(settings)) == 1
    assert numbers(before) == list(range(100)), "who has it open may read on"


def test_other_ways_of_reading_stand_beside_each_other_up_to_a_number(tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 100)
    other = open_store(source(write_rows(tmp_path / "other.jsonl", 5)), settings)

    for rows in range(1, 20):
        assert len(open_store(source(file, max_rows=rows), settings)) == rows

    assert len(kept(settings)) == store_module.STORES_A_SOURCE + 1
    assert len(open_store(source(tmp_path / "other.jsonl"), settings)) == len(other)


@pytest.mark.parametrize("damaged", ["rows.parquet", "facts.json", "held_out.parquet"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_store_is_made_again(damaged: str, damage: str, settings: Settings) -> None:
    part = DataSource(dataset="starter:sentiment")
    open_store(part, settings)
    file = kept(settings)[0] / damaged
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-20])

    assert len(open_store(part, settings)) == 340
    assert len(open_store(part, settings).held_out or []) == 60


def test_the_cache_may_be_deleted_at_any_time(tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 100)
    open_store(source(file), settings)
    shutil.rmtree(settings.data_cache)

    assert len(open_store(source(file), settings)) == 100


def test_two_threads_that_open_the_same_store_at_once_share_one_reading(tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 30_000)
    stores: list[RowStore] = []
    readings: list[object] = []

    def read() -> None:
        stores.append(open_store(source(file), settings, lambda done, total: readings.append(threading.get_ident())))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(store) for store in stores] == [30_000] * 4
    assert len(set(readings)) == 1
    assert len(kept(settings)) == 1


# -- whole or absent ------------------------------------------------------------------------------------------

PRELUDE = """
import resource, sys
from pathlib import Path
from studio.data.store import first_rows, open_store
from studio.recipe import DataSource
from studio.settings import read_settings
settings = read_settings(Path({home!r}))
part = DataSource(dataset={file!r})
"""


def prelude(settings: Settings, file: Path) -> str:
    return PRELUDE.format(home=str(settings.home), file=str(file))


def test_a_reading_that_is_killed_leaves_nothing_that_is_taken_for_a_store(tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 400_000, width=100)
    program = prelude(settings, file) + "open_store(part, settings, lambda done, total: print(done, flush=True))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "it has begun"
        os.kill(process.pid, signal.SIGKILL)
    left = kept(settings)
    assert [path.name.startswith(".") for path in left] == [True], "a part of a store is beside, not in place"

    assert len(open_store(source(file), settings)) == 400_000
    assert [path.name.startswith(".") for path in kept(settings)] == [False]


def test_what_a_killed_reading_left_is_removed_by_the_next_one(tmp_path: Path, settings: Settings) -> None:
    left = settings.data_cache / "rows" / ".0123-4567.part"
    left.mkdir(parents=True)
    (left / "rows.parquet").write_bytes(b"PAR1")

    open_store(source(write_rows(tmp_path / "rows.jsonl", 5)), settings)

    assert not left.exists()


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, settings: Settings, in_a_process: InAProcess) -> None:
    """A limit on the size of files stands for the disk: writing fails in the same way."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"n": "{random.getrandbits(512)}"}}\n' for _ in range(20_000)))
    program = prelude(settings, file) + (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try: open_store(part, settings)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    ended = in_a_process(program)

    assert ended.stdout.startswith("Refused The disk is full: what is read of"), ended.stdout + ended.stderr
    assert kept(settings) == []


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, settings: Settings) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 5_000)

    def grow(done: int, total: int) -> None:
        with open(file, "a") as handle:
            handle.write('{"n": 1}\n')

    with pytest.raises(Refused, match="changed while it was being read"):
        open_store(source(file), settings, grow)
    assert kept(settings) == []


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner without the right to read; the administrator, who tests may run as, can read everything."""
    file = write_rows(tmp_path / "rows.jsonl", 5)
    refuse = PermissionError(13, "Permission denied")
    monkeypatch.setattr(
        "studio.data.files.byte_stream.open", lambda *_, **__: (_ for _ in ()).throw(refuse), raising=False
    )

    for read in (lambda: open_store(source(file), settings), lambda: first_rows(source(file))):
        with pytest.raises(InvalidInput, match=r"rows\.jsonl cannot be read: Permission denied"):
            read()


# -- a look ---------------------------------------------------------------------------------------------------


def test_a_look_gives_the_first_rows_and_what_the_file_is(open_file: OpenFile, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a;b\n" + "1\n" + "x;y\n" * 500)

    head = first_rows(source(tmp_path / "rows.csv"), 10)

    assert head.rows == [{"a": "x", "b": "y"}] * 10
    assert [bad.line for bad in head.bad] == [2]
    assert (head.kind, head.encoding, head.delimiter, head.columns) == ("csv", "utf-8", ";", ("a", "b"))


def test_a_look_at_a_slice_begins_where_it_does(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 3_000)

    assert [row["n"] for row in first_rows(source(file, split="train[100:103]"), 10).rows] == [100, 101, 102]
    assert [row["n"] for row in first_rows(source(file, max_rows=4), 10).rows] == [0, 1, 2, 3]
    assert [row["n"] for row in first_rows(source(file, split="train[50%:]"), 2).rows] == [0, 1]


def test_a_look_at_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("broken\n")

    with pytest.raises(InvalidInput, match=r"None of the 1 rows of rows\.jsonl can be read\. rows\.jsonl, line 1: "):
        first_rows(source(tmp_path / "rows.jsonl"))


def test_a_look_in_a_fresh_process_takes_a_moment(settings: Settings, tmp_path: Path, in_a_process: InAProcess) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 300_000, width=100)
    program = (
        "import time; began = time.perf_counter()"
        + prelude(settings, file)
        + (
            "first_rows(part)\n"
            "print([name for name in ('datasets', 'pandas', 'torch', 'transformers') if name in sys.modules])\n"
            "print(time.perf_counter() - began)"
        )
    )

    best = min((in_a_process(program).stdout.split("\n") for _ in range(3)), key=lambda lines: float(lines[1]))

    assert best[0] == "[]"
    assert float(best[1]) < 2, "1 s on an idle machine"


# -- memory and speed -----------------------------------------------------------------------------------------

MEASURED = """
open_store(part, settings)
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""
"""Prints the megabytes that were in memory at most; getrusage would count those of the process that began this one."""


def test_many_rows_are_read_quickly_in_little_memory(
    tmp_path: Path, settings: Settings, in_a_process: InAProcess
) -> None:
    file = write_rows(tmp_path / "rows.jsonl", 300_000, width=400)
    began = time.monotonic()

    ended = in_a_process(prelude(settings, file) + MEASURED)

    assert float(ended.stdout) < 200, ended.stderr
    assert time.monotonic() - began < 30, "3 s on an idle machine"


def test_one_line_of_300_mb_takes_little_memory(tmp_path: Path, settings: Settings, in_a_process: InAProcess) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "good"}\n{"text": "')
    with open(file, "r+b") as handle:
        handle.seek(300 << 20)
        handle.write(b'"}\n{"text": "good too"}\n')

    ended = in_a_process(
        prelude(settings, file)
        + MEASURED
        + "store = open_store(part, settings); print(store.facts.bad[0].sentence, len(store))"
    )

    memory, told = ended.stdout.split("\n")[:2]
    assert float(memory) < 250
    assert told.startswith("rows.jsonl, line 2: the line is longer than 64 MB.")
    assert told.endswith(" 2")


def test_a_csv_whose_quotes_never_close_takes_little_memory(
    tmp_path: Path, settings: Settings, in_a_process: InAProcess
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('a,b\n1,2\n"open,3\n' + "some text,more text\n" * 1_500_000)

    ended = in_a_process(prelude(settings, file) + MEASURED)

    assert float(ended.stdout) < 300, ended.stderr


def test_groups_of_long_rows_stay_small(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "BYTES_IN_A_GROUP", 10_000)
    store = open_store(source(write_rows(tmp_path / "rows.jsonl", 100, width=1_000)), settings)

    assert store._file.metadata.num_row_groups == 10
    assert numbers(store) == list(range(100))
