"""Augmentations change what they should, image by image, and nothing else."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from strobe.data.augment import Affine, Compose, Crop, Cutout, Flip, Mixup
from strobe.data.loaders import Augmentation

STRONG: dict[str, Augmentation] = {
    "affine": Affine(degrees=30, shift=3, zoom=0.2),
    "crop": Crop(4),
    "flip": Flip(0.5),
    "cutout": Cutout(5),
    "mixup": Mixup(0.4, num_classes=10),
    "compose": Compose([Flip(), Crop(2), Affine(degrees=5), Cutout(3), Mixup(1.0, num_classes=10)]),
}
IDENTITY: dict[str, Augmentation] = {
    "affine": Affine(),
    "crop": Crop(0),
    "flip": Flip(0.0),
    "compose": Compose([]),
}
SHAPES = [(32, 1, 28, 28), (32, 3, 32, 32), (31, 2, 12, 20), (31, 1, 21, 9)]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def random_batch(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.rand(shape, generator=seeded(1)), torch.randint(0, 10, shape[:1], generator=seeded(2))


def copies_of_one_image(count: int, height: int, width: int) -> Tensor:
    """Pixels are never black, so that black ones are the augmentation's."""
    return (torch.rand(1, 1, height, width, generator=seeded(3)) + 0.1).repeat(count, 1, 1, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", STRONG)
def test_shape_and_range_are_kept_and_the_input_is_left_alone(name: str, shape: tuple[int, ...]) -> None:
    images, targets = random_batch(*shape)
    before, targets_before = images.clone(), targets.clone()
    augmented, _ = STRONG[name](images, targets, seeded())
    assert (augmented.shape, augmented.dtype) == (images.shape, images.dtype)
    assert augmented.min() >= 0
    assert augmented.max() <= 1 + 1e-5
    assert not torch.equal(augmented, images)
    assert torch.equal(images, before)
    assert torch.equal(targets, targets_before)


@pytest.mark.parametrize("name", STRONG)
def test_the_generator_alone_decides(name: str) -> None:
    images, targets = random_batch(32, 1, 28, 28)
    first, first_targets = STRONG[name](images, targets, seeded(5))
    torch.manual_seed(123)
    state = torch.get_rng_state()
    again, again_targets = STRONG[name](images, targets, seeded(5))
    assert torch.equal(first, again)
    assert torch.equal(first_targets, again_targets)
    assert torch.equal(torch.get_rng_state(), state), "the stream that dropout uses is left alone"
    assert not torch.equal(first, STRONG[name](images, targets, seeded(6))[0])


@pytest.mark.parametrize("name", ["affine", "crop", "flip", "cutout"])
def test_every_image_is_changed_in_its_own_way(name: str) -> None:
    images = copies_of_one_image(16, 28, 28)
    augmented, _ = STRONG[name](images, torch.zeros(16, dtype=torch.int64), seeded())
    distinct = len(augmented.flatten(1).unique(dim=0))
    assert distinct == 2 if name == "flip" else distinct > 10


@pytest.mark.parametrize("name", ["affine", "crop", "flip", "cutout"])
def test_labels_are_kept(name: str) -> None:
    images, targets = random_batch(32, 1, 28, 28)
    assert torch.equal(STRONG[name](images, targets, seeded())[1], targets)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", IDENTITY)
def test_nothing_happens_at_zero_strength(name: str, shape: tuple[int, ...]) -> None:
    images, targets = random_batch(*shape)
    augmented, kept = IDENTITY[name](images, targets, seeded())
    torch.testing.assert_close(augmented, images, rtol=0, atol=2e-5)
    assert torch.equal(kept, targets)


@pytest.mark.parametrize("name", ["affine", "crop", "flip", "cutout", "compose"])
def test_a_batch_may_hold_one_image(name: str) -> None:
    images, targets = random_batch(1, 1, 28, 28)
    assert STRONG[name](images, targets, seeded())[0].shape == images.shape


def drawing(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Let every uniform number in [0, 1) be ``value``: what an augmentation does at a known strength."""
    monkeypatch.setattr(torch, "rand", lambda *shape, generator, device: torch.full(shape, value, device=device))


@pytest.mark.parametrize("side", [8, 9, 28])
@pytest.mark.parametrize("quarters", [1, 2])
def test_affine_rotates_by_its_angle(monkeypatch: pytest.MonkeyPatch, side: int, quarters: int) -> None:
    images = torch.rand(3, 2, side, side, generator=seeded())
    drawing(monkeypatch, 1.0)
    rotated, _ = Affine(degrees=90 * quarters)(images, torch.zeros(3), seeded())
    distances = [
        (rotated - torch.rot90(images, turn, dims=(2, 3))).abs().max().item() for turn in (quarters, -quarters)
    ]
    assert min(distances) < 1e-4


@pytest.mark.parametrize(("height", "width"), [(12, 20), (21, 9), (16, 16)])
def test_affine_turns_images_that_are_not_square_without_distorting_them(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    """Turned by a right angle, the central square is the central square turned; what lies outside is black."""
    images = torch.rand(2, 1, height, width, generator=seeded()) + 0.1
    drawing(monkeypatch, 1.0)
    rotated, _ = Affine(degrees=90)(images, torch.zeros(2), seeded())
    side = min(height, width) - (height - width) % 2  # the square's pixels have to fall on pixels
    top, left = (height - side) // 2, (width - side) // 2
    inside, turned = (each[..., top : top + side, left : left + side] for each in (images, rotated))
    assert min((turned - torch.rot90(inside, turn, dims=(2, 3))).abs().max() for turn in (1, -1)) < 1e-4
    assert (rotated > 1e-3).sum() == 2 * min(height, width) ** 2


@pytest.mark.parametrize(("height", "width"), [(12, 20), (21, 9)])
@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_affine_shifts_by_its_pixels_and_brings_in_black(
    monkeypatch: pytest.MonkeyPatch, draw: float, height: int, width: int
) -> None:
    images = torch.rand(2, 1, height, width, generator=seeded()) + 0.1
    drawing(monkeypatch, draw)
    shifted, _ = Affine(shift=3)(images, torch.zeros(2), seeded())
    expected = torch.zeros_like(images)
    if draw == 1.0:
        expected[..., :-3, :-3] = images[..., 3:, 3:]
    else:
        expected[..., 3:, 3:] = images[..., :-3, :-3]
    torch.testing.assert_close(shifted, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_affine_magnifies_by_its_zoom(monkeypatch: pytest.MonkeyPatch, draw: float) -> None:
    square = torch.zeros(1, 1, 40, 40)
    square[..., 10:30, 10:30] = 1
    drawing(monkeypatch, draw)
    zoomed, _ = Affine(zoom=0.5)(square, torch.zeros(1), seeded())
    side = math.sqrt(zoomed.sum().item())
    assert side == pytest.approx(20 * (1.5 if draw == 1.0 else 0.5), rel=0.05)


def test_affine_draws_from_the_whole_range_evenly() -> None:
    """The brightest column of a vertical line tells each image's shift."""
    images = torch.zeros(4000, 1, 9, 41)
    images[..., 20] = 1
    shifted, _ = Affine(shift=8)(images, torch.zeros(4000), seeded())
    row = shifted.amax(dim=2).squeeze(1)
    places = (row * torch.arange(41)).sum(1) / row.sum(1) - 20
    assert -8.01 < places.min() < -7.9
    assert 7.9 < places.max() < 8.01
    assert abs(places.mean()) < 0.3
    assert places.std() == pytest.approx(16 / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (7, 12)])
def test_crop_is_a_shift_by_whole_pixels_with_a_black_border(height: int, width: int) -> None:
    padding = 2
    images = copies_of_one_image(300, height, width)
    cropped, _ = Crop(padding)(images, torch.zeros(300), seeded())
    windows = {
        (row, column): torch.nn.functional.pad(images[0], (padding,) * 4)[
            :, row : row + height, column : column + width
        ]
        for row in range(2 * padding + 1)
        for column in range(2 * padding + 1)
    }
    found = [next(place for place, window in windows.items() if torch.equal(window, image)) for image in cropped]
    assert set(found) == set(windows), "every shift occurs"


def test_flip_mirrors_left_and_right_with_its_probability() -> None:
    images, targets = random_batch(1000, 1, 3, 5)
    assert torch.equal(Flip(1.0)(images, targets, seeded())[0], images.flip(3))
    flipped = Flip(0.3)(images, targets, seeded())[0]
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) ^ mirrored).all(), "an image is mirrored or left alone"
    assert 0.25 < mirrored.float().mean() < 0.35


