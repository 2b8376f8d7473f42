"""What people type who come from elsewhere -> what it is called here; asked before the nearest spelling."""

import re
from collections.abc import Mapping

_LOGGERS = {
    **{name: f"logger={name}" for name in ("wandb", "mlflow")},
    "comet": "+logger.comet._target_=lightning.pytorch.loggers.CometLogger",
}

KEYS = {
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs", "max_epoch", "nb_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("num_train_epochs", "train_epochs", "total_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("steps", "num_steps", "iterations", "iters", "max_iter", "max_iters"), "trainer.max_steps"),
    **dict.fromkeys(("time", "time_limit"), "trainer.max_time"),
    **dict.fromkeys(("lr", "learning_rate", "learningrate", "eta", "base_lr", "init_lr"), "optimizer.lr"),
    **dict.fromkeys(("wd", "weight_decay", "decay", "l2"), "optimizer.weight_decay"),
    **dict.fromkeys(("beta1", "beta2", "adam_betas"), "optimizer.betas"),
    **dict.fromkeys(("mom",), "optimizer.momentum"),
    **dict.fromkeys(("bs", "batch", "batchsize", "batch_size", "train_batch_size"), "data.batch_size"),
    **dict.fromkeys(("val_batch_size", "test_batch_size", "eval_batch_size"), "data.eval_batch_size"),
    **dict.fromkeys(("workers", "num_workers", "n_workers", "dataloader_workers"), "data.num_workers"),
    **dict.fromkeys(("data_dir", "data_path", "data_root", "datadir"), "data.root"),
    **dict.fromkeys(("augmentation", "augmentations", "augment", "aug", "transforms", "transform"), "data.augment"),
    **dict.fromkeys(("val_split", "valid_size", "validation_size", "validation_split", "val_ratio"), "data.val_size"),
    **dict.fromkeys(("hidden_size", "hidden_dim", "hidden_units", "n_hidden", "units", "hidden_dims"), "model.hidden"),
    **dict.fromkeys(("hidden", "hidden_layers", "num_hidden", "hiddens"), "model.hidden"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "nlayers"), "model.layers"),
    **dict.fromkeys(("dropout", "drop", "p_dropout", "dropout_rate"), "model.dropout"),
    **dict.fromkeys(("act", "nonlinearity", "activation_fn"), "model.activation"),
    **dict.fromkeys(("batch_norm", "batchnorm", "normalization", "norm_layer"), "model.norm"),
    **dict.fromkeys(("n_heads", "num_heads", "nhead"), "model.heads"),
    **dict.fromkeys(("patch_size",), "model.patch"),
    **dict.fromkeys(("channels", "filters", "n_filters"), "model.widths"),
    **dict.fromkeys(("pretrained",), "model.weights"),
    **dict.fromkeys(("precision", "fp16", "amp", "bf16", "mixed_precision", "use_amp", "half"), "trainer.precision"),
    **dict.fromkeys(("device", "accelerator", "backend", "cuda", "use_cuda", "use_gpu"), "trainer.accelerator"),
    **dict.fromkeys(("gpus", "gpu", "num_gpus", "n_gpus", "devices", "num_devices", "tpu_cores"), "trainer.devices"),
    **dict.fromkeys(("nodes", "num_nodes"), "trainer.num_nodes"),
    **dict.fromkeys(("clip", "grad_clip", "clip_grad", "gradient_clip", "max_grad_norm"), "trainer.gradient_clip_val"),
    **dict.fromkeys(("accumulate", "accum", "grad_accum", "accumulation_steps"), "trainer.accumulate_grad_batches"),
    **dict.fromkeys(("distributed", "ddp"), "trainer.strategy"),
    **dict.fromkeys(("random_seed", "random_state", "manual_seed", "seed_everything"), "seed"),
    **dict.fromkeys(("ckpt", "ckpt_path", "checkpoint_path", "resume_from", "from_checkpoint", "restore"), "resume"),
    **dict.fromkeys(("output_dir", "log_dir", "save_dir", "out", "outdir", "output"), "hydra.run.dir"),
    **dict.fromkeys(("trials", "n_trials", "num_trials"), "hydra.sweeper.n_trials"),
    **dict.fromkeys(("verbose",), "hydra.verbose"),
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("net", "network", "arch", "architecture", "backbone"), "model"),
    **dict.fromkeys(("dataset", "datamodule"), "data"),
    **dict.fromkeys(("sched", "lr_scheduler", "schedule"), "scheduler"),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function"), "loss"),
    **dict.fromkeys(("log", "logging", "loggers"), "logger"),
    **dict.fromkeys(("callback",), "callbacks"),
    **dict.fromkeys(("metric", "monitor_metric"), "monitor.metric"),
    **dict.fromkeys(("save_top_k",), "checkpoint.keep"),
    **dict.fromkeys(("exp", "experiments", "config"), "experiment"),
    **dict.fromkeys(("dry_run", "check"), "validate"),
}
"""Keys, in lower case, with underscores -> the key here."""

_GPU, _CPU = "trainer=gpu", "trainer=cpu"
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "none", "null")
_HALF = {**dict.fromkeys(_YES, "trainer.precision=16-mixed"), **dict.fromkeys(_NO, "trainer.precision=32")}

