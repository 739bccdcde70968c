"""Helicon: convolutional foundation models of DNA and protein sequences.

The verbs of the command line are functions here: `helicon.pretrain(...)`, `helicon.finetune(...)`.
They are imported when first used, so that `import helicon` takes milliseconds. Its one effect is
that Hugging Face's `Auto` classes know Helicon's models, from the moment `transformers` is there.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helicon.data.genome.genome import Genome as Genome
    from helicon.demos.demo import demo as demo
    from helicon.inference.embed import embed as embed
    from helicon.inference.mutagenesis.mutagenesis import mutagenesis as mutagenesis
    from helicon.inference.mutants.mutants import mutants as mutants
    from helicon.inference.predict import predict as predict
    from helicon.inference.tracks.track import track as track
    from helicon.inference.variants.variants import variants as variants
    from helicon.models.convert import convert as convert
    from helicon.models.hub import load as load
    from helicon.models.info import info as info
    from helicon.training.evaluate.evaluate import evaluate as evaluate
    from helicon.training.finetune.finetune import finetune as finetune
    from helicon.training.pretrain.pretrain import pretrain as pretrain
    from helicon.training.probe.probe import probe as probe

    __version__: str

#: Where each public name is defined.
_HOMES = {
    "convert": "helicon.models.convert",
    "demo": "helicon.demos.demo",
    "embed": "helicon.inference.embed",
    "evaluate": "helicon.training.evaluate.evaluate",
    "finetune": "helicon.training.finetune.finetune",
    "Genome": "helicon.data.genome.genome",
    "info": "helicon.models.info",
    "load": "helicon.models.hub",
    "mutagenesis": "helicon.inference.mutagenesis.mutagenesis",
    "mutants": "helicon.inference.mutants.mutants",
    "predict": "helicon.inference.predict",
    "pretrain": "helicon.training.pretrain.pretrain",
    "probe": "helicon.training.probe.probe",
    "track": "helicon.inference.tracks.track",
    "variants": "helicon.inference.variants.variants",
}

__all__ = ["__version__", *_HOMES]

#: The module that registers the models' classes with the `Auto` classes.
_CLASSES = "helicon.models.huggingface.classes"


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("helicon")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'helicon' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})


class _WithTransformers(MetaPathFinder):
    """Imports Helicon's classes right after `transformers`, whoever asks for it, and whenever."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find `transformers` as ever, with the import of the classes behind it."""
        if fullname != "transformers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        load_it = spec.loader.exec_module

        def load_both(module: ModuleType) -> None:
            load_it(module)
            importlib.import_module(_CLASSES)

        spec.loader.exec_module = load_both  # type: ignore[method-assign]
        return spec


if "transformers" in sys.modules:
    importlib.import_module(_CLASSES)
else:
    sys.meta_path.insert(0, _WithTransformers())
