"""How much memory a batch takes, how much there is, and what batch follows from that.

The activations of a pass are counted on torch's `meta` device (`helicon.models.info`), where
nothing is computed, and doubled for what the numerical libraries need on top. What a device takes
best is halved until it fits: on a machine with enough memory the batches, and so every bit of a
result, do not depend on how much of it happens to be free.
"""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path

import torch

from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.models.info import peak_bytes

#: Activations (letters x channels) of a batch on a CPU: 4 MiB, which stays in a cache.
CPU_ACTIVATIONS = 2**20
#: The same on a GPU, where more work at once is faster.
GPU_ACTIVATIONS = 2**25
#: Letters of the smallest batch that is chosen.
FEWEST = 1024
#: What a pass takes, over the activations that are counted; and the share of the free memory that
#: it may take.
_ON_TOP, _SHARE = 2.0, 0.8
#: Letters of the window on which the activations are counted.
_COUNTED = 4096
#: Letters of a job from which on the choice of a batch is worth a line.
LONG = 10_000_000

#: Where a container or a cluster says what it allows.
GROUP = Path("/sys/fs/cgroup")

#: What was counted and chosen, for each network.
_counted: weakref.WeakKeyDictionary[Network, dict[int, int]] = weakref.WeakKeyDictionary()
_chosen: weakref.WeakKeyDictionary[Network, int] = weakref.WeakKeyDictionary()


def letters_at_once(network: Network) -> int:
    """Letters of a batch that the network's device takes best, and has memory for.

    It is chosen once for a network.
    """
    if network not in _chosen:
        activations = CPU_ACTIVATIONS if network.device.type == "cpu" else GPU_ACTIVATIONS
        letters = max(FEWEST, activations // max(network.d_model, 32))
        free = free_bytes(network.device)
        while letters > FEWEST and bytes_of(network, letters) > _SHARE * free:
            letters = max(FEWEST, letters // 2)
        _chosen[network] = letters
    return _chosen[network]


def bytes_of(network: Network, letters: int) -> int:
    """Bytes that a pass over one window takes, beside the weights, estimated.

    Args:
        network: the network.
        letters: of the window; for a finite receptive field, those of a whole batch count as one.
    """
    known = _counted.setdefault(network, {})
    width = _COUNTED if network.receptive_field is not None else letters
    if width not in known:
        known[width] = _count(network, width)
    return int(_ON_TOP * known[width] * letters / width)


def _count(network: Network, letters: int) -> int:
    """Bytes of all activations that a float32 pass over a window holds at once."""
    with torch.device("meta"):
        model = type(network.model)(network.model.config).eval()
    ids = torch.zeros(1, letters, dtype=torch.long, device="meta")
    # A head over pairs bounds its memory itself.
    network_alone = model.backbone if network.head_type == "pair" else model
    with torch.no_grad():
        return peak_bytes(lambda: network_alone(ids))


def check_fits(network: Network, letters: int, *, whole: bool = False) -> None:
    """Refuse a window for which the device has no memory.

    Args:
        network: the network.
        letters: of one window, or of a sequence that is read whole.
        whole: whether sequences must be read whole.

    Raises:
        InputError: says how much it takes, how much there is, and what fits.
    """
    if letters <= letters_at_once(network) and letters > FEWEST:
        return
    needed = bytes_of(network, letters)
    free = free_bytes(network.device)
    if needed <= _SHARE * free:
        return
    least = 1 if network.halo is None else 2 * network.halo + network.model.backbone.cell
    fits = int(_SHARE * free / needed * letters)
    advice = f"use --window {fits}" if fits > least and not whole else "use a machine with more"
    raise InputError(
        f"a window of {letters:,} letters needs about {_gib(needed)}, and {network.device} has "
        f"{_gib(free)} of memory free; {advice}"
    )


def describe(verb: str, network: Network, letters: int) -> None:
    """Say on standard error how a long job is batched.

    Args:
        verb: the job's.
        network: what computes.
        letters: of the whole job.
    """
    if letters < LONG:
        return
    batch = letters_at_once(network)
    print(
        f"{verb}: {letters:,} letters in batches of about {batch:,}, each about "
        f"{_gib(bytes_of(network, batch))} of the {_gib(free_bytes(network.device))} free on "
        f"{network.device} ({network.precision})",
        file=sys.stderr,
        flush=True,
    )


def _gib(count: float) -> str:
    return f"{count / 2**30:.3g} GiB"


def free_bytes(device: torch.device) -> int:
    """Bytes of memory that are free on a device."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return min(_available(), _group_available())


def _available() -> int:
    """Memory of the machine that programs could take."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _group_available() -> int:
    """Memory that a container or a cluster's job leaves; files that are only cached count as free.

    A very large number where nothing is limited.
    """
    try:
        limit = int((GROUP / "memory.max").read_text())
        used = int((GROUP / "memory.current").read_text())
        said = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # "max" is no number: no limit
        return sys.maxsize
    return limit - used + int(said.get("inactive_file", 0)) + int(said.get("active_file", 0))
