#!/usr/bin/env python3
"""Makes the first inputs of the fuzz targets, one folder a target; files crash-* are findings that were mended.

    python3 tests/fuzz/corpus/make.py        (needs numpy and h5py)
"""

import gzip
import io
import pathlib
import shutil
import struct
import zipfile

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent.parent / "fixtures"


def write(name, content):
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def copy(target, *names):
    for name in names:
        (HERE / target).mkdir(exist_ok=True)
        shutil.copyfile(FIXTURES / name, HERE / target / pathlib.Path(name).name)


def make_csv():
    write("csv/header.csv", "a,b,label\n1,2.5,0\n-3e2,.5,1\n4,5,1\n")
    write("csv/texts.tsv", 'name\tsize\tkind\n1\t"2"\t"a ""b"""\n3\t4\tc\n')
    write("csv/missing.csv", "1;2;x\r\n?;4;y\r\nNA;;x\r\n")
    write("csv/blanks.txt", "\ufeff 1  2\t3\n\n4 5 6 \n")
    write("csv/packed.csv.gz", gzip.compress(b"1,2\n3,4\n", mtime=0))
    write("csv/extremes.csv", "9007199254740993,1e308,0\n-32768,1e-320,18446744073709551616\n")


def make_idx():
    copy("idx", *(f"import/{name}" for name in (
        "small-images-idx3-ubyte", "small-labels-idx1-ubyte",
        "packed-images-idx3-ubyte.gz", "packed-labels-idx1-ubyte.gz")))
    for name, code, element in (("i16", 11, ">h"), ("f32", 13, ">f"), ("f64", 14, ">d")):
        header = struct.pack(">BBBBII", 0, 0, code, 2, 3, 2)
        write(f"idx/{name}", header + b"".join(struct.pack(element, i - 2) for i in range(6)))


def make_cifar():
    record = bytes(i % 251 for i in range(3072))
    write("cifar/two-of-10.bin", b"\x03" + record + b"\x09" + record)
    write("cifar/one-of-100.bin", b"\x02\x63" + record)
    write("cifar/packed-100.bin.gz", gzip.compress(b"\x02\x63" + record, mtime=0))


def make_npy():
    copy("npy", *(f"import/{name}.npy" for name in (
        "complex", "fields", "none", "objects", "scalar", "too-large", "x", "y")))
    for name, dtype in (("big", ">i4"), ("half", "<f2"), ("bool", "?"), ("u64", "<u8"), ("i8", "i1")):
        out = io.BytesIO()
        array = np.arange(12).reshape(2, 3, 2).astype(dtype)
        np.save(out, np.asfortranarray(array) if name in ("big", "half") else array)
        write(f"npy/{name}.npy", out.getvalue())


