"""The accuracy reward of grounding questions that also tells a near miss from a far one."""

from rewards.registry import reward
from rewards.shipped.boxes import Coordinates, generalised_iou, pay_boxes
from rollouts.records import Outcome, Parsed, Sample


@reward("giou")
def giou(parsed: Parsed, sample: Sample, coordinates: Coordinates = "pixels") -> Outcome:
    """Mean GIoU over the best one-to-one matching, each box said too much or missed counting -1; -1 without boxes. Range [-1, 1].

    `coordinates`: as in `box_iou`. Boxes that do not touch pay more the nearer they are, so a group in which nobody hits still has a signal.
    Source: the box-level GIoU reward of MedMO (arXiv:2602.06965), GIoU from arXiv:1902.09630; matching and unmatched boxes are ours.
    """
    return pay_boxes(parsed, sample, coordinates, generalised_iou, -1.0)
