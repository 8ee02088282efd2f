"""The training loop, its records and its checkpoints, on problems that take milliseconds."""

import json
import math
import os
import platform
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import d2lmini as d2l
from d2lmini import ArrayLoader, ImageSet, Record, evaluate_accuracy, one_cycle, train_ch6
from d2lmini.device import has_fast_bf16
from d2lmini.init import initialize
from d2lmini.step import AUXILIARY_WEIGHT


def image_set(count=96, classes=10, seed=0):
    """Grey 8×8 noise; the label is told by which column block is lit, so that it can be learnt."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.randint(0, 60, (count, 1, 8, 10), generator=generator)
    images[torch.arange(count), 0, :, labels] += 180
    names = tuple("abcdefghij"[:classes])
    return ImageSet(images.to(torch.uint8), labels, names, (0.25,), (0.25,))


def loaders(count=96, batch_size=16, seed=0):
    return (
        ArrayLoader(image_set(count), batch_size, shuffle=True, seed=seed, normalize=True),
        ArrayLoader(image_set(40, seed=1), 40, normalize=True),
    )


def batches(count=64, size=16, classes=10):
    data = image_set(count, classes)
    X, y = data.images.float() / 255, data.labels
    return [(X[i : i + size], y[i : i + size]) for i in range(0, count, size)]


def small_net(outputs=10, dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(320, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, outputs),
    )  # fmt: skip


def train(net, *args, lr=0.1, **options):
    """`train_ch6` without a display, in fp32 unless told otherwise, on the CPU."""
    options = {"device": "cpu", "precision": "fp32", "plot": False, **options}
    data, args = (args[:2], args[2:]) if len(args) > 1 else (loaders(), args)
    return train_ch6(net, *data, *(args or (1,)), lr, **options)


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def measured(record):
    """The history without its times, which no two runs share."""
    return [
        (e.epoch, e.train_loss, e.train_acc, e.test_acc, e.examples, e.lr) for e in record.history
    ]


# ---- what training gives ----------------------------------------------------------------------


def test_it_learns():
    record = train(small_net(), *loaders(), 6, seed=1)
    losses = [e.train_loss for e in record.history]
    assert all(map(math.isfinite, losses))
    assert losses[0] > 2 * losses[-1]
    assert record.test_acc > 0.9
    assert [e.epoch for e in record.history] == [1, 2, 3, 4, 5, 6]


def test_the_record_measures_what_plain_torch_measures():
    """One epoch of plain SGD, written out with torch.optim, as the oracle."""
    train_iter, test_iter = batches(56, 16), batches(40, 16)  # the last batch is short
    net, reference = small_net(), small_net()
    reference.load_state_dict(net.state_dict())
    record = train(net, train_iter, test_iter, 1, init=None, lr=0.05)

    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05)
    losses, right = [], 0
    for X, y in train_iter:
        out = reference(X)
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(out, y)
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(y)
        right += (out.argmax(1) == y).sum().item()
    tested = sum((reference(X).argmax(1) == y).sum().item() for X, y in test_iter) / 40
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(
        net.parameters(), reference.parameters(), strict=True
    ))  # fmt: skip
    assert record.train_loss == pytest.approx(sum(losses) / 56, abs=1e-5)
    assert (record.train_acc, record.test_acc) == pytest.approx((right / 56, tested))
    assert record.history[0].examples == 56


def test_every_epoch_trains_in_training_mode_and_tests_in_evaluation_mode():
    net, seen = small_net().eval(), []
    net.register_forward_pre_hook(lambda m, args: seen.append((m.training, len(args[0]))))
    train(net, batches(64, 16), batches(40, 20), 2)
    assert seen.count((True, 16)) == 2 * 4
    assert seen.count((False, 20)) == 2 * 2
    assert {size for training, size in seen if training} == {16}


def test_closing_lines(capsys):
    record = train(small_net())
    assert capsys.readouterr().out == (
        f"loss {record.train_loss:.3f}, train acc {record.train_acc:.3f}, "
        f"test acc {record.test_acc:.3f}\n"
        f"{record.examples_per_second:.1f} examples/sec on cpu\n"
    )


def test_throughput_counts_loading_and_compute_alone_does_not():
    record = train(small_net(), *loaders(), 2)
    seconds = sum(e.seconds for e in record.history)
    waiting = sum(e.load_seconds for e in record.history)
    assert 0 < waiting < seconds
    assert record.examples_per_second == pytest.approx(2 * 96 / seconds)
    assert record.compute_examples_per_second == pytest.approx(2 * 96 / (seconds - waiting))


def test_label_smoothing_is_torchs():
    net, (train_iter, test_iter) = small_net(), (batches(16), batches(16))
    X, y = train_iter[0]
    expected = nn.functional.cross_entropy(net(X), y, label_smoothing=0.2).item()
    record = train(net, train_iter, test_iter, init=None, label_smoothing=0.2)
    assert record.train_loss == pytest.approx(expected, abs=1e-5)


def test_on_epoch_gets_each_record_so_far():
    seen = []
    record = train(small_net(), *loaders(), 3, on_epoch=seen.append)
    assert [len(r.history) for r in seen] == [1, 2, 3]
    assert seen[-1].history == record.history


# ---- seeds and weights ------------------------------------------------------------------------


def test_a_seed_repeats_a_run_exactly():
    nets = [small_net(dropout=0.3) for _ in range(3)]  # built with different weights
    records = [
        train(net, *loaders(seed=s), 2, seed=s) for net, s in zip(nets, (7, 7, 8), strict=True)
    ]
    assert same(weights(nets[0]), weights(nets[1]))
    assert measured(records[0]) == measured(records[1]) != measured(records[2])


def test_a_seed_also_fixes_unseeded_loaders():
    nets = [small_net() for _ in range(2)]
    records = [train(net, *loaders(seed=None), 2, seed=3) for net in nets]
    assert same(weights(nets[0]), weights(nets[1]))
    assert measured(records[0]) == measured(records[1])


def first_weights(**options):
    """The weights with which training starts: a rate of 0 keeps them."""
    net = small_net()
    train(net, batches(16), batches(16), lr=0.0, **options)
    return net


def test_by_default_the_weights_are_d2ls_xavier():
    """Uniform within ±√(6 / (fan in + fan out)) and, unlike torch's own rule, nearly up to it."""
    net = first_weights()
    for layer, fans in ((net[0], 9 * (1 + 4)), (net[3], 320 + 16), (net[6], 16 + 10)):
        bound = math.sqrt(6 / fans)
        assert bound * 0.8 < float(layer.weight.detach().abs().max()) <= bound