@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_cutout_blacks_out_one_square_of_its_size(size: int) -> None:
    images = copies_of_one_image(500, 12, 20)
    cut, _ = Cutout(size)(images, torch.zeros(500), seeded())
    holes = cut == 0
    areas = holes.sum(dim=(1, 2, 3))
    assert areas.max() == min(size, 12) * min(size, 20), "some square lies wholly inside, none is larger"
    assert areas.min() >= 1
    assert torch.equal(cut[~holes], images[~holes])
    for hole in holes[:, 0]:
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns), "what is black is a rectangle"
        assert rows.sum() <= size
        assert columns.sum() <= size


@pytest.mark.parametrize("alpha", [0.01, 0.4, 1.0, 50.0])
def test_mixup_blends_targets_as_it_blends_images(alpha: float) -> None:
    """Every image shows its own number, so the blend tells its partner and its weight."""
    size = 64
    images = torch.eye(size).view(size, 1, 8, 8)
    targets = torch.arange(size) % 10
    mixed, soft = Mixup(alpha, num_classes=10)(images, targets, seeded())
    weights = mixed.view(size, size)
    assert (soft.shape, soft.dtype) == ((size, 10), torch.float32)
    torch.testing.assert_close(soft.sum(1), torch.ones(size))
    assert soft.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(size))
    assert (weights.count_nonzero(1) <= 2).all()
    torch.testing.assert_close(soft, weights @ torch.nn.functional.one_hot(targets, 10).float())


