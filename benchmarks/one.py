"""One measurement in a process of its own; prints it as a line of JSON.

    python one.py limit
    python one.py train SIDE NET     SIDE: d2l, ours or fp32 (ours without bf16)
    python one.py load SIDE
    python one.py memory
    python one.py profile NET

The d2l side finds D2L's package and its data through the working directory and PYTHONPATH that
`run.py` sets.
"""

import contextlib
import io
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from time import perf_counter

import psutil  # comes with ipykernel
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import d2lmini
from d2lmini import build, summarize
from d2lmini.device import has_fast_bf16

CPU = torch.device("cpu")  # of both sides and of the limit, whatever else there is
WARM_UP = 1  # batches before the clock starts: kernels are built, memory is asked for


@dataclass(frozen=True)
class Case:
    """A network as D2L trains it. batches: how many of an epoch are timed; None is two epochs."""

    model: str
    size: int  # pixels
    batch_size: int
    lr: float
    batches: int | None


CASES = {
    "LeNet": Case("lenet", 28, 256, 0.9, None),
    "AlexNet": Case("alexnet", 224, 128, 0.01, 8),
    "VGG-11/4": Case("vgg11-quarter", 224, 128, 0.05, 8),
    "NiN": Case("nin", 224, 128, 0.1, 8),
    "GoogLeNet": Case("googlenet", 96, 128, 0.1, 16),
}


class Stopwatch:
    """Any iterable of batches, noting when the loop came back from each."""

    def __init__(self, batches, batch_size):
        self.batches, self.batch_size = batches, batch_size
        self.times = []

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            yield batch
            self.times.append(perf_counter())

    @property
    def examples_per_second(self):
        """End to end: loading, steps, and test passes between epochs."""
        counted = len(self.times) - 1 - WARM_UP
        return counted * self.batch_size / (self.times[-1] - self.times[WARM_UP])


def limit():
    """Products of square fp32 matrices, and of bf16 ones where the hardware has them (emulated,
    they take minutes), in GFLOP/s: the best of 10, side 2048 to 4096."""

    def rate(side, dtype):
        a, b = torch.rand(2, side, side).to(dtype)
        seconds = []
        for _ in range(10):
            start = perf_counter()
            a @ b
            seconds.append(perf_counter() - start)
        return 2 * side**3 / min(seconds) / 1e9

    kinds = {"bf16": torch.bfloat16} if has_fast_bf16(CPU) else {}
    kinds["fp32"] = torch.float32
    return {
        name: max(rate(side, dtype) for side in (2048, 3072, 4096)) for name, dtype in kinds.items()
    }


def train(side, name):
    """Examples per second of D2L's `train_ch6` on D2L's loader, or of ours on ours."""
    case = CASES[name]
    torch.manual_seed(0)
    net = build(case.model)
    epochs = 2 if case.batches is None else 1
    count = None if case.batches is None else case.batches * case.batch_size
    with contextlib.redirect_stdout(io.StringIO()):
        watch = (_train_d2l if side == "d2l" else _train_ours)(case, net, epochs, count, side)
    return {"examples_per_second": watch.examples_per_second}


def _train_d2l(case, net, epochs, count, _):
    from d2l import torch as d2l

    train_iter, test_iter = d2l.load_data_fashion_mnist(case.batch_size, _resize(case))
    if count is not None:
        train_iter, test_iter = (
            DataLoader(
                Subset(data_iter.dataset, range(n)), case.batch_size, shuffle=shuffle,
                num_workers=data_iter.num_workers,
            )
            for data_iter, n, shuffle in ((train_iter, count, True), (test_iter, 128, False))
        )  # fmt: skip
    watch = Stopwatch(train_iter, case.batch_size)
    d2l.train_ch6(net, watch, test_iter, epochs, case.lr, CPU)
    return watch


