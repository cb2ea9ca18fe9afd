"""Find which layer of a Keras graph plays which part in HTMD-Net, from how they are connected.

Neither the names of the layers nor their order in the file tell: Keras sorts them by their depth in
the graph, which puts skip and residual convolutions in an order of its own. So the walk goes from
the vocals back to the mixture and refuses whatever it does not expect.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from htmdsep.keras_graph import KerasGraph, Node, unlike

Roles = dict[str, Node]  # by the name of our module that takes the layer's weights

_MOST_TERMS = 1000  # of a sum; HTMD-Net's have 9


def find_roles(graph: KerasGraph) -> Roles:
    """Return the nodes of HTMD-Net, and its input as "input".

    Raises HtmdsepError where the graph is not that of HTMD-Net, or holds more layers.
    """
    ends = [node for node in graph.outputs if node.operation == "tanh"]
    if len(ends) != 1:
        raise unlike(f"{len(ends)} of its outputs end in tanh instead of one")
    output, joined = _back(ends[0], "convolution", "concatenate")
    decoder, hidden = _pair(joined, "transposed")
    roles = {
        "denoising.output": output,
        "masking.decoder": decoder,
        **_denoising_roles(hidden, decoder),
        **_masking_roles(decoder),
    }
    used = {node.layer for node in roles.values()}
    spare = [layer.name for layer in graph.weighted if layer not in used]
    if spare:
        raise unlike(f"{len(spare)} layers with weights have no part in it, first {spare[0]!r}")
    return roles


def _denoising_roles(hidden: Node, decoder: Node) -> Roles:
    """Walk from the last activation up, through the LSTMs, and down to the masked estimate."""
    up, skips = [], []
    _expect(hidden, "leaky")
    while not _follows(hidden, "bilstm"):
        convolution, joined = _back(hidden, "convolution", "concatenate")
        upsampled, skip = _pair(joined, "upsample")
        up.append(convolution)
        skips.append(skip)
        hidden = upsampled.inputs[0]
        _expect(hidden, "leaky")
    if not up:
        raise unlike("its denoising part has no levels")
    lstms = []
    while _follows(hidden, "bilstm"):
        hidden = hidden.inputs[0]
        lstms.append(hidden)
    down = []
    for skip in reversed(skips):
        _, leaky, hidden = _back(hidden, "pool", "leaky", "convolution")
        if leaky is not skip:
            raise unlike(f"its layer {skip.layer.name!r} is joined to another level than its own")
        down.append(hidden)
    if _back(hidden, "transposed") != [decoder]:
        raise unlike("its denoising part starts from something else than the masked estimate")
    return {
        **_numbered("denoising.up.{}", up[::-1]),
        **_numbered("denoising.bottleneck.{}.lstm", lstms[::-1]),
        **_numbered("denoising.down.{}", down[::-1]),
    }


def _masking_roles(decoder: Node) -> Roles:
    """Walk from the decoder through the mask and the temporal blocks to the mixture."""
    (product,) = _back(decoder, "multiply")
    masking, encoder = _pair(product, "sigmoid")
    _expect(encoder, "convolution")
    mask, leaky = _back(masking, "convolution", "leaky")
    blocks = sorted(
        (_Block.before(skip) for skip in _terms(leaky)), key=lambda block: len(block.features)
    )
    entry = blocks[0].features[0]
    _expect(entry, "convolution")
    (norm,) = _back(entry, "norm")
    if len(blocks[0].features) != 1 or norm.inputs != (encoder,):
        raise unlike("its first temporal block does not follow the encoder")
    roles = {
        "input": _back(encoder, "input")[0],
        "masking.encoder": encoder,
        "masking.entry.0": norm,
        "masking.entry.1": entry,
        "masking.mask.1": mask,
        **_numbered("masking.blocks.{}.skip", [block.skip for block in blocks]),
        **_numbered("masking.blocks.{}.expand.0", [block.expand for block in blocks]),
        **_numbered("masking.blocks.{}.expand.2", [block.expand_norm for block in blocks]),
        **_numbered("masking.blocks.{}.depthwise.0", [block.depthwise for block in blocks]),
        **_numbered("masking.blocks.{}.depthwise.2", [block.depthwise_norm for block in blocks]),
    }
    residuals = [block.residual(following) for block, following in pairwise(blocks)]
    return {**roles, **_numbered("masking.blocks.{}.residual", residuals)}


@dataclass(frozen=True)
class _Block:
    """A temporal block, without the residual convolution that leads to the next."""

    features: tuple[Node, ...]  # the entry and every residual so far, which sum to its input
    expand: Node
    expand_norm: Node
    depthwise: Node
    depthwise_norm: Node
    skip: Node

    @classmethod
    def before(cls, skip: Node) -> _Block:
        """Return the block that ends in a skip convolution."""
        _expect(skip, "convolution")
        depthwise_norm, _, depthwise, expand_norm, _, expand = _back(
            skip, "norm", "leaky", "depthwise", "norm", "leaky", "convolution"
        )
        features = _terms(expand)
        return cls(features, expand, expand_norm, depthwise, depthwise_norm, skip)

    def residual(self, following: _Block) -> Node:
        """Return the one convolution that is added to this block's input for the next."""
        if Counter(following.features) > Counter(self.features):
            added, *more = Counter(following.features) - Counter(self.features)
            _expect(added, "convolution")
            if not more and added.inputs == (self.depthwise_norm,):
                return added
        raise unlike(
            f"the block of {following.skip.layer.name!r} does not follow that of "
            f"{self.skip.layer.name!r}"
        )


def _terms(node: Node) -> tuple[Node, ...]:
    """Return what sums to a node's one input, through additions of additions."""
    terms: list[Node] = []
    stack = list(node.inputs)
    while stack:
        term = stack.pop()
        if term.operation == "add":
            stack.extend(term.inputs)
        else:
            terms.append(term)
        if len(terms) > _MOST_TERMS:
            raise unlike(f"more than {_MOST_TERMS} terms sum to the input of {node.layer.name!r}")
    return tuple(terms)


def _back(node: Node, *operations: str) -> list[Node]:
    """Return the nodes before this one, the nearest first, which must be of these operations."""
    path = []
    for operation in operations:
        if len(node.inputs) != 1:
            raise unlike(f"its layer {node.layer.name!r} has {len(node.inputs)} inputs, not one")
        node = node.inputs[0]
        _expect(node, operation)
        path.append(node)
    return path


def _pair(node: Node, operation: str) -> tuple[Node, Node]:
    """Return a node's two inputs, first the one of that operation."""
    chosen = [before for before in node.inputs if before.operation == operation]
    others = [before for before in node.inputs if before.operation != operation]
    if len(chosen) != 1 or len(others) != 1:
        raise unlike(
            f"the inputs of its layer {node.layer.name!r} are not one {operation} and one other"
        )
    return chosen[0], others[0]


def _follows(node: Node, operation: str) -> bool:
    return len(node.inputs) == 1 and node.inputs[0].operation == operation


def _expect(node: Node, operation: str) -> None:
    if node.operation != operation:
        raise unlike(
            f"its layer {node.layer.name!r} is a {node.operation} where a {operation} is expected"
        )


def _numbered(name: str, nodes: list[Node]) -> Roles:
    return {name.format(index): node for index, node in enumerate(nodes)}
