from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.training.losses import VARIANTS
from htmdsep.training.recipe import (
    OURS,
    PAPER,
    SPECTRAL,
    Architecture,
    Recipe,
    network_config,
    resume_settings,
)
from htmdsep.weights.catalogue import find_weights
from htmdsep.weights.file import load_weights

SHORT = replace(OURS, learning_rate=1e-3, warmup_steps=10, decay="none", steps=8)


def test_the_rate_warms_up_linearly_and_stays() -> None:
    rates = [SHORT.rate(step, 0.0) for step in range(12)]
    assert rates[:5:4] == [pytest.approx(1e-4), pytest.approx(5e-4)]
    assert rates[9:] == [pytest.approx(1e-3)] * 3


def test_the_cosine_falls_to_its_final_share() -> None:
    recipe = replace(SHORT, decay="cosine", final_share=0.02, warmup_steps=0)
    rates = [recipe.rate(5, progress / 10) for progress in range(11)]
    assert rates[::5] == [pytest.approx(1e-3), pytest.approx(0.51e-3), pytest.approx(0.02e-3)]
    assert rates == sorted(rates, reverse=True)
    assert recipe.rate(5, 1.5) == pytest.approx(0.02e-3)


def test_progress_is_by_steps_where_they_are_known_else_by_time() -> None:
    timed = replace(SHORT, steps=None, max_minutes=2.0)
    assert SHORT.progress(2, 1e9) == 0.25
    assert timed.progress(5, 60.0) == 0.5
    assert replace(timed, max_minutes=None).progress(5, 60.0) == 0


def test_only_in_a_run_with_an_end_the_masking_network_learns_alone() -> None:
    endless = replace(SHORT, steps=None, masking_share=0.5)
    assert not endless.is_masking_alone(endless.progress(3, 1.0))
    limited = replace(endless, max_minutes=1.0)
    assert limited.is_masking_alone(limited.progress(3, 29.0))
    assert not limited.is_masking_alone(limited.progress(3, 31.0))


def test_validations_come_every_so_many_steps_or_at_multiples_of_a_time() -> None:
    stepped = replace(SHORT, epoch_minutes=None, epoch_steps=3)
    assert [step for step in range(1, 8) if stepped.is_due(step, 0.0, 1e9)] == [3, 6]
    timed = replace(SHORT, epoch_minutes=12.0, max_minutes=40.0)
    due = [end for end in range(1, 41) if timed.is_due(end, 60.0 * (end - 1), 60.0 * end)]
    assert due == [12, 24, 36]  # however many pieces the run is cut into
    assert not timed.is_over(2399.0) and timed.is_over(2400.0)
    assert not replace(timed, max_minutes=None).is_over(1e9)


WAVEUNET = replace(OURS, architecture="waveunet")


def test_the_papers_preset_is_the_slides_protocol() -> None:
    assert (PAPER.segment_length, PAPER.batch_size, PAPER.epochs) == (16_384, 8, 150)
    assert PAPER.rate(0, 0.0) == PAPER.rate(10**6, 1.0) == 1e-4
    assert PAPER.patience == 20
    assert PAPER.loss == VARIANTS["mae-mae"]
    assert not PAPER.random_mixes
    htmdnet = network_config(PAPER)
    assert isinstance(htmdnet, HTMDNetConfig)
    assert (htmdnet.encoder_kernel, htmdnet.encoder_stride) == (16, 8)


@pytest.mark.parametrize("name", ["htmdnet", "spectral", "convtasnet", "waveunet"])
def test_a_recipe_has_a_network(name: Architecture) -> None:
    recipe = replace(OURS, architecture=name)
    config = network_config(recipe)
    assert (config.architecture, config.segment_length) == (name, OURS.segment_length)
    if name in ("spectral", "waveunet"):
        with pytest.raises(HtmdsepError, match="no masking network to repeat"):
            network_config(recipe, 2)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("spectral", SPECTRAL), ("spectral-small", SPECTRAL), ("htmdnet", OURS)],
)
def test_a_run_has_the_network_of_the_weights_that_it_starts_from(
    name: str, recipe: Recipe
) -> None:
    _, info = load_weights(find_weights(name).path)
    assert network_config(recipe, known=info.config) == info.config
    assert network_config(WAVEUNET, known=info.config) == network_config(WAVEUNET)


def test_all_of_a_recipe_must_stay_on_resume_but_its_time_and_workers() -> None:
    config = network_config(OURS)
    settings = resume_settings(OURS, config, 3)
    assert resume_settings(replace(OURS, max_minutes=9.0, workers=7), config, 3) == settings
    assert asdict(OURS).keys() - settings.keys() == {"max_minutes", "workers"}
    deeper = resume_settings(OURS, network_config(OURS, 2), 3)
    assert {name for name in settings if settings[name] != deeper[name]} == {"network's repeats"}
