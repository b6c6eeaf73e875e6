"""Writes DICOM files with pydicom, from raw little-endian pixels.

    write.py FOLDER COLUMNS ROWS

FOLDER/pixels.raw holds ROWS x COLUMNS values of 16 bits, black 0, white 65535. All files show that picture, or, those of 12
bits, its upper 12.
"""

import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

folder, columns, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
pixels = np.fromfile(folder / "pixels.raw", "<u2").reshape(rows, columns)


def write(name, values, syntax=ExplicitVRLittleEndian, bits=16, **attributes):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    ds = FileDataset(folder / name, {}, b"\0" * 128, meta, is_implicit_VR=implicit, is_little_endian=little)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.SpecificCharacterSet, ds.PatientName, ds.Modality = "ISO_IR 192", "Müller^Zoë", "DX"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    ds.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.PixelData = values.astype(values.dtype.newbyteorder("<" if little else ">")).tobytes()
    ds["PixelData"].VR = "OW"
    if syntax == RLELossless:
        ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.save_as(folder / name, enforce_file_format=True)


spacing = {"PixelSpacing": [0.25, 0.25], "ImagerPixelSpacing": [0.3, 0.3]}
write("inverted.dcm", 65535 - pixels, PhotometricInterpretation="MONOCHROME1", **spacing)
write("WINDOWED", pixels, WindowCenter=[32768, 100], WindowWidth=[65536, 50], **spacing)
write("big.dcm", pixels, ExplicitVRBigEndian, **spacing)
write("1.2.840.99", pixels, RLELossless, **spacing)
twelve = (pixels >> 4).astype("<i2") - 2048
write(
    "signed.dcm",
    twelve,
    ImplicitVRLittleEndian,
    bits=12,
    RescaleSlope=2,
    RescaleIntercept=10,
    ImagerPixelSpacing=[0.5, 0.25],
)
