"""Which paths may be named: a person's own files on loopback; once others can reach the pages, what was opened."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path

import pytest

from studio.errors import Refused
from studio.recipe import Recipe
from studio.services.paths import check_path, check_recipe_paths, from_here
from studio.settings import Settings, read_settings


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """A studio that only this machine reaches."""
    made = read_settings(tmp_path / "home")
    made.make_folders()
    return made


@pytest.fixture
def exposed(here: Settings, tmp_path: Path) -> Settings:
    """The same studio, reachable by others, with one folder opened."""
    (tmp_path / "opened").mkdir()
    return dataclasses.replace(here, host="0.0.0.0", allow_paths=(tmp_path / "opened",))


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"text": "mine"}\n')
    return file


def refusal(name: str, settings: Settings) -> str:
    with pytest.raises(Refused) as caught:
        check_path(name, settings)
    return str(caught.value)


def test_an_own_file_and_an_own_folder_pass(here: Settings, own_file: Path) -> None:
    check_path(str(own_file), here)
    check_path(str(own_file.parent), here)


@pytest.mark.parametrize("name", ["owner/name", "name", "starter", "deepset/prompt-injections"])
def test_hub_names_pass(here: Settings, exposed: Settings, name: str) -> None:
    check_path(name, here)
    check_path(name, exposed)


@pytest.mark.parametrize("name", ["/proc/self/environ", "/proc/1/environ", "/dev/null", "/dev/zero", "/sys/kernel"])
def test_files_of_the_system_are_refused(here: Settings, name: str) -> None:
    assert "system" in refusal(name, here)


def test_dots_do_not_lead_around_the_check(here: Settings, tmp_path: Path) -> None:
    assert "system" in refusal(f"{tmp_path}/{'../' * 30}proc/self/environ", here)


def test_a_link_into_proc_is_refused(here: Settings, tmp_path: Path) -> None:
    (tmp_path / "harmless.jsonl").symlink_to("/proc/self/environ")
    assert "system" in refusal(str(tmp_path / "harmless.jsonl"), here)


def test_a_pipe_is_refused_because_reading_it_never_ends(here: Settings, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "no regular file" in refusal(str(tmp_path / "pipe.jsonl"), here)


def test_a_socket_is_refused(here: Settings, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert "no regular file" in refusal(str(tmp_path / "socket"), here)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "a\0b", "x" * 5000, "~nobody-of-that-name/x", "\ud800"], ids=ascii)
def test_what_does_not_exist_is_told_of_by_whoever_reads_it(here: Settings, name: str) -> None:
    check_path(name, here)


def test_a_circle_of_links_is_no_crash(here: Settings, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    check_path(str(tmp_path / "a"), here)


def test_exposed_its_own_folders_and_the_opened_ones_pass(exposed: Settings, tmp_path: Path) -> None:
    for folder in (exposed.models, exposed.uploads, exposed.runs, tmp_path / "opened"):
        (folder / "data.jsonl").write_text("{}")
        check_path(str(folder / "data.jsonl"), exposed)


def test_exposed_nothing_else_of_the_home_passes(exposed: Settings) -> None:
    (exposed.home / "history.sqlite").write_text("secret")
    assert "--allow-path" in refusal(str(exposed.home / "history.sqlite"), exposed)
    assert "--allow-path" in refusal("history.sqlite", exposed)


def test_exposed_a_link_out_of_the_opened_folder_is_refused(exposed: Settings, own_file: Path, tmp_path: Path) -> None:
    (tmp_path / "opened" / "link.jsonl").symlink_to(own_file)
    assert "--allow-path" in refusal(str(tmp_path / "opened" / "link.jsonl"), exposed)


def test_exposed_nobody_learns_what_exists(exposed: Settings, own_file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    there = [str(own_file), str(tmp_path), str(tmp_path / "pipe"), "/proc/self/environ", f"/proc/{os.getpid()}"]
    not_there = [str(tmp_path / "nowhere"), "/proc/999999999", "~/nowhere", "~nobody-of-that-name/x", "../../nowhere"]
    sentences = {refusal(name, exposed) for name in there + not_there}
    assert len(sentences) == 1


def test_a_share_link_exposes_too(here: Settings, own_file: Path) -> None:
    assert "--allow-path" in refusal(str(own_file), dataclasses.replace(here, share=True))


def test_model_and_dataset_of_a_recipe_are_both_checked(here: Settings) -> None:
    check_recipe_paths(Recipe(), here)
    for field in ("model.base_model", "data.dataset"):
        with pytest.raises(Refused, match="system"):
            check_recipe_paths(Recipe().changed(**{field: "/proc/self/environ"}), here)


def mixing(*names: str) -> Recipe:
    return Recipe().changed(**{"data.mix": [{"dataset": name} for name in names]})


def test_every_mixed_in_dataset_is_checked(here: Settings, own_file: Path) -> None:
    check_recipe_paths(mixing("starter:lighthouse", "owner/name", str(own_file), str(own_file.parent)), here)
    with pytest.raises(Refused, match="system"):
        check_recipe_paths(mixing("owner/name", "/proc/self/environ"), here)


def test_exposed_every_mixed_in_dataset_is_checked(exposed: Settings, own_file: Path) -> None:
    check_recipe_paths(mixing("starter:lighthouse", "owner/name", str(exposed.uploads)), exposed)
    with pytest.raises(Refused, match="--allow-path"):
        check_recipe_paths(mixing("starter:lighthouse", str(own_file)), exposed)


@pytest.fixture
def opened(exposed: Settings) -> Path:
    """A folder of data files in the folder that was opened."""
    folder = exposed.allow_paths[0] / "rows"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.jsonl").write_text("{}")
    (folder / "deeper" / "b.jsonl").write_text("{}")
    return folder


def learn_from(folder: Path) -> Recipe:
    return Recipe().changed(**{"data.dataset": str(folder)})


def test_exposed_a_folder_in_the_opened_one_passes_also_with_links_inside(exposed: Settings, opened: Path) -> None:
    (opened / "c.jsonl").symlink_to(opened / "a.jsonl")
    (opened / "deeper" / "c.jsonl").symlink_to("../../rows/a.jsonl")
    check_recipe_paths(learn_from(opened), exposed)
    check_recipe_paths(mixing(str(opened)), exposed)


@pytest.mark.parametrize("place", ["link.jsonl", "deeper/link.jsonl"])
def test_exposed_a_folder_with_a_link_out_of_the_opened_one_is_refused(
    exposed: Settings, opened: Path, own_file: Path, place: str
) -> None:
    (opened / place).symlink_to(own_file)
    for recipe in (learn_from(opened), mixing(str(opened))):
        with pytest.raises(Refused, match="--allow-path"):
            check_recipe_paths(recipe, exposed)


def test_exposed_links_are_followed_through_other_folders(exposed: Settings, opened: Path, own_file: Path) -> None:
    other = exposed.allow_paths[0] / "other"
    other.mkdir()
    (other / "link.jsonl").symlink_to(own_file)
    (opened / "by-the-way").symlink_to(other)
    with pytest.raises(Refused, match="--allow-path"):
        check_recipe_paths(learn_from(opened), exposed)


def test_exposed_a_circle_of_folders_comes_to_an_end(exposed: Settings, opened: Path) -> None:
    (opened / "again").symlink_to(opened)
    (opened / "deeper" / "again").symlink_to(opened)
    with pytest.raises(Refused, match="more than 10000 files"):
        check_recipe_paths(learn_from(opened), exposed)


def test_not_exposed_an_own_folder_may_link_to_own_files(here: Settings, opened: Path, own_file: Path) -> None:
    (opened / "link.jsonl").symlink_to(own_file)
    check_recipe_paths(learn_from(opened), here)


def test_a_recipe_from_a_terminal_means_the_files_of_its_folder(own_file: Path) -> None:
    recipe = from_here(Recipe().changed(**{"data.dataset": "mine.jsonl"}), own_file.parent)
    assert recipe.data.dataset == str(own_file)


def test_starters_and_hub_names_stay_names_in_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "starter").mkdir()
    recipe = Recipe().changed(**{"data.dataset": "owner/name"})
    assert from_here(recipe, tmp_path) == recipe


def test_mixed_in_files_and_folders_from_a_terminal_are_those_of_its_folder(own_file: Path) -> None:
    (own_file.parent / "many").mkdir()
    recipe = Recipe().changed(
        **{
            "data.mix": [
                {"dataset": "mine.jsonl", "weight": 2.0, "split": "train[:10]"},
                {"dataset": "many"},
                {"dataset": "starter:lighthouse"},
                {"dataset": "owner/name"},
            ]
        }
    )
    mix = from_here(recipe, own_file.parent).data.mix
    assert [source.dataset for source in mix] == [
        str(own_file),
        str(own_file.parent / "many"),
        "starter:lighthouse",
        "owner/name",
    ]
    assert (mix[0].weight, mix[0].split) == (2.0, "train[:10]")
    assert from_here(recipe, own_file.parent).data.dataset == recipe.data.dataset
