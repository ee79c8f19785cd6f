"""The features of networks of which nothing is known: wrong ones are left out, and unknown ones are named by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.models import adapt, describe
from smskd.models.hooks import HookedModel

SHAPE = (3, 16, 16)


def adapted(module: nn.Module, features: dict[str, str] | None = None) -> HookedModel:
    model = adapt(module.eval(), torch.zeros(1, *SHAPE), features)
    assert isinstance(model, HookedModel)
    return model


class Network(nn.Module):
    """A stem, a middle part, and a head on the mean over the image."""

    def __init__(self, middle: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.middle = middle
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.stem(x)).mean(dim=(2, 3)))


class Positions(nn.Module):
    """Adds a positional encoding, which a module makes: the same for all images."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv2d(2, 8, 1)
        self.conv = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        grid = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"))
        return x + self.encode(grid.expand(len(x), 2, 4, 4))


class Attention(nn.Module):
    """Attention over the places of a map, with a module for the keys of each head, [N, heads, tokens, width]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.LayerNorm(width // 2)

    def forward(self, x: Tensor) -> Tensor:
        n, count, width = x.shape
        q, k, v = self.qkv(x).view(n, count, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        weights = (q @ self.norm(k).transpose(2, 3)).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(n, count, width)


class Attended(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.conv = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.attention(x.flatten(2).transpose(1, 2))
        return self.conv(x + tokens.transpose(1, 2).reshape(x.shape))


class ChannelsLast(nn.Module):
    """Blocks that give [N, H, W, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))
        self.merge = nn.Linear(32, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x.permute(0, 2, 3, 1))
        n, height, width, _ = x.shape
        x = x.view(n, height // 2, 2, width // 2, 2, 8).transpose(2, 3).reshape(n, height // 2, width // 2, 32)
        return self.merge(x).permute(0, 3, 1, 2)


class Vit(nn.Module):
    """A vision transformer of nobody's library: a class token and 16 tokens of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3)))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(torch.cat([self.token.expand(len(x), 1, 8), tokens], dim=1))[:, 0])


class Reused(nn.Module):
    """One ReLU for all of its layers, the last one included."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.hidden = nn.Linear(8, 6)
        self.head = nn.Linear(6, 5)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.relu(conv(x))
        return self.head(self.relu(self.hidden(x.mean(dim=(2, 3)))))


def gate() -> nn.Module:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spread = nn.Upsample(scale_factor=4)
            self.squeeze = nn.Conv2d(8, 8, 1)
            self.conv = nn.Conv2d(8, 8, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x * self.spread(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))

    return Gate()


@pytest.mark.parametrize(
    ("middle", "width", "sources"),
    [
        (Positions, 8, {"stem": "stem", "stage1": "middle", "pooled": "head"}),
        (Attended, 8, {"stem": "stem", "stage1": "middle", "pooled": "head"}),
        (gate, 8, {"stem": "stem", "stage1": "middle", "pooled": "head"}),
        (ChannelsLast, 12, {"stem": "stem", "stage1": "middle", "pooled": "head"}),
    ],
)
def test_features_that_are_no_maps_are_left_out(
    middle: Callable[[], nn.Module], width: int, sources: dict[str, str]
) -> None:
    model = adapted(Network(middle(), width))
    assert model.sources == sources
    layout = describe(model, SHAPE)
    assert layout.last_map == list(sources)[-2]
    assert layout.mean_pooled


def test_maps_with_channels_last_are_turned() -> None:
    module = Network(ChannelsLast(), 12)
    model = adapted(module, {"stage1": "middle.block"})
    x = torch.randn(2, *SHAPE)
    expected = module.middle.block(module.stem(x).permute(0, 2, 3, 1))  # type: ignore[union-attr,operator]
    assert torch.equal(model.extract(x, ["stage1"])["stage1"], expected.permute(0, 3, 1, 2))


def test_tokens_of_an_unknown_network_are_named_by_hand() -> None:
    module = Vit().eval()
    assert describe(adapted(module), SHAPE).features == {"pooled": (8,)}, "not the embedding of the patches"
    model = adapted(module, {"stage1": "blocks.0[1:]", "stage2": "blocks.2[1:]"})
    layout = describe(model, SHAPE)
    assert layout.stages == ("stage1", "stage2")
    assert layout.features["stage2"] == (8, 4, 4)
    assert not layout.mean_pooled
    x = torch.randn(2, *SHAPE)
    tokens = torch.zeros(0)

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal tokens
        tokens = output

    with module.blocks[0].register_forward_hook(keep):
        read = model.extract(x, ["stage1"])["stage1"]
    assert torch.equal(read[:, :, 1, 2], tokens[:, 1 + 4 + 2])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("blocks.0", r"17 tokens are no grid of patches of an image of 16x16; .*'blocks.0\[1:\]'"),
        ("blocks.0[2:]", "15 tokens are no grid"),
        ("patches[1:]", r"\[1:\] is for outputs \[N, tokens, C\]"),
        ("blocks.7", "the model has no module 'blocks.7'; did you mean 'blocks.2'"),
    ],
)
def test_mistakes_in_places_of_tokens(place: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        adapted(Vit(), {"stage1": place})


def test_each_call_of_a_module_that_is_used_several_times_is_a_feature_of_its_own() -> None:
    module = Reused().eval()
    model = adapted(module)
    assert model.sources == {
        "stem": "conv1",
        "stage1": "relu",
        "stage2": "relu:2",
        "stage3": "relu:3",
        "pooled": "head",
    }
    x = torch.randn(2, *SHAPE)
    read = model.extract(x, ["stage1", "stage2", "pooled"])
    first = module.conv1(x).relu()
    assert torch.equal(read["stage1"], first)
    assert torch.equal(read["stage2"], module.conv2(first).relu())
    assert read["pooled"].shape == (2, 6)


def test_maps_of_one_place_are_stages_only_where_there_are_no_others() -> None:
    def stages(*layers: nn.Module) -> tuple[str, ...]:
        module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 5))
        return describe(adapted(module), SHAPE).stages

    first, second, third = nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Conv2d(8, 8, 4), nn.Conv2d(3, 8, 16)
    assert stages(nn.Conv2d(3, 3, 1), first, second) == ("stage1",)
    assert stages(third) == ("stage1",)


def test_outputs_that_are_no_logits_are_refused() -> None:
    class Pair(Vit):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            logits = super().forward(x)
            return logits, logits

    with pytest.raises(UserError, match=r"the model's output is a tuple; .* wrap the network"):
        adapted(Pair())


def test_logits_in_a_dictionary() -> None:
    class Dictionary(Vit):
        def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            return {"logits": super().forward(x), "extra": x}

    module = Dictionary().eval()
    x = torch.randn(2, *SHAPE)
    assert torch.equal(adapted(module).extract(x, ["logits"])["logits"], module(x)["logits"])