VALUES: dict[str, Mapping[str, str]] = {
    "trainer.accelerator": {"cuda": "trainer.accelerator=gpu"},
    **{
        word: {**dict.fromkeys(_YES, _GPU), **dict.fromkeys(_NO, _CPU)}
        for word in ("cuda", "use_cuda", "use_gpu", "gpu")
    },
    **{word: {"0": _CPU, "all": "trainer.devices=-1"} for word in ("gpus", "num_gpus", "n_gpus")},
    **dict.fromkeys(("fp16", "amp", "use_amp", "mixed_precision", "half"), _HALF),
    "bf16": {**_HALF, **dict.fromkeys(_YES, "trainer.precision=bf16-mixed")},
    "trainer.devices": {"cpu": _CPU, **dict.fromkeys(("gpu", "cuda"), _GPU), "all": "trainer.devices=-1"},
    "trainer.precision": {
        **dict.fromkeys(("fp16", "float16", "half", "mixed"), "trainer.precision=16-mixed"),
        **dict.fromkeys(("bf16", "bfloat16"), "trainer.precision=bf16-mixed"),
        **dict.fromkeys(("fp32", "float32", "float", "full"), "trainer.precision=32"),
        **dict.fromkeys(("fp64", "float64", "double"), "trainer.precision=64"),
    },
    "data.augment": {**dict.fromkeys(_YES, "data.augment=true"), **dict.fromkeys(_NO, "data.augment=false")},
    "model.norm": {**dict.fromkeys(_YES, "model.norm=batch"), **dict.fromkeys(_NO, "model.norm=none")},
    "model.weights": {**dict.fromkeys(_YES, "model.weights=DEFAULT"), **dict.fromkeys(_NO, "model.weights=null")},
    "trainer.strategy": {**dict.fromkeys(_YES, "trainer=ddp"), **dict.fromkeys(_NO, "trainer.strategy=auto")},
    "logger": {**dict.fromkeys(_YES, "logger=tensorboard"), **dict.fromkeys(_NO, "logger=none")},
    "validate": {**dict.fromkeys(_YES, "validate=only"), **dict.fromkeys(_NO, "validate=null")},
    "tensorboard": {**dict.fromkeys(_YES, "logger=tensorboard"), **dict.fromkeys(_NO, "logger=none")},
    "csv": {**dict.fromkeys(_YES, "logger=csv"), **dict.fromkeys(_NO, "logger=none")},
    **{name: dict.fromkeys(_YES, setting) for name, setting in _LOGGERS.items()},
    "early_stopping": dict.fromkeys(_YES, "callbacks=early_stopping"),
    "ema": dict.fromkeys(_YES, "callbacks=ema"),
    "swa": dict.fromkeys(_YES, "callbacks=swa"),
}
"""A word, or a key here -> values of it, in lower case -> the overrides that say so here."""

_OF_TORCHVISION = re.compile(
    r"(resnet|resnext|wide_resnet|vgg|densenet|efficientnet|convnext|mobilenet|vit_|swin|regnet|alexnet|squeezenet)"
    r"[a-z]*_?[\w]*",
)

