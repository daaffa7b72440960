"""The accuracy reward of grounding questions: how well the answer's boxes cover the gold boxes."""

from rewards.registry import reward
from rewards.shipped.boxes import Coordinates, iou, pay_boxes
from rollouts.records import Outcome, Parsed, Sample


@reward("box_iou")
def box_iou(parsed: Parsed, sample: Sample, coordinates: Coordinates = "pixels") -> Outcome:
    """Mean IoU over the best one-to-one matching, each box said too much or missed counting 0; 0 without boxes. Range [0, 1].

    `coordinates`: what the answer's numbers mean, "pixels" of the first image or "thousandths" of its width and height; the gold is in pixels.
    Source: the grounding reward of MedMO (arXiv:2602.06965) with IoU; matching and the price of unmatched boxes are ours.
    """
    return pay_boxes(parsed, sample, coordinates, iou, 0.0)
