"""Runs the Dockerfile's steps without a container engine, and what they make as the image would.

COPY, RUN, ENV and ENTRYPOINT are read from the Dockerfile, so that what is run here is what is written there. The
context is what .dockerignore leaves of the repository. What differs: there are no base images, the build uses the
target folder that CARGO_TARGET_DIR names, and the result runs as whoever runs this.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 30


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its lines joined and comments left out."""
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", text)
    lines = (line.strip() for line in joined.splitlines())
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines if line)]


def context(directory: Path) -> None:
    """The files that the build may see."""
    rules = (ROOT / ".dockerignore").read_text().split()
    assert rules[0] == "*", "the context is a list of what is let in"
    for rule in rules[1:]:
        if not rule.startswith("!"):
            continue
        name = rule[1:]
        ignored = shutil.ignore_patterns("node_modules", ".venv", "target")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, directory / name)


def main() -> None:
    steps = instructions((ROOT / "Dockerfile").read_text())
    with tempfile.TemporaryDirectory(prefix="fuseboard-image-") as folder:
        top = Path(folder)
        sent, src, out, image = (top / name for name in ("context", "src", "out", "image"))
        for made in (sent, src, image):
            made.mkdir()
        context(sent)
        environment: dict[str, str] = {}
        entrypoint: list[str] = []
        stage = ""
        for name, rest in steps:
            if name == "FROM":
                stage = rest
            elif name == "COPY" and "AS build" in stage:
                *sources, target = rest.split()
                for source in sources:
                    place = src / target / (Path(source).name if target.endswith("/") else "")
                    if (sent / source).is_dir():
                        shutil.copytree(sent / source, src / target, dirs_exist_ok=True)
                    else:
                        shutil.copy(sent / source, place)
            elif name == "COPY":
                assert "--from=build" in rest, rest
                shutil.copytree(out, image, dirs_exist_ok=True)
            elif name == "RUN":
                command = re.sub(r"--mount=\S+ ", "", rest)
                command = command.replace("/out/", f"{out}/")
                target = os.environ.get("CARGO_TARGET_DIR", str(src / "target"))
                command = command.replace(" target/release", f" {target}/release")
                if os.geteuid() != 0:
                    command = re.sub(r"-[og] 65532 ", "", command)
                print(f"==> {command}", flush=True)
                subprocess.run(["sh", "-eu", "-c", command], cwd=src, check=True)
            elif name == "ENV":
                environment.update(word.split("=", 1) for word in shlex.split(rest))
            elif name == "ENTRYPOINT":
                entrypoint = json.loads(rest)
        run(image, environment, entrypoint)


def run(image: Path, environment: dict[str, str], entrypoint: list[str]) -> None:
    """Starts the result, asks whether it is ready, and stops it as an engine would."""
    binary = image / entrypoint[0].lstrip("/")
    data = image / environment["FUSEBOARD_DATA_DIR"].lstrip("/")
    assert data.is_dir(), "the image has a data directory"
    assert data.stat().st_mode & 0o077 == 0, "and it is its owner's alone"
    environment = environment | {
        "FUSEBOARD_DATA_DIR": str(data),
        # On this machine's loopback only.
        "FUSEBOARD_ADDRESS": "127.0.0.1:0",
        "FUSEBOARD_HTTP_ADDRESS": "127.0.0.1:0",
    }
    beyond = environment | {"FUSEBOARD_ADDRESS": "0.0.0.0:0"}
    refused = subprocess.run([binary], env=beyond, capture_output=True, text=True, check=False)
    assert refused.returncode == 2, refused
    assert "there is no TLS" in refused.stderr, refused
    server = subprocess.Popen([binary, *entrypoint[1:]], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        for line in server.stderr:
            told = json.loads(line)
            if told.get("message") == "serving":
                break
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://{told['http']}/readyz", timeout=5) as answer:
                assert answer.read() == b"ready\n"
                break
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=START_S) == 0
    finally:
        server.kill()
    assert (data / "fuseboard.redb").exists()
    print("==> the image's program starts, is ready, keeps its state and stops by SIGTERM")


if __name__ == "__main__":
    sys.exit(main())
