"""Azurite, Microsoft's emulator of Azure's blobs, on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import re
import shutil
import subprocess
from email.utils import formatdate
from html import unescape
from pathlib import Path
from threading import Thread
from urllib.parse import quote

from tests import oracles

ACCOUNT = "devstoreaccount1"
KEY = (  # which everybody knows: it is in Azurite's documentation
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def program() -> str:
    """Where Azurite is: as the variable EARMARK_AZURITE says, on the path, or installed by npm.

    Raises:
      MissingPeerError: it cannot be had here.
    """
    named = os.environ.get("EARMARK_AZURITE") or shutil.which("azurite-blob")
    return named or str(oracles.azurite())


class Azurite:
    """A running Azurite, asked past obstore, with signatures of our own.

    Attributes:
      address: where it listens.
    """

    def __init__(self, folder: Path) -> None:
        command = [program(), "--disableTelemetry", "--skipApiVersionCheck"]
        where = ["--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", "0"]
        self._process = subprocess.Popen([*command, *where], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = (
            re.search(r"listens on http://(.*):([0-9]+)", line) for line in self._process.stdout
        )
        found = next(filter(None, said))
        self.address = found[1], int(found[2])
        # what it says of each request is read, so that it never waits
        Thread(target=self._process.stdout.read, daemon=True).start()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def make_container(self, name: str) -> None:
        self._ask("PUT", name, "restype=container")

    def put(self, container: str, name: str, content: bytes) -> None:
        headers = {"x-ms-blob-type": "BlockBlob"}
        self._ask("PUT", f"{container}/{quote(name)}", "", content, headers)

    def get_all(self, container: str) -> dict[str, bytes]:
        listing = self._ask("GET", container, "comp=list&restype=container").decode()
        names = map(unescape, re.findall(r"<Name>(.*?)</Name>", listing))
        return {name: self._ask("GET", f"{container}/{quote(name)}") for name in names}

    def delete_all(self, container: str) -> None:
        for name in self.get_all(container):
            self._ask("DELETE", f"{container}/{quote(name)}")

    def _ask(
        self,
        method: str,
        path: str,
        query: str = "",
        content: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> bytes:
        special = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        special |= headers or {}
        length = str(len(content)) if content else ""
        lines = [method, "", "", length, *[""] * 8]
        lines += [f"{name}:{value}" for name, value in sorted(special.items())]
        lines += [f"/{ACCOUNT}/{ACCOUNT}/{path}"]
        lines += [each.replace("=", ":") for each in sorted(filter(None, query.split("&")))]
        key = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256)
        signature = base64.b64encode(key.digest()).decode()
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        connection.request(
            method,
            f"/{ACCOUNT}/{path}" + (f"?{query}" if query else ""),
            content,
            {**special, "Authorization": f"SharedKey {ACCOUNT}:{signature}"},
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status < 300 or answer.status == 409, (answer.status, body)
        return body