def make_npz():
    copy("npz", "import/unequal.npz", "import/unnamed.npz")
    out = io.BytesIO()
    np.savez_compressed(out, x=np.asfortranarray(np.arange(6).reshape(3, 2)), y=np.array([1, 0, 1], ">u2"))
    write("npz/compressed.npz", out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("notes.txt", "no array")
        archive.writestr("x.npy", (FIXTURES / "import/x.npy").read_bytes())
    write("npz/other.npz", out.getvalue())
    for name, arrays in (("same", ("x", "x")), ("nameless", ("", "y")), ("within", ("x", "x/y"))):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for array in arrays:
                archive.writestr(f"{array}.npy", (FIXTURES / "import/x.npy").read_bytes())
        write(f"npz/{name}.npz", out.getvalue())


def make_text():
    write("text/ascii.txt", "to be or not to be, that is the question: 1234 56.\n\n  the end\t\n")
    write("text/utf8.txt", "é ü ß — 日本語 😀 naïve\r\n")
    write("text/latin1.txt", b"caf\xe9\n")
    write("text/packed.txt.gz", gzip.compress(b"a rose is a rose is a rose", mtime=0))
    write("tokenizer/bytes", "lockstep tokenizer 1\nbytes\n")
    write("tokenizer/characters", "lockstep tokenizer 1\ncharacters\n" + "".join(
        f"{ord(c):x}\n" for c in sorted(set("to be or not to be, 1234 été\n😀"))))
    write("tokenizer/pairs", "lockstep tokenizer 1\npairs\n32 98\n116 111\n256 101\n258 258\n")


def make_hdf5():
    layouts = {
        "contiguous": {},
        "chunks": {"chunks": (2, 3)},
        "inner": {"chunks": (2, 2)},
        "gzip": {"chunks": (2, 3), "compression": "gzip", "shuffle": True},
        "checksum": {"chunks": (2, 3), "fletcher32": True},
        "lzf": {"chunks": (5, 3), "compression": "lzf"},
        "growing": {"chunks": (2, 3), "maxshape": (None, 3)},
        "scaleoffset": {"chunks": (2, 3), "scaleoffset": 0},
    }
    (HERE / "hdf5").mkdir(exist_ok=True)
    for libver in ("earliest", "v110"):
        for name, options in layouts.items():
            path = HERE / "hdf5" / f"{name}-{libver}.h5"
            dtype = "<i4" if name == "scaleoffset" else ">f4" if name == "inner" else "<u2"
            with h5py.File(path, "w", libver=(libver, libver if libver != "earliest" else "v108")) as f:
                f.create_dataset("x", data=np.arange(15).reshape(5, 3).astype(dtype), **options)
                y = f.create_dataset("y", data=np.array([0, 1, 2, 1, 0], "i1"))
                if name == "contiguous":
                    # Texts of any length lie in a heap, which has no checksum.
                    texts = ["a", "b", "c"] if libver == "earliest" else np.array([b"a", b"b", b"c"])
                    f["x"].attrs["feature_names"] = texts
                    y.attrs["class_names"] = np.array([b"one", b"two", b"three"])
                    y.attrs["xxh3"] = np.bytes_("0123456789abcdef")
                    f.attrs["vocabulary"] = 5
    # A name of two texts where netCDF has one; arrays that are claimed but never written.
    with h5py.File(HERE / "hdf5/claims-v110.h5", "w", libver="v110") as f:
        x = f.create_dataset("x", data=np.arange(3, dtype="f4"))
        x.attrs["CLASS"] = np.bytes_("DIMENSION_SCALE")
        x.attrs["NAME"] = np.array([b"This is a netCDF dimension", b"but not a netCDF variable"])
        f.create_dataset("most", (2**46, 4), "f4")
        f.create_dataset("chunks", (3,), "f4", maxshape=(None,), chunks=(2**29,))
    with h5py.File(HERE / "hdf5/virtual.h5", "w", libver="v110") as f:
        f.create_dataset("a", data=np.arange(4, dtype="f4"))
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(".", "a", (4,))
        f.create_virtual_dataset("x", layout)
    with h5py.File(HERE / "hdf5/others.h5", "w", userblock_size=512) as f:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        compact = h5py.h5d.create(f.id, b"compact", h5py.h5t.STD_I16BE, space, properties)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype="i2"))
        f.create_dataset("group/never", (3,), "f4", fillvalue=2.5)
        f.create_dataset("texts", data=["a", "b"])
        f["link"] = h5py.SoftLink("/compact")
        f["outside"] = h5py.ExternalLink("absent.h5", "/x")


def make_recognise():
    for target, name in (("csv", "header.csv"), ("idx", "f32"), ("cifar", "one-of-100.bin"),
                         ("npy", "big.npy"), ("npz", "compressed.npz"), ("text", "utf8.txt")):
        write(f"recognise/{name}", (HERE / target / name).read_bytes())


if __name__ == "__main__":
    make_csv()
    make_idx()
    make_cifar()
    make_npy()
    make_npz()
    make_text()
    make_hdf5()
    make_recognise()
