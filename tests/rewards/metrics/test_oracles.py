"""Every value of the oracles that an own implementation here answers for. What is left out, and why: METEOR 1.5 (its
paraphrase tables and WordNet are no part of this project), and the one pair of NLTK's METEOR whose synonym only WordNet
knows."""

from __future__ import annotations

import pytest
from sacrebleu import metrics as sacrebleu_metrics

from rewards.metrics import bleu, boxes, overlap
from rewards.metrics.cider import cider, cider_d, rarity
from rewards.metrics.cutting import TOKENIZERS, alnum, alnum_stemmed, characters, ptb, stops
from rewards.metrics.reports import compute
from rewards.metrics.result import TextRow

DIGITS = 1.01e-6  # the oracles are printed with six
LEFT_OUT = {"coco.meteor15.ptb"}
SACREBLEU = {
    "bleu4.default": ("BLEU", {}),
    "bleu4.lc_eff": ("BLEU", {"lowercase": True, "effective_order": True}),
    "bleu4.lc_eff_none": ("BLEU", {"lowercase": True, "effective_order": True, "smooth_method": "none"}),
    "bleu4.eff_addk1": (
        "BLEU", {"lowercase": True, "effective_order": True, "smooth_method": "add-k", "smooth_value": 1},
    ),
    "chrf2": ("CHRF", {}),
    "ter": ("TER", {}),
}  # fmt: skip


def scorers(pairs):
    """Name in the oracles -> score of (hypothesis, reference)."""
    found = {}
    for kind, cut in (("", alnum), (".stem", alnum_stemmed)):
        found[f"rouge_score.rouge1{kind}"] = lambda h, r, cut=cut: overlap.rouge_n(cut(h), cut(r), 1)
        found[f"rouge_score.rouge2{kind}"] = lambda h, r, cut=cut: overlap.rouge_n(cut(h), cut(r), 2)
        found[f"rouge_score.rougeL{kind}"] = lambda h, r, cut=cut: overlap.rouge_l(cut(h), cut(r))
    found["rouge.rouge-l.f"] = lambda h, r: overlap.rouge_l_of_package(h.lower(), r.lower())
    found["rouge.rouge-1.f"] = lambda h, r: overlap.rouge_1_of_package(h.lower(), r.lower())
    for name, (kind, settings) in SACREBLEU.items():
        metric = getattr(sacrebleu_metrics, kind)(**settings)
        found[f"sacrebleu.{name}"] = lambda h, r, metric=metric: metric.sentence_score(h, [r]).score / 100
    found["nltk.bleu4.method1"] = lambda h, r: bleu.nltk_bleu([bleu.count(stops(h), [stops(r)])], epsilon=0.1)
    found["nltk.meteor"] = found["nltk.meteor.no_wordnet"] = lambda h, r: overlap.meteor(stops(h), stops(r))
    for order in range(1, 5):
        found[f"nltk.bleu{order}.medevalkit"] = lambda h, r, n=order: bleu.nltk_bleu(
            [bleu.count(stops(h), [stops(r)])], n
        )
    for kind, cut in (("ptb", ptb), ("blank", stops)):
        rare = rarity([[cut(pair["reference"])] for pair in pairs])
        for order in range(1, 5):
            found[f"coco.bleu{order}.{kind}"] = lambda h, r, cut=cut, n=order: bleu.coco_bleu(
                bleu.count(cut(h), [cut(r)])
            )[n - 1]
        found[f"coco.rougeL.{kind}"] = lambda h, r, cut=cut: overlap.rouge_l_coco(cut(h), [cut(r)])
        found[f"coco.ciderD.{kind}"] = lambda h, r, cut=cut, rare=rare: cider_d(cut(h), [cut(r)], rare)
        found[f"cider_plain.{kind}"] = lambda h, r, cut=cut, rare=rare: cider(cut(h), [cut(r)], rare)
    return found