def test_init_none_keeps_the_weights():
    net = small_net()
    before = weights(net)
    train(net, batches(16), batches(16), lr=0.0, init=None, seed=1)
    assert same(before, weights(net))


@pytest.mark.parametrize(
    ("rule", "conv_std", "linear_std", "bias"),
    [
        ("xavier", (2 / (9 * 64 + 9 * 128)) ** 0.5, (2 / (256 + 512)) ** 0.5, None),
        ("he", (2 / (9 * 64)) ** 0.5, (2 / 256) ** 0.5, 0.0),
        ("he_open", (2 / (9 * 64)) ** 0.5, (2 / 256) ** 0.5, 0.0),
        ("he_fan_out", (2 / (9 * 128)) ** 0.5, 0.01, 0.0),
    ],
)
def test_init_rules_have_their_papers_deviations(rule, conv_std, linear_std, bias):
    net = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Linear(256, 512), nn.Conv2d(1, 1, 1, bias=False))
    torch.manual_seed(0)
    initialize(net, rule)
    assert float(net[0].weight.detach().std()) == pytest.approx(conv_std, rel=0.02)
    assert float(net[1].weight.detach().std()) == pytest.approx(linear_std, rel=0.02)
    assert abs(float(net[1].weight.detach().mean())) < 0.02 * linear_std + 1e-3
    if bias is not None:  # Xavier leaves the biases as they are, as D2L does
        for layer in net[:2]:
            torch.testing.assert_close(layer.bias.detach(), torch.full_like(layer.bias, bias))


def test_he_open_opens_the_class_maps_and_nothing_else():
    net = initialize(d2l.build("nin-small"), "he_open")
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert (convolutions[-1].bias == 1).all()
    assert not any(module.bias.any() for module in convolutions[:-1])


def test_an_unknown_init_lists_the_known():
    with pytest.raises(ValueError, match="xavier, he, he_open, he_fan_out"):
        train(small_net(), init="glorot")


# ---- data it accepts and refuses --------------------------------------------------------------


