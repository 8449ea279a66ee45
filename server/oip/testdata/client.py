"""Triton's client of the Open Inference Protocol against the built program; ONNX Runtime runs the same graphs.

    client.py PROGRAM [CHECK ...]
"""
import pathlib
import sys

import numpy as np
import onnxruntime
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testdata"))
from served import ROOT, run, served  # noqa: E402

CLIP = ROOT / "models/mini/clip-mini/onnx"
TYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}


def reference(path, feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def feed(metadata, batch=2, length=5, seed=1):
    """Random inputs for a graph of a model of CLIP's kind."""
    random = np.random.default_rng(seed)
    feeds = {}
    for i in metadata["inputs"]:
        sizes = [batch if k == 0 else length if d < 0 else d for k, d in enumerate(i["shape"])]
        if i["datatype"].startswith("INT"):
            top = 2 if "mask" in i["name"] else 50
            feeds[i["name"]] = np.ones(sizes, TYPES[i["datatype"]]) if top == 2 else random.integers(
                3, top, sizes).astype(TYPES[i["datatype"]])
        else:
            feeds[i["name"]] = random.standard_normal(sizes).astype(np.float32)
    return feeds


def inputs(feeds, metadata, binary):
    kinds = {i["name"]: i["datatype"] for i in metadata["inputs"]}
    made = []
    for name, array in feeds.items():
        one = triton.InferInput(name, list(array.shape), kinds[name])
        one.set_data_from_numpy(array, binary_data=binary)
        made.append(one)
    return made


def health(client):
    assert client.is_server_live() and client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "xpipe" and "binary_tensor_data" in metadata["extensions"], metadata
    for name in "clip-mini", "clip-mini.vision_encoder", "clip-mini.text_encoder", "blip2-mini":
        assert client.is_model_ready(name) and client.is_model_ready(name, "1"), name
    for name, version in ("none", ""), ("clip-mini.none", ""), ("clip-mini", "7"):
        assert not client.is_model_ready(name, version), name


def metadata(client):
    whole, first = client.get_model_metadata("clip-mini"), client.get_model_metadata("clip-mini.vision_encoder", "1")
    assert whole["inputs"] == first["inputs"] and whole["outputs"] == first["outputs"] and whole["versions"] == ["1"]
    assert whole["platform"] == "onnx_onnxv1", whole
    for role, path in ("vision_encoder", "vision_encoder"), ("text_encoder", "text_model"):
        said = client.get_model_metadata(f"clip-mini.{role}")
        session = onnxruntime.InferenceSession(str(CLIP / f"{path}.onnx"), providers=["CPUExecutionProvider"])
        for key, real in ("inputs", session.get_inputs()), ("outputs", session.get_outputs()):
            assert [i["name"] for i in said[key]] == [i.name for i in real], (said, real)
            for mine, theirs in zip(said[key], real):
                assert [d if d >= 0 else None for d in mine["shape"]] == [
                    d if isinstance(d, int) else None for d in theirs.shape], (mine, theirs.shape)
    config = client.get_model_config("clip-mini")
    assert config["max_batch_size"] == 0 and config["input"][0]["data_type"] == "TYPE_FP32", config


def infer(client):
    """Every graph of clip-mini, JSON and binary, is ONNX Runtime's to 1e-4."""
    for name, path in ("clip-mini", "vision_encoder"), ("clip-mini.vision_encoder", "vision_encoder"), (
            "clip-mini.text_encoder", "text_model"):
        said = client.get_model_metadata(name)
        feeds = feed(said)
        want = reference(CLIP / f"{path}.onnx", feeds)
        for binary in True, False:
            for outputs in None, [triton.InferRequestedOutput(o["name"], binary_data=binary) for o in said["outputs"]]:
                got = client.infer(name, inputs(feeds, said, binary), outputs=outputs, request_id="seven")
                assert got.get_response()["id"] == "seven" and got.get_response()["model_name"] == name
                for output, array in want.items():
                    np.testing.assert_allclose(got.as_numpy(output), array, rtol=1e-3, atol=1e-4, err_msg=name)


def mixed(client):
    """Binary and JSON outputs in one answer, one output alone, and compressed requests."""
    said = client.get_model_metadata("clip-mini.text_encoder")
    feeds = feed(said, batch=1, length=7)
    names = [o["name"] for o in said["outputs"]]
    all_outputs = client.infer("clip-mini.text_encoder", inputs(feeds, said, True))
    for compression in None, "gzip", "deflate":
        outputs = [triton.InferRequestedOutput(n, binary_data=k % 2 == 0) for k, n in enumerate(reversed(names))]
        got = client.infer("clip-mini.text_encoder", inputs(feeds, said, True), model_version="1", outputs=outputs,
                           request_compression_algorithm=compression, response_compression_algorithm="gzip")
        assert [o["name"] for o in got.get_response()["outputs"]] == list(reversed(names))
        for n in names:
            np.testing.assert_allclose(got.as_numpy(n), all_outputs.as_numpy(n), rtol=1e-6)
    futures = [client.async_infer("clip-mini.text_encoder", inputs(feeds, said, True)) for _ in range(8)]
    for f in futures:
        np.testing.assert_allclose(f.get_result().as_numpy(names[0]), all_outputs.as_numpy(names[0]), rtol=1e-4, atol=1e-5)


def refused(client):
    said = client.get_model_metadata("clip-mini")
    feeds = feed(said, batch=1)
    (name, array), = feeds.items()

    def fails(status, says, call):
        try:
            call()
        except InferenceServerException as e:
            assert e.status() == status and says in e.message(), (e.status(), e.message())
            return
        raise AssertionError(f"no error {says!r}")

    fails("404", "none", lambda: client.infer("none", inputs(feeds, said, True)))
    fails("404", "clip-mini.text_encoder", lambda: client.infer("clip-mini.none", inputs(feeds, said, True)))
    fails("404", "version", lambda: client.infer("clip-mini", inputs(feeds, said, True), model_version="2"))
    wrong = feed(said, batch=1)[name][:, :1]
    fails("400", name, lambda: client.infer("clip-mini", inputs({name: wrong}, said, True)))
    half = triton.InferInput(name, list(array.shape), "FP16")
    half.set_data_from_numpy(array.astype(np.float16))
    fails("400", "float16", lambda: client.infer("clip-mini", [half]))
    fails("400", "no output", lambda: client.infer("clip-mini", inputs(feeds, said, True), outputs=[
        triton.InferRequestedOutput("none")]))
    text = triton.InferInput(name, [1], "BYTES")
    text.set_data_from_numpy(np.array(["x"], dtype=object))
    fails("400", "BYTES", lambda: client.infer("clip-mini", [text]))
    shared = triton.InferInput(name, list(array.shape), "FP32")
    shared.set_shared_memory("region", array.nbytes)
    fails("400", "shared memory", lambda: client.infer("clip-mini", [shared]))


def management(client):
    index = {m["name"]: m for m in client.get_model_repository_index()}
    assert index["clip-mini"]["state"] == "READY", index
    client.load_model("clip-mini")
    client.unload_model("clip-mini")
    assert client.is_model_ready("clip-mini")
    said = client.get_model_metadata("clip-mini")
    before = client.get_inference_statistics("clip-mini")["model_stats"][0]["inference_count"]
    client.infer("clip-mini", inputs(feed(said, batch=1), said, True))
    after = client.get_inference_statistics("clip-mini")["model_stats"][0]
    assert after["inference_count"] == before + 1 and after["inference_stats"]["success"]["ns"] > 0, after
    assert any(m["name"] == "clip-mini" for m in client.get_inference_statistics()["model_stats"])


if __name__ == "__main__":
    with served(sys.argv[1], "--no-verify") as url:
        with triton.InferenceServerClient(url.removeprefix("http://"), network_timeout=120, connection_timeout=120) as c:
            sys.exit(run([health, metadata, infer, mixed, refused, management], c))
