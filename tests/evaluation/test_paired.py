"""Errors of images against those they pair up with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ttfm.evaluation.paired import endpoint_rmse, image_l2, l2, psnr, squared_errors


def test_errors_are_per_image_whatever_the_pieces():
    x, y = np.random.default_rng(0).integers(0, 256, (2, 7, 3, 4, 4), dtype=np.uint8)
    expected = np.square(x.astype(float) - y).reshape(7, -1).mean(axis=1)
    np.testing.assert_allclose(squared_errors(x, y), expected, rtol=1e-12)
    np.testing.assert_allclose(squared_errors(x, y, batch=3), expected, rtol=1e-12)


def test_samples_in_several_pieces_have_the_error_of_all(monkeypatch):
    x, y = torch.randn(2, 7, 3, 2, dtype=torch.float64)
    monkeypatch.setattr("ttfm.evaluation.paired.at_once", lambda shape, most: 3)
    assert l2(x, y) == pytest.approx((x - y).square().mean().sqrt().item(), rel=1e-14)
    assert endpoint_rmse(x, y) == pytest.approx((x - y).flatten(1).norm(dim=1).square().mean().sqrt().item(), rel=1e-14)


def test_known_values():
    black, white = np.zeros((2, 1, 2, 2), dtype=np.uint8), np.full((2, 1, 2, 2), 255, dtype=np.uint8)
    assert image_l2(black, white) == pytest.approx(2)
    assert psnr(black, white) == pytest.approx(0)
    near = black.copy()
    near[0], near[1] = 1, 2
    assert psnr(near, black) == pytest.approx(20 * np.log10(255) - 10 * np.log10(4) / 2)


def test_equal_images_have_the_ratio_of_rounding_and_other_arrays_no_error():
    x = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    assert psnr(x, x) == pytest.approx(58.92, abs=0.01)
    with pytest.raises(ValueError, match="shape of bytes, not float64"):
        image_l2(x.astype(float), x)
    with pytest.raises(ValueError, match="one common, non-empty"):
        psnr(x, x[:1])
