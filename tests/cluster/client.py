"""A client of the service, as a program for a pod: the standard library is all that it needs.

    load URL        asks with four threads, each over a connection that it keeps, until /tmp/stop is there
    follow N URL…   waits until each pod serves a newer version than N, and says when that was
    decide URL…     asks each pod the same twenty requests, and says which version answered each
    once URL        asks once

It prints JSON. Rows of requests and their ids are in rows.json beside it, the key in the variable API_KEY.
"""

import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

MODEL = os.environ["MODEL"]
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('API_KEY', '')}"}
SECONDS = 30


class Asker:
    """One connection, which is opened anew when the server closes it between two requests."""

    def __init__(self, url: str) -> None:
        self._address = urllib.parse.urlsplit(url).netloc
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of an answer."""
        connection = self._connection or http.client.HTTPConnection(self._address, timeout=SECONDS)
        self._connection = None
        connection.request(method, path, json.dumps(body) if body is not None else None, HEADERS)
        response = connection.getresponse()
        text = response.read().decode()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if headers.get("connection") != "close":
            self._connection = connection
        return response.status, headers, text

    def predict(self, name: str, row: object) -> tuple[int, dict[str, str], str]:
        return self.ask("POST", f"/v1/models/{MODEL}:predict", {"instances": [row], "prediction_ids": [name]})


def rows() -> list:
    with open(os.path.join(os.path.dirname(__file__), "rows.json")) as file:
        return json.load(file)


def load(url: str) -> None:
    asked, versions, failures, lock = [0], {}, [], threading.Lock()
    asks = rows()

    def work(number: int) -> None:
        asker, position = Asker(url), number * len(asks) // 4
        while not os.path.exists("/tmp/stop"):
            name, row = asks[position % len(asks)]
            position += 1
            # Now and then over a new connection, which the Service may lead to another pod.
            if position % 10 == 0:
                asker = Asker(url)
            try:
                status, headers, text = asker.predict(name, row)
                failure = "" if status == 200 else f"{status} {text[:200]}"
            except Exception as error:
                failure, headers = f"{type(error).__name__}: {error}", {}
                asker = Asker(url)
            with lock:
                asked[0] += 1
                if failure:
                    failures.append(failure)
                    print(json.dumps({"failure": failure, "at": time.time()}), flush=True)
                else:
                    version = headers["x-model-version"]
                    versions[version] = versions.get(version, 0) + 1
            time.sleep(0.1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    print(json.dumps({"started": True}), flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps({"asked": asked[0], "versions": versions, "failures": failures}), flush=True)


def newest(url: str) -> int:
    status, _, text = Asker(url).ask("GET", f"/v1/models/{MODEL}")
    assert status == 200, text
    states = json.loads(text)["model_version_status"]
    return max(int(state["version"]) for state in states if state["state"] == "AVAILABLE")


def follow(before: int, urls: list) -> None:
    seen: dict = {}
    deadline = time.time() + 600
    while len(seen) < len(urls) and time.time() < deadline:
        for url in urls:
            if url not in seen and (version := newest(url)) > before:
                seen[url] = {"version": version, "at": time.time()}
        time.sleep(0.2)
    print(json.dumps(seen))


def decide(urls: list) -> None:
    answered = {}
    for url in urls:
        asker = Asker(url)
        answers = [asker.predict(f"decide-{number}", row) for number, (_, row) in enumerate(rows()[:20])]
        answered[url] = [headers.get("x-model-version", text) for _, headers, text in answers]
    print(json.dumps(answered))


def main() -> None:
    what, *more = sys.argv[1:]
    if what == "load":
        load(more[0])
    elif what == "follow":
        follow(int(more[0]), more[1:])
    elif what == "decide":
        decide(more)
    else:
        name, row = rows()[0]
        status, _, text = Asker(more[0]).predict(name, row)
        print(json.dumps({"status": status, "answer": json.loads(text)}))


if __name__ == "__main__":
    main()
