"""Labels are those of the rows that are asked about, within the context that binds them."""

import pytest
import torch

from ttfm.flow.labels import LabelsError, bound, current, rows


def test_rows_are_selected_one_selection_after_the_other():
    with bound(torch.tensor([5, 6, 7])):
        with rows(slice(None), slice(2), torch.tensor([2, 0])):
            assert current(7).tolist() == [5, 6, 7, 5, 6, 7, 5]
            with rows(slice(6, None)):
                assert current(1).tolist() == [5]
        assert current(3).tolist() == [5, 6, 7]


def test_without_labels_any_number_of_samples_is_unconditional():
    assert current(4) is None
    with rows(slice(2)):
        assert current(4) is None
    with bound(torch.zeros(3, dtype=torch.long)), bound(None):
        assert current(9) is None


def test_another_number_of_samples_is_an_error_and_the_binding_ends_with_its_context():
    fault = pytest.raises(LabelsError, match="bound for 3 samples and a network is asked about 2")
    with fault, bound(torch.zeros(3, dtype=torch.long)):
        current(2)
    assert current(2) is None


def test_samples_asked_about_several_times_over_repeat_their_labels():
    with bound(torch.tensor([5, 6]), repeated=True):
        assert current(6).tolist() == [5, 6, 5, 6, 5, 6]
        with pytest.raises(LabelsError):
            current(3)
        with bound(torch.tensor([1])), pytest.raises(LabelsError):
            current(2)
