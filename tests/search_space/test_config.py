"""A config: one canonical form, a key, and what it says of itself."""

from __future__ import annotations

from search_space.catalog import all_knobs
from search_space.config import Config, completed


def test_two_spellings_of_a_config_have_one_canonical_form():
    choices = {"precision": "bf16", "engine": "eager"}
    config = Config(choices)
    assert config == {"precision": "bf16"} == config.changes
    assert Config(completed(choices)) == config
    assert hash(Config(completed(choices))) == hash(config)
    assert completed(config) == completed(choices)
    assert list(Config({"precision": "bf16", "attention": "plain"})) == ["attention", "precision"]


def test_a_config_is_a_key_and_tells_what_it_changes():
    config = Config({"precision": "bf16", "attention": "plain"})
    assert {config: 1}[Config({"attention": "plain", "precision": "bf16"})] == 1
    assert config.describe() == "attention=plain, precision=bf16"
    assert config.without("attention") == Config({"precision": "bf16"})
    assert config.without("attention").within(config)
    assert not config.within(config.without("attention"))
    assert config.key != config.without("attention").key
    assert (Config().is_baseline, Config().describe()) == (True, "baseline")
    assert not config.is_baseline


def test_a_completed_config_names_every_knob():
    assert list(completed({"engine": "onnxruntime"})) == [knob.name for knob in all_knobs()]
    assert completed({"engine": "onnxruntime"})["engine"] == "onnxruntime"