def test_every_pair_has_the_value_of_the_original(metric_oracles):
    pairs, mine = metric_oracles["pairs"], scorers(metric_oracles["pairs"])
    assert metric_oracles["per_pair"].keys() - mine.keys() == LEFT_OUT
    faults = []
    for name, score in mine.items():
        for pair in pairs:
            want, got = (
                metric_oracles["per_pair"][name]["values"][pair["id"]],
                score(pair["hypothesis"], pair["reference"]),
            )
            if isinstance(want, dict):
                want, got = [want[key] for key in "prf"], list(got)
            if got != pytest.approx(want, abs=DIGITS):
                faults.append((name, pair["id"]))
    # "shin" for "tibia": only WordNet knows.
    assert faults == [("nltk.meteor", "synonym_wordnet_stem_safe")]


def test_ptb_tokens_are_those_of_the_original(metric_oracles):
    for side in ("hypothesis", "reference"):
        for pair in metric_oracles["pairs"]:
            assert " ".join(ptb(pair[side])) == metric_oracles["ptb_tokens"][side][pair["id"]]


def rows_of(metric_oracles, *, two=False):
    pairs = metric_oracles["pairs"]
    following = [*pairs[1:], pairs[0]]
    return [
        TextRow(pair["hypothesis"], (pair["reference"], other["reference"]) if two else (pair["reference"],))
        for pair, other in zip(pairs, following, strict=True)
    ]


def test_corpus_values_are_those_of_the_original(metric_oracles):
    corpus, rows = metric_oracles["corpus"], rows_of(metric_oracles)
    for order in range(1, 5):
        assert compute(f"bleu_{order}_coco", rows).value == pytest.approx(
            corpus["coco.bleu.ptb"][order - 1], abs=DIGITS
        )
    for name, oracle in (
        ("rouge_l_coco", "coco.rougeL.ptb"),
        ("cider_d", "coco.ciderD.ptb"),
        ("cider", "cider_plain.ptb"),
    ):
        assert compute(name, rows).value == pytest.approx(corpus[oracle], abs=DIGITS)
    found = compute("bleu_4", rows)
    assert 100 * found.value == pytest.approx(corpus["sacrebleu.bleu.lc"]["score"], abs=DIGITS)
    assert found.signature.startswith(
        "bleu_4|sacrebleu " + corpus["sacrebleu.bleu.lc"]["signature"].split("|version")[0]
    )
    counts = [bleu.count(stops(row.answer), [stops(row.references[0])]) for row in rows]
    assert bleu.nltk_bleu(counts) == pytest.approx(corpus["nltk.corpus_bleu4.medevalkit_tokens"], abs=DIGITS)
    assert bleu.coco_bleu(bleu.add(counts)) == pytest.approx(corpus["coco.bleu.blank"], abs=DIGITS)
    tokens = [(stops(row.answer), [stops(row.references[0])]) for row in rows]
    rare = rarity([references for _, references in tokens])
    for score, oracle in ((cider_d, "coco.ciderD.blank"), (cider, "cider_plain.blank")):
        mean = sum(score(said, references, rare) for said, references in tokens) / len(rows)
        assert mean == pytest.approx(corpus[oracle], abs=DIGITS)
    mean = sum(overlap.rouge_l_coco(said, references) for said, references in tokens) / len(rows)
    assert mean == pytest.approx(corpus["coco.rougeL.blank"], abs=DIGITS)


def test_two_references_are_taken_as_the_originals_take_them(metric_oracles):
    corpus, rows = metric_oracles["corpus"], rows_of(metric_oracles, two=True)
    for name, oracle in (("rouge_l_coco", "coco.rougeL.ptb.two_refs"), ("cider_d", "coco.ciderD.ptb.two_refs")):
        found = compute(name, rows)
        assert found.value == pytest.approx(corpus[oracle]["score"], abs=DIGITS)
        assert list(found.items) == pytest.approx(list(corpus[oracle]["values"].values()), abs=DIGITS)
    found = [compute(f"bleu_{order}_coco", rows).value for order in range(1, 5)]
    assert found == pytest.approx(corpus["coco.bleu.ptb.two_refs"], abs=DIGITS)


