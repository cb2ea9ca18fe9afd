"""A bidirectional LSTM layer whose directions are averaged, as in Keras's merge mode "ave"."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htmdsep.config import Activation, RecurrentActivation


class AveragedBiLSTM(nn.Module):
    """Map (batch, time, input_size) to (batch, time, size), the mean of both directions.

    With tanh and sigmoid this is PyTorch's own kernel. The published networks instead leave
    candidate and output linear, and gate with Keras's sigmoid or hard sigmoid.
    """

    def __init__(
        self,
        input_size: int,
        size: int,
        activation: Activation = "tanh",
        recurrent_activation: RecurrentActivation = "sigmoid",
    ) -> None:
        super().__init__()
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        # Keras has one bias a gate, nn.LSTM two. Here a constant 1 is appended to the input, and
        # the last column of its weights is that one bias.
        self.lstm = nn.LSTM(input_size + 1, size, bias=False, batch_first=True, bidirectional=True)

    def forward(self, sequence: Tensor) -> Tensor:
        sequence = F.pad(sequence, (0, 1), value=1.0)  # (batch, time, input_size + 1)
        if self.activation == "tanh" and self.recurrent_activation == "sigmoid":
            forward, backward = self.lstm(sequence)[0].chunk(2, dim=2)
        else:
            forward = self._run(sequence, reverse=False)
            backward = self._run(sequence.flip(1), reverse=True).flip(1)
        mean: Tensor = (forward + backward) / 2  # (batch, time, size)
        return mean

    def _run(self, sequence: Tensor, *, reverse: bool) -> Tensor:
        """Run one direction, step by step; gates in the order i, f, candidate, o."""
        input_weight, hidden_weight = self.lstm.all_weights[int(reverse)]
        activate = torch.tanh if self.activation == "tanh" else nn.Identity()
        gate = torch.sigmoid if self.recurrent_activation == "sigmoid" else keras_hard_sigmoid
        projected = F.linear(sequence, input_weight)  # (batch, time, 4 * size)
        hidden = projected.new_zeros(projected.shape[0], hidden_weight.shape[1])
        cell = torch.zeros_like(hidden)
        outputs = []
        for step in projected.unbind(1):
            gates = step + F.linear(hidden, hidden_weight)
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
            cell = gate(forget_gate) * cell + gate(input_gate) * activate(candidate)
            hidden = gate(output_gate) * activate(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)  # (batch, time, size)


def keras_hard_sigmoid(value: Tensor) -> Tensor:
    """Keras 2's hard sigmoid, clip(0.2 x + 0.5, 0, 1); PyTorch's has slope 1/6."""
    return torch.clamp(0.2 * value + 0.5, 0.0, 1.0)
