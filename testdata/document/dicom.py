"""Makes small medical pictures and what pydicom reads in them: python dicom.py, in this folder's requirements.

dicom/NAME.dcm   one of each kind
dicom.json       stored values (SHA-256 of int32, little endian) and pictures (SHA-256 of R G B, or of G) frame by frame
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import (ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless,
                         JPEGBaseline8Bit, RLELossless, DeflatedExplicitVRLittleEndian)

HERE = Path(__file__).parent
R = np.random.default_rng(7)


def dataset(array, photometric="MONOCHROME2", stored=None, signed=False, syntax=ExplicitVRLittleEndian, frames=1, samples=1, **more):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    ds.PatientName, ds.Modality, ds.StudyDescription = "Löwe^Ada", "OT", "A made picture"
    ds.SpecificCharacterSet = "ISO_IR 192"
    shape = array.shape[1:] if frames > 1 else array.shape
    ds.Rows, ds.Columns = shape[0], shape[1]
    ds.SamplesPerPixel = samples
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = array.dtype.itemsize * 8
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(signed)
    if samples > 1:
        ds.PlanarConfiguration = 0
    if frames > 1:
        ds.NumberOfFrames = str(frames)
    for k, v in more.items():
        setattr(ds, k, v)
    ds.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    return ds


def lut(first, values, bits):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.array(values, np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    return [item]


def make():
    y, x = np.mgrid[0:20, 0:30]
    ct = (x * 60 + y * 35 - 1024).astype(np.int16)
    grey = ((x * 8 + y * 3) % 256).astype(np.uint8)
    colour = np.stack([x * 8, y * 12, (x * y) % 256], -1).astype(np.uint8)
    yield "signed", dataset(ct, signed=True, RescaleSlope="1.5", RescaleIntercept="-100", WindowCenter=["40", "300"], WindowWidth=["400", "1500"])
    yield "twelve", dataset((ct & 0xFFF).astype(np.uint16), stored=12, WindowCenter="2000", WindowWidth="3000", VOILUTFunction="LINEAR_EXACT")
    yield "sigmoid", dataset((ct & 0xFFF).astype(np.uint16), stored=12, WindowCenter="2000", WindowWidth="900", VOILUTFunction="SIGMOID")
    yield "negative", dataset(grey, photometric="MONOCHROME1", syntax=ImplicitVRLittleEndian)
    yield "plain", dataset((ct & 0xFFF).astype(np.uint16), stored=12, syntax=ExplicitVRBigEndian)
    yield "deflated", dataset(grey, syntax=DeflatedExplicitVRLittleEndian)
    yield "voilut", dataset(grey, VOILUTSequence=lut(10, [(i * i) // 16 for i in range(200)], 12))
    yield "modality", dataset(grey, ModalityLUTSequence=lut(0, [i * 200 for i in range(256)], 16), WindowCenter="20000", WindowWidth="30000")
    yield "rgb", dataset(colour, photometric="RGB", samples=3)
    planes = dataset(np.ascontiguousarray(np.moveaxis(colour, -1, 0)), photometric="RGB", samples=3)
    planes.Rows, planes.Columns, planes.PlanarConfiguration = 20, 30, 1
    yield "planes", planes
    yield "ybr", dataset(colour, photometric="YBR_FULL", samples=3)
    yield "frames", dataset(np.stack([grey, 255 - grey, grey // 2]), frames=3, WindowCenter="128", WindowWidth="256")
    for name, ds in (("rle16", dataset(ct, signed=True, WindowCenter="0", WindowWidth="2000")),
                     ("rlergb", dataset(colour, photometric="RGB", samples=3)),
                     ("rleframes", dataset(np.stack([grey, 255 - grey]), frames=2))):
        ds.compress(RLELossless, generate_instance_uid=False)
        yield name, ds
    for name, image, photometric, samples in (("jpeg", grey, "MONOCHROME2", 1), ("jpegrgb", colour, "YBR_FULL_422", 3)):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=90, subsampling=0 if samples == 3 else -1)
        ds = dataset(image, photometric=photometric, samples=samples, syntax=JPEGBaseline8Bit)
        ds.PixelData = encapsulate([out.getvalue()])
        ds["PixelData"].VR = "OB"
        yield name, ds


def picture(ds, stored):
    """0..255 as a viewer shows it"""
    if ds.SamplesPerPixel == 3:
        return stored.astype(np.uint8)
    v = apply_modality_lut(stored, ds).astype(np.float64)
    if "VOILUTSequence" in ds:
        v = apply_voi_lut(apply_modality_lut(stored, ds), ds).astype(np.float64) / (2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1) * 255
    elif "WindowCenter" in ds:
        # pydicom's range is that of the stored bits, rescaled.
        low, high = (-(2 ** (ds.BitsStored - 1)), 2 ** (ds.BitsStored - 1) - 1) if ds.PixelRepresentation else (0, 2 ** ds.BitsStored - 1)
        if "ModalityLUTSequence" in ds:
            low, high = 0, 2 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        elif "RescaleSlope" in ds:
            low, high = low * float(ds.RescaleSlope) + float(ds.RescaleIntercept), high * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        v = (apply_windowing(v, ds) - low) / (high - low) * 255
    else:
        v = (v - v.min()) / (v.max() - v.min()) * 255
    g = np.floor(np.clip(v, 0, 255) + 0.5).astype(np.uint8)
    return 255 - g if ds.PhotometricInterpretation == "MONOCHROME1" else g


def main():
    (HERE / "dicom").mkdir(exist_ok=True)
    truth = {"pydicom": pydicom.__version__, "files": {}}
    for name, ds in make():
        path = HERE / "dicom" / f"{name}.dcm"
        ds.save_as(path, enforce_file_format=True)
        ds = pydicom.dcmread(path)
        raw = pydicom.pixels.pixel_array(ds, raw=True)
        shown = pydicom.pixels.pixel_array(ds)
        if int(ds.get("NumberOfFrames", 1)) == 1:
            raw, shown = raw[None], shown[None]
        truth["files"][name] = [{"stored": hashlib.sha256(r.astype("<i4").tobytes()).hexdigest(),
                                 "picture": picture(ds, s).ravel().tolist()} for r, s in zip(raw, shown)]
    # One that is refused by name: the bytes need not be JPEG 2000.
    ds = dataset(np.zeros((4, 4), np.uint8), syntax=JPEG2000Lossless)
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51"])
    ds.save_as(HERE / "dicom" / "jpeg2000.dcm", enforce_file_format=True)
    (HERE / "dicom.json").write_text(json.dumps(truth, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
