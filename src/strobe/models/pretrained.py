"""The classification nets of torchvision by name, with its pretrained weights, a file's, or none."""

import difflib
import logging
import re
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from strobe.errors import CheckpointError, ConfigError, first_line
from strobe.models.unread import reads_pretrained_weights
from strobe.record.initial import initial_state, load_into, matches

log = logging.getLogger(__name__)


_ENDINGS = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}
_AUXILIARY = ["aux1.*", "aux2.*", "AuxLogits.*"]  # second classifiers of GoogLeNet and Inception, which are left out


class Wants(TypedDict):
    """What a net wants its images like, as a datamodule can make them; None leaves them as the data set says.

    Attributes:
        mean: Of three channels in [0, 1], to be subtracted.
        std: Of three channels in [0, 1], to be divided by.
        size: Height and width in pixels.
    """

    mean: list[float] | None
    std: list[float] | None
    size: list[int] | None


class TorchvisionNet(nn.Module):
    """A classification net of torchvision as ``body``, its last layer new and for the classes of the data set.

    Args:
        in_shape: ``(channels, height, width)`` of an image, as the data set or what resizes it gives them; gray images
            are repeated to three channels.
        num_classes: Number of outputs.
        name: As torchvision calls it: ``resnet18``, ``efficientnet_b0``, ``vit_b_16``, ...
        weights: Name of pretrained weights: ``DEFAULT``, ``IMAGENET1K_V1``, ..., which torchvision's servers are asked
            for once; or a file of the net's weights; None begins with random ones. All but the last layer is loaded.
        freeze: Whether all but the last layer stays as it is: its parameters, and the running statistics of its norms.
        size: Side in pixels that images are to be resized to; None for the size that the pretrained weights are used
            at, and without such for the images' own.
        normalize: Whether images are to be normalized as they were for the pretrained ``weights``, ImageNet's for those
            of a file, or by the mean and std of the ``dataset``.

    Attributes:
        wants: How ``forward`` wants its images; None for as they are.
        head: Name of the last layer within ``body``.

    Raises:
        ConfigError: If there is no such net, there are no such weights, or the net takes no images of this size.
        CheckpointError: If weights can't be fetched or read, or are those of another net.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        name: str = "resnet18",
        weights: str | None = None,
        freeze: bool = False,
        size: int | None = None,
        normalize: Literal["weights", "dataset"] = "weights",
    ) -> None:
        super().__init__()
        channels, *own_size = in_shape
        if channels not in (1, 3):
            raise ConfigError(f"model.name={name}: images of {channels} channels; torchvision's nets take 3, or gray")
        if normalize not in ("weights", "dataset"):
            raise ConfigError(f"model.normalize={normalize!r}: must be weights or dataset")
        published = _published(name)
        source = None if weights is None else _source(weights, name, published)
        # Alone from the arguments, not from what was read: a net rebuilt for its trained weights wants the same.
        meant = (published[source] if isinstance(source, str) else published.DEFAULT).transforms()
        side = meant.crop_size[0] if size is None and source is not None else size
        self.wants: Wants | None = None
        if side is not None or source is not None:
            normal = source is not None and normalize == "weights"
            self.wants = {
                "mean": list(meant.mean) if normal else None,
                "std": list(meant.std) if normal else None,
                "size": None if side is None else [side, side],
            }
        self.body = _body(name, num_classes, (side, side) if side is not None else tuple(own_size), source is not None)
        self.head = _last_layer(self.body)
        if source is not None and reads_pretrained_weights():
            _load(self.body, self.head, name, source if isinstance(source, Path) else _fetched(published[source]))
        if freeze:
            self.body.requires_grad_(False)
            self.body.get_submodule(self.head).requires_grad_(True)
            _fix_norms(self.body)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, 1 or 3, H, W)``, as `wants` says, to logits ``(B, num_classes)``."""
        logits: Tensor = self.body(images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1))
        return logits