def test_mixups_weights_are_drawn_per_image_from_its_beta_distribution() -> None:
    size, alpha = 4000, 0.4
    images = torch.zeros(size, 1, 1, 1)
    images[: size // 2] = 1
    targets = (images.flatten() == 1).long()
    soft = Mixup(alpha, num_classes=2)(images, targets, seeded())[1]
    blends = soft[(soft[:, 0] > 0) & (soft[:, 0] < 1), 1]
    assert len(blends.unique()) > size // 4
    assert blends.mean() == pytest.approx(0.5, abs=0.03)
    assert blends.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)  # of Beta(alpha, alpha)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine(degrees=-1), "degrees >= 0.*got -1"),
        (lambda: Affine(shift=-0.5), "shift >= 0.*-0.5"),
        (lambda: Affine(zoom=1.0), "zoom < 1.*1.0"),
        (lambda: Affine(zoom=-0.1), "0 <= zoom.*-0.1"),
        (lambda: Affine(degrees=math.nan), "nan"),
        (lambda: Affine(shift=math.inf), "inf"),
        (lambda: Crop(-1), "must not be negative, got -1"),
        (lambda: Flip(1.5), r"must lie in \[0, 1\], got 1.5"),
        (lambda: Flip(-0.1), r"must lie in \[0, 1\], got -0.1"),
        (lambda: Flip(math.nan), r"must lie in \[0, 1\], got nan"),
        (lambda: Cutout(0), "must be at least 1, got 0"),
        (lambda: Mixup(0.0, num_classes=10), "must be positive, got 0.0"),
        (lambda: Mixup(-1.0, num_classes=10), "must be positive, got -1.0"),
        (lambda: Mixup(math.nan, num_classes=10), "must be positive, got nan"),
    ],
)
def test_a_strength_out_of_range_is_refused_with_its_value(make: Callable[[], Augmentation], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
