"""Loss and accuracy by tokens, over all stages, as an SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spar_training.bootstrap.checkpoint import Progress


def draw_curves(stages: Mapping[str, Progress], file: Path) -> None:
    """Plot every probed figure, with the stages one after the other and a line between them."""
    import matplotlib
    from matplotlib.figure import Figure

    # With a fixed salt and no date, the same log gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "spar", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 6), layout="constrained")
        losses, accuracies = figure.subplots(2, 1, sharex=True)
        offset = 0.0
        series: dict[str, tuple[list[float], list[float]]] = {}
        for name, progress in stages.items():
            for row in progress.log:
                for key, value in row.items():
                    if key not in ("tokens", "seconds"):
                        xs, ys = series.setdefault(key, ([], []))
                        xs.append((offset + row["tokens"]) / 1e6)
                        ys.append(value)
            offset += progress.tokens
            for axes in (losses, accuracies):
                axes.axvline(offset / 1e6, color="lightgrey", linewidth=0.8)
            losses.text(offset / 1e6, 0.97, f"{name} ", ha="right", va="top", transform=losses.get_xaxis_transform())
        for key, (xs, ys) in series.items():
            axes = losses if key == "loss" else accuracies
            axes.plot(xs, ys, marker=".", label=key)
        losses.set(ylabel="loss", yscale="log")
        accuracies.set(ylabel="accuracy", xlabel="million tokens", ylim=(0, 1.02))
        accuracies.legend(fontsize="small", ncols=2)
        figure.savefig(file, metadata={"Date": None})
