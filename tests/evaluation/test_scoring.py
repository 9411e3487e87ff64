"""Rows of the long table: values where samples are samples, and words where they are not."""

import pytest
import torch

from ttfm.evaluation.scoring import Scorer


@pytest.fixture
def scorer():
    reference, solution = torch.randn(2, 64, 2, generator=torch.Generator().manual_seed(0))
    return Scorer(reference, solution)


def rows(scorer, samples):
    return [*scorer.distribution(samples), *scorer.pairs(samples)]


def test_samples_of_any_sensible_size_are_measured(scorer):
    for factor in (0.0, 1.0, 9.0):
        assert all("value" in row for row in rows(scorer, factor * scorer.solution))
    assert scorer.one("endpoint_rmse", scorer.solution)["value"] == 0


@pytest.mark.parametrize("factor", [11.0, 1e20])
def test_samples_out_of_all_proportion_are_a_divergence_and_no_number(scorer, factor):
    found = rows(scorer, factor * scorer.solution)
    assert {row["metric"] for row in found} == {"energy_distance", "sliced_w2", "mmd", "endpoint_rmse"}
    for row in found:
        assert row["status"] == "failed"
        assert "diverged: the samples' root mean square is" in row["reason"]
        assert "value" not in row


def test_samples_that_are_not_finite_are_no_number_either(scorer):
    assert all(row["status"] == "failed" for row in rows(scorer, scorer.solution * float("nan")))


def test_what_left_the_path_is_skipped_with_its_reason(scorer):
    row = scorer.one("endpoint_rmse", scorer.solution, "it left")
    assert (row["status"], row["reason"]) == ("skipped", "it left")
    assert "value" in scorer.one("mmd", scorer.solution, "it left")
