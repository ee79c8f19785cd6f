"""Sentences in ten languages that are written in Latin letters, a tokenizer, two small BERTs, and recipes for them.

The sentences are the dialogues of the package chatterbot-corpus (BSD licence); the class of a sentence is its language.
"""

import argparse
import json
from collections import Counter
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, PreTrainedTokenizerFast

LANGUAGES = (
    "dutch",
    "english",
    "french",
    "german",
    "indonesian",
    "italian",
    "portuguese",
    "spanish",
    "swedish",
    "turkish",
)
MOST = 200
"""Sentences of a language that are used."""

VOCABULARY = 600
LENGTH = 32
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
NETWORKS = {"teacher": (3, 64, 4), "student": (2, 16, 2)}
"""Layers, width and heads."""


def sentences(language: str) -> list[str]:
    """The different sentences of a language, in the order of their hashes."""
    folder = files("chatterbot_corpus") / "data" / language
    found: set[str] = set()
    for file in folder.iterdir():
        if file.name.endswith(".yml"):
            content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
            for turns in content.get("conversations", ()):
                found |= {turn.strip() for turn in turns if isinstance(turn, str)}
    whole = sorted((text for text in found if len(text) > 3), key=_hash)
    return whole[:MOST]


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte pairs of letters, learned from the training sentences."""
    inner = Tokenizer(models.BPE(unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL))
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast: Any = PreTrainedTokenizerFast
    found: PreTrainedTokenizerFast = fast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    return found


def write(out: Path) -> None:
    """Writes ``train.jsonl``, ``test.jsonl`` (a fifth of each language), and the folders of both networks."""
    out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for language in LANGUAGES:
        for place, text in enumerate(sentences(language)):
            parts["test" if place % 5 == 0 else "train"].append({"text": text, "label": language})
    for part, rows in parts.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=lambda row: _hash(row["text"])))
        (out / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(part, len(rows), dict(Counter(row["label"] for row in rows)))
    tokenizer = tokenizer_of([row["text"] for row in parts["train"]])
    for name, (layers, width, heads) in NETWORKS.items():
        tokenizer.save_pretrained(out / name)
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=LENGTH,
        ).save_pretrained(out / name)


RUNS: dict[str, dict[str, Any]] = {
    "teacher": {"stages": [{"methods": []}]},
    "plain": {"stages": [{"methods": []}]},
    "kd": {"methods": ["kd"]},
    "fitnet-kd": {"methods": ["fitnet", "kd"]},
    "rkd-kd": {"methods": ["rkd", "kd"]},
}
"""The stages of each run; all but ``teacher`` train the student."""


def write_recipes(out: Path) -> None:
    """Writes a recipe for each of the runs; that of the teacher is to be trained first, with ``--seeds 0``."""
    folder = out.resolve()
    network = {name: f"transformers/{folder / name}" for name in NETWORKS}
    weights = str(folder / "runs" / "teacher" / "seed0")
    teacher = {
        "name": network["teacher"],
        "weights": weights,
        "cache": {"mode": "disk", "folder": str(folder / "cache")},
    }
    source = {"name": "text", "root": str(folder), "tokenizer": str(folder / "student"), "max_length": LENGTH}
    for name, stages in RUNS.items():
        recipe = {
            "name": name,
            "data": {"source": source},
            "student": {"name": network["teacher" if name == "teacher" else "student"]},
            **({"teacher": teacher} if "methods" in stages else {}),
            "training": {"epochs": 10, "batch_size": 32, "test_batch_size": 128},
            "optimizer": {"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.01},
            **stages,
            "runtime": {"device": "cpu"},
        }
        (out / f"{name}.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write to")
    folder = parser.parse_args().out
    write(folder)
    write_recipes(folder)
