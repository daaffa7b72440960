"""What is kept of a DICOM header: numbers, and words of known lists. Any other text of a file may hold a name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollouts.imaging.windows import Table, Window

# Defined terms of Modality (PS3.3, C.7.3.1.1.1) that occur, and what those are that hold no picture.
PICTURES = frozenset(
    "AR BI BMD CR CT DG DX EPS ES GM HC IO IVOCT IVUS KER LEN LS MA MG MR MS NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV"
    " OSS PT PX RF RG RTIMAGE SC SM SRF ST TG US VA XA XC OT DM DS CD CF EC DD FA LP CP CS FS VF DF".split()
)
NO_PICTURES = {
    "SEG": 'a segmentation; give it as "mask"',
    "RTSTRUCT": "contours (RTSTRUCT)",
    "RTDOSE": "a dose (RTDOSE)",
    "RTPLAN": "a treatment plan (RTPLAN)",
    "RTRECORD": "a treatment record (RTRECORD)",
    "SR": "a structured report (SR)",
    "KO": "a list of key images (KO)",
    "PR": "a presentation state (PR)",
    "REG": "a registration (REG)",
    "FID": "fiducials (FID)",
    "ECG": "an electrocardiogram (ECG)",
    "HD": "haemodynamic curves (HD)",
    "EEG": "an encephalogram (EEG)",
    "AU": "a sound (AU)",
    "DOC": "a document (DOC)",
    "PLAN": "a plan (PLAN)",
    "RWV": "a mapping of values (RWV)",
    "M3D": "a model for printing (M3D)",
}
BODY_PARTS = frozenset(
    (
        "ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRACHIAL BRAIN BREAST BRONCHUS BUTTOCK"
        " CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CIRCLEOFWILLIS CLAVICLE"
        " COCCYX COLON CORNEA CORONARYARTERY CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE"
        " FEMUR FINGER FOOT FOREARM GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS IAC ILIUM JAW JOINT KIDNEY KNEE"
        " LARYNX LEG LIVER LLEG LSPINE LSSPINE LUNG MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN"
        " NECKCHESTABDPELV NOSE ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS PENIS PHARYNX PROSTATE RECTUM RIB SACRUM"
        " SCALP SCAPULA SCLERA SCROTUM SHOULDER SINUS SKIN SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR"
        " TESTIS THIGH THUMB THYMUS THYROID TIBIA TOE TONGUE TRACHEA TSPINE UPPERARM URETER URETHRA UTERUS VAGINA"
        " VULVA WHOLEBODY WRIST ZYGOMA"
    ).split()
)
VIEWS = frozenset("AP PA LL RL LLD LLO RLD RLO CC MLO ML LM LMO FB SIO XCC XCCL XCCM LATERAL OBLIQUE AXIAL".split())
# A part of Manufacturer, in lower case -> the name kept.
MANUFACTURERS = {
    "agfa": "Agfa",
    "canon": "Canon",
    "toshiba": "Toshiba",
    "carestream": "Carestream",
    "eastman kodak": "Kodak",
    "esaote": "Esaote",
    "fujifilm": "Fujifilm",
    "ge medical": "GE",
    "ge healthcare": "GE",
    "hitachi": "Hitachi",
    "hologic": "Hologic",
    "konica": "Konica Minolta",
    "lorad": "Hologic",
    "mindray": "Mindray",
    "olympus": "Olympus",
    "philips": "Philips",
    "picker": "Picker",
    "samsung": "Samsung",
    "shimadzu": "Shimadzu",
    "siemens": "Siemens",
    "united imaging": "United Imaging",
    "uih": "United Imaging",
    "varian": "Varian",
    "zeiss": "Zeiss",
}
# Words of ImageType that tell images at one place apart; others are not shown.
IMAGE_TYPES = frozenset(
    "ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER MPR MIP MOSAIC VOLUME NONE M P R I M_FFE P_FFE M_SE M_IR R_IR"
    " PHASE MAGNITUDE PHASE MAG REAL IMAGINARY FFE SE IR ADC TRACEW FA WATER FAT IN_PHASE OUT_PHASE OPP_PHASE W F IP OP"
    " T1 T2 DIFFUSION PERFUSION SUBTRACTION SUB DIXON NORM DIS2D DIS3D ND MFSPLIT HEAD BODY REFORMATTED AVERAGE".split()
)
# Numbers that may differ between images at one place: with their words, and where they stand in an enhanced file.
TELLING_APART = {
    "EchoNumbers": "",
    "EchoTime": "",
    "EffectiveEchoTime": "MREchoSequence",
    "AcquisitionNumber": "",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "TemporalPositionIdentifier": "",
    "TemporalPositionIndex": "FrameContentSequence",
    "DiffusionBValue": "",
    "FrameDiffusionBValue": "MRDiffusionSequence",
    "TriggerTime": "",
    "NominalPercentageOfCardiacPhase": "",
    "InversionTime": "",
    "FlipAngle": "",
    "RepetitionTime": "",
    "KVP": "",
    "XRayTubeCurrent": "",
    "SliceThickness": "",
    "ReconstructionDiameter": "",
    "PhaseNumber": "",
    "ImageIndex": "",
    "StackID": "FrameContentSequence",
    "SeriesNumber": "",
    "ConvolutionKernel": "",
}
# Those that may be words: short ones as they are, others as a hash.
TELLING_WORDS = ("StackID", "ConvolutionKernel")
# "B30f", "FC08", "A"; and the kernels of GE, which are words.
_SHORT_WORD = re.compile(
    r"[A-Za-z]{1,2}(?:[0-9]{1,3}[a-z]{0,2})?|STANDARD|BONE(?:PLUS)?|LUNG|SOFT|DETAIL|EDGE|CHEST|ULTRA"
)
_LETTERS = re.compile(r"[LRAPHF]{1,3}")
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class FileHead:
    """One file with pixels, or with the reason why it is no picture."""

    path: Path
    # Why it cannot be shown: "a structured report (SR)"; "" = it can.
    refusal: str = ""
    modality: str = ""
    sop_uid: str = ""
    series_uid: str = ""
    series_number: int | None = None
    patient: str = ""
    frames: int = 1
    rows: int = 0
    columns: int = 0
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    signed: bool = False
    photometric: str = ""
    # What the pixel data prove to be where PhotometricInterpretation cannot be right; "" = it can.
    colours: str = ""
    syntax: str = ""
    syntax_name: str = ""
    pixel_sha256: str = ""
    # Stored values from the first to the second are no tissue; None = all are.
    padding: tuple[float, float] | None = None
    modality_table: Table | None = None
    is_video: bool = False
    body_part: str = ""
    manufacturer: str = ""
    laterality: str = ""
    view: str = ""
    patient_orientation: str = ""
    # Seconds at which each frame of a cine appears, and the end; None = no time is told.
    times: tuple[float, ...] | None = None
    end: float | None = None
    # Whether bits above BitsStored hold an overlay.
    overlay_in_pixels: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_colour(self) -> bool:
        """Whether its pixels have three values."""
        return not self.photometric.startswith("MONOCHROME")

    @property
    def samples(self) -> int:
        """Values a pixel as they are stored: of a palette one, the index."""
        return 3 if self.is_colour and self.photometric != "PALETTE COLOR" else 1


@dataclass(frozen=True)
class Slice:
    """One frame of one file, with all that places it and turns its stored values into real ones."""

    head: FileHead
    # Index inside the file.
    frame: int = 0
    instance_number: int | None = None
    # First pixel's place in LPS mm; directions along a row (to the next column) and along a column; mm between rows and
    # between columns. None = unknown.
    position: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    spacing: tuple[float, float] | None = None
    # Height of a pixel over its width, where there is no spacing but a PixelAspectRatio.
    aspect: float = 1.0
    thickness: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    # Whether the file says that values are in Hounsfield units; None = it does not say.
    in_hounsfield: bool | None = None
    window: Window | Table | None = None
    window_note: str = ""
    # Keywords of `TELLING_APART`, and ImageType, with their values.
    tags: Mapping[str, str] = field(default_factory=dict)


def manufacturer_of(text: str) -> str:
    """The known name in a file's Manufacturer; "" for any other text."""
    lowered = text.casefold()
    return next((name for part, name in MANUFACTURERS.items() if part in lowered), "")


def word_of(text: str, known: frozenset[str]) -> str:
    """The text in upper case if it is a word of the list; "" for any other text."""
    word = text.strip().upper().replace(" ", "")
    return word if word in known else ""


def uid_of(text: str) -> str:
    """The text if it has the form of a UID; a hash of any other text, so that two stay two; "" for none."""
    return text if not text or _UID.fullmatch(text) else f"x{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def word_or_hash(text: str) -> str:
    """A short code as it is; a hash of any other text, so that two stay two and a name stays inside."""
    return text if _SHORT_WORD.fullmatch(text) else f"x{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def orientation_of(texts: list[str]) -> str:
    """PatientOrientation as `L\\P`: letters for where columns and rows run to; "" for any other text."""
    return "\\".join(texts) if len(texts) == 2 and all(_LETTERS.fullmatch(text) for text in texts) else ""


def image_type_of(texts: list[str]) -> str:
    """ImageType as `ORIGINAL\\PRIMARY\\M`, with `?` for words that are not on the list."""
    return "\\".join(text if text in IMAGE_TYPES else "?" for text in texts)
