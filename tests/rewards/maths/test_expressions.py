"""Numeric answers that are arithmetic: our grammar reads them, sympy compares them in a process that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import Rubric, Scorer
from rewards.maths import expressions, sympy_parent
from rewards.maths.sympy_parent import SympyProcess
from rewards.shipped.numeric import numeric
from rollouts.records import Parsed, Sample

# Written before the grammar was run: gold, answer, right.
CASES = [
    ("0.75", "3/4", True), ("0.75", "The ratio is 3/4.", True), ("0.75", r"\frac{3}{4}", True),
    ("0.75", r"$\dfrac{3}{4}$", True),
    ("0.75", r"\boxed{\frac{3}{4}}", True), ("0.75", "¾", True), ("1.5", "1½", True), ("1.5", "1 1/2", True),
    ("1.5", "3/2", True),
    ("1.5", "11/2", False), ("0.75", "4/3", False), ("0.75", "not 3/4", False), ("0.75", "3/4 or 1/2", False),
    ("0.75", "x = 3/4", True),
    ("0.75 mg", "3/4 mg", True), ("0.75 mg", "750 µg", True), ("0.75 mg", "3/4 g", False), ("0.75 mg", "3/4", False),
    ("0.75 mg", "3000/4 µg", True), ("3/4", "0.75", True), ("3/4", "6/8", True), ("3/4", "0.8", False),
    ("3/4", "4/3", False),
    ("sqrt(2)", "1.414", True), ("sqrt(2)", "√2", True), ("sqrt(2)", "2", False), ("2", "sqrt(2)", False),
    ("2", "sqrt(4)", True),
    ("sqrt(8)", "2√2", True), (r"\frac{\sqrt{2}}{2}", "1/sqrt(2)", True), ("2", "2π", False), ("2π", "6.28", True),
    ("π/2", "2", False),
    ("2π", "2", False), ("2^10", "1024", True), ("1024", "2**10", True), ("1024", "2^9", False), ("8", "2³", True),
    ("0.001", "10⁻³", True),
    ("1.2 × 10^9/L", "1.2e9 /l", True), ("1.2 × 10^9/L", "1200 × 10^6 / l", True),
    ("1.2 × 10^9/L", "1.2 x 10^12/l", False),
    ("5 × 10^3 ml", "5 l", True), ("5 × 10³ ml", "5 ml", False), ("7", "3+4", True), ("7", "2(3+4)", False),
    ("14", "2(3+4)", True),
    ("3", "6/2", True), ("3", "6.02/2", False), ("-20 HU", "-(40/2) HU", True), ("2.718", "exp(1)", True),
    ("2", "log(100)", True),
    # Written like arithmetic, and none: a blood pressure, a range, a Gleason score.
    ("120/80 mmHg", "120/80 mmHg", True), ("120/80 mmHg", "1.5 mmHg", False), ("120/80", "240/160", False),
    ("120/80", "3/2", False),
    ("3-5 mg", "3 to 5 mg", True), ("3-5 mg", "-2 mg", False), ("3+4", "3+4", True), ("3+4", "4+3", False),
    ("3+4", "7", False),
    # Hostile.
    ("3", "1/0", False), ("3", "0/0", False), ("3", "0^-1", False), ("3", "sqrt(-9)", False),
    ("3", "10**10**10", False),
    ("3", "9^9^9^9", False), ("3", "((9^30)^30)^30", False), ("3", "__import__('os').getpid()", False),
    ("3", "sqrt(__import__('os'))", False),
    ("3", "exec('x')", False), ("3", "exp(exp(exp(9)))", False), ("3", "exp(999999999999999)", False),
    ("0.75", "(" * 100 + "3/4" + ")" * 100, False), ("3", "3" * 400, False),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "right"), CASES)
def test_arithmetic_is_worth_what_it_comes_to(gold, answer, right):
    outcome = numeric(Parsed("T", answer), Sample("n", "How much?", "numeric", gold))
    assert outcome.value == float(right), outcome.reason


def test_a_process_that_hangs_is_killed_at_its_deadline_and_replaced():
    hang = [sys.executable, "-c", "import time; print('{}', flush=True); input(); time.sleep(60)"]
    process = SympyProcess(hang, answer_seconds=0.3)
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=r"within 0\.3 s"):
            process.ask("{}")
        assert process._child is None
        assert time.monotonic() - started < 20
    process.close()


def test_a_process_that_dies_is_an_error_and_the_next_question_gets_another():
    dies = [sys.executable, "-c", "print('{}', flush=True); input()"]
    process = SympyProcess(dies)
    with pytest.raises(RuntimeError, match="ended"):
        process.ask("{}")
    process._command = SympyProcess()._command
    two = ["number", "2"]
    asked = {"left": two, "right": two, "left_factor": "1", "right_factor": "1", "tolerance": 0}
    assert process.ask(json.dumps(asked)) == {"equal": True}
    process.close()


def test_a_comparison_that_cannot_be_made_is_a_status_and_no_number(monkeypatch):
    broken = SympyProcess(
        [sys.executable, "-c", "print('{}', flush=True); input(); print('{\"error\": \"ValueError\"}', flush=True)"]
    )
    monkeypatch.setattr(sympy_parent, "_PROCESS", broken)
    sympy_parent._equal.cache_clear()
    with Scorer(Rubric({"accuracy": 1.0}, {"numeric": "numeric"})) as scorer:
        scored = scorer.submit(Sample("n", "How much?", "numeric", "17"), "<answer>34/2</answer>", "g").result(60)
    broken.close()
    assert (scored.total, scored.outcomes["accuracy"].status) == (None, "error")
    assert "could not compare" in scored.outcomes["accuracy"].reason


def test_threads_take_turns_with_one_process():
    process = SympyProcess()
    answers = []

    def ask(number: int) -> None:
        tree = ["^", ["number", str(number)], ["number", "2"]]
        square = ["number", str(number * number)]
        answers.append(
            process.ask(
                json.dumps({"left": tree, "right": square, "left_factor": "1", "right_factor": "1", "tolerance": 0})
            )
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    process.close()
    assert answers == [{"equal": True}] * 12


def test_the_child_builds_only_what_it_knows_and_ends_with_its_input():
    requests = [
        {"left": ["eval", "1"], "right": ["pi"]},
        {"left": ["call", "system", ["pi"]], "right": ["pi"]},
        "no object",
    ]
    lines = "\n".join(json.dumps(one) for one in requests) + "\nno json\n"
    done = subprocess.run(
        [sys.executable, "-I", str(sympy_parent.CHILD)], input=lines, capture_output=True, text=True, timeout=120
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [set(answer) for answer in said] == [{"ready"}] + [{"error"}] * 4


def test_this_process_never_loads_sympy():
    code = (
        "import rewards, sys, rewards.shipped.numeric; rewards.shipped.numeric.quantities('3/4'); print('sympy' in"
        " sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


SIGNS = st.text(alphabet="0123456789.+-*/^()[]{} πe√½⁻²x=\\fracsqrtlnm\n", max_size=120)


@settings(deadline=None, max_examples=500)
@given(SIGNS | st.text(max_size=400))
def test_any_text_is_read_or_not_and_never_raises(text):
    read = expressions.read(text)
    assert read is None or isinstance(read.tree, list)


@settings(deadline=None, max_examples=60)
@given(SIGNS)
def test_any_answer_is_paid_zero_or_one(text):
    assert numeric(Parsed("T", text), Sample("n", "How much?", "numeric", "0.75")).value in (0.0, 1.0)
