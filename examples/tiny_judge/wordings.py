"""How the answers of the phantoms may be worded: synonyms that mean the same, and words that are near and do not.

Written by hand. A wording that a careful reader could take either way stands in neither table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from rl.data.phantoms import words

# Besides `words.FINDING_ALIASES`: noun phrases without article that mean the finding; common misspellings
# stand last.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "normal": (
        *("no findings", "no abnormalities", "normal image", "normal study", "normal appearance"),
        *("unremarkable", "within normal limits"),
        *("no pathology", "no lesion", "nothing wrong", "healthy", "healthy tissue", "normal tissue"),
        *("no disease", "no abnormal finding"),
        *("nothing pathological", "no pathological finding", "no visible abnormality"),
        *("no abnormality detected", "nothing to see"),
        *("unremarkable image", "unremarkable study", "completely normal", "entirely normal", "nothing unusual"),
        *("norml", "no abnormalty"),
    ),
    "nodule": (
        *("solitary nodule", "solitary pulmonary nodule", "nodular opacity", "small nodule"),
        *("round nodule", "nodule of the lung"),
        *("nodule in the lung", "single nodule", "single lung nodule", "small lung nodule"),
        *("small pulmonary nodule", "coin lesion"),
        *("noduel", "nodul", "pulmonary noduel", "nodulle"),
    ),
    "effusion": (
        *("pleural fluid", "fluid in the pleural space", "hydrothorax"),
        *("fluid around the lung", "pleural fluid collection"),
        *("fluid in the pleural cavity", "collection of pleural fluid"),
        *("effusion in the pleural space", "effusion of the pleura"),
        *("effussion", "pleural efusion", "efusion", "plural effusion"),
    ),
    "pneumothorax": (
        *("air in the pleural space", "air in the pleural cavity", "lung collapse", "collapse of the lung"),
        *("pleural air", "ptx"),
        *("free air in the pleural space", "air around the lung"),
        *("pneumothorax with collapsed lung", "collapsed lung from a pneumothorax"),
        *("pnuemothorax", "pneumothroax", "pneumothorx", "neumothorax"),
    ),
    "consolidation": (
        *("pulmonary consolidation", "airspace consolidation", "air space consolidation"),
        *("consolidated lung", "alveolar consolidation"),
        *("consolidation of the lung", "consolidated lung tissue"),
        *("consolidated airspace", "consolidation in the lung"),
        *("consolidaton", "consoldation", "lung consolidaton"),
    ),
    "hemorrhage": (
        *("bleed", "intracranial haemorrhage", "brain bleed", "cerebral hemorrhage"),
        *("cerebral haemorrhage", "intracerebral hemorrhage"),
        *("brain hemorrhage", "intracranial bleeding", "intracranial bleed", "bleeding in the brain"),
        *("bleed in the brain", "ich"),
        *("hemorrhage in the brain", "intracerebral haemorrhage", "cerebral bleeding"),
        *("brain haemorrhage", "blood in the brain"),
        *("hemorrage", "haemorhage", "hemorhage", "hemmorhage"),
    ),
    "infarct": (
        *("cerebral infarction", "brain infarct", "brain infarction", "ischemic stroke"),
        *("ischaemic stroke", "ischemic infarct"),
        *("ischemic infarction", "ischaemic infarct", "infarcted brain"),
        *("infarcted brain tissue", "infarction of the brain"),
        *("infarct of the brain", "infarkt", "infarcton", "cerebral infarcion"),
    ),
    "abscess": (
        *("cerebral abscess", "intracranial abscess", "abscess in the brain"),
        *("abscess of the brain", "intracerebral abscess"),
        *("abscess cavity", "collection of pus", "pus collection", "abscess with a rim", "absess", "abcess"),
        *("abscces", "brain abcess"),
    ),
    "cyst": (
        *("cystic lesion", "fluid-filled cyst", "fluid filled cyst", "simple fluid-filled cyst"),
        *("anechoic cyst", "single cyst"),
        *("cystic structure", "small cyst", "simple cystic lesion", "cist", "simple cist"),
    ),
    "mass": (
        *("mass lesion", "solid mass lesion", "soft tissue mass", "space-occupying mass", "solid tissue mass"),
        *("single mass", "hypoechoic mass"),
        *("solid hypoechoic mass", "mas lesion", "solid mas"),
    ),
    "stone": (
        *("concretion", "stone with acoustic shadow", "stone with shadowing", "shadowing stone"),
        *("echogenic stone", "calcified stone"),
        *("calculus with shadowing", "calculus with acoustic shadow", "single stone", "small stone"),
        *("calculous", "calculas"),
    ),
    "melanoma": (
        *("cutaneous melanoma", "melanoma of the skin", "skin melanoma"),
        *("malignant melanocytic lesion", "malignant melanocytic tumor"),
        *("melanoma skin cancer", "cutaneous malignant melanoma", "malignant skin melanoma", "melonoma"),
        *("melanom", "malignant melonoma"),
    ),
    "nevus": (
        *("melanocytic nevus", "melanocytic naevus", "pigmented nevus", "benign mole", "benign nevus"),
        *("common mole", "pigmented mole"),
        *("benign melanocytic nevus", "skin mole", "naevus of the skin", "benign naevus", "nevis"),
        *("neavus", "melanocytic nevis"),
    ),
    "keratosis": (
        *("seborrhoeic keratosis", "seborrheic wart", "seborrhoeic wart", "benign keratosis"),
        *("keratosis of the skin", "seborrheic keratoses"),
        *("keratossis", "seborheic keratosis", "keratoses"),
    ),
    "hemangioma": (
        *("cherry hemangioma", "cherry haemangioma", "cherry angioma", "cutaneous hemangioma"),
        *("skin hemangioma", "hemangioma of the skin"),
        *("angioma", "vascular hemangioma", "cutaneous haemangioma", "hemangoima", "hemangiom", "haemangiom"),
    ),
}  # fmt: skip
# Behind "left" and "right": the frame of the image, which shows the patient's other side.
OF_THE_IMAGE = (
    *("of the image", "side of the image", "half of the image", "of the picture", "side of the picture"),
    *("side of the scan", "for the viewer"),
    *("side of the frame", "half of the picture", "part of the image", "of the scan", "edge of the image"),
)  # fmt: skip
# Say nothing that any finding here could contradict.
ADJECTIVES = (
    "ordinary",
    "typical",
    "clear",
    "definite",
    "obvious",
    "large",
    "tiny",
    "classic",
    "visible",
    "focal",
    "well-defined",
    "subtle",
)
# Modality -> what says less than any finding of it: true perhaps, and not the reference.
TOO_GENERAL: Mapping[str, tuple[str, ...]] = {
    "radiograph": (
        "lung disease",
        "a lung lesion",
        "a chest abnormality",
        "a lung problem",
        "an opacity in the lung",
        "a shadow on the lung",
    ),
    "CT": (
        "a stroke",
        "stroke",
        "brain disease",
        "a brain lesion",
        "an intracranial lesion",
        "a lesion in the brain",
        "brain damage",
    ),
    "ultrasound": (
        "a focal lesion",
        "a structure in the tissue",
        "a round structure",
        "something echogenic",
        "a focal change",
    ),
    "dermoscopy": (
        "a skin lesion",
        "skin lesion",
        "skin cancer",
        "a skin tumor",
        "a pigmented lesion",
        "a skin disease",
        "a spot on the skin",
    ),
}
ALWAYS_TOO_GENERAL = (
    *("a lesion", "lesion", "an abnormality", "abnormality", "abnormal", "pathology", "something abnormal"),
    *("a finding", "a disease"),
    *("a shadow", "a spot", "a change", "an abnormal area", "it is abnormal", "not normal"),
    *("this is not normal", "abnormal tissue"),
    *("some abnormality", "a problem", "something", "an opacity", "a growth", "it is a lesion"),
    *("there is a lesion", "pathological"),
)  # fmt: skip
# Findings that the phantoms never show; none is near enough to any of theirs to be taken for it.
OTHER_FINDINGS = (
    *("fracture", "rib fracture", "cardiomegaly", "pulmonary edema", "glioma", "meningioma", "aneurysm"),
    *("hydrocephalus", "polyp"),
    *("basal cell carcinoma", "eczema", "psoriasis", "wart", "fibroma", "lipoma", "emphysema", "bronchiectasis"),
    *("hernia", "scar"),
    *("foreign body", "thrombus", "dermatitis", "fibrosis", "scoliosis", "edema", "ascites", "thyroid goiter"),
    *("appendicitis", "embolism"),
    *("cardiac enlargement", "pacemaker", "catheter", "osteoporosis", "arthritis", "dissection", "stenosis"),
    *("atrophy", "cirrhosis"),
    *("gout", "sinusitis", "migraine", "asthma", "tuberculosis", "sarcoidosis", "vitiligo", "acne", "rosacea"),
    *("pregnancy", "spleen"),
)  # fmt: skip
# Pairs that some would call the same; never used as wrong answers for each other.
DOUBTFUL = frozenset(
    frozenset(pair)
    for pair in (
        ("mass", "nodule"),
        ("mass", "abscess"),
        ("mass", "hemangioma"),
        ("mass", "melanoma"),
        ("nodule", "melanoma"),
    )
)


MORE_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "finding": ("What is seen here?", "What is the finding?", "Name the finding.", "What does the image show?",
    "Which diagnosis fits?"),
    "place": ("Where is the {finding}?", "Name the quadrant of the image with the {finding}.",
    "Where does the {finding} lie in the image?"),
    "side": ("Which side is the {finding} on?", "Name the patient's side with the {finding}.",
    "Is the {finding} left or right in the patient?"),
    "slice": ("Which slice is best for the {finding}?", "Name the slice with the largest {finding}."),
}  # fmt: skip
# Questions of the world outside, for references this judge does not know.
GENERAL_QUESTIONS = (
    *("What is the diagnosis?", "Which organ is shown?", "What is the treatment?"),
    *("Which structure is marked?", "Which plane is this?"),
    *("How many lesions are there?", "Which drug is given?", "What is abnormal?"),
    *("Which vessel is affected?", "What causes this?"),
)  # fmt: skip
# The patient's frame where the image's is meant: the sides are swapped, or cannot be compared.
PATIENT_PLACES = (
    *("{high} {across} of the patient", "{across} {high} side of the patient"),
    *("patient's {high} {across}", "patient's {across} side"),
    *("patient's {across}", "{across} {high} lobe", "{high} part of the patient's {across} side"),
    "{across} side of the patient, {high} part",
)  # fmt: skip
# Answers that name no one place, side or slice.
NO_PLACES: Mapping[str, tuple[str, ...]] = {
    "place": ("center", "middle of the image", "whole image", "left and right", "both sides", "periphery",
    "center of the image", "edge"),
    "side": ("both sides", "midline", "neither side", "left and right", "bilateral", "middle", "both lungs",
    "either side", "center"),
    "slice": (
        *("all slices", "no slice", "every slice", "slices 1 to 3", "slices 1 and 2", "slices 2 and 3"),
        *("all three", "slices 1-3"),
        *("slices 1 and 3", "slices 2 to 3", "slices 1, 2 and 3", "slice 1 to 3", "slice 1-2"),
        *("slice 2-3", "slices one to three"),
        *("slices 1 through 3", "slices two and three", "slice 1 and 2", "slices 1-2"),
        *("slices 2-3", "slice one to two"),
    ),
}  # fmt: skip

_VERTICAL = {"upper": ("upper", "top"), "lower": ("lower", "bottom")}
_PICTURE = ("image", "picture", "scan", "frame")
_AREA = ("quadrant", "corner", "part", "area", "region", "portion", "side", "section")
_ORDINAL = ("first", "second", "third")
_NUMBER = ("one", "two", "three")
_SHORT_ORDINAL = ("1st", "2nd", "3rd")


def finding_wordings(finding: str) -> tuple[str, ...]:
    """Noun phrases without article that mean the finding, the finding itself first."""
    aliases = tuple(text.removeprefix("a ").removeprefix("an ") for text in words.FINDING_ALIASES[finding])
    return tuple(dict.fromkeys((finding, *aliases, *SYNONYMS[finding])))


def place_wordings(place: str) -> tuple[str, ...]:
    """Phrases without preposition and article that mean a quadrant of the image."""
    vertical, horizontal = place.split()[:2]
    made = [place]
    for high in _VERTICAL[vertical]:
        for pair in (f"{high} {horizontal}", f"{high}-{horizontal}", f"{horizontal} {high}"):
            made += [pair, *(f"{pair} {area}" for area in _AREA), *(f"{pair} of the {picture}" for picture in _PICTURE)]
            made += [f"{pair} {area} of the {picture}" for area, picture in product(_AREA, _PICTURE)]
        made += [f"{picture}'s {high} {horizontal}" for picture in _PICTURE]
        made += [f"{high} half of the {picture}, {horizontal} side" for picture in _PICTURE]
        made += [f"{horizontal} half of the {picture}, {high} part" for picture in _PICTURE]
        made += [f"{high} and {horizontal}", f"{high} part, {horizontal} side", f"{horizontal} side, {high} part"]
    return tuple(dict.fromkeys(made))


# `side`: "patient's left"; `own`: left; `shown`: the side of the image that shows it, right; `organ`: three words for
# what has sides. The order matters: the pairs of a seed are drawn by it.
_SIDE = """
{side} | {side} side | {own} side of the patient | {own} | {own} side | {own}-sided | patient's own {own}
patient's own {own} side | patient {own} | {own} of the patient | patient's {own} hand side | {own} hand side
{own} side of the body | patient's {own} half | {own} half of the patient | {side}, which is {shown} in the image
{own} side as the patient sees it | {own} from the patient's view | {own} as seen by the patient | {own} in the patient
{shown} of the picture | {shown} side of the picture | {shown} side of the scan | {shown} for the viewer
{shown} side of the frame | viewer's {shown} | viewer's {shown} side | reader's {shown}
{own} {organ[0]} | {own} {organ[1]} | {own} {organ[2]} | {side} {organ[0]}
{shown} of the image, so the {side} | {shown} side of the image, which is the {side} | {side} ({shown} in the image)
{shown} of the image | {shown} side of the image | {shown} half of the image | image {shown}
"""
_ORGANS = {"radiograph": ("lung", "hemithorax", "chest")}
_OTHER_ORGANS = ("hemisphere", "side of the brain", "side of the head")


def side_wordings(side: str, modality: str) -> tuple[str, ...]:
    """Phrases that mean the patient's own side; in the images that have sides, image left is the patient's right."""
    own = side.removeprefix("patient's ")
    shown = "right" if own == "left" else "left"
    organ = _ORGANS.get(modality, _OTHER_ORGANS)
    texts = _SIDE.strip().replace("\n", " | ").split(" | ")
    return tuple(dict.fromkeys(text.format(side=side, own=own, shown=shown, organ=organ) for text in texts))


def slice_wordings(name: str) -> tuple[str, ...]:
    """Phrases without preposition and article that mean one of three slices."""
    number = int(name.removeprefix("slice "))
    digit, word, ordinal, short = str(number), _NUMBER[number - 1], _ORDINAL[number - 1], _SHORT_ORDINAL[number - 1]
    made = [
        name,
        digit,
        word,
        ordinal,
        short,
        f"slice {word}",
        f"{ordinal} slice",
        f"{short} slice",
        f"slice number {digit}",
    ]
    made += [
        f"slice number {word}",
        f"slice no. {digit}",
        f"slice #{digit}",
        f"#{digit}",
        f"number {digit}",
        f"number {word}",
    ]
    made += [
        f"{ordinal} one",
        f"slice nr {digit}",
        f"slice: {digit}",
        f"slice-{digit}",
        f"{ordinal} of the three slices",
    ]
    made += [f"{ordinal} slice of the volume", f"slice {digit} of 3", f"{ordinal} of three"]
    made += {
        1: [],
        2: ["middle slice", "middle one", "middle", "slice in the middle"],
        3: ["last slice", "last one", "final slice"],
    }[number]
    return tuple(dict.fromkeys(made))
