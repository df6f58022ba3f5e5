"""Model folders that are damaged, or made to run code of their author."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.fault import FAULTS
from tests.faults.lab import MODEL, SEARCH, Lab

Change = Callable[[Lab, Path], object]


def copy_of_model(lab: Lab) -> Path:
    """The reference pipeline as a folder of a user's."""
    source = next(path.parent for path in lab.models.rglob("model_index.json"))
    folder = lab.folder / "model"
    shutil.copytree(source, folder)
    return folder


def edit(path: Path, **facts: Any) -> None:
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**content, **facts}), "utf-8")


def index(**facts: Any) -> Change:
    return lambda lab, folder: edit(folder / "model_index.json", **facts)


def unet(**facts: Any) -> Change:
    return lambda lab, folder: edit(folder / "unet" / "config.json", **facts)


def text(name: str, content: bytes) -> Change:
    return lambda lab, folder: (folder / name).write_bytes(content)


def canary_module(lab: Lab, folder: Path) -> None:
    """A module that writes when it is imported, where Python and diffusers would find it."""
    code = f"open({str(lab.canary)!r}, 'w').close()\nclass x: pass\n"
    for place in (folder, lab.folder):
        (place / "canary.py").write_text(code)
    edit(folder / "model_index.json", feature_extractor=["canary", "x"])


def standard_module(lab: Lab, folder: Path) -> None:
    edit(folder / "model_index.json", feature_extractor=["this", "x"])


def remote_pipeline(lab: Lab, folder: Path) -> None:
    code = f"open({str(lab.canary)!r}, 'w').close()\n"
    base = (
        "from diffusers import StableDiffusionPipeline\nclass Mine(StableDiffusionPipeline): ...\n"
    )
    (folder / "mine.py").write_text(code + base)
    edit(folder / "model_index.json", _class_name=["mine", "Mine"])


def remote_component(lab: Lab, folder: Path) -> None:
    code = f"open({str(lab.canary)!r}, 'w').close()\nclass Mine: pass\n"
    (folder / "unet" / "mine.py").write_text(code)
    edit(folder / "model_index.json", unet=["mine", "Mine"])


def auto_map(lab: Lab, folder: Path) -> None:
    code = f"open({str(lab.canary)!r}, 'w').close()\nclass Mine: pass\n"
    (folder / "text_encoder" / "mine.py").write_text(code)
    path = folder / "text_encoder" / "config.json"
    edit(path, auto_map={"AutoModel": "mine.Mine", "AutoConfig": "mine.Mine"}, model_type="mine")


class Bomb:
    """A pickle that writes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def pickled_weights(lab: Lab, folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.unlink()
        name = "pytorch_model.bin" if "encoder" in path.parent.name else f"{path.stem}.bin"
        path.with_name(name).write_bytes(pickle.dumps(Bomb(lab.canary)))


def pickled_index_of_weights(lab: Lab, folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(pickle.dumps(Bomb(lab.canary)))


def cut_weights(lab: Lab, folder: Path) -> None:
    path = next((folder / "unet").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_weights(lab: Lab, folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.unlink()


def turning_links(lab: Lab, folder: Path) -> None:
    (folder / "unet" / "again").symlink_to(folder, target_is_directory=True)


def template(lab: Lab, folder: Path) -> None:
    code = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    edit(folder / "tokenizer" / "tokenizer_config.json", chat_template=code)


REFUSED: dict[str, Change] = {
    "its index names a module beside it": canary_module,
    "its index names a module of Python": standard_module,
    "its index names a pipeline of its own": remote_pipeline,
    "its index names a component of its own": remote_component,
    "weights as pickles": pickled_weights,
    "pickles called safetensors": pickled_index_of_weights,
    "weights cut short": cut_weights,
    "no weights": no_weights,
    "an index that is no JSON": text("model_index.json", b"{"),
    "an index that is a list": text("model_index.json", b"[]"),
    "an index that is not UTF-8": text("model_index.json", b'{"\xff": 1}'),
    "an index nested 100,000 deep": text("model_index.json", b"[" * 100_000 + b"]" * 100_000),
    "a class that is none": index(_class_name="os.system"),
    "a class that is a number": index(_class_name=5),
    "a component of one word": index(unet=["diffusers"]),
    "a component that is a number": index(unet=5, vae=7),
    "a scheduler that is a text": index(scheduler="now"),
    "a UNet of a billion channels": unet(block_out_channels=[10**9, 10**9]),
    "a UNet of negative channels": unet(block_out_channels=[-32, -64]),
    "a UNet of no blocks": unet(down_block_types=[], up_block_types=[]),
    "a UNet of words": unet(block_out_channels="wide", layers_per_block="many"),
    "a UNet of a million layers": unet(layers_per_block=10**6),
}
TAKEN: dict[str, Change] = {
    "links that turn in a circle": turning_links,
    "a template of a tokenizer that reaches for classes": template,
    "code that transformers would run if it were asked to (auto_map)": auto_map,
}


def refuse(lab: Lab, change: Change) -> None:
    folder = copy_of_model(lab)
    change(lab, folder)
    for command in ("knobs", "run"):
        places = ("--store", lab.store) if command == "run" else ()
        sizes = ("--height", "64", "--width", "64", "--steps", "2")
        arguments = (command, str(folder), *sizes, *places, "--cache-dir", str(lab.cache))
        ended = lab.tune(*arguments, timeout_s=300.0)
        # Weights alone are looked at when they are loaded, for which nothing that tells of the
        # model's knobs has a reason.
        if command == "run" or ended.code != 0:
            lab.expect(ended, 2)


def take(lab: Lab, change: Change) -> None:
    folder = copy_of_model(lab)
    change(lab, folder)
    arguments = lab.of_run((*SEARCH, "--trials", "2"))
    arguments[arguments.index(MODEL)] = str(folder)
    lab.expect(lab.tune(*arguments), 0)


for name, way in REFUSED.items():
    FAULTS.add("model folders", name, partial(refuse, change=way))
for name, way in TAKEN.items():
    FAULTS.add("model folders", name, partial(take, change=way))