OPTIONS: dict[str, Mapping[str, str]] = {
    "model": {
        **dict.fromkeys(("rnn", "recurrent"), "model=lstm"),
        "gru": "model=lstm model.cell=gru",
        "bilstm": "model=lstm model.bidirectional=true",
        **dict.fromkeys(("transformer", "attention", "visiontransformer"), "model=vit"),
        **dict.fromkeys(("conv", "convnet", "lenet", "lenet5", "convolutional", "conv2d"), "model=cnn"),
        **dict.fromkeys(("dense", "fc", "ffn", "feedforward", "perceptron", "fcn"), "model=mlp"),
        **dict.fromkeys(("simple", "nn", "default"), "model=simple_nn"),
        **dict.fromkeys(("autoencoder", "ae"), "task=vae"),
        "gan": "task=gan",
        "pretrained": "model=torchvision model.weights=DEFAULT",
    },
    "data": {
        **dict.fromkeys(("csv", "tabular", "parquet"), "data=table"),
        **dict.fromkeys(("images", "folder", "pictures", "imagefolder", "custom", "imagenet"), "data=image_folder"),
        "fashion": "data=fashion_mnist",
        "cifar": "data=cifar10",
        "digits": "data=mnist",
    },
    "optimizer": {
        "adam_w": "optimizer=adamw",
        **dict.fromkeys(("momentum", "nesterov", "sgdm"), "optimizer=sgd"),
    },
    "scheduler": {
        **dict.fromkeys(("reducelronplateau", "reduce_on_plateau", "reduce_lr_on_plateau"), "scheduler=plateau"),
        **dict.fromkeys(("cosine_annealing", "cosineannealing", "cosineannealinglr"), "scheduler=cosine"),
        **dict.fromkeys(("warmup", "linear_warmup", "cosine_warmup", "linear"), "scheduler=warmup_cosine"),
        **dict.fromkeys(("steplr",), "scheduler=step"),
        **dict.fromkeys(("exp", "exponentiallr"), "scheduler=exponential"),
        **dict.fromkeys(("one_cycle", "1cycle", "onecyclelr"), "scheduler=onecycle"),
        **dict.fromkeys(("constant", *_NO), "scheduler=none"),
    },
    "loss": {
        **dict.fromkeys(("ce", "nll", "crossentropyloss", "categorical", "softmax", "xent"), "loss=cross_entropy"),
        **dict.fromkeys(("l2", "mseloss"), "loss=mse"),
        **dict.fromkeys(("l1", "mae", "smooth_l1"), "loss=huber"),
        **dict.fromkeys(("binary", "bcewithlogits", "bce_with_logits"), "loss=bce"),
    },
    "task": {
        **dict.fromkeys(("clf", "classify", "classifier"), "task=classification"),
        **dict.fromkeys(("reg", "regress"), "task=regression"),
        **dict.fromkeys(("autoencoder", "ae"), "task=vae"),
    },
    "trainer": {
        **dict.fromkeys(("cuda", "nvidia"), "trainer=gpu"),
        **{name: f"trainer.accelerator={name}" for name in ("mps", "tpu")},
        **dict.fromkeys(("multi_gpu", "multigpu", "distributed"), "trainer=ddp"),
        "deepspeed": "trainer.strategy=deepspeed",
        "fast_dev_run": "debug=fast_dev_run",
    },
    "logger": {
        **dict.fromkeys(("tb", *_YES), "logger=tensorboard"),
        **dict.fromkeys(("both", "all"), "logger=many"),
        **_LOGGERS,
        **dict.fromkeys(_NO, "logger=none"),
    },
    "callbacks": {**dict.fromkeys(("earlystopping", "early_stop"), "callbacks=early_stopping")}
    | dict.fromkeys(_NO, "callbacks=none"),
    "metrics": dict.fromkeys(_NO, "metrics=none"),
    "debug": {
        **dict.fromkeys((*_YES, "fast", "dev", "quick", "fast_dev"), "debug=fast_dev_run"),
        **dict.fromkeys(_NO, "debug=null"),
        **dict.fromkeys(("overfit_batches", "overfit_one_batch"), "debug=overfit"),
    },
}
"""A group -> words for its options, in lower case -> the overrides that choose what is meant."""

FLAGS = {
    "dry_run": "validate=only",
    "check": "validate=only",
    "verbose": "hydra.verbose=true",
    "v": "hydra.verbose=true",
    "debug": "debug=fast_dev_run",
    "quiet": "trainer.enable_progress_bar=false",
    "no_cuda": _CPU,
    "no_gpu": _CPU,
    "cpu": _CPU,
    "gpu": _GPU,
    "cuda": _GPU,
    "sweep": "-m",
}
"""Flags without a value that others have, with underscores -> what says so here."""


def word(text: str) -> str:
    """A word as it stands in these tables: in lower case, with underscores."""
    return text.strip().lower().replace("-", "_")


def key_here(key: str) -> str | None:
    """What a key is called here that a person knows from elsewhere."""
    parent, _, last = key.rpartition(".")
    usual = KEYS.get(word(last))
    parent = parent.lower()
    elsewhere = parent in ("", "trainer", "training", "train", "cfg", "config", "hparams", "args")
    return usual if usual is not None and (elsewhere or usual.startswith(f"{parent}.")) else None


def setting_here(key: str, value: str) -> str | None:
    """The overrides for a word and its value, where the value too has another name here, or decides what is meant."""
    last, named = word(key.rpartition(".")[2]), word(value)
    usual = key_here(key)
    for known in (last if "." not in key or usual is not None else None, usual):
        if known is not None and named in VALUES.get(known, {}):
            return VALUES[known][named]
    if usual == "trainer.accelerator" and (device := re.fullmatch(r"(?:cuda:?|gpu:?)?(\d+)", named)):
        return f"trainer.accelerator=gpu trainer.devices=[{device[1]}]"
    if key == "seed" and (span := re.fullmatch(r"(\d+)(?:\.\.|-|:)(\d+)", value)):
        return f"-m 'seed=range({span[1]},{int(span[2]) + 1})'"
    if usual == "data.val_size" and re.fullmatch(r"0?\.\d+", value):
        return "data.val_size=5000"  # images; how many there are is not known here
    return None


def option_here(group: str, option: str) -> str | None:
    """The overrides that choose what is meant by an option that a group does not have."""
    named = word(option)
    if found := OPTIONS.get(group, {}).get(named):
        return found
    if group == "model" and re.fullmatch(_OF_TORCHVISION, named) and named != "resnet":
        return f"model=torchvision model.name={named}"
    if named == "all":
        return f"-m '{group}=glob(*)'"
    if group == "trainer" and (device := re.fullmatch(r"(?:cuda|gpu):?(\d+)", named)):
        return f"trainer=gpu trainer.devices=[{device[1]}]"
    if group == "data" and named.endswith(".csv"):
        return f"data=table data.path={option}"
    if group == "data" and "/" in option:
        return f"data=image_folder data.dataset.folder={option}"
    return None