def test_chinese_is_cut_into_characters(metric_oracles):
    for row in metric_oracles["chinese"]:
        said, reference = row["hypothesis"], row["reference"]
        assert overlap.rouge_l(characters(said), characters(reference)).f1 == pytest.approx(
            row["char_rougeL_f1"], abs=DIGITS
        )
        assert bleu.sacre("zh").sentence_score(said, [reference]).score / 100 == pytest.approx(
            row["sacrebleu.zh"], abs=DIGITS
        )
        # What rouge-score makes of it: nothing, or of "right lung" for "left lung" a perfect score.
        assert overlap.rouge_l(alnum(said), alnum(reference)).f1 == row["rouge_score.rougeL"]
        mine = compute("rouge_l", [TextRow(said, (reference,), "zh")])
        assert 0 < mine.value < 1 and "tok:words" in mine.signature


def test_edge_cases(metric_oracles):
    oracles = {row["case"]: row for row in metric_oracles["edge_cases"]}
    assert overlap.rouge_l(alnum(""), alnum("a b")).f1 == oracles["rouge-score rougeL, empty hypothesis"]["result"]
    assert overlap.rouge_l([], []).f1 == oracles["rouge-score rougeL, both empty"]["result"]
    for case, said in (("rouge 1.0.1, empty hypothesis", ""), ("rouge 1.0.1, hypothesis '.'", ".")):
        assert oracles[case]["raises"] and overlap.rouge_l_of_package(said, "normal") is None
    same = oracles["rouge 1.0.1, identical 'normal.'"]["result"]
    assert overlap.rouge_l_of_package("normal.", "normal.") == pytest.approx(same, abs=1e-6)
    three = [bleu.count(["a", "b", "c"], [["a", "b", "c"]])]
    assert bleu.nltk_bleu(three) == pytest.approx(
        oracles["nltk sentence_bleu, identical 3 words, no smoothing"]["result"]
    )
    assert bleu.nltk_bleu([bleu.count([], [["a"]])]) == oracles["nltk sentence_bleu, empty hypothesis"]["result"]
    assert overlap.meteor(["a"], ["a"]) == oracles["nltk meteor, identical 1 word"]["result"]
    ten = list("abcdefghij")
    assert overlap.meteor(ten, ten) == pytest.approx(oracles["nltk meteor, identical 10 words"]["result"], abs=1e-9)
    assert overlap.rouge_l_coco([], [["a"]]) == oracles["coco Rouge, empty hypothesis"]["result"]
    effective = oracles["sacrebleu sentence effective_order, identical 3 words"]["result"]
    assert bleu.sacre().sentence_score("a b c", ["a b c"]).score == pytest.approx(effective)


def test_boxes(metric_oracles):
    for row in metric_oracles["boxes_xyxy"]["rows"]:
        pair = tuple(row["a"]), tuple(row["b"])
        # DIoU and CIoU there have an epsilon of 1e-7 in a denominator.
        assert boxes.iou(*pair) == pytest.approx(row["iou"], abs=1e-8)
        assert boxes.generalised_iou(*pair) == pytest.approx(row["giou"], abs=1e-8)
        assert boxes.distance_iou(*pair) == pytest.approx(row["diou"], abs=2e-7)
        assert boxes.complete_iou(*pair) == pytest.approx(row["ciou"], abs=2e-7)


def test_the_tokenizers_have_names():
    assert {name: cut("Right-sided 3.5 cm.") for name, cut in TOKENIZERS.items()} == {
        "words": ["right", "sided", "3.5", "cm"],
        "alnum": ["right", "sided", "3", "5", "cm"],
        "alnum+porter": ["right", "side", "3", "5", "cm"],
        "blanks": ["right-sided", "3.5", "cm."],
        "stops": ["right-sided", "3", ".5", "cm", "."],
        "ptb": ["right-sided", "3.5", "cm"],
        "characters": list("right-sided35cm"),
    }
