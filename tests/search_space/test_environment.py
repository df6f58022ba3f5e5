"""Choices that act before Python starts: what they ask for, and what they say where it is late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from search_space.build import Build
from search_space.catalog import check_known
from search_space.config import environment, steps
from search_space.construct import no_effect
from search_space.knobs.allocator import ALLOCATORS, allocator_library, allocator_probe
from search_space.knobs.allocator_kept import mallopt_works
from search_space.space import Space

BUILD = Build("", "cpu", {}, Path())
every_allocator = pytest.mark.parametrize("choice", ALLOCATORS)


def test_most_configs_need_no_environment():
    assert environment({}) == {}
    assert environment({"precision": "bf16", "engine": "compile-default"}) == {}


@every_allocator
def test_an_allocator_is_loaded_ahead_of_what_is_loaded_already(choice, monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    library = allocator_library(choice) or ""
    assert environment({"allocator": choice}) == {"LD_PRELOAD": library}
    monkeypatch.setenv("LD_PRELOAD", "/opt/mine.so")
    wanted = [part for part in (library, "/opt/mine.so") if part]
    assert environment({"allocator": choice}) == {"LD_PRELOAD": ":".join(wanted)}


@every_allocator
def test_a_library_that_is_not_installed_is_named_with_its_package(choice, monkeypatch):
    # As on a computer that does not have it.
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    library, package = ALLOCATORS[choice]
    expected = f"the library {library} is not installed: apt install {package}"
    assert allocator_probe(choice)("cpu", 64) == expected


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"allocator": "tcmalloc"}, "tuned with tcmalloc: start Python with LD_PRELOAD=libtcmallo"),
        ({"allocator": "jemalloc"}, "tuned with jemalloc: start Python with LD_PRELOAD=libjemallo"),
        ({"cpu_affinity": "close"}, "start Python with OMP_PROC_BIND=close OMP_PLACES=cores"),
    ],
)
def test_an_application_that_has_started_otherwise_is_told_how_to(config, words, monkeypatch):
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    [step] = steps(config)
    with pytest.warns(UserWarning, match=words):
        step.apply(BUILD)


@every_allocator
def test_an_application_that_has_started_as_it_should_is_told_nothing(choice):
    if allocator_library(choice) is None:
        pytest.skip(allocator_probe(choice)("cpu", 64))
    code = (
        "from pathlib import Path\n"
        "from search_space.build import Build\n"
        "from search_space.construct import no_effect\n"
        "from search_space.config import steps\n"
        "build = Build('', 'cpu', {}, Path())\n"
        f"steps({{'allocator': {choice!r}}})[0].apply(build)\n"
        f"print(no_effect(build, {{'allocator': {choice!r}}}))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    printed = subprocess.check_output(command, env=environment({"allocator": choice}), text=True)
    assert printed.strip() == "None"
    assert no_effect(BUILD, {"allocator": choice}).endswith(f"the process runs without {choice}")


def test_what_is_freed_is_kept_in_a_process_that_has_started_already():
    code = (
        "from pathlib import Path\n"
        "from search_space.build import Build\n"
        "from search_space.construct import no_effect\n"
        "from search_space.config import steps\n"
        "build, config = Build('', 'cpu', {}, Path()), {'allocator': 'system-kept'}\n"
        "print(no_effect(build, config))\n"
        "steps(config)[0].apply(build)\n"
        "print(no_effect(build, config))"
    )
    assert environment({"allocator": "system-kept"}) == {}
    printed = subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True)
    before, after = printed.splitlines()
    assert before.endswith("had no effect: a large block that is freed goes back to the kernel")
    assert after == "None"


def test_another_c_library_than_glibc_does_not_keep_what_is_freed(monkeypatch):
    # As with musl and on macOS, which have none, and where it is there and refuses.
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    expected = "the C library has no mallopt that keeps what is freed: that is glibc's"
    assert mallopt_works("cpu", 64) == expected
    refusing = SimpleNamespace(mallopt=lambda parameter, value: 0)
    monkeypatch.setattr("ctypes.CDLL", lambda name: refusing)
    assert mallopt_works("cpu", 64) == expected
    [step] = steps({"allocator": "system-kept"})
    with pytest.warns(UserWarning, match="tuned with what is freed kept, and here the C library"):
        step.apply(BUILD)


def test_where_there_is_no_memory_for_the_look_that_is_what_is_said():
    code = (
        "import resource, psutil\n"
        "from pathlib import Path\n"
        "from search_space.build import Build\n"
        "from search_space.construct import no_effect\n"
        "build, config = Build('', 'cpu', {}, Path()), {'allocator': 'system-kept'}\n"
        "no_effect(build, config)\n"
        "limit_bytes = psutil.Process().memory_info().vms + 2**23\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))\n"
        "try: no_effect(build, config)\n"
        "except MemoryError as error: print(error)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed == "64 MiB to look at the allocator with are not there\n"


@pytest.mark.parametrize("system", ["Darwin arm64", "Windows AMD64"])
def test_other_systems_than_linux_are_offered_neither(system, describe):
    space = Space(describe(system=system))
    assert space.choices["allocator"] == ("system",)
    assert space.choices["cpu_affinity"] == ("none",)
    reason = space.reason(check_known("allocator"), "tcmalloc")
    assert reason == f"it is made for Linux; this system is {system}"


@pytest.mark.parametrize(
    ("cores", "threads", "open_choices"),
    [
        (8, 8, ("default", "half")),
        (8, 4, ("default", "every-logical-core")),
        (8, 6, ("default", "half", "every-logical-core")),
        (1, 1, ("default",)),
    ],
)
def test_threads_that_torch_takes_by_itself_are_not_tried(cores, threads, open_choices, describe):
    space = Space(describe(cores=cores, threads=threads))
    assert space.choices["threads"] == open_choices


def test_a_single_thread_is_not_bound(describe):
    assert Space(describe(threads=1)).choices["cpu_affinity"] == ("none",)
    assert Space(describe(threads=2)).choices["cpu_affinity"] == ("none", "close", "spread")


def test_an_exported_engine_would_be_bound_to_one_core(describe):
    space = Space(describe())
    bound = {"cpu_affinity": "close"}
    assert space.clash({**bound, "engine": "compile-default"}) is None
    assert space.clash({**bound, "engine": "onnxruntime"}) is not None
    assert space.clash({**bound, "vae_engine": "openvino"}) is not None
