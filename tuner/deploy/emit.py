"""Write what an application needs: ``config.json`` and ``load.py``."""

from __future__ import annotations

import json
import pprint
import re
from pathlib import Path

from search_space.config import Step, final_call, steps
from search_space.errors import UsageError
from search_space.knob import Context, Stage
from search_space.units import format_size
from tuner.deploy.replacing import replace_files, sweep, unfinished
from tuner.deploy.sources import cut
from tuner.records.tuned import TunedConfig
from tuner.report.format import latency

DOCSTRING = """\
The tuned pipeline of {model}, written by diffusers-autotune {version}.

    from load import load
    pipe = load()

or, to see an image: python load.py image.png

{evidence}
The functions below are those that the measured trial ran, cut to what this config uses.
"""

SCRIPT = '''\
"""{docstring}"""

from __future__ import annotations

{sources}

MODEL = {folder!r}
DEVICE = {device!r}
CACHE_DIR = {cache_dir!r}
CALL = {call}


def load(model: str = MODEL, device: str = DEVICE, cache_dir: str = CACHE_DIR) -> Any:
    """The tuned pipeline, ready to be called as it was tuned: ``pipe(**CALL)``."""
    build = Build(model, device, dict(CALL), Path(cache_dir){pickled})
{body}
    return build.pipe


def main() -> None:
    """Generate the image or video that the pipeline was tuned on and save it."""
    import sys

    import torch
    from PIL import Image

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if path and not (path.parent.is_dir() and path.suffix.lower() in Image.registered_extensions()):
        sys.exit(f"cannot save to {{path}}; usage: python load.py image.png")
    prompts = CALL["prompt"] if isinstance(CALL["prompt"], list) else [CALL["prompt"]]
    generator = [torch.Generator("cpu").manual_seed({seed!r} + i) for i in range(len(prompts))]
    made = load()(**CALL, generator=generator, output_type="pil")[0][0]
    first, *rest = made if isinstance(made, list) else [made]
    path = path or Path("video.gif" if rest else "image.png")
    first.save(path, **({{"save_all": True, "append_images": rest}} if rest else {{}}))
    print(path)


if __name__ == "__main__":
    main()
'''


OURS = "written by diffusers-autotune"
"""By this a script is known to be of a run, and may be replaced by the next."""


def default_output(context: Context) -> Path:
    """``tuned/MODEL/WIDTHxHEIGHT-DEVICE``: sizes and machines do not replace each other."""
    workload, machine = context.workload, context.machine
    defaults = context.spec.defaults
    model = re.split(r"[/:\\]", workload.model.rstrip("/\\"))[-1]
    if set(model) <= set(".~"):
        model = Path(context.spec.folder).name
    sides = (
        workload.width_px or defaults.get("width_px"),
        workload.height_px or defaults.get("height_px"),
    )
    parts = ["x".join(map(str, sides)) if all(sides) else "default-size"]
    if frames := workload.num_frames or defaults.get("num_frames"):
        parts.append(f"{frames}f")
    if workload.batch_size > 1:
        parts.append(f"b{workload.batch_size}")
    return Path("tuned") / slug(model) / "-".join([*parts, slug(machine.device_name)])


def slug(name: str) -> str:
    """A name as a part of a path: ``Intel(R) Xeon(R) CPU`` is ``intel-xeon-cpu``."""
    plain = re.sub(r"\((r|tm|c)\)|[@,]", " ", name.lower())
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-.") or "unnamed"


def check_output(folder: Path) -> None:
    """Raise UsageError where a run cannot write the folder, or would replace what is not ours."""
    target = folder.absolute()
    existing = next(place for place in (target, *target.parents) if place.exists())
    try:
        with unfinished(existing):
            pass
        sweep(existing)
    except OSError as error:
        raise unwritable(folder, error) from error
    script = folder / "load.py"
    if script.exists() and OURS not in script.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{script} was not written by 'tune run': give another --output")
    if (folder / "config.json").exists():
        TunedConfig.read(folder)


def unwritable(folder: Path, error: OSError) -> UsageError:
    """What is said where the output cannot be written."""
    return UsageError(f"{folder} cannot be written ({error}): give another --output")


def emit(tuned: TunedConfig, folder: Path, sheet: bytes | None = None) -> Path:
    """Write the folder, whole or not at all to whoever reads it; raises UsageError if it cannot.

    ``sheet`` is the contact sheet; without one that of an earlier config is taken away.
    """
    config = json.dumps(tuned.to_json(), indent=2, allow_nan=False) + "\n"
    try:
        replace_files(folder, load_script(tuned).encode(), config.encode(), sheet)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def load_script(tuned: TunedConfig) -> str:
    """The text of ``load.py``."""
    from tuner.version import __version__

    # What changes the call has done so in CALL.
    steps_to_run = tuple(step for step in steps(tuned.config) if step.stage is not Stage.CALL)
    functions = [
        (step.choice.apply.__module__, step.choice.apply.__name__) for step in steps_to_run
    ]
    workload = tuned.workload
    docstring = DOCSTRING.format(
        model=workload.model, version=__version__, evidence=_evidence(tuned)
    )
    return SCRIPT.format(
        docstring=escaped(docstring),
        sources=cut([("search_space.build", "Build"), *functions]),
        folder=tuned.folder,
        device=tuned.machine.device,
        cache_dir=tuned.cache_dir,
        call=pprint.pformat(final_call(tuned.config, workload.call()), sort_dicts=False, width=80),
        body="\n".join(f"    {line}" for line in _body(steps_to_run)),
        seed=workload.seed,
        pickled=", pickled=True" if tuned.pickled else "",
    )


def escaped(text: str) -> str:
    """The text as it stands between three quotation marks: what it says is never code."""
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == "\n" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def _body(steps_to_run: tuple[Step, ...]) -> list[str]:
    lines = []
    for stage in Stage:
        for step in steps_to_run:
            if step.stage is stage:
                lines.append(f"{step.choice.apply.__name__}(build, {step.choice.value!r})")
        if stage is Stage.LOAD:
            lines.append("build.load_pipeline()")
        if stage is Stage.PLACEMENT:
            lines.append("build.place()")
    return lines


def _evidence(tuned: TunedConfig) -> str:
    machine = tuned.machine
    peak = format_size(tuned.tuned["peak_bytes"])
    unit = "an image" if tuned.workload.throughput else "a call"
    faster = ", not raced against the default"
    if tuned.spoiled is not None:
        faster = ", raced on a machine too busy to tell a speed-up"
    if tuned.speedup is not None:
        bounds = f"{tuned.speedup_low:.2f} to {tuned.speedup_high:.2f}"
        faster = f", {tuned.speedup:.2f} times as fast as the default (95 %: {bounds})"
    packages = ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))
    return (
        f"Measured on {machine.device_name} ({machine.device}) on {tuned.created_at[:10]}:\n"
        f"{latency(tuned.tuned)} {unit}{faster}, {peak} at most.\nVersions: {packages}.\n"
    )
