"""Weight initialisation by name. Each rule takes one module; `initialize` applies it to a net."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

InitRule = Callable[[nn.Module], None]


def xavier(module: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan in + fan out); biases as they are.

    D2L's rule. Source: Glorot and Bengio (2010).
    """
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_uniform_(module.weight)


def he(module: nn.Module) -> None:
    """Normal weights of variance 2 / fan in, zero biases; keeps the scale through ReLUs.

    Source: He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers".
    """
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        _zero_bias(module)


def he_open(module: nn.Module) -> None:
    """As `he`; a net that ends in the means of its class maps starts with every map open.

    Such maps come out of a ReLU, and one that is zero everywhere gets no gradient. Their biases
    are 1, after Krizhevsky, Sutskever and Hinton (2012), section 5, who set some of theirs so.
    """
    he(module)
    match list(module.children())[-3:]:
        case [nn.Sequential() as block, nn.AdaptiveAvgPool2d(), nn.Flatten()]:
            nn.init.ones_(block[-2].get_parameter("bias"))


def he_fan_out(module: nn.Module) -> None:
    """Convs normal of variance 2 / fan out, linears N(0, 0.01²), zero biases (torchvision's)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _zero_bias(module)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        _zero_bias(module)


INITS: dict[str, InitRule] = {
    "xavier": xavier,
    "he": he,
    "he_open": he_open,
    "he_fan_out": he_fan_out,
}


def initialize(net: nn.Module, rule: str | InitRule) -> nn.Module:
    """Apply a rule of `INITS`, or a function of one module, to every module; returns the net."""
    return net.apply(find_rule(rule))


def find_rule(rule: str | InitRule) -> InitRule:
    """The rule of that name, or the function given. Raises ValueError if unknown."""
    if not isinstance(rule, str):
        return rule
    if rule not in INITS:
        raise ValueError(f"init={rule!r} is unknown; known are {', '.join(INITS)}, or None")
    return INITS[rule]


def reset(net: nn.Module) -> None:
    """Draw every module's parameters anew from torch's generator, as its constructor did.

    Raises ValueError, and changes nothing, for a module that has parameters of its own and no
    `reset_parameters` to draw them by.
    """
    for name, module in net.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not callable(getattr(module, "reset_parameters", None)):
            raise ValueError(
                f"seed= cannot draw the parameters of {name or 'the net'} anew: "
                f"{type(module).__name__} needs a method reset_parameters(), or keep the weights "
                "with init=None"
            )

    def reset_module(module: nn.Module) -> None:
        if callable(reset_parameters := getattr(module, "reset_parameters", None)):
            reset_parameters()

    net.apply(reset_module)


def _zero_bias(module: nn.Linear | nn.Conv2d) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)