def _train_ours(case, net, epochs, count, side):
    train_iter, test_iter = d2lmini.load_data_fashion_mnist(
        case.batch_size, _resize(case), subset=count
    )
    if count is not None:
        few = test_iter.data.take(torch.arange(128))
        test_iter = d2lmini.ArrayLoader(few, case.batch_size, resize=_resize(case))
    watch = Stopwatch(train_iter, case.batch_size)
    precision = "fp32" if side == "fp32" else "auto"
    d2lmini.train_ch6(net, watch, test_iter, epochs, case.lr, CPU, precision=precision, plot=False)
    return watch


def _resize(case):
    return None if case.size == 28 else case.size


def macs(name):
    """Multiply–accumulates of a training step on one image: forward, the weights' gradients and
    all inputs' gradients but the images' own."""
    case = CASES[name]
    net = build(case.model)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    rows = summarize(net, (1, case.size, case.size))
    side = (case.size + 2 * first.padding[0] - first.kernel_size[0]) // first.stride[0] + 1
    return 3 * rows.macs - first.weight.numel() * side**2


def load(side):
    """Images per second that a loader gives at 224 pixels, once it runs, in batches of 128."""
    if side == "d2l":
        from d2l import torch as d2l

        train_iter, _ = d2l.load_data_fashion_mnist(128, 224)
    else:
        train_iter, _ = d2lmini.load_data_fashion_mnist(128, 224)
    times = []
    for _ in train_iter:
        times.append(perf_counter())
        if len(times) == 101:
            break
    return {"images_per_second": 100 * 128 / (times[-1] - times[0])}


def memory():
    """MB that both splits take, and the most that reading them all at 224 pixels adds to it,
    torch's own buffers included."""
    before = _resident()
    train_iter, test_iter = d2lmini.load_data_fashion_mnist(128, 224)
    loaded = _resident()
    most, batch = loaded, 0
    for X, _ in train_iter:
        batch = max(batch, X.nbytes)
        most = max(most, _resident())
    whole = sum(loader.images.nbytes + loader.labels.nbytes for loader in (train_iter, test_iter))
    return {
        "tensors": whole / 1e6,
        "loaded": loaded - before,
        "reading": most - loaded,
        "batch": batch / 1e6,
    }


def _resident():
    """MB of this process that are in memory now."""
    return psutil.Process().memory_info().rss / 1e6


# what the operators of a step are for
KINDS = {
    "convolutions": ("convolution",),
    "pooling": ("pool", "aten::fill_"),  # most that is filled is a gradient for a pool to sum into
    "activations": ("relu", "clamp", "threshold", "sigmoid"),
    "loading and resizing": ("aten::index", "aten::bmm", "aten::div"),
    "linear layers": ("mm", "linear"),
    "updates": ("Optimizer", "_fused_sgd", "_foreach"),
    "casts": ("aten::copy_", "aten::_to_copy"),
    "dropout": ("bernoulli", "dropout"),
}


def profile(name):
    """Where a training step's time goes: shares by kind of operator."""
    case = CASES[name]
    count = WARM_UP + (40 if case.batches is None else case.batches)
    train_iter, test_iter = d2lmini.load_data_fashion_mnist(
        case.batch_size, _resize(case), subset=count * case.batch_size
    )
    few = d2lmini.ArrayLoader(test_iter.data.take(torch.arange(8)), 8, resize=_resize(case))
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    class Profiled(Stopwatch):
        def __iter__(self):
            for i, batch in enumerate(self.batches):
                if i == WARM_UP:
                    profiler.start()
                yield batch
            profiler.stop()

    watch = Profiled(train_iter, case.batch_size)
    with contextlib.redirect_stdout(io.StringIO()):
        d2lmini.train_ch6(build(case.model), watch, few, 1, case.lr, CPU, plot=False)
    seconds = defaultdict(float)
    for event in profiler.key_averages():
        kind = next((k for k, words in KINDS.items() if any(w in event.key for w in words)), None)
        seconds[kind or "all else"] += event.self_cpu_time_total
    total = sum(seconds.values())
    return {kind: s / total for kind, s in sorted(seconds.items(), key=lambda item: -item[1])}


MEASUREMENTS = {"limit": limit, "train": train, "load": load, "memory": memory, "profile": profile}

if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps(MEASUREMENTS[what](*arguments)))