def test_one_batch_is_enough():
    assert len(train(small_net(), batches(16), batches(16), 3).history) == 3


def test_a_generator_serves_one_epoch():
    record = train(small_net(), iter(batches()), iter(batches()), 1)
    assert record.history[0].examples == 64


@pytest.mark.parametrize("which", [0, 1], ids=["train_iter", "test_iter"])
def test_a_generator_for_two_epochs_is_refused_before_training(which):
    data, net = [batches(), batches()], small_net()
    data[which], before = iter(data[which]), weights(net)
    with pytest.raises(ValueError, match=("train_iter", "test_iter")[which]):
        train(net, *data, 2)
    assert same(before, weights(net))


@pytest.mark.parametrize("which", [0, 1], ids=["train_iter", "test_iter"])
def test_no_data_is_refused(which):
    data = [batches(), batches()]
    data[which] = []
    with pytest.raises(ValueError, match=r"no batch|no images"):
        train(small_net(), *data)


@pytest.mark.parametrize("num_epochs", [0, -1])
def test_no_epochs_are_refused(num_epochs):
    with pytest.raises(ValueError, match="num_epochs="):
        train(small_net(), *loaders(), num_epochs)


@pytest.mark.parametrize("outputs", [7, 1000])
def test_a_net_of_another_number_of_classes_is_refused(outputs):
    with pytest.raises(ValueError, match=rf"\(1, {outputs}\).*10"):
        train(small_net(outputs), *loaders())


@pytest.mark.parametrize("label", [10, -1])
@pytest.mark.parametrize("batch", [0, 2])
def test_a_label_without_an_output_is_refused_in_any_batch(label, batch):
    data = batches()
    data[batch][1][3] = label
    with pytest.raises(ValueError, match=rf"labels run from.*{label}"):
        train(small_net(), data, batches())


def test_a_net_that_flattens_by_view_trains_as_one_that_flattens():
    class ByView(nn.Module):
        def forward(self, X):
            return X.view(X.shape[0], -1)

    nets = [small_net(), small_net()]
    nets[1][2] = ByView()
    first, second = (measured(train(net, *loaders(), 2, seed=0)) for net in nets)
    for ours, theirs in zip(first, second, strict=True):
        # `view` keeps to another memory format, whose kernels add in another order
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("dim", [1, 3])
def test_convolutions_in_other_dimensions_train(dim):
    conv, shape = {1: (nn.Conv1d, (1, 80)), 3: (nn.Conv3d, (1, 2, 5, 8))}[dim]
    net = nn.Sequential(
        nn.Unflatten(2, (1, 8)), nn.Flatten(), nn.Unflatten(1, shape), conv(1, 2, 3, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(160, 10),
    )  # fmt: skip
    record = train(net, *loaders(), 2, lr=0.1, seed=0)
    assert record.history[1].train_loss < record.history[0].train_loss


def test_a_loader_of_unknown_length_is_taken():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from ((X[0], y[0]) for X, y in batches(32, 1))

    loader = DataLoader(Stream(), batch_size=16)
    assert train(small_net(), loader, loader, 1).history[0].examples == 32


def test_after_training_the_net_answers_in_evaluation_mode():
    net = small_net(dropout=0.5)
    train(net)
    X, _ = batches()[0]
    assert not net.training and torch.equal(net(X), net(X))


def test_a_module_that_cannot_be_drawn_anew_is_refused_with_a_seed():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.by = nn.Parameter(torch.ones(1))

        def forward(self, X):
            return X * self.by

    net = nn.Sequential(small_net(), Scale())
    before = weights(net)
    with pytest.raises(ValueError, match=r"the parameters of 1 anew: Scale .*init=None"):
        train(net, seed=0)
    assert same(before, weights(net))
    train(net, seed=0, init=None)


def test_torchs_ignored_label_is_no_label():
    """-100 would silently be left out of the mean by cross_entropy."""
    data = batches()
    data[2][1][3] = -100
    with pytest.raises(ValueError, match="labels run from -100"):
        train(small_net(), data, batches())


@pytest.mark.parametrize(
    "X", [torch.zeros(4, 1, 9, 9), torch.zeros(4, 3, 8, 10)], ids=["size", "channels"]
)
def test_images_that_do_not_fit_are_named_by_their_shape(X):
    shape = re.escape(str(tuple(X.shape[1:])))
    with pytest.raises(ValueError, match=shape):
        train(small_net(), [(X, torch.zeros(4).long())], batches())


@pytest.mark.parametrize(
    "y", [torch.zeros(3).long(), torch.zeros(16), torch.zeros(16, 10)], ids=["few", "float", "2-d"]
)
def test_labels_of_another_form_are_refused(y):
    with pytest.raises(ValueError, match="labels are"):
        train(small_net(), [(batches()[0][0], y)], batches())


def test_a_net_whose_output_is_no_row_of_logits_is_refused():
    with pytest.raises(ValueError, match=r"output for one image is \(1, 4, 8, 10\)"):
        train(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1)), batches(), batches())


