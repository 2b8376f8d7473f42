"""The commands, and what each is for."""

COMMANDS = {
    "train": "train one model, or with -m many",
    "evaluate": "test a run's best checkpoint again",
    "predict": "name the class of pictures",
    "export": "write a run's net as ONNX, torch.export or TorchScript",
    "trust": "sign a run of someone else's, after a look at what it names",
    "runs": "list the runs below outputs/, newest first",
    "report": "compare runs and sweeps, filtered by name, tag, note, date",
    "rm": "remove runs, or with --failed those that failed",
    "summary": "parameters, operations and shapes of models",
    "new": "make a project of your own, with configs and tests that pass",
    "doctor": "check the installation",
    "benchmark": "measure speed beside something to compare",
    "completion": "what makes Tab complete these commands in bash, zsh and fish",
}

ELSEWHERE = {
    **dict.fromkeys(("fit", "run", "start"), "train"),
    **dict.fromkeys(("sweep", "multirun", "tune", "search", "hpo"), "train -m"),
    **dict.fromkeys(("resume", "continue"), "train resume=latest"),
    **dict.fromkeys(("eval", "test", "validate", "val"), "evaluate"),
    **dict.fromkeys(("infer", "inference", "classify"), "predict"),
    **dict.fromkeys(("list", "ls", "history"), "runs"),
    **dict.fromkeys(("compare", "show", "diff"), "report"),
    **dict.fromkeys(("remove", "delete", "clean"), "rm"),
    **dict.fromkeys(("init", "create"), "new"),
    "bench": "benchmark",
    "help": "--help",
}
"""What a command is called by people who come from elsewhere -> what is to be typed here."""
