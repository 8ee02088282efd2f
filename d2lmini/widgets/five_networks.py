"""The five networks: recorded test accuracy against what each costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from traitlets import Bool, Dict, Enum, List, TraitError, Unicode, validate

from d2lmini.models import MODELS, build
from d2lmini.plot import BLUE, GREEN, ORANGE, PURPLE, SKY
from d2lmini.record import Record, load_records
from d2lmini.summary import summarize
from d2lmini.widgets.base import Table, Widget, script


@dataclass(frozen=True)
class Network:
    """One of the book's five. model: its class-size form in `MODELS`; full: that at full size."""

    name: str
    year: int  # of the paper
    model: str
    full: str
    marker: str  # of its mean in a matplotlib figure
    color: str

    @property
    def chapter(self) -> str:
        return self.name.lower()


NETWORKS = (
    Network("LeNet", 1998, "lenet", "lenet", "o", PURPLE),
    Network("AlexNet", 2012, "alexnet-small", "alexnet", "s", BLUE),
    Network("NiN", 2013, "nin-small", "nin", "^", GREEN),
    Network("VGG", 2014, "vgg11-small", "vgg11", "D", ORANGE),
    Network("GoogLeNet", 2014, "googlenet-small", "googlenet", "*", SKY),
)
CHAPTERS = tuple(network.chapter for network in NETWORKS)
AXES = {
    "parameters": "parameters",
    "macs": "MACs for one image",
    "seconds": "seconds of training",
}


class FiveNetworks(Widget):
    """Test accuracy of the five networks at class size, run by run, against what they cost.

    records: runs whose settings name the network as "variant" or "model"; those of the experiment
    five_networks if None. links: the chapters' addresses, relative to the page, by "lenet",
    "alexnet", "nin", "vgg" and "googlenet"; any may be missing.
    Raises ValueError for runs of another network or not measured on the test set.
    """

    _esm = script("five_networks.js")
    title = "Test accuracy of the five networks, run by run, against what each costs"
    axis = Enum(tuple(AXES), "parameters").tag(sync=True)
    whole = Bool(False).tag(sync=True)  # the accuracy axis goes from 0 to 1
    path = Bool(True).tag(sync=True)  # a line joins the networks in the order of their years
    chosen = Unicode().tag(sync=True)  # the network whose runs are listed; at first the best
    networks = List(Dict()).tag(sync=True)
    links = Dict().tag(sync=True)

    def __init__(
        self,
        records: Iterable[Record] | None = None,
        links: Mapping[str, str] | None = None,
        **traits: Any,
    ) -> None:
        networks = networks_of(load_records("five_networks") if records is None else records)
        best = max(networks, key=mean_accuracy)["name"]
        state = {"networks": networks, "links": links or {}, "chosen": best} | traits
        super().__init__(**state)

    @validate("links")
    def _known_chapters(self, proposal: Any) -> dict[str, str]:
        links = dict(proposal["value"])
        for chapter, address in links.items():
            if chapter not in CHAPTERS:
                raise TraitError(f"links[{chapter!r}]: no such chapter; use {', '.join(CHAPTERS)}")
            if ":" in address or address.startswith("//"):
                raise TraitError(
                    f"links[{chapter!r}]={address!r} leads away; use one relative to the page"
                )
        return links

    @validate("chosen")
    def _known_network(self, proposal: Any) -> str:
        names = [network["name"] for network in self.networks]
        if proposal["value"] not in names:
            raise TraitError(
                f"chosen={proposal['value']!r} has no runs here; {', '.join(names)} do"
            )
        return str(proposal["value"])

    def table(self) -> Table:
        head = (
            "network", "year", "parameters", "MACs", "runs", "mean test accuracy", "lowest",
            "highest", "mean seconds",
        )  # fmt: skip
        rows = []
        for network in self.networks:
            accuracies = [run["accuracy"] for run in network["runs"]]
            rows.append(
                (
                    network["name"], str(network["year"]), f"{network['parameters']:,}",
                    f"{network['macs']:,}", str(len(accuracies)), f"{mean(accuracies):.4f}",
                    f"{min(accuracies):.4f}", f"{max(accuracies):.4f}", f"{cost(network):.0f}",
                )
            )  # fmt: skip
        return head, rows

    def figure(self) -> Figure:
        figure = Figure(figsize=(7.4, 4.2), layout="constrained")
        axes = figure.subplots()
        known = {network.name: network for network in NETWORKS}
        means = [(cost(network, self.axis), mean_accuracy(network)) for network in self.networks]
        if self.path:
            axes.plot(*zip(*means, strict=True), color="0.6", lw=1, zorder=1)
        for network, (x, y) in zip(self.networks, means, strict=True):
            style = known[network["name"]]
            axes.scatter(
                [run["seconds"] if self.axis == "seconds" else x for run in network["runs"]],
                [run["accuracy"] for run in network["runs"]],
                s=48 if style.marker == "*" else 24, marker=style.marker, color=style.color, lw=0,
                zorder=3,
            )  # fmt: skip
            axes.scatter(
                [x], [y], s=130, marker=style.marker, color=style.color, alpha=0.6, zorder=2
            )
            axes.annotate(
                f"{style.name} {style.year}", (x, y), (9, -4), textcoords="offset points",
                fontsize=9, path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )  # fmt: skip
        axes.set(
            xlabel=f"{AXES[self.axis]}, class size",
            ylabel="test accuracy on Fashion-MNIST,\n10,000 images",
        )
        if self.axis == "seconds":
            runs = [run["seconds"] for network in self.networks for run in network["runs"]]
            axes.set_xlim(0, 1.2 * max(runs))
        else:
            axes.set_xscale("log")
        if self.whole:
            axes.set_ylim(0, 1)
        axes.margins(x=0.2)
        axes.grid(alpha=0.3)
        return figure


