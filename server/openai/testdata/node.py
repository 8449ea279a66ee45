"""OpenAI's client for Node against the built server. Usage: python node.py PROGRAM FOLDER, where FOLDER holds
client.mjs and its modules."""
import subprocess
import sys

from serve import ROOT, server

with server(sys.argv[1]) as address:
    subprocess.run(["node", f"{sys.argv[2]}/client.mjs", address, str(ROOT / "testdata")], check=True)