# ---- optimizer, schedule, precision -----------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.01)),
        ("nesterov", lambda p: torch.optim.SGD(
            p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.01)),
        (torch.optim.RMSprop, lambda p: torch.optim.RMSprop(p, lr=0.01)),
    ],
    ids=["sgd", "nesterov", "adam", "function"],
)  # fmt: skip
def test_an_optimizer_by_name_or_function_is_torchs(optimizer, reference):
    net = small_net()
    expected, start = small_net(), net.state_dict()
    expected.load_state_dict(start)
    train(net, batches(), batches(), init=None, optimizer=optimizer, lr=0.01)
    stepper = reference(expected.parameters())
    for X, y in batches():
        stepper.zero_grad()
        nn.functional.cross_entropy(expected(X), y).backward()
        stepper.step()
    # Adam divides by gradients near 0, where rounding in another memory layout is felt
    assert all(torch.allclose(a, b, atol=2e-4) for a, b in zip(
        net.parameters(), expected.parameters(), strict=True
    ))  # fmt: skip


def test_an_optimizer_instance_brings_its_rate_or_takes_lr():
    for lr, expected in ((None, 0.02), (0.5, 0.5)):
        net = small_net()
        instance = torch.optim.SGD(net.parameters(), lr=0.02)
        record = train(net, batches(), batches(), optimizer=instance, init=None, lr=lr)
        assert record.history[0].lr == expected


def test_an_optimizer_instance_has_its_rate_again_after_a_schedule():
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    options = {"optimizer": optimizer, "schedule": "one_cycle", "lr": None, "init": None}
    rates = [train(net, *loaders(), 2, **options).history[-1].lr for _ in range(2)]
    assert rates[0] == rates[1] < 0.1 and optimizer.param_groups[0]["lr"] == 0.5


def test_no_rate_at_all_is_refused():
    with pytest.raises(ValueError, match="lr=None"):
        train(small_net(), lr=None)


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ({"optimizer": "lion"}, ("sgd", "nesterov", "adam")),
        ({"schedule": "cosine"}, ("one_cycle",)),
        ({"precision": "fp16"}, ("auto", "fp32", "bf16")),
    ],
    ids=["optimizer", "schedule", "precision"],
)
def test_unknown_names_are_told_the_known(option, known):
    (value,) = option.values()
    with pytest.raises(ValueError, match=value) as error:
        train(small_net(), **option)
    assert all(name in str(error.value) for name in known)


