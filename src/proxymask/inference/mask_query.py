"""The query of a one-hot proxy mask by looking up instead of multiplying.

Where one cluster a position is asked for, the embedding of the mask and the first convolution of the block behind it are sums of
rows of a table, and so is what the retouching block is told of the mask; what depends on the position alone is a constant. It is the
same function as :meth:`Rearranger.encode_mask`, up to rounding.
"""

import math

import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError
from ..models.layers import EqualConv
from ..models.rearranger import QueryTokens, Rearranger


class MaskQuery:
    """Ids (B, h, w) of a proxy mask -> what :meth:`Rearranger.encode_mask` makes of their planes.

    Args:
        rearranger: its weights are read once; train it on and the query stays what it was.
        dtype: of the convolutions, as autocast would choose it.
    """

    @torch.no_grad()
    def __init__(self, rearranger: Rearranger, dtype: torch.dtype = torch.float32) -> None:
        self.dtype, self.num_clusters = dtype, rearranger.num_clusters
        position = rearranger.position * rearranger.position_gain  # (dim, h, w)
        self.size = tuple(position.shape[1:])
        first, *between, last = [conv for conv in rearranger.query_block.convs if isinstance(conv, EqualConv)]
        to_query = rearranger.to_query.weight[:, :, 0, 0] * rearranger.to_query.gain

        # to_query(token + last(...)) = to_query(token) + (to_query last)(...)
        self.token = (rearranger.embed_mask.t() @ to_query.t()).to(dtype)  # (K, key_dim)
        gain = math.sqrt(2)  # of the leaky ReLU before
        last_weight = torch.einsum("ed,dihw->eihw", to_query, last.weight * (last.gain * gain))
        here = torch.einsum("ed,dhw->hwe", to_query, position).flatten(0, 1)
        if last.bias is not None:
            here = here + to_query @ last.bias
        self.here = here.to(dtype)  # (h * w, key_dim)

        # the first convolution: a row of the table for each cluster at each of the taps, one of zeros beyond the border
        weight = first.weight * first.gain
        self.taps = weight.shape[-1]
        table = torch.einsum("dk,odhw->hwko", rearranger.embed_mask, weight)
        self.hidden, refinement = table.shape[-1], rearranger.refinement
        if refinement is not None:  # what it is told, in further columns
            table = torch.cat([table, torch.einsum("ck,ochw->hwko", refinement.embed, refinement.first_weights()[1])], dim=-1)
        self.table = F.pad(table, (0, 0, 0, 1)).flatten(0, 2).contiguous()  # (taps^2 (K + 1), hidden [+ refinement]), float32
        self.start = torch.arange(self.taps**2, device=weight.device) * (self.num_clusters + 1)
        there = F.conv2d(position[None], weight, first.bias, padding=self.taps // 2)[0]
        self.there = there.flatten(1).t().contiguous()  # (h * w, hidden), float32

        self.between = [self._conv(conv.weight * (conv.gain * gain), conv.bias) for conv in between]
        self.last = self._conv(last_weight, None)

    def _conv(self, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        ready = weight.to(dtype=self.dtype, memory_format=torch.channels_last)
        return ready, None if bias is None else bias.to(self.dtype)

    def __call__(self, ids: torch.Tensor) -> QueryTokens:
        """Of ids (B, h, w), int64, in ``dtype``.

        Raises:
            ProxymaskError: another size.
        """
        if tuple(ids.shape[1:]) != self.size:
            raise ProxymaskError(f"a proxy mask of {tuple(ids.shape[1:])} does not fit this rearranger, which takes {self.size}")
        b, edge = len(ids), self.taps // 2
        around = F.pad(ids, (edge, edge, edge, edge), value=self.num_clusters)
        around = around.unfold(1, self.taps, 1).unfold(2, self.taps, 1).reshape(-1, self.taps**2)
        y = F.embedding_bag(around + self.start, self.table, mode="sum").view(b, -1, self.table.shape[1])
        mask_features = y[..., self.hidden :]
        y = self._grid(y[..., : self.hidden] + self.there)
        with torch.autocast(y.device.type, enabled=False):
            for weight, bias in [*self.between, self.last]:
                y = F.conv2d(F.leaky_relu_(y, 0.2), weight, bias, padding=weight.shape[-1] // 2)
        query = F.embedding(ids.flatten(1), self.token) + self.here + y.flatten(2).transpose(1, 2)
        return QueryTokens(query, self._grid(mask_features) if mask_features.shape[2] else None)

    def _grid(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, h * w, C) -> (B, C, h, w), channels last, of this type."""
        return tokens.to(self.dtype, memory_format=torch.contiguous_format).unflatten(1, self.size).permute(0, 3, 1, 2)
