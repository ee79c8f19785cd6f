"""Where the features of image classifiers of transformers are read: the modules that put out their hidden states."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from smskd.models.feature_discovery import LAST_MAP, STEM, Found, with_head
from smskd.models.libraries.stages import block_names, stage_indices
from smskd.models.libraries.torchvision_features import token_features
from smskd.models.module_outputs import Source
from smskd.models.sequence_features import calls_of
from smskd.models.tracing import Call, Trace, grid_of, trace

_BLOCKS = ("blocks", "layers", "layer")


def transformers_features(module: nn.Module, example: Tensor) -> Found | None:
    """Where the features are read.

    Args:
        module: an image classifier of transformers.
        example: images [N, channels, height, width], for their shape.

    Returns:
        None for a network that gives no hidden states of an image.

    Raises:
        UserError: the network does not accept such images.
    """
    traced = trace(module, example, lambda images: cast(Any, module)(images, output_hidden_states=True))
    states = [state for state in getattr(traced.output, "hidden_states", None) or () if isinstance(state, Tensor)]
    if _in_another_order(states, getattr(traced.output, "reshaped_hidden_states", None) or ()):
        return None
    found = calls_of(states, traced)
    # The first state is what goes into the first block.
    blocks = found[1:] if len(found) == len(states) and _is_embedding(found) else found
    if not blocks:
        return None
    if all(call.output.ndim == 3 for call in blocks):
        return _of_tokens(module, traced, blocks)
    if all(call.output.ndim == 4 for call in blocks):
        stem = found[0] if len(found) > len(blocks) else None
        return _of_maps(traced, blocks, stem)
    return None


def _in_another_order(states: Sequence[Tensor], reshaped: Sequence[Tensor]) -> bool:
    """Whether the tokens are not in the order of the rows and columns of the maps that the network makes of them."""
    pairs = [pair for pair in zip(states, reshaped, strict=False) if pair[0].ndim == 3 and pair[1].ndim == 4]
    return any(
        state.numel() == map_.numel()
        and not any(torch.equal(state, tokens.reshape(state.shape)) for tokens in (map_, map_.permute(0, 2, 3, 1)))
        for state, map_ in pairs
    )


def _is_embedding(calls: Sequence[Call]) -> bool:
    """Whether the first call is of another kind than the others, such as the embedding of the patches."""
    return len(calls) > 1 and type(calls[0].module) is not type(calls[1].module)


def _of_maps(traced: Trace, blocks: Sequence[Call], stem: Call | None) -> Found:
    names = block_names([tuple(call.output.shape[2:]) for call in blocks])
    stages = [names[index] for index in stage_indices([tuple(call.output.shape[2:]) for call in blocks])]
    sources = {name: Source(call.name, call=call.number) for name, call in zip(names, blocks, strict=True)}
    first = {STEM: Source(stem.name, call=stem.number)} if stem is not None and stem.output.ndim == 4 else {}
    return with_head(traced, first | sources, STEM if first else None, stages)


def _of_tokens(module: nn.Module, traced: Trace, blocks: Sequence[Call]) -> Found | None:
    lengths = {call.output.shape[1] for call in blocks}
    if len(lengths) == 1:
        return token_features(traced, [(call.name, call.number) for call in blocks], *_ends(module, traced, blocks))
    return _of_merged_tokens(traced, blocks, _final_norm(traced, blocks[-1]))


def _ends(module: nn.Module, traced: Trace, blocks: Sequence[Call]) -> tuple[tuple[str, int] | None, int]:
    """The last norm over all tokens, and the number of tokens in front of those of the patches."""
    last, norm = blocks[-1], _final_norm(traced, blocks[-1])
    patches = _patches(cast(Any, module).config, traced.image_size)
    prefix = int(last.output.shape[1]) - patches if patches is not None else -1
    return ((norm.name, norm.number) if norm is not None else None), prefix


def _final_norm(traced: Trace, last: Call) -> Call | None:
    """The norm over all tokens behind the last block."""
    behind = traced.calls[traced.calls.index(last) + 1 :]
    return next(
        (call for call in behind if isinstance(call.module, nn.LayerNorm) and call.output.shape == last.output.shape),
        None,
    )


def _patches(config: Any, image_size: tuple[int, int]) -> int | None:
    config = getattr(config, "vision_config", config)
    size = getattr(config, "patch_size", None)
    if size is None:
        return None
    rows, columns = (size, size) if isinstance(size, int) else size
    return (image_size[0] // rows) * (image_size[1] // columns)


def _of_merged_tokens(traced: Trace, stages: Sequence[Call], norm: Call | None) -> Found | None:
    """The stages of a network that merges patches at the end of each (Swin): their maps before the merging."""
    calls = [_last_block(stage, traced) for stage in stages] + ([norm] if norm is not None else [])
    grids = [grid_of(int(call.output.shape[1]), traced.image_size) for call in calls]
    names = [f"stage{number}" for number in range(1, len(stages) + 1)] + ([LAST_MAP] if norm is not None else [])
    sources = {
        name: Source(call.name, call=call.number, arrangement="map_of_tokens", grid=grid)
        for name, call, grid in zip(names, calls, grids, strict=True)
        if grid is not None
    }
    if len(sources) < len(names):
        return None
    return with_head(traced, sources, None, names[: len(stages)], names[-1])


def _same_places(block: Call, stage: Call) -> bool:
    """Whether a block puts out as many tokens as go into its stage."""
    return bool(block.output.ndim == stage.input.ndim and block.output.shape[1] == stage.input.shape[1])


def _last_block(stage: Call, traced: Trace) -> Call:
    """The last of a stage's blocks, which come before the merging; the stage itself if it has none."""
    for container in _BLOCKS:
        prefix = f"{stage.name}.{container}."
        blocks = [
            call
            for call in traced.calls
            if call.name.startswith(prefix) and call.name[len(prefix) :].isdigit() and _same_places(call, stage)
        ]
        if blocks:
            return blocks[-1]
    return stage
