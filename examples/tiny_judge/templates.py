"""Sentences around an answer: those that commit to it, and those that do not. Training and held-out pairs draw from different ones.

{x} is a wording of an answer, {y} and {z} of other answers to the same question, {x2} another wording of {x}. {modality}, {finding},
{a_finding} are the question's own.
"""

from __future__ import annotations

from typing import NamedTuple


class Split(NamedTuple):
    """Templates of the training pairs, and those that only held-out pairs use."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


STATES = Split(
    (
        *("{x}", "{x}", "{x}", "{x}.", "{x}!", "{x}?", "it is {x}", "it's {x}", "this is {x}", "this is {x}.", "the answer is {x}"),
        *("answer: {x}", "final answer: {x}", "I think it is {x}", "most likely {x}", "probably {x}", "{x}, I think", "{x} is the answer"),
        *("**{x}**", '"{x}"', "({x})", "- {x}", "that is {x}", "clearly {x}", "my answer is {x}", "I would say {x}", "it must be {x}"),
        *("so it is {x}", "so the answer is {x}.", "The answer: {x}.", "I believe this is {x}", "it seems to be {x}", "{x} (most likely)"),
        *("likely {x}", "in my view {x}", "I say {x}", "I choose {x}", "well, {x}", "definitely {x}", "<answer>{x}</answer>", "`{x}`"),
    ),
    (
        *("I think the answer is {x}", "this must be {x}", "most likely it is {x}", "answer is {x}", "it is probably {x}", "{x}, most likely"),
        *("final answer is {x}.", "that must be {x}", "*{x}*", "clearly it is {x}", "I would say it is {x}", "'{x}'", "I say it is {x}"),
        *("the answer must be {x}", "I believe it is {x}", "[{x}]", "{x}, definitely", "my answer: {x}", "so this is {x}"),
    ),
)  # fmt: skip
STATES_FINDING = Split(
    (
        *("the image shows {x}", "this {modality} shows {x}", "the {modality} shows {x}", "there is {x}", "I see {x}", "{x} is seen"),
        *("{x} is visible", "diagnosis: {x}", "the diagnosis is {x}", "finding: {x}", "the finding is {x}", "consistent with {x}"),
        *("{x} can be seen", "{x} is present", "it shows {x}", "evidence of {x}", "{x} in this {modality}", "{x} on the {modality}"),
        *("looking closely there is {x}", "{modality} with {x}", "what is seen is {x}", "we see {x} here", "this image has {x}", "signs of {x}"),
        *("{x} in the {place}", "{x}, in the {place}", "{x} on the {side}", "I see {x} in the {place}, on the {side}", "findings of {x}"),
        *("looks like {x}", "the picture shows {x}", "shown is {x}", "the most likely diagnosis is {x}", "this looks like {x}"),
    ),
    (
        *("we see {x}", "{x} is shown", "there is {x} in this {modality}", "I can see {x}", "the diagnosis is most likely {x}"),
        *("findings consistent with {x}", "{x} is the diagnosis", "{x} is seen in this image", "the {modality} is consistent with {x}"),
        *("it looks like {x}", "the finding here is {x}", "{x} is visible in the {place}", "the image has signs of {x}", "I see {x} on the {side}"),
    ),
)  # fmt: skip
STATES_WHERE = Split(
    (
        *("in the {x}", "the {finding} is in the {x}", "it is in the {x}", "located in the {x}", "the {finding} lies in the {x}", "at the {x}"),
        *("on the {x}", "I see it in the {x}", "it can be seen in the {x}", "{a_finding} in the {x}", "in {x}", "on {x}", "the {x}", "the {x}."),
        *("I see {a_finding} in the {x}", "the {finding} is on the {x}", "{finding}: {x}", "it is on the {x}", "towards the {x}"),
        *("the location is the {x}", "the {finding} is seen in the {x}", "its position is the {x}", "the {finding} is at the {x}"),
        *("mostly in the {x}", "in the {x} of it", "within the {x}", "location: {x}", "the {x} is affected"),
    ),
    (
        *("the {finding} can be seen in the {x}", "it lies in the {x}", "the {finding} is located in the {x}", "I see the {finding} in the {x}"),
        *("it is located at the {x}", "there is {a_finding} in the {x}", "it is seen on the {x}", "position: {x}", "{finding} in the {x}"),
        *("the {finding} lies at the {x}", "it is mostly in the {x}", "the location of the {finding} is the {x}"),
    ),
)  # fmt: skip
STATES_SLICE = Split(
    ("best in {x}", "{x} shows it best", "it is largest in {x}", "the {finding} is best seen in {x}", "the {finding} is largest in {x}",
     "{x} shows the {finding} best", "{x} is the best one", "{x} has the largest {finding}"),
    ("it is best seen in {x}", "{x} shows the largest {finding}", "largest in {x}", "the best one is {x}"),
)  # fmt: skip
# The last commitment counts: {x} is what is answered.
CORRECTS = Split(
    (
        *("not {y}, but {x}", "{x}, not {y}", "{x} and not {y}", "first I thought {y}, but it is {x}", "{y}? no, {x}", "it is {x}, not {y}"),
        *("{y} - correction: {x}", "it is {x} rather than {y}", "no {y}, but {x}", "it looks like {y} but is {x}", "{x} instead of {y}"),
        *("{y}... no, wait: {x}", "not {y}; {x}", "this is not {y} but {x}", "{x}, certainly not {y}", "{y} is wrong, it is {x}"),
    ),
    (
        *("I thought of {y}, but it is {x}", "not {y}. {x}.", "it is not {y}, it is {x}", "{x}, rather than {y}", "{y}, no: {x}"),
        *("I first thought {y}, then saw that it is {x}", "{x} and certainly not {y}"),
    ),
)  # fmt: skip
REPEATS_ITSELF = Split(
    (
        "{x}, that is {x2}",
        "{x} ({x2})",
        "{x}, i.e. {x2}",
        "{x} = {x2}",
        "{x}; {x2}",
        "{x}, in other words {x2}",
        "{x}, also called {x2}",
    ),
    ("{x}, which is {x2}", "{x}, {x2}", "{x} [{x2}]", "{x} - {x2}"),
)
LISTS = Split(
    (
        *("{x} or {y}", "{x} and {y}", "{x}, {y}", "{x} / {y}", "either {x} or {y}", "{x}, possibly {y}", "{x} and possibly {y}"),
        *("both {x} and {y}", "{x}, {y} or {z}", "it could be {x} or {y}", "{x} with {y}", "{x}; {y}", "maybe {x}, maybe {y}", "{x}. {y}."),
        *("one of {x}, {y}, {z}", "differential: {x}, {y}", "{x} versus {y}", "50% {x}, 50% {y}", "{x} plus {y}", "{x} but also {y}"),
        *("{x}, {y}, {z}", "{x}, {y} and {z}", "it is {x} or it is {y}", "{x} or maybe {y}", "not sure whether {x} or {y}", "{x} ({y})"),
        *("{x} vs {y}", "{x}, or {y} if that is wrong", "I see {x} and {y}", "first {x}, then {y}", "{x} if not {y}", "{x} - {y}"),
        *("any of {x}, {y}, {z}", "{x}\n{y}", "{x}, {y}, {z}, all of them", "the answer is {x} or {y}", "there is {x} and {y}"),
    ),
    (
        *("{x} as well as {y}", "{x}, alternatively {y}", "between {x} and {y}", "{x}, unless it is {y}", "{x} | {y}", "{x} & {y}"),
        *("it can be {x} and it can be {y}", "{x}, {y}, and {z} are all possible", "I see {x} and also {y}", "perhaps {x}, perhaps {y}"),
        *("{x} or else {y}", "{x} + {y}", "60 percent {x}, 40 percent {y}", "1. {x} 2. {y} 3. {z}"),
        *("{x}, {y}, or both", "{x}, although {y} fits too"),
    ),
)  # fmt: skip
REJECTS = Split(
    (
        *("no {x}", "not {x}", "it is not {x}", "there is no {x}", "no evidence of {x}", "without {x}", "{x} is absent", "{x} is excluded"),
        *("anything but {x}", "absence of {x}", "{x} ruled out", "it cannot be {x}", "{x} is unlikely", "I see no {x}", "{x} is wrong"),
        *("everything except {x}", "{x}: no", "negative for {x}", "never {x}", "free of {x}", "{x} cannot be excluded", "this is not {x}"),
        *("the answer is not {x}", "no {x} is seen", "{x} is not present", "nothing like {x}", "other than {x}", "far from {x}", "it isn't {x}"),
        *("{x} was considered and rejected", "{x} would be false", "unlike {x}", "no sign that it is {x}", "{x}, or rather not", "no {x} at all"),
        *("I do not think it is {x}", "I don't see {x}", "it was {x} once, no longer", "{x} has resolved", "{x}? no.", "opposite of {x}"),
    ),
    (
        *("{x} has been ruled out", "no sign of {x}", "definitely not {x}", "{x} can be excluded", "this is no {x}", "{x} is not seen"),
        *("hardly {x}", "the opposite of {x}", "neither {x} nor anything else", "{x} is not the answer", "I doubt that it is {x}", "all but {x}"),
        *("there isn't any {x}", "rather not {x}", "{x} is not what it shows", "we do not see {x}", "it would be wrong to say {x}"),
    ),
)  # fmt: skip
NO_ANSWER = Split(
    (
        *("I don't know", "I cannot tell", "unclear", "not sure", "no idea", "impossible to say", "the image is too dark", "cannot determine"),
        *("please consult a radiologist", "I am not able to interpret medical images", "as an AI I cannot diagnose", "it depends", "see image"),
        *("clinical correlation recommended", "whatever the radiologist says", "unknown", "skip", "pass", "nothing", "none", "none of these"),
        *("further imaging is needed", "I would rather not answer", "the image does not allow an answer", "sorry, I can't help with that"),
        *("it is visible in the image", "as seen in the image", "the finding", "the correct finding", "the usual place", "the affected side"),
        *("a short answer", "something medical", "this is a routine question", "I guess", "one answer is as good as another", "some slice"),
        *("the one that is shown", "what you see", "look at the image", "as described above", "all of the above", "none of the above", "ok"),
        *("I see", "the image shows", "it is", "in the", "on the", "the answer is", "there is", "a", "the", "of the image", "the patient's"),
        *("everywhere", "nowhere", "anywhere", "many things", "several findings", "the left or right", "slice", "in one slice", "image"),
    ),
    (
        *("hard to say", "I can't answer this", "not enough information", "ask a doctor", "no answer", "it cannot be determined", "any slice"),
        *("the image quality is too low", "I would need more views", "I have no opinion", "that is for the radiologist to say", "undetermined"),
        *("the finding in the image", "a typical finding", "where it usually is", "the side that is affected"),
        *("the best slice", "could be anything"),
    ),
)  # fmt: skip
REPEATS_QUESTION = Split(
    (
        *("the {modality} shows what the {modality} shows", "the finding seen in this {modality}", "the diagnosis is the diagnosis"),
        *("the {finding_asked} is where it is", "you ask about this {modality}", "the question is: {question}"),
        *("{question}", "{question} {question}"),
        *("you are asking: {question}", "what does it show?", "where is it?", "which side is it?"),
        *("the side on which it is", "the slice that shows it best"),
    ),
    ("it shows what this {modality} shows", "I am asked: {question}", "the part of the image that holds it", "the question asks {question}",
     "the diagnosis of this {modality} is its diagnosis", "in which slice it is largest"),
)  # fmt: skip