class Watched(torch.optim.SGD):
    """SGD that notes the rate of each step."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.rates = []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing():
    net = small_net()
    optimizer = Watched(net.parameters(), lr=0.4)
    train(net, *loaders(), 5, optimizer=optimizer, schedule="one_cycle", lr=0.4)
    rates = optimizer.rates  # 5 epochs of 6 batches
    assert len(rates) == 30
    top = rates.index(max(rates))
    assert top in (5, 6)
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert 0 < rates[0] < 0.1
    assert 0 < rates[-1] < 0.02
    assert 0.36 < max(rates) <= 0.4


def test_one_cycle_is_continuous_from_0_over_1_to_0():
    assert [one_cycle(p) for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_a_schedule_of_ones_own_without_a_length_changes_by_the_epoch():
    class Endless:
        """Batches without len()."""

        def __iter__(self):
            return iter(batches())

    net = small_net()
    optimizer = Watched(net.parameters(), lr=1.0)
    train(net, Endless(), batches(), 2, optimizer=optimizer, schedule=lambda p: p, lr=1.0)
    assert optimizer.rates == pytest.approx([0.25] * 4 + [0.75] * 4)


def test_bf16_learns_as_fp32_does_and_keeps_fp32_weights():
    nets = [small_net(), small_net()]
    exact, coarse = (
        train(net, *loaders(), 3, seed=1, precision=precision, optimizer="nesterov", lr=0.02)
        for net, precision in zip(nets, ("fp32", "bf16"), strict=True)
    )
    assert all(p.dtype == torch.float32 for p in nets[1].parameters())
    assert coarse.train_loss != exact.train_loss  # it did run in bfloat16
    for a, b in zip(exact.history, coarse.history, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=0.1, abs=0.02)


@pytest.mark.skipif(
    not has_fast_bf16(torch.device("cpu")), reason="bf16 is emulated on this processor: too slow"
)
def test_on_real_images_bf16_ends_within_the_seeds_noise_of_fp32():
    accuracies = {"fp32": [], "bf16": []}
    for seed in range(4):
        for precision, found in accuracies.items():
            data = d2l.load_data_fashion_mnist(128, normalize=True, seed=seed, subset=8_000)
            net = d2l.lenet(activation=nn.ReLU, pool=nn.MaxPool2d)
            record = train_ch6(
                net, *data, 2, 0.05, "cpu", optimizer="nesterov", schedule="one_cycle", init="he",
                seed=seed, precision=precision, plot=False,
            )  # fmt: skip
            found.append(record.test_acc)
    exact, coarse = (torch.tensor(found) for found in accuracies.values())
    noise = (exact.var() + coarse.var()).sqrt()  # of a difference of two runs
    assert (coarse.mean() - exact.mean()).abs() < 2 * noise
    assert min(exact.min(), coarse.min()) > 0.7


# in a process of its own: in one that holds freed memory already, the first block would not add any
A_STEPS_MEMORY = """
import os
from pathlib import Path
import torch
from d2lmini.device import freed_memory_kept

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

size = 200 * 2**20
torch.ones(size, dtype=torch.uint8)
before = resident()
with freed_memory_kept(torch.device("cpu")):
    torch.ones(size, dtype=torch.uint8)
    assert resident() > before + size / 2, "not kept"
assert resident() < before + size / 2, "not given back"
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_steps_memory_is_kept_for_the_next_step_and_given_back_at_the_end():
    subprocess.run([sys.executable, "-c", A_STEPS_MEMORY], check=True, timeout=120)


# ---- auxiliary outputs ------------------------------------------------------------------------


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.main, self.extra = nn.Linear(80, 12), nn.Linear(12, 10), nn.Linear(12, 10)

    def forward(self, x):
        x = self.body(x.flatten(1)).relu()
        return (self.main(x), self.extra(x)) if self.training else self.main(x)


def test_auxiliary_outputs_are_trained_with_their_weight():
    net, reference = TwoHeads(), TwoHeads()
    reference.load_state_dict(net.state_dict())
    data = batches(16)
    record = train(net, data, data, init=None, lr=1.0)
    main, extra = reference(data[0][0])
    loss, aside = (nn.functional.cross_entropy(out, data[0][1]) for out in (main, extra))
    (loss + 0.3 * aside).backward()
    assert AUXILIARY_WEIGHT == 0.3  # Szegedy et al. (2015), section 5
    for name in ("body", "main", "extra"):
        moved = getattr(reference, name).weight - getattr(reference, name).weight.grad
        assert torch.allclose(getattr(net, name).weight, moved, atol=1e-6)
    assert record.train_acc == float((main.argmax(1) == data[0][1]).float().mean())


# ---- evaluate_accuracy ------------------------------------------------------------------------


class Oracle(nn.Module):
    """Answers with the class that the first pixel holds; in training mode always with 0."""

    def forward(self, X):
        if self.training:
            return torch.eye(10)[torch.zeros(len(X)).long()]
        return torch.eye(10)[X[:, 0, 0, 0].long()]


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_accuracy_counts_images_not_batches_and_keeps_the_mode(training):
    X = torch.arange(10.0).view(-1, 1, 1, 1)
    y = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, 0, 0])
    net = Oracle().train(training)
    assert evaluate_accuracy(net, [(X[:8], y[:8]), (X[8:], y[8:])]) == 0.7
    assert net.training is training


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_accuracy_keeps_the_mode_after_an_exception(training):
    net = small_net().train(training)
    with pytest.raises(RuntimeError):
        evaluate_accuracy(net, [(torch.zeros(2, 3, 8, 10), torch.zeros(2).long())])
    assert net.training is training
    assert all(m.training is training for m in net.modules())


