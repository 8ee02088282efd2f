"""The figures: each draws what its arguments say. Nothing here looks at colours or sizes."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import nn

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from d2lmini import EpochStats, Record, plot


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(*accuracies):
    history = tuple(
        EpochStats(i, 1 / i, a - 0.05, a, 1.0, 0.1, 0.1, 100, 0.1)
        for i, a in enumerate(accuracies, start=1)
    )
    return Record(history, {}, {})


def points(line):
    return [tuple(map(float, xy)) for xy in zip(*line.get_data(), strict=True)]


def test_curves_have_the_records_points():
    figure = plot.curves(record(0.5, 0.7, 0.8), num_epochs=10)
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert points(left.lines[0]) == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    training, test = right.lines
    assert [y for _, y in points(training)] == pytest.approx([0.45, 0.65, 0.75])
    assert points(test) == [(1, 0.5), (2, 0.7), (3, 0.8)]
    assert [t.get_text() for t in right.get_legend().get_texts()] == ["training", "test"]
    assert left.get_xlim()[1] > 10


def test_one_epoch_can_be_drawn():
    figure = plot.curves(record(0.5))
    figure.canvas.draw()
    assert points(figure.axes[1].lines[1]) == [(1, 0.5)]


def test_compare_draws_one_named_line_for_each_run():
    runs = {name: record(0.1 * i, 0.2 * i) for i, name in enumerate("abcdefg", start=1)}
    (axes,) = plot.compare(runs).axes
    assert [line.get_label() for line in axes.lines] == list("abcdefg")
    assert [y for _, y in points(axes.lines[2])] == pytest.approx([0.3, 0.6])
    # told apart without colour as well
    looks = {(line.get_color(), str(line.get_linestyle())) for line in axes.lines[:5]}
    assert len(looks) == 5
    dashes = {str(line._dash_pattern) for line in axes.lines[:5]}
    assert len(dashes) == 5


@pytest.mark.parametrize("shape", [(6, 8), (1, 6, 8), (6, 8, 3), (3, 6, 8)], ids=str)
def test_show_images_takes_grey_and_colour(shape):
    images = torch.rand(3, *shape)
    axes = plot.show_images(images, 2, 2, titles=["a", "b", "c"])
    assert len(axes) == 4
    assert [axis.get_title() for axis in axes] == ["a", "b", "c", ""]
    drawn = np.asarray(axes[1].get_images()[0].get_array())
    expected = images[1].numpy()
    if shape[0] in (1, 3):
        expected = np.moveaxis(expected, 0, -1)
    assert np.allclose(drawn, expected.squeeze())
    assert not axes[3].get_images()


@pytest.mark.parametrize("training", [True, False])
def test_predict_gives_probabilities_in_order_and_keeps_the_mode(training):
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(4, 3)).train(training)
    X, y = torch.rand(5, 1, 2, 2), torch.tensor([2, 0, 1, 1, 0])
    probabilities, labels = plot.predict(net, [(X[:3], y[:3]), (X[3:], y[3:])])
    assert labels.tolist() == y.tolist()
    assert torch.allclose(probabilities, net[2](X.flatten(1)).softmax(dim=1), atol=1e-6)
    assert not probabilities.requires_grad
    assert net.training is training


# 6 images of 3 classes: class 1 once taken for 0, class 2 always for 1
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
PROBABILITIES = torch.tensor([
    [0.8, 0.1, 0.1], [0.6, 0.2, 0.2],
    [0.7, 0.2, 0.1], [0.1, 0.9, 0.0],
    [0.0, 0.95, 0.05], [0.2, 0.5, 0.3],
])  # fmt: skip


def test_confusion_counts_rows_are_true_classes():
    counts = plot.confusion_counts(PROBABILITIES, LABELS)
    assert counts.tolist() == [[2, 0, 0], [1, 1, 0], [0, 2, 0]]


def test_confusion_writes_the_percentages_of_each_true_class():
    (axes,) = plot.confusion(PROBABILITIES, LABELS, ["a", "b", "c"]).axes
    texts = {t.get_position(): t.get_text() for t in axes.texts}  # (predicted, true)
    assert texts == {(0, 0): "100", (0, 1): "50", (1, 1): "50", (1, 2): "100"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"]
    assert "true" in axes.get_ylabel()


def test_confusion_of_a_class_without_images():
    figure = plot.confusion(PROBABILITIES[:4], LABELS[:4], ["a", "b", "c"])
    figure.canvas.draw()
    assert "nan" not in {t.get_text() for t in figure.axes[0].texts}


def test_mistakes_are_the_most_confident_wrong_answers():
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 2)
    figure = plot.mistakes(images, PROBABILITIES, LABELS, ["a", "b", "c"], count=2)
    assert isinstance(figure, Figure)
    first, second = figure.axes
    assert [float(a.get_images()[0].get_array()[0, 0]) for a in (first, second)] == [4.0, 2.0]
    assert first.get_title() == "b 95 %\nis c"
    assert second.get_title() == "a 70 %\nis b"


def test_fewer_mistakes_than_asked_for():
    images = torch.rand(6, 1, 2, 2)
    figure = plot.mistakes(images, PROBABILITIES, LABELS, ["a", "b", "c"], count=10)
    assert sum(bool(axis.get_images()) for axis in figure.axes) == 3


def test_a_net_without_mistakes_can_be_shown():
    figure = plot.mistakes(torch.rand(2, 1, 2, 2), PROBABILITIES[:2], LABELS[:2], ["a", "b", "c"])
    assert not any(axis.get_images() for axis in figure.axes)


@pytest.mark.parametrize("training", [True, False])
def test_feature_maps_have_a_row_for_each_layer(training):
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Dropout(0.5), nn.ReLU(), nn.Conv2d(3, 12, 1))
    net.train(training)
    image = torch.rand(1, 6, 6)
    figure = plot.feature_maps(net, image, {0: "conv", 3: "1×1"}, count=4)
    assert isinstance(figure, Figure)
    grid = np.array(figure.axes).reshape(2, 5)
    assert [len([a for a in row if a.get_images()]) for row in grid] == [3, 4]
    labels = [row[0].texts[0].get_text() for row in grid]
    assert labels == ["conv\n3 × 4 × 4", "1×1\n12 × 4 × 4"]
    drawn = grid[0, 2].get_images()[0].get_array()
    assert np.allclose(drawn, net[0](image.unsqueeze(0))[0, 1].detach())
    assert net.training is training
