"""The `helicon` command: global options, verbs by name, errors as one line, exit codes.

A verb's module is imported when the verb is used, so that `helicon --help` answers at once.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter

import helicon
from helicon.cli.config import read_config
from helicon.cli.output import to_json
from helicon.cli.renamed import current_words
from helicon.errors import HeliconError, InputError

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

#: The verbs, in the order of a project, and what the list of commands says of each. A verb is the
#: function of its name in the module of its name, or an app of verbs of its own.
VERBS = {
    "demo": "Run the main job on the embedded genome, and write a report.",
    "pretrain": "Train a backbone on a genome or on proteins, without labels.",
    "finetune": "Adapt a model to labelled sequences, residues, contacts or genome positions.",
    "probe": "Compare what a frozen model's features tell of labels, by pooling and network.",
    "evaluate": "Measure a model on labelled data.",
    "embed": "Write a model's features of sequences, regions or positions.",
    "predict": "Write what a model predicts for sequences or positions; find genes.",
    "track": "Write what a model says of every base of a genome, as bigWig.",
    "variants": "Score the variants of a VCF or BCF.",
    "mutagenesis": "Score every substitution at every position of sequences.",
    "mutants": "Score mutants of proteins, or every single one.",
    "convert": "Write a published checkpoint as a model folder.",
    "info": "Describe a model: size, receptive field, work and memory.",
    "data": "List, fetch and verify public data sets.",
}

INTRODUCTION = "Convolutional foundation models of DNA and proteins: pretrain, adapt, measure, use."
EXAMPLES = """From a genome to a measured model:

    helicon demo --out demo
    helicon pretrain genome.fa.gz --out runs/mine --minutes 60
    helicon finetune runs/mine train.csv --target label --out runs/task
    helicon evaluate runs/task test.csv --target label
    helicon variants runs/mine calls.vcf.gz --reference genome.fa.gz --out scored.vcf.gz
    helicon pretrain proteome.fasta --model carp-600k --out runs/proteins

`helicon VERB --help` shows the options of a verb."""

#: A list is given by repeating its option, and there is none to make it empty.
_OPTIONS = Parameter(negative_iterable=())
_GLOBAL = Parameter(
    group=Group("Options of every verb", sort_key=100), negative=(), show_default=False
)


def application(words: Sequence[str]) -> App:
    """The command line as cyclopts sees it.

    Args:
        words: the arguments. A verb among them is described by its function, which is imported
            for it; the others by their line in the list of commands.
    """
    app = App(
        name="helicon",
        help=f"{INTRODUCTION}\n\n{EXAMPLES}",
        help_format="markdown",
        version=lambda: helicon.__version__,
        default_parameter=_OPTIONS,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
    )
    for order, (verb, summary) in enumerate(VERBS.items()):
        line = None if verb in words else summary
        app.command(f"helicon.cli.{verb}:command", name=verb, help=line, sort_key=order)
    return app


@dataclass
class _Call:
    """One call of the command line.

    Attributes:
        arguments: all words after `helicon`.
        verb: words that name the verb; empty until they are known.
        debug: whether errors show where they came from.
        resumable: whether the verb knows `--resume`.
    """

    arguments: Sequence[str]
    verb: str = ""
    debug: bool = False
    resumable: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after `helicon`; `None` takes those of the process.

    Returns:
        The exit code: 0 done, 1 the work failed, 2 the input or the arguments are wrong, 130
        interrupted.
    """
    call = _Call(sys.argv[1:] if arguments is None else list(arguments))
    try:
        _launch(application(call.arguments), call)
    except KeyboardInterrupt:
        return _interrupted(call)
    except BrokenPipeError:
        # The reader of the output went away (`helicon info x | head`): stop without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return _failed(call, error)
    return DONE


def _launch(app: App, call: _Call) -> None:
    """Read the global options, then the verb with its own, and run it."""

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[Path | None, _GLOBAL] = None,
        json: Annotated[bool, _GLOBAL] = False,
        debug: Annotated[bool, _GLOBAL] = False,
    ) -> None:
        """Run a verb.

        Args:
            words: the verb and its options.
            config: TOML file with options of the verb; those on the command line win.
            json: print the result as one JSON object on the last line.
            debug: show where an error came from.
        """
        call.debug = debug
        _check_verb(words)
        words = tuple(current_words(words))
        verbs = app.parse_commands(words)[0]
        call.verb = " ".join(verbs)
        if config is not None:
            app.config = read_config(config, call.verb)
        command, bound, _ = app.parse_args(words)
        call.resumable = "resume" in inspect.signature(command).parameters
        result = command(*bound.args, **bound.kwargs)
        _show(result, verbs, json)

    app.meta.suppress_keyboard_interrupt = False
    app.meta(call.arguments)


def _check_verb(words: Sequence[str]) -> None:
    """Refuse an unknown verb, before every verb's module is imported in search of it."""
    if words and not words[0].startswith("-") and words[0] not in VERBS:
        near = difflib.get_close_matches(words[0], VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(VERBS)}"
        raise InputError(f"no verb {words[0]!r}; {hint}")


def _show(result: Any, verbs: Sequence[str], json: bool) -> None:
    """Let the verb's module finish, and print the result for a person or a program."""
    if result is None or not _first_process():  # help returns nothing
        return
    show: Callable[[Any], str] = importlib.import_module(f"helicon.cli.{verbs[0]}").show
    text = show(result)
    print(to_json(result) if json else text, flush=True)


def _first_process() -> bool:
    """Whether this is the only process of the run, or the first of those that it has joined."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_initialized():
        return True
    return bool(distributed.get_rank() == 0)


def _failed(call: _Call, error: Exception) -> int:
    """Say in one line what went wrong."""
    if call.debug:
        traceback.print_exception(error)
    wrong = isinstance(error, CycloptsError | InputError)
    known = wrong or isinstance(error, HeliconError)
    said = " ".join(str(error).split()) or type(error).__name__
    if not known:
        said = f"{type(error).__name__}: {said}" + "; run with --debug to see where" * (
            not call.debug
        )
    _say(call, said)
    return WRONG if wrong else FAILED


def _interrupted(call: _Call) -> int:
    """Say how to go on."""
    words = list(call.arguments)
    if not call.resumable:
        _say(call, "interrupted; start again with the same command")
    else:
        again = words if "--resume" in words else [*words, "--resume"]
        _say(call, f"interrupted; go on with: {shlex.join(['helicon', *again])}")
    return INTERRUPTED


def _say(call: _Call, said: str) -> None:
    print(" ".join(["helicon", call.verb]).strip() + f": {said}", file=sys.stderr, flush=True)
