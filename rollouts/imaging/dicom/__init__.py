"""DICOM: single images, multi-frame and enhanced files, series in folders, segmentations, video inside DICOM."""
