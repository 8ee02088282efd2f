"""Figures that answer when touched: in JupyterLab, in Colab and on a page without a kernel."""

from d2lmini.widgets.conv_arithmetic import ConvArithmetic
from d2lmini.widgets.conv_stack import ConvStack
from d2lmini.widgets.five_networks import FiveNetworks
from d2lmini.widgets.inception_budget import InceptionBudget
from d2lmini.widgets.inside import InsideNetwork
from d2lmini.widgets.lenet_alive import LeNetAlive
from d2lmini.widgets.nin_head import NiNHead
from d2lmini.widgets.self_check import SelfCheck, choose, number, order
from d2lmini.widgets.shape_walk import ShapeWalk
from d2lmini.widgets.vgg_width import VGGWidth

__all__ = [
    "ConvArithmetic", "ConvStack", "FiveNetworks", "InceptionBudget", "InsideNetwork",
    "LeNetAlive", "NiNHead", "SelfCheck", "ShapeWalk", "VGGWidth", "choose", "number", "order",
]  # fmt: skip