def test_evaluate_accuracy_keeps_the_mode_of_every_part():
    """A frozen batch norm inside a net that trains stays frozen."""
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(80, 10))
    net.train()
    net[0].eval()
    evaluate_accuracy(net, batches(16))
    assert [m.training for m in net] == [False, True, True]


def test_a_loaders_own_work_is_not_done_in_bf16():
    seen = []

    class Watching(nn.Module):
        def forward(self, X):
            seen.append(X.dtype)
            return X.flatten(1)[:, :10]

    loader = ArrayLoader(image_set(8), 8, resize=12)
    evaluate_accuracy(Watching(), loader, "cpu", precision="bf16")
    assert seen == [torch.float32]


def test_loading_that_takes_too_much_memory_says_so():
    def too_large():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        yield

    for call in (
        lambda: train(small_net(), too_large(), batches(), 1),
        lambda: evaluate_accuracy(small_net(), too_large()),
    ):
        with pytest.raises(MemoryError, match=r"to load a batch.*batch_size=.*resize="):
            call()


def test_evaluate_accuracy_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no images"):
        evaluate_accuracy(small_net(), [])


# ---- checkpoints ------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def stop_after_epoch_2(record):
    if len(record.history) == 2:
        raise Stopped


RECIPE = {"optimizer": "nesterov", "schedule": "one_cycle", "seed": 4, "lr": 0.05}


@pytest.mark.parametrize("loader_seed", [9, None], ids=["seeded loader", "unseeded loader"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, loader_seed):
    path = tmp_path / "run.pt"
    whole = small_net(dropout=0.4)
    expected = train(whole, *loaders(seed=loader_seed), 4, **RECIPE)

    recipe = {**RECIPE, "checkpoint": path}
    with pytest.raises(Stopped):
        train(small_net(dropout=0.4), *loaders(seed=loader_seed), 4, **recipe,
              on_epoch=stop_after_epoch_2)  # fmt: skip
    torch.manual_seed(12345)  # another process would stand elsewhere
    resumed = small_net(dropout=0.4)
    record = train(resumed, *loaders(seed=loader_seed), 4, **recipe)

    assert same(weights(whole), weights(resumed))
    assert measured(record) == measured(expected)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_a_finished_run_is_loaded_not_repeated(tmp_path):
    net, again = small_net(), small_net()
    recipe = {**RECIPE, "checkpoint": str(tmp_path / "run.pt")}
    record = train(net, *loaders(), 2, **recipe)
    assert train(again, *loaders(), 2, **recipe).history == record.history
    assert same(weights(net), weights(again))


@pytest.mark.parametrize(
    "other", [{"lr": 0.1}, {"seed": 5}, {"optimizer": "adam"}, {"schedule": None}], ids=str
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, other):
    recipe = {**RECIPE, "checkpoint": tmp_path / "run.pt"}
    train(small_net(), *loaders(), 1, **recipe)
    with pytest.raises(ValueError, match=f"other settings.*{next(iter(other))}"):
        train(small_net(), *loaders(), 1, **{**recipe, **other})


def test_a_checkpoint_of_another_net_of_the_same_size_is_refused(tmp_path):
    """Both are a Sequential with as many parameters."""
    shapes = [(80, 12, 10), (80, 10, 14, 10)]
    nets = [
        nn.Sequential(nn.Flatten(), *(nn.Linear(a, b, bias=False) for a, b in pairwise(widths)))
        for widths in shapes
    ]
    first, second = (sum(p.numel() for p in net.parameters()) for net in nets)
    assert first == second
    recipe = {**RECIPE, "checkpoint": tmp_path / "run.pt"}
    train(nets[0], *loaders(), 1, **recipe)
    with pytest.raises(ValueError, match=r"run\.pt"):
        train(nets[1], *loaders(), 1, **recipe)


def rising(progress):
    return progress


def flat_rate(progress):
    return 1.0


flat_rate.__name__ = "rising"
SGD = torch.optim.SGD


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"net": {"dropout": 0.5}}, {"net": {"dropout": 0.1}}, "layers"),
        ({"data": {"seed": 0}}, {"data": {"seed": 7}}, "training data"),
        ({"data": {"count": 96}}, {"data": {"count": 80}}, "training data"),
        ({"schedule": rising}, {"schedule": flat_rate}, "schedule's rates"),
        (
            {"optimizer": lambda p, lr: SGD(p, lr)},
            {"optimizer": lambda p, lr: SGD(p, lr, momentum=0.9)},
            "optimizer's options",
        ),
    ],
    ids=["dropout", "seed", "images", "schedule", "momentum"],
)
def test_a_checkpoint_of_a_run_that_only_looks_alike_is_refused(tmp_path, first, second, told):
    """Its settings in the record are the same."""

    def run(net=None, data=None, **options):
        options = {**RECIPE, **options, "checkpoint": tmp_path / "run.pt"}
        return train(small_net(**net or {}), *loaders(**data or {}), 1, **options)

    assert run(**first) == run(**first)
    with pytest.raises(ValueError, match=f"of a run with other {told}; delete it or name another"):
        run(**second)