def networks_of(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Each network that has runs, in the order of the years: what it is, costs and reached."""
    runs: dict[str, list[Record]] = {network.model: [] for network in NETWORKS}
    for record in records:
        model = record.settings.get("variant", record.settings.get("model"))
        if model not in runs:
            raise ValueError(f"a run of {model!r}; settings['variant'] must be {' or '.join(runs)}")
        if (split := record.settings.get("split", "test")) != "test":
            raise ValueError(f"a run of {model!r} was measured on {split}, not on the test set")
        runs[model].append(record)
    found = [
        {
            "name": network.name, "year": network.year, "chapter": network.chapter,
            **size_of(network.model), "full": {"model": network.full, **size_of(network.full)},
            "runs": [run_of(record) for record in runs[network.model]],
            "machine": machine_of(runs[network.model]),
        }
        for network in NETWORKS
        if runs[network.model]
    ]  # fmt: skip
    if not found:
        raise ValueError("no runs; record some with python -m d2lmini record five_networks")
    return found


def size_of(model: str) -> dict[str, int]:
    """Parameters, MACs for one image, and that image's side in pixels."""
    shape = MODELS[model].input_shape
    with torch.device("meta"):  # counted, not run; no random number is drawn
        walk = summarize(build(model), shape)
    return {"parameters": walk.parameters, "macs": walk.macs, "image": shape[-1]}


def run_of(record: Record) -> dict[str, Any]:
    return {
        "seed": record.settings.get("seed"),
        "accuracy": record.test_acc,
        "seconds": round(record.seconds, 1),
        "rate": round(record.examples_per_second),  # images per second, loading included
    }


def machine_of(records: Iterable[Record]) -> str:
    """Where the runs were trained: processor, cores, torch, precision."""
    lines = []
    for record in records:
        known = record.environment
        parts = (
            known.get("processor") if known.get("device", "cpu") == "cpu" else known.get("device"),
            f"{known['cores']} cores" if "cores" in known else None,
            f"torch {str(known['torch']).split('+')[0]}" if "torch" in known else None,
            record.settings.get("precision"),
        )
        line = ", ".join(str(part) for part in parts if part)
        if line and line not in lines:
            lines.append(line)
    return "; ".join(lines) or "a machine that was not recorded"


def mean_accuracy(network: dict[str, Any]) -> float:
    return mean(run["accuracy"] for run in network["runs"])


def cost(network: dict[str, Any], axis: str = "seconds") -> float:
    """What the axis measures; of seconds the mean over the runs."""
    if axis == "seconds":
        return mean(run["seconds"] for run in network["runs"])
    return float(network[axis])
