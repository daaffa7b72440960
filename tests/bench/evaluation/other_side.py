"""Run by the Python of `metric.python`, for tests/bench/evaluation/model_metrics.py: models with random weights in the
layout in which radeval 2.2.1 finds them, and what the package itself says with them.

`PYTHON -I tests/bench/evaluation/other_side.py FOLDER` makes the smallest models of the right kinds, so that every
metric runs its whole way; their numbers mean nothing. FOLDER is then what `metric.model_dir` names. With "score" in its
place it reads {"refs", "hyps"} and prints what the package gives for the whole of them, metric by metric.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,;:()-/%"
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 514}
# CheXbert's heads: 13 conditions with four values each, and "No Finding" with two.
NUM_CONDITIONS = 13
ENTITIES = ("ABNORMALITY", "NON-ABNORMALITY", "DISEASE", "NON-DISEASE", "ANATOMY")


def snapshot(hub: Path, repository: str) -> Path:
    """An empty snapshot of a repository in a cache of the Hugging Face hub."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    revision = "0" * 40
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    made = folder / "snapshots" / revision
    made.mkdir(parents=True, exist_ok=True)
    return made


def word_pieces() -> PreTrainedTokenizerFast:
    """A tokenizer of BERT's kind that knows letters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    inner = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=512, **{f"{name}_token": text for name, text in names.items()}
    )


def bert(folder: Path, made: Any = AutoModel, **more: Any) -> BertConfig:
    """A small BERT with its tokenizer."""
    tokenizer = word_pieces()
    config = BertConfig(
        vocab_size=len(tokenizer), num_hidden_layers=2, initializer_range=0.5, **SMALL, **more
    )  # texts must differ in what is made of them
    made.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "BertTokenizer"}))
    return config


def chexbert(home: Path) -> None:
    """`chexbert.pth`: a BERT of the configuration of bert-base-uncased, and 14 heads."""
    config = bert(snapshot(home / "hub", "bert-base-uncased"))
    heads = {f"linear_heads.{place}": 4 for place in range(NUM_CONDITIONS)} | {f"linear_heads.{NUM_CONDITIONS}": 2}
    state = {f"module.bert.{name}": value for name, value in AutoModel.from_config(config).state_dict().items()}
    for name, size in heads.items():
        state[f"module.{name}.weight"] = torch.randn(size, config.hidden_size)
        state[f"module.{name}.bias"] = torch.randn(size)
    torch.save({"model_state_dict": state}, snapshot(home / "chexbert", "StanfordAIMI/RRG_scorers") / "chexbert.pth")


def roberta(folder: Path) -> None:
    """A small RoBERTa with the five layers that BERTScore takes, and a tokenizer of its kind."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>", "cls": "<s>", "sep": "</s>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=512, **{f"{name}_token": text for name, text in names.items()}
    )
    config = RobertaConfig(vocab_size=len(tokenizer), num_hidden_layers=6, pad_token_id=1, **SMALL)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def writer(folder: Path) -> None:
    """A small language model that ends at once: no metric can read a verdict out of nothing."""
    tokenizer = word_pieces()
    tokenizer.eos_token, tokenizer.bos_token = "[PAD]", "[CLS]"
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}[SEP]{% endfor %}"
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_hidden_layers=1, num_key_value_heads=2, eos_token_id=0, bos_token_id=2,
        **{**SMALL, "max_position_embeddings": 16_384},
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    # All logits are 0, and the first token ends.
    torch.nn.init.zeros_(model.model.norm.weight)
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def radgraph(home: Path, name: str) -> None:
    """`radgraph.tar.gz` or `radgraph-xl.tar.gz`: configuration, vocabulary and weights of a DyGIE++ over a small
    BERT."""
    encoder = "made-up/encoder"
    bert(snapshot(home / "hub", encoder))
    one = {"type": "pretrained_transformer_mismatched", "model_name": encoder, "max_length": 512}
    settings = {
        "dataset_reader": {"type": "dygie", "max_span_width": 4, "token_indexers": {"bert": one}},
        "model": {
            "type": "dygie", "embedder": {"token_embedders": {"bert": one}},
            "initializer": {}, "module_initializer": {}, "feature_size": 4, "max_span_width": 4, "target_task": "ner",
            "feedforward_params": {"num_layers": 2, "hidden_dims": 8, "dropout": 0.4},
            "loss_weights": {"ner": 0.2, "relation": 1.0, "coref": 0.0, "events": 0.0},
            "modules": {
                "ner": {}, "relation": {"spans_per_word": 0.5},
                "coref": {"spans_per_word": 0.3, "max_antecedents": 100, "coref_prop": 0},
                "events": {"trigger_spans_per_word": 0.3, "argument_spans_per_word": 0.8},
            },
        },
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "config.json").write_text(json.dumps(settings))
        (folder / "vocabulary").mkdir()
        for labels, values in (
            (f"{name}__ner_labels", ("", "Observation::definitely present", "Anatomy::definitely present")),
            (f"{name}__relation_labels", ("", "located_at", "modify", "suggestive_of")),
        ):
            (folder / "vocabulary" / f"{labels}.txt").write_text("\n".join(values))
        (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*tags\n*labels")
        torch.save(dygie(folder, settings), folder / "weights.th")
        where = snapshot(home / "radgraph" / "0.1.18", "StanfordAIMI/RRG_scorers") / f"{name}.tar.gz"
        with tarfile.open(where, "w:gz") as archive:
            for file in ("config.json", "vocabulary", "weights.th"):
                archive.add(folder / file, file)


def dygie(folder: Path, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Random weights of the model that RadGraph builds from these settings."""
    import radeval

    sys.modules.setdefault("RadEval", radeval)
    from radeval.metrics.radgraph._vendor import core

    vocabulary = core.Vocabulary.from_files(str(folder / "vocabulary"))
    one = settings["model"]["embedder"]["token_embedders"]["bert"]
    words = core.token_embedders.PretrainedTransformerMismatchedEmbedder(one["model_name"], max_length=512)
    embedder = core.text_field_embedders.BasicTextFieldEmbedder({"bert": words})
    left_out = ("type", "embedder", "initializer", "module_initializer")
    kept = {name: value for name, value in core.DotMap(settings["model"]).items() if name not in left_out}
    model = core.dygie.DyGIE(vocab=vocabulary, embedder=embedder, **kept)
    state: dict[str, torch.Tensor] = model.state_dict()
    return state


def score() -> None:
    """Print the package's own numbers of the pairs on standard input, or why there are none."""
    import radeval
    from radeval.metrics.f1chexbert import F1CheXbert
    from sklearn.metrics import f1_score

    sys.modules.setdefault("RadEval", radeval)
    asked = json.load(sys.stdin)
    found: dict[str, Any] = {}
    for metric in ("radgraph", "f1chexbert", "ratescore", "radcliq", "green", "crimson"):
        try:
            if metric == "f1chexbert":
                # The package's own call wants CUDA and fails with scikit-learn 1.9; its labels are counted as it does.
                labels = F1CheXbert(device="cpu").get_labels
                value = f1_score(labels(asked["refs"]), labels(asked["hyps"]), average="micro")
                found[metric] = {"f1chexbert_all_micro_f1": value}
            else:
                found[metric] = radeval.RadEval(metrics=[metric], show_progress=False)(**asked)
        except Exception as error:  # whatever the package raises is what it says
            found[metric] = {"failed": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(found))


def main() -> None:
    """Make all models in the folder that is named, or score."""
    if sys.argv[1] == "score":
        score()
        return
    home = Path(sys.argv[1])
    torch.manual_seed(0)
    hub = home / "hub"
    chexbert(home)
    roberta(snapshot(hub, "distilroberta-base"))
    labels = dict(enumerate(["O", *(f"{part}-{name}" for name in ENTITIES for part in "BI")]))
    named = {"id2label": labels, "label2id": {name: place for place, name in labels.items()}}
    bert(snapshot(hub, "Angelakeke/RaTE-NER-Deberta"), AutoModelForTokenClassification, **named)
    bert(snapshot(hub, "FremyCompany/BioLORD-2023-C"))
    writer(snapshot(hub, "StanfordAIMI/GREEN-radllama2-7b"))
    writer(snapshot(hub, "rajpurkarlab/medgemma-4b-it-crimson"))
    for name in ("radgraph", "radgraph-xl"):
        radgraph(home, name)


if __name__ == "__main__":
    main()
