"""`helicon info`."""

from __future__ import annotations

from helicon.cli.output import aligned
from helicon.models.info import ModelInfo, info

command = info


def show(found: ModelInfo) -> str:
    """The numbers of a model, a line each."""
    field = found.receptive_field
    rows = [
        ("class", found.kind),
        ("architecture", found.architecture),
        ("alphabet", found.alphabet),
        ("outputs", ", ".join(found.outputs) or "features only"),
        ("parameters", found.parameters),
        ("parameters of the backbone", found.backbone_parameters),
        ("channels", found.d_model),
        ("receptive field", "the whole sequence" if field is None else f"{field:,} letters"),
        ("work a letter", f"{found.flops_per_letter / 1e6:.3g} MFLOP forward"),
        ("weights", f"{found.weights_mb:,.1f} MiB"),
        (f"memory, {_batch(found)}", f"{found.inference_mb:,.0f} MiB inference"),
        ("", f"{found.training_mb:,.0f} MiB training"),
    ]
    config = aligned(list(found.config.items()))
    return f"{found.model}\n{aligned(_as_text(rows))}\nconfig\n{config}"


def _batch(found: ModelInfo) -> str:
    return f"{found.batch_size:,} x {found.length:,}"


def _as_text(rows: list[tuple[str, object]]) -> list[tuple[str, str]]:
    return [(name, f"{v:,}" if isinstance(v, int) else str(v)) for name, v in rows]
