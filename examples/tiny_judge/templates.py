"""Sentences around an answer: those that commit to it, and those that do not.

{x} is a wording of an answer, {y} and {z} of other answers to the same question, {x2} another wording of {x}. {modality}, {finding},
{a_finding} are the question's own. Where sentences come in two parts, training draws from the first and held-out pairs from the second.
"""

from __future__ import annotations

from typing import NamedTuple


class Split(NamedTuple):
    """What training pairs say, and what only held-out pairs say."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


STATES = (
    *("{x}", "{x}", "{x}", "{x}.", "{x}!", "{x}?", "it is {x}", "it's {x}", "this is {x}", "this is {x}.", "the answer is {x}"),
    *("answer: {x}", "final answer: {x}", "I think it is {x}", "most likely {x}", "probably {x}", "{x}, I think"),
    *("{x} is the answer", "**{x}**", "\"{x}\"", "({x})", "- {x}", "that is {x}", "clearly {x}", "my answer is {x}"),
    *("I would say {x}", "it must be {x}", "so it is {x}", "so the answer is {x}.", "The answer: {x}.", "I believe this is {x}"),
    *("it seems to be {x}", "{x} (most likely)", "likely {x}", "in my view {x}", "I say {x}", "I choose {x}", "well, {x}"),
    *("definitely {x}", "<answer>{x}</answer>", "`{x}`", "I think the answer is {x}", "this must be {x}", "most likely it is {x}"),
    *("answer is {x}", "it is probably {x}", "{x}, most likely", "final answer is {x}.", "that must be {x}", "*{x}*"),
    *("clearly it is {x}", "I would say it is {x}", "'{x}'", "I say it is {x}", "the answer must be {x}", "I believe it is {x}"),
    *("[{x}]", "{x}, definitely", "my answer: {x}", "so this is {x}", "[{x}]", "'{x}'", "<{x}>", "{{{{{x}}}}}", "~{x}~", "__{x}__"),
    *("* {x}", "> {x}", "# {x}", "= {x}", "« {x} »", "{x};", "{x},", ": {x}", "-> {x}", "final: {x}", "result: {x}"),
    *("conclusion: {x}", "impression: {x}", "reading: {x}", "it would be {x}", "it appears to be {x}", "I suppose {x}"),
    *("I would call it {x}", "I would go with {x}", "my guess is {x}", "I am sure it is {x}", "it can only be {x}"),
    *("without doubt {x}", "certainly {x}", "surely {x}", "yes, {x}", "well, it is {x}", "I read it as {x}", "I take it to be {x}"),
    *("it turns out to be {x}", "what I see is {x}", "what it shows is {x}", "the right answer is {x}", "best answer: {x}"),
    *("my final answer is {x}", "I answer {x}", "I would answer {x}", "I settle on {x}", "in short, {x}", "overall {x}"),
    *("simply {x}", "just {x}", "only {x}", "nothing but {x}", "none other than {x}", "here it is {x}", "to me this is {x}"),
    *("as far as I can see, {x}", "it should be {x}", "it has to be {x}", "this has to be {x}", "that would be {x}"),
    *("the answer here is {x}", "{x}, for sure", "{x}, clearly", "{x}, I believe", "{x}, it seems", "{x}, without doubt"),
    *("{x} it is", "{x} is my answer", "{x} is what I see", "{x} is what it is", "{x} is the right one", "{x} would be my answer"),
    *("{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "I am confident that this is {x}", "if you ask me, {x}"),
    *("this is surely {x}", "“{x}”", "({x}).", "I opt for {x}", "the best answer is {x}", "{x}, of course", "it really is {x}"),
    *("simply put, {x}", "no doubt, {x}", "I conclude {x}", "my conclusion: {x}", "*** {x} ***", "most probably {x}"),
)  # fmt: skip
STATES_FINDING = (
    *("the image shows {x}", "this {modality} shows {x}", "the {modality} shows {x}", "there is {x}", "I see {x}", "{x} is seen"),
    *("{x} is visible", "diagnosis: {x}", "the diagnosis is {x}", "finding: {x}", "the finding is {x}", "consistent with {x}"),
    *("{x} can be seen", "{x} is present", "it shows {x}", "evidence of {x}", "{x} in this {modality}", "{x} on the {modality}"),
    *("looking closely there is {x}", "{modality} with {x}", "what is seen is {x}", "we see {x} here", "this image has {x}"),
    *("signs of {x}", "{x} in the {place}", "{x}, in the {place}", "{x} on the {side}", "I see {x} in the {place}, on the {side}"),
    *("findings of {x}", "looks like {x}", "the picture shows {x}", "shown is {x}", "the most likely diagnosis is {x}"),
    *("this looks like {x}", "we see {x}", "{x} is shown", "there is {x} in this {modality}", "I can see {x}"),
    *("the diagnosis is most likely {x}", "findings consistent with {x}", "{x} is the diagnosis", "{x} is seen in this image"),
    *("the {modality} is consistent with {x}", "it looks like {x}", "the finding here is {x}", "{x} is visible in the {place}"),
    *("the image has signs of {x}", "I see {x} on the {side}", "this radiologic image shows {x}", "the scan shows {x}"),
    *("the study shows {x}", "we can see {x}", "one sees {x}", "I notice {x}", "I find {x}", "found: {x}", "visible: {x}"),
    *("seen: {x}", "present: {x}", "there appears to be {x}", "there seems to be {x}", "{x} is there", "{x} is what the image shows"),
    *("{x} is what this {modality} shows", "{x} is evident", "{x} is found", "{x} is noted", "{x} is seen here", "an image of {x}"),
    *("a picture of {x}", "a case of {x}", "typical of {x}", "suggestive of {x}", "compatible with {x}", "in keeping with {x}"),
    *("indicates {x}", "suggests {x}", "this suggests {x}", "appearance of {x}", "features of {x}", "likely diagnosis: {x}"),
    *("main finding: {x}", "key finding: {x}", "the main finding is {x}", "the abnormality is {x}", "it is a {modality} with {x}"),
    *("here we have {x}", "the patient has {x}", "this patient has {x}", "a {modality} showing {x}", "the lesion is {x}"),
    *("what we see here is {x}", "{x}, seen in the {place}", "there is {x} in the {place}", "I can make out {x}"),
    *("the radiologist would see {x}", "clear signs of {x}", "the image is typical of {x}", "{x} is clearly visible"),
    *("we have {x} here", "this image suggests {x}", "the finding that I see is {x}", "a {modality} of a patient with {x}"),
    *("visible is {x}",),
)  # fmt: skip
STATES_WHERE = (
    *("in the {x}", "the {finding} is in the {x}", "it is in the {x}", "located in the {x}", "the {finding} lies in the {x}"),
    *("at the {x}", "on the {x}", "I see it in the {x}", "it can be seen in the {x}", "{a_finding} in the {x}", "in {x}", "on {x}"),
    *("the {x}", "the {x}.", "I see {a_finding} in the {x}", "the {finding} is on the {x}", "{finding}: {x}", "it is on the {x}"),
    *("towards the {x}", "the location is the {x}", "the {finding} is seen in the {x}", "its position is the {x}"),
    *("the {finding} is at the {x}", "mostly in the {x}", "in the {x} of it", "within the {x}", "location: {x}"),
    *("the {x} is affected", "the {finding} can be seen in the {x}", "it lies in the {x}", "the {finding} is located in the {x}"),
    *("I see the {finding} in the {x}", "it is located at the {x}", "there is {a_finding} in the {x}", "it is seen on the {x}"),
    *("position: {x}", "{finding} in the {x}", "the {finding} lies at the {x}", "it is mostly in the {x}"),
    *("the location of the {finding} is the {x}", "the {finding} is found in the {x}", "the {finding} sits in the {x}"),
    *("the {finding} appears in the {x}", "it appears in the {x}", "it sits in the {x}", "it is found in the {x}"),
    *("it is at the {x}", "look at the {x}", "look in the {x}", "seen in the {x}", "visible in the {x}", "found in the {x}"),
    *("situated in the {x}", "lying in the {x}", "placed in the {x}", "over the {x}", "I would say in the {x}"),
    *("probably in the {x}", "most likely on the {x}", "clearly in the {x}", "it is the {x}", "that is the {x}", "the {x}, I think"),
    *("the {x} of course", "place: {x}", "site: {x}", "side: {x}", "where: {x}", "the {x} contains it", "the {x} holds it"),
    *("the {x} holds the {finding}", "the {x} contains the {finding}", "the {finding}: {x}", "the {finding}, {x}"),
    *("there, in the {x}", "somewhere in the {x}", "all of it is in the {x}", "centered in the {x}", "it occupies the {x}"),
    *("the {finding} occupies the {x}", "the {finding} affects the {x}", "it involves the {x}"),
    *("the {finding} can be found in the {x}", "one finds it in the {x}", "it lies on the {x}", "you can see it at the {x}"),
    *("I find the {finding} in the {x}", "answer: in the {x}", "the {finding} is seen at the {x}", "it is clearly on the {x}"),
    *("its location is the {x}", "mainly in the {x}"),
)  # fmt: skip
STATES_SLICE = (
    *("best in {x}", "{x} shows it best", "it is largest in {x}", "the {finding} is best seen in {x}"),
    *("the {finding} is largest in {x}", "{x} shows the {finding} best", "{x} is the best one", "{x} has the largest {finding}"),
    *("it is best seen in {x}", "{x} shows the largest {finding}", "largest in {x}", "the best one is {x}"),
    *("{x} is where it is largest", "it is biggest in {x}", "the biggest one is in {x}", "best visible in {x}"),
    *("{x} has the best view", "I would pick {x}", "the {finding} is biggest in {x}", "pick {x}", "take {x}", "{x} is the slice"),
    *("the slice is {x}", "{x} is best", "clearest in {x}", "most visible in {x}", "{x} shows the most of it", "seen best in {x}"),
    *("the {finding} is clearest in {x}", "I would choose {x}"),
)  # fmt: skip
# The last commitment counts: {x} is what is answered.
CORRECTS = (
    *("not {y}, but {x}", "{x}, not {y}", "{x} and not {y}", "first I thought {y}, but it is {x}", "{y}? no, {x}"),
    *("it is {x}, not {y}", "{y} - correction: {x}", "it is {x} rather than {y}", "no {y}, but {x}", "it looks like {y} but is {x}"),
    *("{x} instead of {y}", "{y}... no, wait: {x}", "not {y}; {x}", "this is not {y} but {x}", "{x}, certainly not {y}"),
    *("{y} is wrong, it is {x}", "I thought of {y}, but it is {x}", "not {y}. {x}.", "it is not {y}, it is {x}"),
    *("{x}, rather than {y}", "{y}, no: {x}", "I first thought {y}, then saw that it is {x}", "{x} and certainly not {y}"),
    *("I said {y} but meant {x}", "it seemed {y}, yet it is {x}", "{y}, or rather {x}", "{y}; correction, {x}"),
    *("scratch {y}, it is {x}", "not {y} at all: {x}", "no, not {y}, {x}", "it is no {y}, it is {x}", "it isn't {y}, it's {x}"),
    *("this is {x}, not {y}", "{x} (not {y})", "{x}, definitely not {y}", "{x} and no {y}", "{x} without any {y}"),
    *("initially {y}, finally {x}", "at first {y}, now {x}", "my first guess was {y}, my answer is {x}"),
    *("it could look like {y}, but it is {x}", "although it looks like {y}, it is {x}", "I thought {y} first. It is {x}."),
    *("there is no {y}, there is {x}", "there is {x}, there is no {y}", "one could think of {y}, but it is {x}"),
    *("{y} is excluded, it is {x}", "{y} can be ruled out, so {x}", "I change {y} to {x}", "rather {x} than {y}"),
    *("I would not say {y}, I would say {x}", "{y} it is not, {x} it is", "it is {x} instead of {y}", "{y} would be wrong: {x}"),
    *("this looks like {y} at first, but it is {x}", "{x}, and there is no {y}"),
)  # fmt: skip
REPEATS_ITSELF = (
    *("{x}, that is {x2}", "{x} ({x2})", "{x}, i.e. {x2}", "{x} = {x2}", "{x}; {x2}", "{x}, in other words {x2}"),
    *("{x}, also called {x2}", "{x}, which is {x2}", "{x}, {x2}", "{x} [{x2}]", "{x} - {x2}", "{x}: {x2}", "{x}, meaning {x2}"),
    *("{x}, that means {x2}", "{x} or, in other words, {x2}", "{x}, so {x2}", "{x} -> {x2}", "{x}. It is {x2}.", "it is {x}, {x2}"),
    *("{x}, namely {x2}", "{x}, specifically {x2}", "{x} {{{x2}}}", "{x}, that is to say {x2}", "{x}, and that is {x2}"),
    *("it is {x}, that is {x2}",),
)  # fmt: skip
LISTS = (
    # A bare list is what a policy writes most.
    *("{x}, {y}", "{x}, {y}", "{x}, {y}", "{x}, {y}", "{x}, {y}", "{x} {y}", "{x} {y}", "{x} / {y}", "{x}; {y}", "{x} and {y}", "{x} or {y}"),
    *("{x} or {y}", "{x} and {y}", "{x}, {y}", "{x} / {y}", "either {x} or {y}", "{x}, possibly {y}", "{x} and possibly {y}"),
    *("both {x} and {y}", "{x}, {y} or {z}", "it could be {x} or {y}", "{x} with {y}", "{x}; {y}", "maybe {x}, maybe {y}"),
    *("{x}. {y}.", "one of {x}, {y}, {z}", "differential: {x}, {y}", "{x} versus {y}", "50% {x}, 50% {y}", "{x} plus {y}"),
    *("{x} but also {y}", "{x}, {y}, {z}", "{x}, {y} and {z}", "it is {x} or it is {y}", "{x} or maybe {y}"),
    *("not sure whether {x} or {y}", "{x} ({y})", "{x} vs {y}", "{x}, or {y} if that is wrong", "I see {x} and {y}"),
    *("first {x}, then {y}", "{x} if not {y}", "{x} - {y}", "any of {x}, {y}, {z}", "{x}\n{y}", "{x}, {y}, {z}, all of them"),
    *("the answer is {x} or {y}", "there is {x} and {y}", "{x} as well as {y}", "{x}, alternatively {y}", "between {x} and {y}"),
    *("{x}, unless it is {y}", "{x} | {y}", "{x} & {y}", "it can be {x} and it can be {y}", "{x}, {y}, and {z} are all possible"),
    *("I see {x} and also {y}", "perhaps {x}, perhaps {y}", "{x} or else {y}", "{x} + {y}", "60 percent {x}, 40 percent {y}"),
    *("1. {x} 2. {y} 3. {z}", "{x}, {y}, or both", "{x}, although {y} fits too", "{x} together with {y}", "{x} along with {y}"),
    *("{x} besides {y}", "{x} in addition to {y}", "{x}, also {y}", "{x}, too, and {y}", "{x}, then {y}", "{x} beside {y}"),
    *("{x}... {y}", "{x}? {y}?", "is it {x} or {y}?", "whether {x} or {y}", "{x}, but {y} is possible"),
    *("{x}, {y} cannot be excluded", "{x}; otherwise {y}", "{x}, else {y}", "if not {x}, {y}", "{x} unless {y}"),
    *("{x} except where {y}", "{x} with a chance of {y}", "70% {x} and 30% {y}", "between {x} or {y}", "a mix of {x} and {y}"),
    *("{x} mixed with {y}", "{x} near {y}", "{x} next to {y}", "could be {x}, could be {y}", "might be {x}, might be {y}"),
    *("may be {x} or may be {y}", "possibly {x}, possibly {y}", "probably {x} or {y}", "perhaps {x} or {y}"),
    *("possible answers: {x}, {y}", "options: {x}, {y}", "I hesitate between {x} and {y}", "{x} is possible and so is {y}"),
    *("{x} is likely, {y} as well", "{x} as much as {y}", "{x} and {x}, {y} and {y}", "half {x}, half {y}"),
    *("sometimes {x}, sometimes {y}", "{x} for one, {y} for another", "both: {x} and {y}", "{x} + {y} + {z}", "{x}/{y}/{z}"),
    *("either one: {x}, {y}", "{x} at first sight, {y} at second, I cannot decide", "{x}, or the opposite, {y}"),
    *("{x} if it is benign, {y} if it is not", "{x}, while {y} is also there", "{x} accompanied by {y}", "{x} followed by {y}"),
    *("one of these: {x}, {y}", "{x}, although it may be {y}", "I cannot choose between {x} and {y}", "{x} (or {y})"),
    *("{x}, equally {y}", "{x} on top of {y}", "it is both {x} and {y}", "there are {x} and {y}", "{x}, {y} or neither"),
    *("possibly {x}, otherwise {y}",),
)  # fmt: skip
REJECTS = (
    *("no {x}", "not {x}", "it is not {x}", "there is no {x}", "no evidence of {x}", "without {x}", "{x} is absent"),
    *("{x} is excluded", "anything but {x}", "absence of {x}", "{x} ruled out", "it cannot be {x}", "{x} is unlikely"),
    *("I see no {x}", "{x} is wrong", "everything except {x}", "{x}: no", "negative for {x}", "never {x}", "free of {x}"),
    *("{x} cannot be excluded", "this is not {x}", "the answer is not {x}", "no {x} is seen", "{x} is not present"),
    *("nothing like {x}", "other than {x}", "far from {x}", "it isn't {x}", "{x} was considered and rejected", "{x} would be false"),
    *("unlike {x}", "no sign that it is {x}", "{x}, or rather not", "no {x} at all", "I do not think it is {x}", "I don't see {x}"),
    *("it was {x} once, no longer", "{x} has resolved", "{x}? no.", "opposite of {x}", "{x} has been ruled out", "no sign of {x}"),
    *("definitely not {x}", "{x} can be excluded", "this is no {x}", "{x} is not seen", "hardly {x}", "the opposite of {x}"),
    *("neither {x} nor anything else", "{x} is not the answer", "I doubt that it is {x}", "all but {x}", "there isn't any {x}"),
    *("rather not {x}", "{x} is not what it shows", "we do not see {x}", "it would be wrong to say {x}", "nothing of {x}"),
    *("not at all {x}", "by no means {x}", "in no way {x}", "never ever {x}", "certainly not {x}", "surely not {x}"),
    *("clearly not {x}", "probably not {x}", "it can't be {x}", "it couldn't be {x}", "it must not be {x}", "it should not be {x}"),
    *("I would not say {x}", "I would never say {x}", "nobody would say {x}", "one cannot say {x}", "one should not call it {x}"),
    *("it is false to say {x}", "it is wrong that it is {x}", "wrong: {x}", "false: {x}", "incorrect: {x}", "{x} is false"),
    *("{x} is incorrect", "{x} is not right", "{x} is not correct", "{x} would be wrong", "{x} would be a mistake"),
    *("{x} is out of the question", "{x} is impossible", "{x} is missing", "{x} is lacking", "{x} does not fit"),
    *("{x} does not apply", "{x} isn't it", "{x} is not it", "{x} isn't seen", "{x} isn't there", "{x} is nowhere"),
    *("{x} can be dismissed", "{x} must be dismissed", "{x} was excluded", "{x} was ruled out", "ruled out: {x}", "excluded: {x}"),
    *("I exclude {x}", "I rule out {x}", "I reject {x}", "I deny {x}", "we exclude {x}", "we cannot see {x}", "I cannot see {x}"),
    *("one does not see {x}", "there was no {x}", "there were never {x}", "there can be no {x}", "lack of {x}", "lacking {x}"),
    *("minus {x}", "save for {x}", "apart from {x}", "except {x}", "but for {x}", "anywhere but {x}", "everywhere but {x}"),
    *("all except {x}", "any but {x}", "different from {x}", "the contrary of {x}", "contrary to {x}", "not consistent with {x}"),
    *("against {x}", "speaks against {x}", "nor {x}", "neither {x}", "is it {x}? no", "{x}? hardly", "{x}? I don't think so"),
    *("{x}, said nobody", "if only it were {x}", "I wish it were {x}", "{x} is what it is not", "far away from {x}"),
    *("too small for {x}", "{x} only in the past", "formerly {x}", "no longer {x}", "not {x} any more", "it has never been {x}"),
    *("nothing suggests {x}", "we can exclude {x}", "I see nothing of {x}", "not a trace of {x}", "it is anything except {x}"),
    *("there is nothing like {x}", "{x} is certainly not there", "I don't believe in {x}", "it would be a mistake to say {x}"),
    *("definitely no {x}", "{x} is not what I see", "whatever it is, it is not {x}"),
)  # fmt: skip
NO_ANSWER = Split(
    (
        *("I don't know", "I cannot tell", "unclear", "not sure", "no idea", "impossible to say", "the image is too dark"),
        *("cannot determine", "please consult a radiologist", "I am not able to interpret medical images"),
        *("as an AI I cannot diagnose", "it depends", "see image", "clinical correlation recommended"),
        *("whatever the radiologist says", "unknown", "skip", "pass", "nothing", "none", "none of these"),
        *("further imaging is needed", "I would rather not answer", "the image does not allow an answer"),
        *("sorry, I can't help with that", "it is visible in the image", "as seen in the image", "the finding"),
        *("the correct finding", "the usual place", "the affected side", "a short answer", "something medical"),
        *("this is a routine question", "I guess", "one answer is as good as another", "some slice", "the one that is shown"),
        *("what you see", "look at the image", "as described above", "all of the above", "none of the above", "ok", "I see"),
        *("the image shows", "it is", "in the", "on the", "the answer is", "there is", "a", "the", "of the image", "the patient's"),
        *("everywhere", "nowhere", "anywhere", "many things", "several findings", "the left or right", "slice", "in one slice"),
        *("image", "hard to say", "I can't answer this", "not enough information", "ask a doctor", "no answer"),
        *("it cannot be determined", "any slice", "the image quality is too low", "I would need more views", "I have no opinion"),
        *("that is for the radiologist to say", "undetermined", "the finding in the image", "a typical finding"),
        *("where it usually is", "the side that is affected", "the best slice", "could be anything", "please provide more context"),
        *("I am unable to determine this", "unable to say", "cannot say", "can't tell", "not visible", "not assessable"),
        *("no comment", "I have no idea what this is", "ask the doctor", "consult a specialist", "refer to a specialist"),
        *("more views are needed", "there is not enough detail", "this is a question for an expert", "it is what it is"),
        *("the thing in the image", "the area that is shown", "the structure that is shown", "that one", "this one", "this", "that"),
        *("here", "there", "it", "the lesion that is seen", "see above", "see below", "the previous answer", "the same as before"),
        *("as stated", "a medical finding", "an answer", "my answer", "the diagnosis", "the place", "the slice", "the side"),
        *("one of the options", "first option", "second option", "the last option", "any of them", "none that I can see, ask again"),
        *("I pass", "no", "who knows", "hm", "let me think"),
    ),
    (
        *("I am not qualified to say", "the resolution does not allow it", "impossible to tell from here", "that is unclear to me"),
        *("I would not dare to say", "a specialist should look at this", "somewhere", "the usual one", "the bigger one"),
        *("as the title says", "it speaks for itself"),
    ),
)  # fmt: skip
REPEATS_QUESTION = Split(
    (
        *("the {modality} shows what the {modality} shows", "the finding seen in this {modality}", "the diagnosis is the diagnosis"),
        *("the {finding_asked} is where it is", "you ask about this {modality}", "the question is: {question}", "{question}"),
        *("{question} {question}", "you are asking: {question}", "what does it show?", "where is it?", "which side is it?"),
        *("the side on which it is", "the slice that shows it best", "it shows what this {modality} shows", "I am asked: {question}"),
        *("the part of the image that holds it", "the question asks {question}", "the diagnosis of this {modality} is its diagnosis"),
        *("in which slice it is largest", "you want to know: {question}", "{question} That is the question."),
        *("the question about this {modality}", "what is seen in this {modality} is what is seen", "it is where it is"),
        *("the side that is affected", "the quadrant that holds it", "the image shows what it shows"),
        *("what is asked is this: {question}",),
    ),
    (
        *("so the question is: {question}", "you would like to know what this {modality} shows", "the place where it lies"),
        *("that which is seen in the {modality}",),
    ),
)  # fmt: skip
# What may stand before and behind any sentence without changing what it says.
BEFORE = Split(
    (
        *("well, ", "so, ", "I think ", "in my opinion, ", "to me, ", "here ", "on this image, ", "after looking, "),
        *("as far as I can see, ", "ok, ", "overall, ", "in short, ", "my reading: ", "conclusion: ", "impression: ", "result: "),
        *("yes: ", "right, ", "I believe ", "as I see it, ", "after a careful look, ", "looking at the image, ", "in this case "),
        *("I would say: ", "hm, ", "finally, "),
    ),
    (
        *("to be honest, ", "from what I see, ", "all in all, ", "for me ", "to sum up: ", "on a closer look, "),
    ),
)  # fmt: skip
BEHIND = Split(
    (
        *(" here", " in this image", " on this image", ", I believe", ", for sure", ", most likely", ", in my opinion", ", clearly"),
        *(" (clearly visible)", ", as seen", ", I would say", ", as the image shows", " in this case", " for this patient"),
        *(", I am sure", " :)", " ...", ", thanks", ", obviously", ", if I see it right", " in the end"),
    ),
    (
        *(", to be honest", ", no question", ", it seems to me", ", as one can see", " as far as I know"),
    ),
)  # fmt: skip
# Sentences with words that no training has, for measuring what the judge makes of them.
UNHEARD = {
    "states": (
        "behold, {x}",
        "evidently {x}",
        "my gut tells me {x}",
        "undeniably {x}",
        "{x}, believe me",
        "beyond dispute {x}",
        "hence {x}",
    ),
    "rejects": (
        "{x}? forget it",
        "whoever says {x} is mistaken",
        "refuted: {x}",
        "{x} is pure fantasy",
        "{x} vanished",
        "disproved {x}",
    ),
    "lists": (
        "{x}, then again {y}",
        "a toss-up of {x} and {y}",
        "{x} alternating with {y}",
        "{x} paired with {y}",
        "torn: {x}, {y}",
    ),
}
