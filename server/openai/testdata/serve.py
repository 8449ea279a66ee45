"""The server that OpenAI's clients for Python and for Node are run against, and pictures as they send them."""
import base64
import contextlib
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "testdata"))
from served import IMAGES, ROOT, served  # noqa: E402

SPEECH = ROOT / "testdata/speech/jfk.flac"
SPOKEN = "my fellow Americans"


@contextlib.contextmanager
def server(program):
    """Starts the program with tiny models that have chat templates, of which one has tools."""
    with tempfile.TemporaryDirectory() as folder:
        to = pathlib.Path(folder)
        layouts = ROOT / "testdata/layouts"
        for name in ["smolvlm-transformersjs", "qwen2vl-transformersjs", "llama-genai"]:
            shutil.copytree(layouts / name, to / name)
        shutil.copytree(layouts / "qwen3vl-transformersjs", to / "with-tools")
        shutil.copy(HERE / "tools.jinja", to / "with-tools/chat_template.jinja")
        with served(program, "--models", folder, "--alias", "gpt-4o=blip2-mini") as address:
            yield address


def data_url(name):
    kind = "jpeg" if name.endswith(".jpg") else "png"
    return f"data:image/{kind};base64," + base64.b64encode((IMAGES / name).read_bytes()).decode()
