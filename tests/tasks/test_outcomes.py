"""What is told of a classifier's examples, whoever tells it."""

import pytest
import torch

from strobe.tasks.outcomes import Surest, class_names, confusion, named, pixels, small


def test_confusions_of_many_classes_take_no_matrix() -> None:
    true, predicted = torch.tensor([7, 7, 99_999]), torch.tensor([7, 99_999, 99_999])
    assert confusion(true, predicted, 100_000) == {(7, 7): 1, (7, 99_999): 1, (99_999, 99_999): 1}


def test_the_surest_mistakes_do_not_depend_on_how_they_came() -> None:
    logits, images = torch.randn(200, 5), torch.rand(200, 1, 6, 6)
    logits[0] = float("nan")
    labels = torch.arange(200) % 6 - 1  # -1 is no class
    whole, batched, ranks = Surest(), Surest(), Surest()
    whole.add((images,), named(logits, labels, independent=False), 0)
    for first in range(0, 200, 30):
        rows = slice(first, first + 30)
        outcome = named(logits[rows], labels[rows], independent=False)
        batched.add((images[rows],), outcome, first)
        other = Surest()
        other.add((images[rows],), outcome, first)
        ranks.join(other)
    found = [mistake for mistake, _ in whole.found]
    assert len(found) == 25
    assert all(mistake.true >= 0 for mistake in found)
    assert [mistake for mistake, _ in batched.found] == [mistake for mistake, _ in ranks.found] == found
    assert all(torch.equal(image, images[mistake.index]) for mistake, image in whole.found if image is not None)


def test_labels_that_do_not_exclude_each_other_have_their_own_probabilities() -> None:
    outcome = named(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), independent=True)
    assert (float(outcome.sure), float(outcome.of_true)) == pytest.approx((0.880797, 0.731059))


@pytest.mark.parametrize(
    ("shape", "shown"), [((3, 512, 256), (3, 128, 64)), ((4, 1, 28, 28), (4, 1, 28, 28)), ((1, 900, 2), (1, 128, 1))]
)
def test_large_images_are_shrunk_and_small_ones_left(shape: tuple[int, ...], shown: tuple[int, ...]) -> None:
    assert small(torch.rand(shape)).shape == shown


def test_without_known_facts_images_and_classes_are_shown_all_the_same() -> None:
    image = torch.tensor([[[-3.0, float("nan")], [float("inf"), 5.0]]])
    assert pixels(image, {}).tolist() == [[[0, 0], [1, 1]]]
    assert pixels(image, {"mean": [0.5] * 3, "std": [1.0] * 3}).max() == 1
    assert class_names({"classes": ["a"]}, 2) == ["0", "1"]