class FixedNorm(nn.Module):
    """A batch normalization that always uses the running statistics it came with, under the same keys.

    Not one in evaluation mode: Lightning warns of modules in that mode where training begins, and it is no
    ``BatchNorm2d`` so that ``trainer.sync_batchnorm=true`` makes no other one of it.

    Args:
        norm: Whose parameters and statistics to take over.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def _fix_norms(body: nn.Module) -> None:
    for name, module in list(body.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, last = name.rpartition(".")
            setattr(body.get_submodule(parent), last, FixedNorm(module))


def _published(name: str) -> Any:
    """The enumeration of a net's pretrained weights.

    Raises:
        ConfigError: If torchvision has no such net for classification.
    """
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
        raise ConfigError(
            f"model.name={name!r}: torchvision has no such net for classification; "
            f"{'nearest are' if close else 'it has'} {', '.join(close or known)}"
        )
    return models.get_model_weights(name)


def _source(weights: str, name: str, published: Any) -> str | Path:
    """The name of published weights, or the path of a file.

    Raises:
        ConfigError: If it is neither.
    """
    names = list(published.__members__)
    if weights in names:
        return weights
    path = Path(weights).expanduser()
    if path.suffix in _ENDINGS or len(path.parts) > 1:
        return path
    raise ConfigError(
        f"model.weights={weights!r}: {name} has {', '.join(names)}; or give a file that ends with "
        f"{', '.join(sorted(_ENDINGS))}"
    )


def _body(name: str, num_classes: int, size: tuple[int, ...], pretrained: bool) -> nn.Module:
    """The net, with random weights and a last layer for so many classes.

    Raises:
        ConfigError: If it takes no images of this size.
    """
    height, width = size
    options: dict[str, Any] = {}
    smallest = models.get_model_weights(name).DEFAULT.meta["min_size"]
    if name.startswith("vit_"):
        if height != width:
            raise ConfigError(f"model.name={name}: takes square images, not {height}x{width}; choose model.size=224")
        options["image_size"], smallest = height, (1, 1)
    elif name.startswith("maxvit_"):
        options["input_size"], smallest = (height, width), (1, 1)
    elif name.startswith("swin_"):
        smallest = (32, 32)  # windows are padded: torchvision names the size of training
    elif name.startswith(("googlenet", "inception")):
        # Theirs were trained on images of another normalization, to which they can turn ImageNet's themselves.
        options = {"aux_logits": False, "transform_input": pretrained, "init_weights": not pretrained}
    if height < smallest[0] or width < smallest[1]:
        raise ConfigError(
            f"model.name={name}: images of {height}x{width} are too small, it takes {smallest[0]}x{smallest[1]} or "
            f"larger; choose model.size={max(smallest)} or more"
        )
    try:
        body: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    except (AssertionError, ValueError) as error:
        raise ConfigError(
            f"model.name={name}: takes no images of {height}x{width} ({first_line(error)}); choose model.size=224"
        ) from error
    return body


def _last_layer(body: nn.Module) -> str:
    """The name of the layer that gives the logits: in every net of torchvision the last one that is defined."""
    layers: list[str] = [name for name, module in body.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1]


def _load(body: nn.Module, head: str, name: str, path: Path) -> None:
    """Load all but the last layer.

    Raises:
        CheckpointError: If the file can't be read, or is not this net's.
    """
    state = initial_state(path)
    for key in [key for key in state if matches(key, [f"{head}.*", *_AUXILIARY])]:
        del state[key]
    if name.startswith("densenet"):  # published under names of before modules could not have dots in theirs
        for key in [key for key in state if re.search(r"denselayer\d+\.(norm|conv)\.\d\.", key)]:
            state[re.sub(r"\.(norm|conv)\.(\d)\.", r".\1\2.", key)] = state.pop(key)
    if isinstance(body, VisionTransformer) and "encoder.pos_embedding" in state:
        state = interpolate_embeddings(body.image_size, body.patch_size, state)
    loaded = load_into(body, state, path, strict=False)
    if problems := loaded.only(lambda key: not matches(key, [f"{head}.*"])).misfits():
        raise CheckpointError(f"model.weights={path}: is not of {name}: {'; '.join(problems)}")


def _fetched(weights: Any) -> Path:
    """The file of published weights, where torchvision keeps it too; fetched if it isn't there.

    Raises:
        CheckpointError: If it can't be fetched.
    """
    url = str(weights.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    found = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # one download when eight jobs start at once
            if not path.is_file():
                log.info("Fetching %s to %s", url, path)
                torch.hub.download_url_to_file(url, str(path), found[1] if found else None, progress=False)
    except (OSError, RuntimeError, HTTPException) as error:  # a RuntimeError: the checksum is another
        raise CheckpointError(
            f"model.weights={weights.name}: {url} can't be fetched ({first_line(error)}). Fetch it where you can, then "
            f"put it at {path} or give model.weights=<its path>; model.weights=null begins with random weights"
        ) from error
    return path
