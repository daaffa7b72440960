"""The tables of the viewer's index, and how a batch of stored rows becomes rows of them."""

from __future__ import annotations

# The columns of codec.SCHEMA that lists, charts and filters need.
LIGHT = (
    "step", "prompt_id", "sample_index", "source", "modality", "language", "question", "answer_type", "gold_letters",
    "gold_text",
    "aliases", "media", "completion", "token_ids", "finish_reason", "policy_version", "answer", "letters", "yes_no",
    "well_formed", "parse_verdict",
    "outcomes", "weights", "total", "valid", "advantage",
)  # fmt: skip

TABLES = (
    """CREATE TABLE rows (
        side TINYINT, step INTEGER, prompt_id VARCHAR, sample_index INTEGER,
        total DOUBLE, valid BOOLEAN, advantage DOUBLE, num_tokens INTEGER, finish_reason VARCHAR, well_formed BOOLEAN,
        is_unclear BOOLEAN,
        -- The outcome that says right or wrong; NULL = it has no value.
        is_right BOOLEAN,
        -- "REWARD=STATUS" of every outcome, and the statuses alone.
        statuses VARCHAR[], named_statuses VARCHAR[],
        -- What the judge decided, in which layer; NULL = none was asked. What the rule says of the same answer; NULL =
        -- there is none to compare.
        judge VARCHAR, layer VARCHAR, rule_right BOOLEAN,
        text VARCHAR, cost DOUBLE,
        -- Of the question, the same in all rows of a group.
        question VARCHAR, gold VARCHAR, modality VARCHAR, answer_type VARCHAR, source VARCHAR, language VARCHAR,
        thumb VARCHAR, num_media INTEGER)""",
    """CREATE TABLE groups (
        side TINYINT, step INTEGER, prompt_id VARCHAR, question VARCHAR, gold VARCHAR, modality VARCHAR, answer_type
        VARCHAR,
        source VARCHAR, language VARCHAR, thumb VARCHAR, num_media INTEGER,
        num INTEGER, num_valid INTEGER, num_right INTEGER, num_judged INTEGER, mean DOUBLE, spread DOUBLE, num_tokens
        DOUBLE,
        num_disagree INTEGER, num_failed INTEGER, num_truncated INTEGER,
        totals DOUBLE[], rights BOOLEAN[])""",
    "CREATE TABLE labels (key VARCHAR, expected VARCHAR)",
)

# Lower case; everything but letters, digits and the signs that are meaning in a finding becomes one space, a hyphen
# between letters too; a space on either side.
_WORDS = (
    "' ' || trim(regexp_replace(regexp_replace(lower(nfc_normalize({0})), '(\\p{{L}})[-/](\\p{{L}})', '\\1 \\2', 'g'), "
    "'[^\\p{{L}}\\p{{N}}%.+<>/-]+', ' ', 'g'), ' .') || ' '"
)

# What takes a wording back or puts another beside it; where it stands outside the wording, the rule has no opinion.
_DENIAL = r" (no|not|without|never|nor|neither|cannot|or|either|versus|vs|excluded|absent|unlikely) |[不没无非或]"
_CHINESE = r"[\x{4e00}-\x{9fff}]"

# Judge and rule look at the same answer. The rule, from the record alone: a reward of the run that was computed without
# a judge and says right or wrong (option_match, yes_no, numeric beside the judge); else the letters; else yes or no;
# else whether the reference or an alias stands in the answer word for word (Chinese has no spaces between words), and
# nothing beside it denies it.
ROWS_OF_BATCH = f"""
INSERT INTO rows
WITH read AS (
    SELECT *,
        list_filter(outcomes, lambda o: o.name = $main)[1] AS paid,
        -- CASE, because AND may look into text that is no JSON before it knows.
        list_filter(outcomes, lambda o: CASE WHEN o.evidence IS NOT NULL AND json_valid(o.evidence)
            THEN json_extract_string(o.evidence, '$.judge') IS NOT NULL ELSE FALSE END)[1].evidence AS judged,
        list_filter(outcomes, lambda o: o.evidence IS NULL AND o.status = 'ok'
            AND o.name IN ('option_match', 'yes_no', 'numeric', 'rule'))[1].value AS rule_value
    FROM batch
), said AS (
    SELECT *,
        json_extract_string(judged, '$.layer') AS layer,
        COALESCE(json_extract_string(judged, '$.decision'),
            -- Criteria (rubric_judge, keypoints) are met or not; there is no one decision.
            CASE WHEN json_extract_string(judged, '$.failure') IS NOT NULL THEN 'failed' END) AS decision,
        CASE WHEN judged IS NOT NULL THEN {_WORDS.format("COALESCE(answer, '')")} END AS words,
        CASE WHEN judged IS NOT NULL THEN list_transform(list_prepend(gold_text, aliases), lambda w:
        {_WORDS.format("w")}) END AS accepted
    FROM read
), compared AS (
    SELECT *, list_filter(list_transform(accepted, lambda w: CASE WHEN regexp_matches(w, '{_CHINESE}') THEN trim(w)
    ELSE w END),
        lambda w: w != '' AND contains(words, w)) AS wordings
    FROM said
)
SELECT $side, step, prompt_id, sample_index, total, valid, advantage, len(token_ids), finish_reason, well_formed,
    COALESCE(parse_verdict = 'unclear', FALSE),
    CASE WHEN paid.value IS NULL OR isnan(paid.value) THEN NULL ELSE paid.value > 0.5 END,
    list_distinct(list_transform(outcomes, lambda o: o.status)),
    list_transform(outcomes, lambda o: o.name || '=' || o.status),
    decision, layer,
    CASE
        WHEN decision IS NULL OR decision = 'failed' THEN NULL
        WHEN rule_value IS NOT NULL THEN rule_value > 0.5
        WHEN len(letters) > 0 AND len(gold_letters) > 0 THEN list_sort(letters) = list_sort(gold_letters)
        WHEN gold_text IN ('yes', 'no') AND yes_no IS NOT NULL THEN yes_no = gold_text
        WHEN len(wordings) = 0 THEN FALSE
        WHEN len(list_filter(wordings, lambda w: NOT regexp_matches(replace(words, w, ' '), '{_DENIAL}'))) > 0 THEN TRUE
    END,
    completion,
    COALESCE(list_sum(list_transform(outcomes, lambda o: o.cost)), 0),
    question, gold_text, modality, answer_type, source, language,
    COALESCE(media[1].frames[len(media[1].frames) // 2 + 1], media[1].sha256), len(media)
FROM compared
"""

# A verdict that says right where the rule says wrong, or the other way round.
DISAGREE = "(judge IN ('correct', 'incorrect') AND rule_right IS NOT NULL AND (judge = 'correct') != rule_right)"
FAILED = "(list_contains(statuses, 'error') OR list_contains(statuses, 'timeout'))"

GROUPS_OF_STEP = f"""
INSERT INTO groups
SELECT $side, $step, prompt_id, any_value(question), any_value(gold), any_value(modality), any_value(answer_type),
    any_value(source), any_value(language), any_value(thumb), any_value(num_media),
    count(*), count(total), count_if(is_right), count(is_right), avg(total),
    CASE WHEN count(total) > 0 THEN max(total) - min(total) END, avg(num_tokens),
    count_if{DISAGREE}, count_if({FAILED}), count_if(finish_reason != 'stop'),
    list(total ORDER BY sample_index), list(is_right ORDER BY sample_index)
FROM rows
WHERE side = $side AND step = $step
GROUP BY prompt_id
"""
