"""Every slip at the prompt gets a useful line and exit code 2, and leaves nothing behind."""

import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from strobe import cli
from strobe.commands import through_hydra, train
from strobe.config.compose import CONF
from strobe.config.nothing import said_plainly
from strobe.config.slips import read
from strobe.config.spelling import listed, nearest

Answer = tuple[int, str, str]
_LONGEST = 300  # characters of a line that someone reads


@pytest.fixture
def answer(
    hydra_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Answer]:
    """Type a command in an empty directory, in this process: its exit code and output; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(through_hydra, "_story", lambda *args, **kwargs: 0.0)

    def typed(line: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["train", *shlex.split(line)])
        try:
            code = train.main()
        except SystemExit as ended:
            code = int(str(ended.code))
        return code, *capsys.readouterr()

    return typed


SLIPS = [
    # typed, in the answer, not in the answer
    # null and ~ where something has to be
    ("model=null", "model=null: is no option of this group; leave it out, or choose one: cnn, lstm", ""),
    ("data=null", "choose one: cifar10", ""),
    ("optimizer=null", "choose one: adagrad, adam", ""),
    ("loss=null", "choose one: bce", ""),
    ("trainer=null", "choose one: cpu", ""),
    ("task=null", "choose one: classification", ""),
    ("sweep=null", "is no option of this group", ""),
    ("~model", "a classifier needs one; leave ~model out", ""),
    ("~optimizer", "choose another: optimizer=<option>", ""),
    ("~loss", "a classifier needs one", ""),
    ("~data", "every run needs it; leave ~data out", ""),
    ("~trainer", "every run needs it", ""),
    ("~seed", "leave ~seed out, or give another: seed=<value>", "Interpolation"),
    ("~monitor", "every run needs it", ""),
    ("monitor=null", "set one of its keys: monitor.metric, monitor.mode", ""),
    ("~trainer.precision", "trainer.precision=<value>", ""),
    ("~trainer.max_epoch", "did you mean ~trainer.max_epochs?", ""),
    ("~modle", "did you mean ~model?", "model="),
    # a number or a truth where a name goes, and a name where keys go
    ("model=3", "model=3: no such option; there are: cnn, lstm", "null"),
    ("model=true", "model=true: no such option", "null"),
    ("model={a:1}", "no such option", ""),
    ("optimizer=0.1", "no such option; there are: adagrad", ""),
    ("data=10", "no such option", ""),
    ("trainer=1", "there are: cpu", ""),
    ("debug=true", "did you mean debug=fast_dev_run?", ""),
    ("debug=1", "did you mean debug=fast_dev_run?", ""),
    ("debug=false", "did you mean debug=null?", ""),
    ("experiment=1", "no such option; there are: cifar10_resnet", ""),
    ("scheduler=false", "did you mean scheduler=none?", ""),
    ("logger=false", "did you mean logger=none?", ""),
    ("checkpoint=best", "set one of its keys: checkpoint.keep", ""),
    ("monitor=val/loss", "set one of its keys: monitor.metric", ""),
    ("model=[mlp,cnn]", "did you mean -m model=mlp,cnn?", ""),
    # the field's usual words
    ("epochs=3", "epochs: no such key; did you mean trainer.max_epochs=3?", ""),
    ("num_epochs=3", "did you mean trainer.max_epochs=3?", ""),
    ("max_epochs=3", "did you mean trainer.max_epochs=3?", ""),
    ("lr=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("learning_rate=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("optimizer.learning_rate=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("device=cuda", "did you mean trainer.accelerator=gpu?", ""),
    ("device=cuda:1", "did you mean trainer.accelerator=gpu trainer.devices=[1]?", ""),
    ("device=0", "trainer.devices=[0]?", "accelerator=0"),
    ("gpus=2", "did you mean trainer.devices=2?", ""),
    ("gpus=0", "did you mean trainer=cpu?", ""),
    (
        "callbacks=[early_stopping,ema] callbacks.early_stopping.strict=false",
        "did you mean +callbacks.early_stopping.strict=false?",
        "",
    ),
    ("trainer.gpus=1", "did you mean trainer.devices=1?", "there are"),
    ("gpu=true", "did you mean trainer=gpu?", "devices=true"),
    ("cuda=true", "did you mean trainer=gpu?", ""),
    ("use_cuda=false", "did you mean trainer=cpu?", ""),
    ("precision=16", "did you mean trainer.precision=16?", "matmul"),
    ("precision=fp16", "did you mean trainer.precision=16-mixed?", "matmul"),
    ("fp16=true", "did you mean trainer.precision=16-mixed?", ""),
    ("bf16=true", "did you mean trainer.precision=bf16-mixed?", "precision=true"),
    ("amp=true", "did you mean trainer.precision=16-mixed?", ""),
    ("workers=4", "did you mean data.num_workers=4?", ""),
    ("batch_size=32", "did you mean data.batch_size=32?", ""),
    ("bs=32", "did you mean data.batch_size=32?", ""),
    ("hidden=64", "did you mean model.hidden=64?", ""),
    ("units=64", "did you mean model.hidden=64?", ""),
    ("weight_decay=0.1", "did you mean optimizer.weight_decay=0.1?", ""),
    ("betas=[0.9,0.99]", "did you mean optimizer.betas=[0.9,0.99]?", "task"),
    ("log=false", "did you mean logger=none?", "logger=false"),
    ("tensorboard=false", "did you mean logger=none?", ""),
    ("wandb=true", "did you mean logger=wandb?", ""),
    ("val_split=0.1", "did you mean data.val_size=5000?", "=0.1"),
    ("augmentation=true", "did you mean data.augment=true?", ""),
    ("augment=yes", "did you mean data.augment=true?", "=yes"),
    ("shuffle=false", "did you mean data.shuffle=false?", ""),
    ("seed_everything=1", "did you mean seed=1?", ""),
    ("early_stopping=true", "early_stopping", "there are"),
    ("patience=3", "callbacks.early_stopping.patience=3?", "there are"),
    ("callbacks.early_stopping.patience=3", "callbacks.early_stopping.patience=3?", "there are"),
    ("clip=1.0", "did you mean trainer.gradient_clip_val=1.0?", ""),
    ("save_top_k=3", "did you mean checkpoint.keep=3?", ""),
    ("dataset=MNIST", "did you mean data=mnist?", ""),
    ("opt=Adam", "did you mean optimizer=adam?", ""),
    ("verbose=true", "did you mean hydra.verbose=true?", ""),
    ("output_dir=x", "did you mean hydra.run.dir=x?", ""),
    ("ckpt=x", "did you mean resume=x?", ""),
    ("+epochs=3", "did you mean trainer.max_epochs?", ""),
    # a key of another option
    ("dropout=0.5", "simple_nn has no dropout; did you mean model=mlp model.dropout=0.5?", "data.root"),
    ("model.dropout=0.5", "simple_nn has no dropout; did you mean model=mlp model.dropout=0.5?", ""),
    ("model=mlp dropout=0.5", "did you mean model.dropout=0.5?", "model=mlp"),
    ("layers=3", "simple_nn has no layers; did you mean model=lstm model.layers=3?", ""),
    ("num_layers=2", "did you mean model=lstm model.layers=2?", ""),
    ("model=resnet model.layers=3", "resnet has no layers; did you mean model.blocks_per_stage=3?", ""),
    ("momentum=0.9", "adam has no momentum; did you mean optimizer=sgd optimizer.momentum=0.9?", "momentum_decay"),
    ("optimizer=sgd optimizer.betas=[0.9,0.99]", "sgd has no betas; did you mean optimizer=adam", ""),
    ("gamma=0.5", "did you mean scheduler=step scheduler.gamma=0.5?", ""),
    ("warmup=0.1", "did you mean scheduler=warmup_cosine scheduler.warmup=0.1?", ""),
    ("scheduler.patience=3", "did you mean scheduler=plateau scheduler.patience=3?", "scheduler=3"),
    ("activation=relu", "did you mean model=mlp model.activation=relu?", ""),
    ("batch_norm=true", "model.norm=batch?", "sync_batchnorm"),
    ("data.path=x.csv", "mnist has no path; did you mean data=table data.path=x.csv?", ""),
    # options by other names
    ("model=rnn", "did you mean model=lstm?", "model=cnn?"),
    ("model=transformer", "did you mean model=vit?", ""),
    ("model=gru", "did you mean model=lstm model.cell=gru?", ""),
    ("model=lenet", "did you mean model=cnn?", "model=resnet?"),
    ("model=resnet18", "did you mean model=torchvision model.name=resnet18?", ""),
    ("model=autoencoder", "did you mean task=vae?", ""),
    ("model=gan", "did you mean task=gan?", ""),
    ("model=CNN", "did you mean model=cnn?", ""),
    ("data=MNIST", "did you mean data=mnist?", ""),
    ("data=CIFAR10", "did you mean data=cifar10?", ""),
    ("data=csv", "did you mean data=table?", ""),
    ("data=my.csv", "did you mean data=table data.path=my.csv?", ""),
    ("data=./pictures", "did you mean data=image_folder data.dataset.folder=./pictures?", ""),
    ("optimizer=SGD", "did you mean optimizer=sgd?", ""),
    ("optimizer=adamW", "did you mean optimizer=adamw?", "optimizer=adam?"),
    ("scheduler=ReduceLROnPlateau", "did you mean scheduler=plateau?", ""),
    ("loss=ce", "did you mean loss=cross_entropy?", "loss=bce?"),
    ("logger=tb", "did you mean logger=tensorboard?", ""),
    ("logger=comet", "lightning.pytorch.loggers.CometLogger", ""),
    ("trainer=cuda", "did you mean trainer=gpu?", ""),
    (
        "callbacks=EarlyStopping",
        "did you mean callbacks=early_stopping?",
        "",
    ),
    # upper case, spaces, colons, brackets
    ("OPTIMIZER=sgd", "did you mean optimizer=sgd?", ""),
    ("SEED=3", "did you mean seed=3?", ""),
    ("Model=mlp", "did you mean model=mlp?", ""),
    ("optimizer.LR=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("optimizer.lr = 0.1", "no spaces around =; did you mean optimizer.lr=0.1?", "not an override"),
    ("optimizer.lr =0.1", "did you mean optimizer.lr=0.1?", "not an override"),
    ("optimizer.lr= 0.1", "did you mean optimizer.lr=0.1?", "not an override"),
    ("'optimizer.lr = 0.1'", "did you mean optimizer.lr=0.1?", "can't be read"),
    ("lr = 0.1", "did you mean optimizer.lr=0.1?", ""),
    ("model.hidden=[512, 256]", "did you mean 'model.hidden=[512, 256]'?", "not an override"),
    ("model=mlp model.hidden = [512, 256]", "did you mean 'model.hidden=[512, 256]'?", "not an override"),
    ("model=mlp model.hidden=512,256", "a list is written model.hidden=[512,256]", ""),
    ("model=mlp model.hidden=(512,256)", "did you mean model.hidden=[512,256]?", ""),
    ("model=mlp model.hidden=[512,256", "did you mean model.hidden=[512,256]?", ""),
    ("tags=[a, b]", "did you mean 'tags=[a, b]'?", ""),
    ("name=my run", "did you mean 'name=my run'?", "not an override"),
    ("optimizer.lr=0,1", "optimizer.lr=0.1", ""),
    ("optimizer.lr=1e-3,", "did you mean optimizer.lr=1e-3?", ""),
    ("model==mlp", "did you mean model=mlp?", ""),
    ("optimizer..lr=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("optimizer/lr=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("optimizer.lr: 0.1", "did you mean optimizer.lr=0.1?", ""),
    ("optimizer.lr:0.1", "did you mean optimizer.lr=0.1?", ""),
    ("model mlp", "did you mean model=mlp?", ""),
    ("lr 0.1", "did you mean optimizer.lr=0.1?", ""),
    ("mlp", "did you mean model=mlp?", ""),
    ("=mlp", "did you mean model=mlp?", ""),
    ("help", "did you mean --help?", ""),
    # flags of other programs
    ("--epochs 3", "settings are typed without dashes; did you mean trainer.max_epochs=3?", "usage"),
    ("--epochs=3", "did you mean trainer.max_epochs=3?", "usage"),
    ("--lr=0.1", "did you mean optimizer.lr=0.1?", "usage"),
    ("-lr 0.1", "did you mean optimizer.lr=0.1?", "usage"),
    ("--batch-size 32", "did you mean data.batch_size=32?", "usage"),
    ("--optimizer.lr 0.1", "did you mean optimizer.lr=0.1?", "usage"),
    ("--model rnn", "did you mean model=lstm?", "usage"),
    ("--seed 3", "did you mean seed=3?", "usage"),
    ("--dropout 0.5", "did you mean model=mlp model.dropout=0.5?", "usage"),
    ("--gpus 1", "did you mean trainer.devices=1?", "usage"),
    ("--resume outputs/x", "did you mean resume=outputs/x?", "usage"),
    ("--dry-run", "did you mean validate=only?", "usage"),
    ("--no-cuda", "did you mean trainer=cpu?", "usage"),
    ("--verbose", "did you mean hydra.verbose=true?", "usage"),
    ("--foo", "--foo: no such flag; settings are typed as key=value", "usage"),
    ("-e 3", "-e 3: no such flag", "e=3"),
    ("--config my.yaml", "did you mean experiment=my?", "usage"),
    ("--cfg jobs", "job, hydra, all", "usage"),
    ("--multirun=true", "takes no value; did you mean --multirun?", "usage"),
    ("-m --epochs 3", "did you mean trainer.max_epochs=3?", "usage"),
    ("-m epochs=3,4", "did you mean trainer.max_epochs=3,4?", ""),
    ("-m model=mlp,RNN", "did you mean model=lstm?", ""),
    # values
    ("trainer.max_epochs=ten", "must be a whole number", ""),
    ("validate=true", "for example validate=only", ""),
    ("monitor.metric=val_loss", "for example monitor.metric=val/loss", ""),
    ("hydra.run.dir=", "is empty: give a directory", ""),
    ("--config-name=foo", "experiment=<name>", ""),
    ("trainer.foo=1", "trainer.accelerator, trainer.strategy", "model_registry"),
    ("foo=1", "there are: seed, name", "trainer.max_epochs"),
    ("project=x", "there are: seed", "objective=x"),
    ("+trainer.max_epochs=3", "leave out the +", ""),
    ("trainer.precision=17", "must be 64, 32, 16-mixed, bf16-mixed", "one of 64, 32, 16, bf16"),
    ("trainer.precision=fp16", "for example trainer.precision=16-mixed", ""),
    ("trainer.devices=cpu", "for example trainer=cpu", ""),
    ("trainer.profiler=foo", "must be simple, advanced, pytorch or null", ""),
    ("sweep=lr,seeds", "sweeps are one at a time", "Hydra"),
    ("-m sweep=lr,seeds", "sweeps are one at a time", "Hydra"),
    ("'model=mlp optimizer=sgd'", "several settings in one pair of quotes; did you mean model=mlp optimizer=sgd?", ""),
    ("experiment=mnist", "these begin so: mnist_cnn, mnist_gan", "did you mean"),
    # what belongs together and isn't, known before torch is imported
    ("debug=lr_find task=gan", "GAN builds its optimizers itself, so there is no optimizer.lr to look for", ""),
    ("data=image_folder", "data.dataset.folder: has no value yet (???), give it one: data.dataset.folder=<dir>", ""),
    ("data=table data.target=y", "give it one: data.path=<file>", ""),
    ("task=vae model=cnn", "VAE needs a net with encoder, decoder, latent; CNN lacks", ""),
    # flags and values anywhere, ranges, calls
    ("model=mlp seed=2 --epochs 3", "--epochs 3: settings are typed without dashes; did you mean", "is not an"),
    ("-m optimizer.lr=0.1, 0.01", "no spaces after commas; did you mean optimizer.lr=0.1,0.01?", "read"),
    ("-m model=mlp, cnn", "did you mean model=mlp,cnn?", "read"),
    (
        "-m data.batch_size=16 32 64",
        "several values have commas between them; did you mean data.batch_size=16,32,64?",
        "",
    ),
    ("-m seed=1..5", "for example -m 'seed=range(1,6)'", ""),
    ("seed=1-5", "for example -m 'seed=range(1,6)'", ""),
    ("model=all", "did you mean -m 'model=glob(*)'?", ""),
    ("-m 'optimizer.lr=interval(0.1,0.2)'", "ranges are for a search: add sweep=optuna", "Basic"),
    ("-m 'optimizer.lr=loguniform(0.1,0.2)'", "sweep=optuna 'optimizer.lr=tag(log,interval(0.1,0.2))'", "quote"),
    ("'optimizer=Adam(lr=0.1)'", "typed apart; did you mean optimizer=adam optimizer.lr=0.1?", ""),
    ("'data=MNIST()'", "did you mean data=mnist?", ""),
    ("'optimizer.lr=10^-3'", "did you mean optimizer.lr=1e-3?", ""),
    ("optimizer[lr]=0.1", "did you mean optimizer.lr=0.1?", ""),
    ("tags=a b", "a list has brackets; did you mean tags=[a,b]?", ""),
    ("train model=mlp", "the command is there already, leave it out", ""),
    ("trainer=cuda:0", "did you mean trainer=gpu trainer.devices=[0]?", ""),
    ("resume=true", "the newest is resume=latest", ""),
    ("seed=1 --config-dir=. bs=3", "did you mean data.batch_size=3?", "usage"),
    ("-m model=mlp or cnn", "model=mlp or cnn: several values have commas between them; did you mean -m model=", ""),
    ("model=mlp vs cnn vs lstm", "did you mean -m model=mlp,cnn,lstm?", "override"),
    ("-m seed=1 to 5", "did you mean -m 'seed=range(1,6)'?", "override"),
    ("-m seed=1,,2", "did you mean seed=1,2?", "quote"),
    ("model=mlp with seed=2", "'with' is not an override: settings have a space between them, leave it out", ""),
    ("model=mlp,seed=3", "settings have a space between them; did you mean model=mlp seed=3?", "quote"),
    ("'model=mlp;seed=3'", "did you mean model=mlp seed=3?", "quote"),
    ("'model=mlp, seed=3'", "did you mean model=mlp seed=3?", ""),
    ("-M model=mlp,cnn", "-M: no such flag; did you mean -m?", "several"),
    ("--multirun=true model=mlp,cnn", "takes no value; did you mean --multirun?", "several"),
    ("-m Model=MLP,Cnn", "did you mean model=mlp,cnn?", ""),
    ("-m model = MLP,cnn", "no spaces around =; did you mean model=mlp,cnn?", "MLP?"),
    ("Model = MLP", "did you mean model=mlp?", ""),
    ("'name=<b>&x'", "can't be read: quote a value with special characters", "did you mean"),
    ("'tags=[<b>, c]'", "as in tags=\"['<b>','c']\"", ""),
    ("seed='<value>'", "write the value itself in the place of <value>", ""),
    ("note=this or that", "note=this or that: quote what has spaces; did you mean 'note=this or that'?", "several"),
    ("name=a or b", "quote what has spaces", "several"),
    ("latest", "did you mean resume=latest?", ""),
    ("resume=Latest", "the newest is resume=latest", ""),
    ("resume==latest", "the newest is resume=latest", ""),
    ("resume", "did you mean resume=<value>?", ""),
]


@pytest.mark.parametrize(("line", "wanted", "unwanted"), SLIPS, ids=[case[0] for case in SLIPS])
def test_a_slip_is_answered_in_a_line_and_leaves_nothing(
    answer: Callable[[str], Answer], tmp_path: Path, line: str, wanted: str, unwanted: str
) -> None:
    code, out, err = answer(line)
    assert code == 2, out + err
    assert wanted in err
    assert not unwanted or unwanted not in err
    assert "Traceback" not in out + err
    assert max(map(len, err.splitlines())) <= _LONGEST
    assert len(err.splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


OF_OTHERS = [
    # typed, in the answer, not in the answer; RUN is a run, and there is a picture beside it
    ("evaluate", "are required: run, as in strobe evaluate outputs/train/<date>/<time>", "overrides"),
    ("evaluate nowhere", "there is no such directory; the newest here is outputs/train/day/time", ""),
    ("evaluate outputs", "holds 1; name one, the newest for example: strobe evaluate outputs/train/day/time", ""),
    ("evaluate RUN/checkpoints/best.ckpt", "strobe evaluate outputs/train/day/time --checkpoint=best.ckpt", ""),
    ("evaluate RUN/report.json", "but within one: strobe evaluate outputs/train/day/time", ""),
    ("evaluate model=mlp", "that comes first: strobe evaluate <run dir> model=mlp", ""),
    ("evaluate seed=1 RUN", "the run comes first: strobe evaluate outputs/train/day/time seed=1", ""),
    ("evaluate RUN --jsn", "did you mean --json?", "usage"),
    ("evaluate RUN --batch-size 3", "there are --help", "usage"),
    ("predict", "as in strobe predict outputs/train/<date>/<time> picture.png", "usage"),
    ("predict RUN", "are required: pictures", "usage"),
    ("predict picture.png RUN", "the run comes first: strobe predict outputs/train/day/time picture.png", ""),
    ("predict picture.png picture.png", "it is a picture; the run comes first", ""),
    ("predict outputs picture.png", "the newest for example: strobe predict outputs/train/day/time", ""),
    ("export", "are required: run", "usage"),
    ("export RUN --format=onx", "did you mean onnx? There are: onnx, torch_export, torchscript", "usage"),
    ("export RUN --formt=onnx", "did you mean --format?", "usage"),
    ("export RUN/checkpoints", "but within one: strobe export outputs/train/day/time", ""),
    ("trust picture.png", "it is a picture", ""),
    ("report", "name a run, a sweep", "usage"),
    ("report RUN/report.json", "but within one: strobe report outputs/train/day/time", ""),
    ("report nowhere", "there is no such directory", ""),
    ("report --diff RUN", "expected 2 arguments", "usage"),
    ("report --diff outputs RUN", "is not a run directory", ""),
    ("doctor now", "unrecognized arguments: now", "usage"),
    ("benchmark step", "did you mean steps? There are: commands, start, steps, ddp", "usage"),
    ("benchmark --rounds x", "invalid int value: 'x'", "usage"),
    ("summary mlp", "did you mean model=mlp?", ""),
    ("summary model=rnn", "did you mean model=lstm?", ""),
    ("summary model=3", "model=3: no such option", ""),
    ("summary --model mlp", "did you mean model=mlp?", ""),
    ("summary model=mlp epochs=3", "did you mean trainer.max_epochs=3?", ""),
    ("predict RUN picture.png top=3", "top=3: is a flag of this command; did you mean --top 3?", "file"),
    ("evaluate RUN Details=true", "did you mean --details?", ""),
    ("export RUN format=onnx", "did you mean --format onnx?", "unrecognized"),
    ("runs status=failed", "did you mean --status failed?", "directory"),
]


@pytest.mark.parametrize(("line", "wanted", "unwanted"), OF_OTHERS, ids=[case[0] for case in OF_OTHERS])
def test_a_slip_of_another_command_is_answered_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    wanted: str,
    unwanted: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("outputs/train/day/time")
    (run / "checkpoints").mkdir(parents=True)
    for name in (run / "checkpoints/best.ckpt", Path("picture.png")):
        name.touch()
    (run / "report.json").write_text('{"status": "completed"}')
    before = sorted(tmp_path.rglob("*"))
    command, *arguments = shlex.split(line.replace("RUN", str(run)))
    try:
        code = import_module(f"strobe.commands.{command}").main(arguments)
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert wanted in err
    assert not unwanted or unwanted not in err
    assert len(err.splitlines()) == 1
    assert len(err) <= _LONGEST
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("Train model=mlp", "did you mean strobe train? There are: train"),
        ("eval latest", "did you mean strobe evaluate?"),
        ("ls", "did you mean strobe runs?"),
        ("sweep model=mlp,cnn", "did you mean strobe train -m?"),
        ("help rm", "did you mean strobe rm --help?"),
        ("model=mlp lr=0.1", "the command comes first; did you mean strobe train model=mlp lr=0.1?"),
        ("-m model=mlp,cnn", "did you mean strobe train -m model=mlp,cnn?"),
        ("zzz", "no such command; there are: train"),
    ],
)
def test_a_command_that_is_none_is_answered_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(line)) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert wanted in said
    assert list(tmp_path.iterdir()) == []


def test_there_are_slips_enough() -> None:
    assert len({line for line, _, _ in SLIPS}) >= 120


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("scheduler=null", ["scheduler=none"]),
        ("callbacks=null", ["callbacks=none"]),
        ("logger=null", ["logger=none"]),
        ("~callbacks", ["callbacks=none"]),
        ("~logger", ["logger=none"]),
        ("~metrics", ["metrics=none"]),
        ("debug=fast_dev_run debug=null seed=1", ["seed=1"]),
        ("~experiment", []),
        ("-cn mine experiment=null", ["-cn", "mine", "experiment=null"]),  # which may have chosen one
        ("~trainer.max_epochs", ["trainer.max_epochs=null"]),
        ("~monitor.metric", ["monitor.metric=null"]),
        ("~optimizer.betas", ["~optimizer.betas"]),  # torch's own
        ("~data.root", ["~data.root"]),
        ("~model", ["~model"]),
        ("optimizer.fused=null", ["optimizer.fused=null"]),
    ],
)
def test_nothing_is_said_as_hydra_takes_it(typed: str, meant: list[str]) -> None:
    assert said_plainly(typed.split(), CONF) == meant


@pytest.mark.parametrize(
    "line",
    ["scheduler=null", "~callbacks", "logger=null", "~trainer.max_epochs", "~experiment", "'optimizer.lr= 0.1'"],
)
def test_what_can_be_meant_in_one_way_runs(answer: Callable[[str], Answer], line: str) -> None:
    code, _, err = answer(f"{line} hydra.run.dir=run")
    assert code == 0, err


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_that_of_the_program(answer: Callable[[str], Answer], flag: str) -> None:
    code, out, _ = answer(flag)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["strobe", "torch", "lightning", "hydra-core"]


@pytest.mark.parametrize(
    "line",
    [
        "-m optimizer.lr=1e-2,1e-3 --config-dir conf --cfg job -cn train",
        "'model.hidden=[512, 256]' 'trainer.max_time={hours: 2}' name='my run' ~callbacks",
        "resume='a dir (1)/x' 'note=${name}' tags=[] --multi +a={} ++b.c=1",
        "tags=['['] 'callbacks={a: {b: [1, 2]}}'",
        "--info searchpath seed=1 -i defaults --info --inf plugins",
        "--config-di elsewhere seed=1 --config-n train --pack optimizer",
        "data=[mnist] trainer=[cpu]",
    ],
)
def test_hydras_own_syntax_is_no_slip(line: str) -> None:
    assert [each.shown for each in read(shlex.split(line)) if each.why] == []


def test_a_list_is_cut_where_a_line_ends_and_spelling_knows_no_case() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"key{number}" for number in range(100)]).endswith("more (--help shows them)")
    assert len(listed(["key"] * 100)) < 140
    assert nearest("MNIST", ["mnist", "kmnist"]) == "mnist"
    assert nearest("adamW", ["adam", "adamw"]) == "adamw"


@pytest.mark.parametrize(
    "line",
    [
        "--info searchpath",
        "-i defaults",
        "-cjob",
        "--config-di own model=mlp seed=2",
        "--config-dir own 'model=[mlp,patch]'",
        "data=[mnist]",
    ],
)
def test_what_hydra_takes_is_not_refused(answer: Callable[[str], Answer], tmp_path: Path, line: str) -> None:
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/patch.yaml").write_text("dropout: 0.5\n")
    code, out, err = answer(f"{line} hydra.run.dir=run")
    assert code == 0, out + err


@pytest.mark.parametrize(
    "line",
    ["model=mlp", "-m model=cnn,mlp", "experiment=mine", "'hydra.searchpath=[own]' model=mlp", "sweep=lr model=mlp"],
)
def test_a_file_of_ones_own_that_is_passed_over_is_named(
    answer: Callable[[str], Answer], tmp_path: Path, line: str
) -> None:
    own = tmp_path / "own"
    for name in ("model", "experiment"):
        (own / name).mkdir(parents=True)
    (own / "model/mlp.yaml").write_text("_target_: mine.MLP\n")
    (own / "experiment/mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /model: mlp\n")
    code, _, err = answer(line if "searchpath" in line else f"{line} --config-dir own")
    assert code == 2, err
    (said,) = err.splitlines()
    assert "own/model/mlp.yaml is not used, because" in said
    assert "choose model=my_mlp" in said
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_a_default_of_ones_own_that_is_passed_over_is_told_and_stops_nothing(
    answer: Callable[[str], Answer], tmp_path: Path
) -> None:
    (tmp_path / "own/trainer").mkdir(parents=True)  # as projects made from the usual template have it
    (tmp_path / "own/trainer/default.yaml").write_text("max_epochs: 3\n")
    code, _, err = answer("--config-dir own validate=only")
    (said,) = err.splitlines()
    assert code == 0, err
    assert "own/trainer/default.yaml is not used, because" in said


def test_a_file_of_ones_own_that_says_the_same_or_is_not_chosen_is_no_trap(
    answer: Callable[[str], Answer], tmp_path: Path
) -> None:
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/train.yaml").write_text("not: ours\n")
    (tmp_path / "own/model/cnn.yaml").write_text("_target_: mine.CNN\n")
    (tmp_path / "own/model/mlp.yaml").write_bytes((CONF / "model/mlp.yaml").read_bytes())
    code, _, err = answer("--config-dir own model=mlp hydra.run.dir=run")
    assert code == 0, err


def test_a_list_of_options_is_hinted_at_only_where_it_is_wrong(answer: Callable[[str], Answer], tmp_path: Path) -> None:
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/patch.yaml").write_text("dropout: 0.5\n")
    code, _, err = answer("--config-dir own 'model=[mlp,patch]' optimizer.lrr=3")
    assert code == 2
    assert "optimizer.lrr" in err
    assert "-m" not in err
    code, _, err = answer("--config-dir own 'model=[mlp,pach]'")
    assert code == 2
    assert "did you mean model=patch?" in err