def test_a_call_that_does_not_fit_leaves_no_checkpoint(tmp_path):
    recipe = {**RECIPE, "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(ValueError, match="num_classes=10"):
        train(small_net(outputs=9), *loaders(), 1, **recipe)
    assert list(tmp_path.iterdir()) == []
    train(small_net(), *loaders(), 1, **recipe)


def test_numpys_numbers_are_taken_kept_and_resumed_from(tmp_path):
    numbers = {"lr": np.float32(0.125), "label_smoothing": np.float64(0.5), "seed": np.int64(3)}
    plain = {"lr": 0.125, "label_smoothing": 0.5, "seed": 3}
    runs = [
        train(small_net(), *loaders(), epochs, **numbers, checkpoint=tmp_path / "run.pt")
        for epochs in (np.int64(2), 2)
    ]
    assert runs[0] == runs[1]
    assert measured(runs[0]) == measured(train(small_net(), *loaders(), 2, **plain))
    runs[0].save(tmp_path / "run.json")


class Payload:
    """What unpickling would run."""

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    payload = Payload()
    payload.path = tmp_path / "owned"
    torch.save({"settings": payload}, tmp_path / "run.pt")
    with pytest.raises(Exception, match=r"weights_only|run\.pt"):
        train(small_net(), checkpoint=tmp_path / "run.pt")
    assert not payload.path.exists()


def test_a_damaged_checkpoint_is_a_value_error_with_its_path(tmp_path):
    path = tmp_path / "run.pt"
    train(small_net(), **RECIPE, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"run\.pt"):
        train(small_net(), **RECIPE, checkpoint=path)


def test_saved_weights_are_not_mistaken_for_a_checkpoint(tmp_path):
    torch.save(small_net().state_dict(), tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt"):
        train(small_net(), checkpoint=tmp_path / "run.pt")


# ---- Record -----------------------------------------------------------------------------------


def test_a_record_comes_back_from_its_file_unchanged(tmp_path):
    record = train(small_net(), *loaders(), 2, seed=1, schedule="one_cycle")
    path = tmp_path / "deep" / "run.json"
    record.save(path)
    assert Record.load(path) == record
    assert record.settings["seed"] == 1
    assert record.environment["device"] == "cpu"
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_a_failed_save_keeps_the_older_file(tmp_path, monkeypatch):
    record = train(small_net())
    path = tmp_path / "run.json"
    path.write_text("older")

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        record.save(path)
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"null", b"{}", b'{"history": [{}], "settings": {}, "environment": {}}',
     b'{"history": 3, "settings": {}, "environment": {}}',
     b'{"history": [], "settings": 1, "environment": {}}', b"\xff\xfe\x00"],
    ids=repr,
)  # fmt: skip
def test_a_file_that_is_no_record_is_a_value_error_with_its_path(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json"):
        Record.load(tmp_path / "run.json")


def test_a_record_is_plain_json(tmp_path):
    record = train(small_net(), optimizer=torch.optim.Adam, schedule=lambda p: 1.0)
    record.save(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["history"][0]["epoch"] == 1
    assert content["settings"]["optimizer"] == "Adam"


# ---- without a display, and as D2L's readers call it ------------------------------------------


def test_training_needs_no_display_and_no_home(tmp_path):
    script = """
import torch, d2lmini as d2l
from torch import nn
X, y = torch.rand(8, 1, 4, 4), torch.arange(8)
net = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
for plot in (None, True):
    d2l.train_ch6(net, [(X, y)], [(X, y)], 2, 0.1, plot=plot)
"""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY", "HOME")
    }
    environment["MPLCONFIGDIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("examples/sec on ") == 2


@pytest.fixture
def d2l_on_a_subset(monkeypatch):
    """`d2l` whose data loads 300 training and 200 test images, on the CPU in fp32."""
    load = d2l.load_data_fashion_mnist

    def small(batch_size, resize=None):
        train_iter, test_iter = load(batch_size, resize, subset=300)
        data = test_iter.data.take(torch.arange(200))
        return train_iter, ArrayLoader(data, batch_size, resize=resize)

    monkeypatch.setattr(d2l, "load_data_fashion_mnist", small)
    monkeypatch.setattr(d2l, "try_gpu", lambda i=0: torch.device("cpu"))
    return d2l


D2L_SCRIPT = """
net = nn.Sequential(
    nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Flatten(),
    nn.Linear(16 * 5 * 5, 120), nn.Sigmoid(),
    nn.Linear(120, 84), nn.Sigmoid(),
    nn.Linear(84, 10))
batch_size = 100
train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=batch_size)
lr, num_epochs = 0.9, 2
d2l.train_ch6(net, train_iter, test_iter, num_epochs, lr, d2l.try_gpu())
timer, metric = d2l.Timer(), d2l.Accumulator(2)
for X, y in test_iter:
    metric.add(d2l.accuracy(net(X), y), y.numel())
timer.stop()
by_hand, by_d2l = metric[0] / metric[1], d2l.evaluate_accuracy_gpu(net, test_iter)
"""

OLDER_D2L_SCRIPT = """
def nin_block(in_channels, out_channels, kernel_size, stride, padding):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding), nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1), nn.ReLU())
net = nn.Sequential(nin_block(1, 8, 5, 2, 2), nin_block(8, 10, 3, 1, 1),
                    d2l.GlobalAvgPool2d(), d2l.FlattenLayer())
batch_size = 100
train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size, resize=32)
lr, num_epochs = 0.002, 2
optimizer = torch.optim.Adam(net.parameters(), lr=lr)
device = d2l.try_gpu()
record = d2l.train_ch5(net, train_iter, test_iter, batch_size, optimizer, device, num_epochs)
by_hand, by_d2l = d2l.evaluate_accuracy(net, test_iter), record.test_acc
"""


@pytest.mark.parametrize("script", [D2L_SCRIPT, OLDER_D2L_SCRIPT], ids=["train_ch6", "train_ch5"])
def test_code_written_for_d2l_runs_unchanged(d2l_on_a_subset, script, capsys):
    names = {"nn": nn, "torch": torch, "d2l": d2l_on_a_subset}
    exec(script, names)
    assert names["by_hand"] == pytest.approx(names["by_d2l"], abs=0.02)  # a tie may break apart
    last = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch(r"loss \d\.\d{3}, train acc \d\.\d{3}, test acc \d\.\d{3}", last[0])
    assert re.fullmatch(r"\d+\.\d examples/sec on cpu", last[1])


def test_train_ch5_keeps_the_weights_and_uses_the_optimizers_rate():
    net = small_net()
    before = weights(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    d2l.train_ch5(net, batches(), batches(), 16, optimizer, "cpu", 1)
    assert same(before, weights(net))


def test_older_modules_compute_what_torchs_do():
    X = torch.rand(2, 3, 5, 7)
    assert torch.equal(d2l.FlattenLayer()(X), nn.Flatten()(X))
    assert torch.allclose(d2l.GlobalAvgPool2d()(X), nn.AdaptiveAvgPool2d(1)(X))


def test_timer_and_accumulator_add_up():
    timer = d2l.Timer()
    first = timer.stop()
    timer.start()
    second = timer.stop()
    assert timer.sum() == pytest.approx(first + second)
    assert timer.avg() == pytest.approx((first + second) / 2)
    assert timer.cumsum() == pytest.approx([first, first + second])
    sums = d2l.Accumulator(2)
    sums.add(1, torch.tensor(2))
    sums.add(0.5, 3)
    assert (sums[0], sums[1]) == (1.5, 5.0)
    sums.reset()
    assert (sums[0], sums[1]) == (0.0, 0.0)
