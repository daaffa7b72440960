"""How well two boxes fit: IoU, GIoU, DIoU and CIoU. A box is x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, any unit."""

from __future__ import annotations

import math

Box = tuple[float, float, float, float]


def area(box: Box) -> float:
    """Width times height; 0 for corners in the wrong order."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1; 0 for a box without area."""
    inside = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return inside / (area(a) + area(b) - inside) if area(a) and area(b) else 0.0


def generalised_iou(a: Box, b: Box) -> float:
    """GIoU (arXiv:1902.09630): IoU minus the share of the smallest enclosing box that neither covers, -1 to 1; -1 for a
    box without area."""
    if not (area(a) and area(b)):
        return -1.0
    inside = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = area(a) + area(b) - inside
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    return inside / union - (hull - union) / hull


def distance_iou(a: Box, b: Box) -> float:
    """DIoU (arXiv:1911.08287): IoU minus the squared distance of the centres over the squared diagonal of the smallest
    enclosing box, -1 to 1; -1 for a box without area."""
    if not (area(a) and area(b)):
        return -1.0
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    apart = (a[0] + a[2] - b[0] - b[2]) ** 2 / 4 + (a[1] + a[3] - b[1] - b[3]) ** 2 / 4
    return iou(a, b) - apart / (width**2 + height**2)


def complete_iou(a: Box, b: Box) -> float:
    """CIoU (arXiv:1911.08287): DIoU minus alpha v, where v = 4 / pi^2 (difference of the angles of the diagonals)^2 and
    alpha = v / (1 - IoU + v); below -1 is possible. -1 for a box without area."""
    if not (area(a) and area(b)):
        return -1.0
    angles = math.atan((a[2] - a[0]) / (a[3] - a[1])) - math.atan((b[2] - b[0]) / (b[3] - b[1]))
    shape = 4 / math.pi**2 * angles**2
    share = shape / (1 - iou(a, b) + shape) if shape else 0.0
    return distance_iou(a, b) - share * shape
