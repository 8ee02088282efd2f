"""VGG's width ratio: the network to scale, what it costs and where, and what it learns."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from itertools import product
from typing import Any

import torch
import traitlets
from matplotlib.figure import Figure
from torch import nn

from d2lmini.data import load_data_fashion_mnist
from d2lmini.experiments import CHAPTERS
from d2lmini.models import VGG11, VGG13, VGG16, VGG16_C, VGG19, narrow, vgg, vgg_pooled
from d2lmini.record import RECORDS, Record, load_records
from d2lmini.summary import LayerRow, Summary, summarize
from d2lmini.train import train_ch6
from d2lmini.widgets.base import Table, Widget, script

CONFIGURATIONS = {
    "VGG-11": VGG11, "VGG-13": VGG13, "VGG-16": VGG16, "VGG-16-C": VGG16_C, "VGG-19": VGG19,
}  # fmt: skip
RATIOS = (1, 2, 4, 8, 16)
SIZES = (32, 64, 96, 224)  # pixels
HEADS = ("fixed", "small", "scaled", "pooled")
LEARNT = 0.5  # a run that ends below has not, and is left out of means
RECIPE = CHAPTERS["vgg11-small"]  # by which the chapter trains, and the recorded runs


def hidden_units(head: str, ratio: int) -> tuple[int, ...]:
    """The hidden linear layers of a head; a pooled head has none."""
    units = {"fixed": 4096, "small": 512, "scaled": 4096 // ratio}
    return (units[head],) * 2 if head in units else ()


def build_vgg(config: str, ratio: int, size: int, head: str) -> nn.Module:
    """The network that the widget shows: (N, 1, size, size) → logits (N, 10)."""
    conv_arch = narrow(CONFIGURATIONS[config], ratio)
    if head == "pooled":
        return vgg_pooled(conv_arch)
    return vgg(conv_arch, hidden=hidden_units(head, ratio), image_size=size)


def costs_of(config: str, ratio: int, size: int, head: str) -> Summary:
    """The walk of `build_vgg`'s network for one image, without making its weights."""
    with torch.device("meta"):
        return summarize(build_vgg(config, ratio, size, head), (1, size, size))


class VGGWidth(Widget):
    """Slide the width ratio; choose the table, the image's size and the head.

    config: "VGG-11" … "VGG-19"; ratio: 1, 2, 4, 8 or 16; size: 32, 64, 96 or 224 pixels; head:
    "fixed" (two hidden layers of 4096), "small" (of 512), "scaled" (of 4096 // ratio) or
    "pooled" (none, after an average over each map). Other values raise TraitError.
    """

    _esm = script("layers.js", "vgg_width.js")
    title = "VGG's width: parameters, work and memory by block, and recorded accuracy"

    config = traitlets.Enum(tuple(CONFIGURATIONS), "VGG-11").tag(sync=True)
    ratio = traitlets.Enum(RATIOS, 4).tag(sync=True)
    size = traitlets.Enum(SIZES, 32).tag(sync=True)
    head = traitlets.Enum(HEADS, "small").tag(sync=True)
    batch_size = traitlets.Int(128).tag(sync=True)
    tables: Any = traitlets.Dict().tag(sync=True)
    runs: Any = traitlets.List().tag(sync=True)
    own_runs: Any = traitlets.List().tag(sync=True)
    progress = traitlets.Unicode().tag(sync=True)

    def __init__(self, **state: Any) -> None:
        tables = {name: [list(block) for block in arch] for name, arch in CONFIGURATIONS.items()}
        super().__init__(**({"tables": tables, "runs": recorded_runs()} | state))
        self.on_msg(self._answer)

    def net(self) -> nn.Module:
        """The network as the controls stand now, with fresh weights."""
        return build_vgg(self.config, self.ratio, self.size, self.head)

    def walk(self) -> Summary:
        return costs_of(self.config, self.ratio, self.size, self.head)

    def train(self, num_epochs: int = RECIPE.num_epochs) -> Record:
        """Train the network as it stands by the chapter's recipe; its curve joins the figure."""
        state = {"config": self.config, "ratio": self.ratio, "size": self.size}
        state["heads"] = [self.head]
        others = list(self.own_runs)
        seed = len(others)
        iters = load_data_fashion_mnist(
            RECIPE.batch_size, self.size, normalize=RECIPE.normalize, seed=seed
        )
        start = time.monotonic()

        def show(record: Record) -> None:
            done = len(record.history)
            left = (time.monotonic() - start) / done * (num_epochs - done)
            accuracy = [epoch.test_acc for epoch in record.history]
            self.own_runs = [*others, {**state, "seed": f"yours ({seed})", "accuracy": accuracy}]
            self.progress = f"epoch {done} of {num_epochs}, {left:.0f} s to go …"

        self.progress = f"training for {num_epochs} epochs …"
        try:
            record = train_ch6(
                self.net(), *iters, num_epochs, RECIPE.lr, optimizer=RECIPE.optimizer,
                schedule=RECIPE.schedule, init=RECIPE.init, seed=seed, plot=False, on_epoch=show,
            )  # fmt: skip
        except BaseException as error:
            self.progress = f"stopped: {type(error).__name__}"
            raise
        self.progress = f"test accuracy {record.test_acc:.3f} after {record.seconds:.0f} s"
        return record

    def figure(self) -> Figure:
        """Shares of the three costs by block, beside the recorded curves of each ratio."""
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        columns = _columns(self.walk())
        for offset, (key, label) in enumerate(COSTS.items()):
            total = sum(getattr(row, key) for rows in columns.values() for row in rows)
            shares = [100 * sum(getattr(r, key) for r in rows) / total for rows in columns.values()]
            places = [i + 0.27 * (offset - 1) for i in range(len(columns))]
            left.bar(places, shares, width=0.25, label=label)
        left.set_xticks(range(len(columns)), columns, rotation=35, ha="right", fontsize=8)
        left.set(ylabel="share (%)", title=f"{self.config}, ratio {self.ratio}, {self.size} px")
        left.legend(frameon=False, fontsize=8)
        for ratio in RATIOS:
            mine = [r for r in self.runs if _is(r, self.config, ratio, self.size, self.head)]
            mine = [run for run in mine if run["accuracy"][-1] >= LEARNT]
            for run in mine:
                epochs = range(1, len(run["accuracy"]) + 1)
                color = "tab:orange" if ratio == self.ratio else "0.7"
                right.plot(epochs, run["accuracy"], color=color, lw=1)
            if mine:
                right.annotate(f" {ratio}", (len(mine[0]["accuracy"]), mine[0]["accuracy"][-1]))
        right.set(xlabel="epoch", ylabel="test accuracy", title="recorded, by ratio")
        return figure

    def table(self) -> Table:
        """Each ratio's costs, and the mean accuracy of those of its recorded runs that learnt."""
        head = ("ratio", "parameters", "in linear layers", "MACs", "test accuracy", "runs")
        rows = []
        for ratio in RATIOS:
            costs = costs_of(self.config, ratio, self.size, self.head)
            linears = sum(row.parameters for row in costs if row.kind == "Linear")
            mine = [r for r in self.runs if _is(r, self.config, ratio, self.size, self.head)]
            last = [run["accuracy"][-1] for run in mine if run["accuracy"][-1] >= LEARNT]
            accuracy = f"{sum(last) / len(last):.3f}" if last else "not recorded"
            count = f"{len(mine)}, {len(mine) - len(last)} below {LEARNT}"
            rows.append((ratio, f"{costs.parameters:,}", f"{linears / costs.parameters:.0%}",
                         f"{costs.macs:,}", accuracy,
                         len(mine) if len(last) == len(mine) else count))  # fmt: skip
        return head, rows

    def _answer(self, widget: Any, message: dict[str, Any], buffers: Any) -> None:
        if message.get("kind") == "anyone":
            self.send({"kind": "here"})
        elif message.get("kind") == "train":
            self.train()


