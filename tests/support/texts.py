"""The smallest texts there can be: sentences of a dozen words with a word that tells the class, and tiny BERTs."""

import json
import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from smskd import data
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig
from smskd.config.given import given
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.runtime import RuntimeConfig
from smskd.data import TextDataset
from smskd.interfaces.features import FeatureModel
from smskd.models.creation import create_with
from smskd.recipe import Recipe, TrainingConfig
from smskd.strategies.resolve import resolve

CLASSES = 2
TRAIN, TEST, BATCH = 40, 20, 12
WORDS = ["the", "a", "film", "plot", "actor", "story", "was", "is", "very", "quite"]
TELLING = (["bad", "awful", "poor"], ["good", "great", "fine"])


def samples(count: int, seed: int) -> list[tuple[str, int]]:
    """Texts of 3 to 12 words with their labels."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        label = draw.randrange(CLASSES)
        words = [*(draw.choice(WORDS) for _ in range(draw.randint(2, 11))), draw.choice(TELLING[label])]
        draw.shuffle(words)
        found.append((" ".join(words), label))
    return found


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def tokenizer(seed: int = 1, *, reverse: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of words; ``reverse`` numbers them in another order."""
    words = sorted({word for text, _ in samples(TRAIN, seed) for word in text.split()}, reverse=reverse)
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    inner.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def write_network(folder: Path, layers: int, width: int, *, reverse: bool = False, **options: Any) -> Path:
    """A folder with the configuration of a BERT and its tokenizer."""
    own = tokenizer(reverse=reverse)
    own.save_pretrained(folder)
    config = {"max_position_embeddings": 32, "num_labels": CLASSES, "initializer_range": 0.3, **options}
    BertConfig(
        vocab_size=len(own),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        **config,
    ).save_pretrained(folder)
    return folder


@cache
def folder() -> Path:
    """Training and test texts, ``student`` (2 layers), ``teacher`` (4 layers) and ``other`` (another tokenizer)."""
    root = Path(mkdtemp(prefix="smskd-texts-"))
    for part, count, seed in (("train", TRAIN, 1), ("test", TEST, 2)):
        write_jsonl(root / f"{part}.jsonl", [{"text": text, "label": label} for text, label in samples(count, seed)])
    write_network(root / "student", 2, 8)
    write_network(root / "teacher", 4, 12)
    write_network(root / "other", 2, 12, reverse=True)
    return root


def source(**options: Any) -> ComponentConfig:
    settings = {"root": str(folder()), "tokenizer": str(folder() / "student"), "max_length": 16, **options}
    return ComponentConfig("text", settings)


@cache
def dataset() -> TextDataset:
    found = data.load(DataConfig(source()))
    assert isinstance(found, TextDataset)
    return found


def network(name: str, seed: int = 1) -> FeatureModel:
    torch.manual_seed(seed)
    example = dataset().train.example()
    path = f"transformers/{folder() / name}"
    return create_with(path, {}, classes=CLASSES, channels=0, image_size=(0, 0), example=example)


def recipe(stages: Any, *, epochs: int = 2, batch_size: int = BATCH, teacher: Any = None, **further: Any) -> Recipe:
    """A run on the texts, of networks that a program gives."""
    runtime = {"device": "cpu", **further.pop("runtime", {})}
    return Recipe(
        name="texts",
        data=DataConfig(further.pop("source", source()), **further.pop("data", {})),
        student=ModelConfig(given(dataset())),
        teacher=teacher or TeacherConfig(given(dataset())),
        training=TrainingConfig(epochs=epochs, batch_size=batch_size, test_batch_size=TEST),
        stages=tuple(stages),
        runtime=RuntimeConfig(**runtime),
        **further,
    )


__all__ = ["dataset", "folder", "network", "recipe", "resolve", "samples", "source", "tokenizer", "write_jsonl"]
