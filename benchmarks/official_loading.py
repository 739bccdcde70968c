"""Child process of `loading.py`: the published data set, in the libraries that it asks for.

    PYTHON official_loading.py CHECKOUT/convnova FASTA BED LENGTH BATCH

It imports nothing of Helicon's, as the published code wants an older `transformers`. For each line
of standard input, a number of batches, it loads so many and prints the seconds taken.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType

import torch


def load_file(path: Path) -> ModuleType:
    """Import one file of the checkout without its package."""
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loader(folder: Path, fasta: str, bed: str, length: int, batch: int) -> object:
    """The training loader as in the published pretraining configuration, in one process."""
    sources = folder / "src" / "dataloaders" / "datasets"
    tokenizer = load_file(sources / "hg38_char_tokenizer.py").CharacterTokenizer(
        characters=list("ACGTN"), model_max_length=length + 2, add_special_tokens=False
    )
    windows = load_file(sources / "hg38_dataset.py").BertHG38Dataset(
        "train",
        bed,
        fasta,
        length,
        tokenizer=tokenizer,
        tokenizer_name="char",
        add_eos=True,
        use_tokenizer=False,
    )
    return torch.utils.data.DataLoader(windows, batch_size=batch, shuffle=True, drop_last=True)


def main() -> None:
    warnings.simplefilter("ignore")
    folder, fasta, bed, length, batch = sys.argv[1:]
    torch.manual_seed(1)
    epochs = loader(Path(folder), fasta, bed, int(length), int(batch))
    batches = itertools.chain.from_iterable(itertools.repeat(epochs))
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in itertools.islice(batches, int(line)):
            pass
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