COSTS = {"parameters": "parameters", "macs": "MACs", "memory_bytes": "outputs' memory"}


def recorded_runs() -> list[dict[str, Any]]:
    """Every run of a VGG by the chapter's recipe that was recorded to its end: what it was, and
    accuracy by epoch."""
    runs = []
    for record in (run for file in sorted(RECORDS.glob("*.json")) for run in load_records(file)):
        form = _form(record.settings)
        if form is not None and record.diverged is None:
            accuracy = [round(epoch.test_acc, 4) for epoch in record.history]
            runs.append({**form, "seed": record.settings["seed"], "accuracy": accuracy})
    return runs


def _form(settings: dict[str, Any]) -> dict[str, Any] | None:
    """Which of the widget's networks a recorded run trained by the chapter's recipe, if any.

    "heads" are the choices that make the same head: 4096 // 8 is 512, and at 32 pixels, where
    the last map is a single pixel, no hidden layers are the pooled head.
    """
    recipe, size = dict(settings["recipe"]), settings["recipe"]["resize"]
    if _as_json({**recipe, "resize": None}) != _as_json({**asdict(RECIPE), "resize": None}):
        return None
    options = dict(settings["options"])
    if settings["model"] == "vgg11-small":
        options = {"conv_arch": narrow(VGG11, 4), "hidden": (512, 512)} | options
    elif settings["model"] != "vgg11":
        return None
    for config, ratio in product(CONFIGURATIONS, RATIOS):
        conv_arch = narrow(CONFIGURATIONS[config], ratio)
        if _as_json(conv_arch) == _as_json(options["conv_arch"]):
            hidden = _as_json(options["hidden"])
            heads = [head for head in HEADS if _as_json(hidden_units(head, ratio)) == hidden]
            return {"config": config, "ratio": ratio, "size": size, "heads": heads}
    return None


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is(run: dict[str, Any], config: str, ratio: int, size: int, head: str) -> bool:
    same = (run["config"], run["ratio"], run["size"]) == (config, ratio, size)
    return same and head in run["heads"]


def _columns(walk: Summary) -> dict[str, list[LayerRow]]:
    """The rows of each block, and of each linear layer with what follows it."""
    columns: dict[str, list[LayerRow]] = {}
    linears = 0
    for row in walk:
        linears += row.kind == "Linear"
        block = "." in row.name
        name = f"block {int(row.name.split('.')[0]) + 1}" if block else f"linear {max(linears, 1)}"
        columns.setdefault(name, []).append(row)
    return columns
