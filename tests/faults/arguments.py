"""Arguments that make no sense, or are out of every range."""

from __future__ import annotations

from functools import partial

from tests.faults.fault import FAULTS
from tests.faults.lab import MODEL, Lab

REFUSED: dict[str, tuple[str | bytes, ...]] = {
    "--seed -5": ("--seed", "-5"),
    "--seed 2^63": ("--seed", str(2**63)),
    "--guidance-scale nan": ("--guidance-scale", "nan"),
    "--guidance-scale inf": ("--guidance-scale", "inf"),
    "a prompt that is not UTF-8": ("--prompt", b"a \xff cat"),
    "--height 0": ("--height", "0"),
    "--height -64": ("--height", "-64"),
    "--steps 10^30": ("--steps", str(10**30)),
    "--batch-size 2^40": ("--batch-size", str(2**40)),
    "--memory nothing": ("--memory", ""),
    "--memory -1GiB": ("--memory", "-1GiB"),
    "--memory 10^400": ("--memory", "9" * 400),
    "--time-limit nan": ("--time-limit", "nan"),
    "--trials 0": ("--trials", "0"),
    "--fix of a knob that is none": ("--fix", "nothing=on"),
    "--fix of a choice that is none": ("--fix", "precision=fp7"),
    "--fix of one knob twice": ("--fix", "precision=bf16", "--fix", "precision=fp32"),
    "--device of nobody": ("--device", "tpu"),
    "--store of another scheme": ("--store", "mysql://localhost/trials"),
    "--output that is a file": ("--output", "/dev/null"),
    "--lpips of no weights": ("--lpips", "/nowhere"),
    "an option that is none": ("--fastest",),
}


def refuse(lab: Lab, arguments: tuple[str | bytes, ...]) -> None:
    """A usage error in one line, before anything is started or written."""
    places = ("--cache-dir", str(lab.cache))
    lab.expect(lab.tune("run", MODEL, *places, *arguments, timeout_s=120.0), 2)
    if list(lab.cache.iterdir()):
        lab.wrong.append("the cache was written to")


for name, words in REFUSED.items():
    FAULTS.add("arguments", name, partial(refuse, arguments=words), quick=True)

MODELS: dict[str, str | bytes] = {
    "a model that is none": "nobody-knows-this",
    "a model with a line break": "a\nb/c",
    "a model that is not UTF-8": b"\xff/\xfe",
    "the folder above (..)": "..",
    "an empty name": "",
    "a reference that is none": "reference:nothing",
    "a name of 10,000 letters": "x" * 10_000,
}


def refuse_model(lab: Lab, model: str | bytes) -> None:
    lab.expect(lab.tune("run", model, "--cache-dir", str(lab.cache), timeout_s=120.0), 2)
    written = {path.name for path in lab.folder.iterdir()} & {"tuned", "load.py", "config.json"}
    if written:
        lab.wrong.append(f"written: {', '.join(sorted(written))}")


for name, given in MODELS.items():
    FAULTS.add("arguments", name, partial(refuse_model, model=given), quick=True)


@FAULTS.fault("arguments", "8 x 8 px, where a metric of images is undefined")
def tiny_images(lab: Lab) -> None:
    arguments = list(lab.of_run())
    for side in ("--height", "--width"):
        arguments[arguments.index(side) + 1] = "8"
    lab.with_model()
    lab.expect(lab.tune(*arguments), 0)
    lab.expect_emitted()
